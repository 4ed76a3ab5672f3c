/* shell.tsx - what stands around every screen: top bar, rail, connection line, palette, help, toasts. */
import { useEffect, useRef, useState } from 'preact/hooks'
import { Icon } from '../parts/icon'
import { Name } from '../parts/name'
import { countdown, duration } from '../pure/format'
import { visible } from '../pure/visible'
import { T } from '../text'
import { awaySince } from './away'
import { useSecond } from './clock'
import { useResource } from './data'
import { linkView, retryNow, useFeed } from './events'
import { Guard } from './guard'
import { Help } from './help'
import { useKeys } from './keyboard'
import { Lazy } from './lazy'
import { lists } from './lists'
import { ModeButton } from './mode'
import { nextTheme, Palette } from './palette'
import { wayBack } from './place'
import { go, href, replaceScreen, setParams, useRoute } from './route'
import { closeToast, spoken, toasts } from './say'
import { screens, type Screen } from './screens'
import { look, may, session, signOut } from './session'
import { useStore } from './store'

export function Shell() {
  const route = useRoute()
  const [over, setOver] = useState<'' | 'palette' | 'help'>('')
  const seen = screens.filter((s) => may(s.least))
  const screen = seen.find((s) => s.id === route.screen) ?? seen[0]
  const main = useRef<HTMLElement>(null)
  const shown = useRef('')

  useFeed('figures', () => undefined) /* the hub's clock, and a sign of life every second */

  useEffect(() => {
    if (!screen) return
    if (route.screen !== screen.id) replaceScreen(screen.id)
    document.title = T.pageTitle(screen.name, session.get()?.name ?? '')
    if (shown.current && shown.current !== screen.id) requestAnimationFrame(() => document.getElementById('title')?.focus())
    shown.current = screen.id
  }, [screen?.id, route.screen])

  useKeys(T.everywhere, [
    { keys: 'Ctrl+k', does: T.palette, run: () => setOver('palette') },
    { keys: '?', does: T.keyHelp, run: () => setOver('help') },
    { keys: 'Shift+L', does: T.themeNext, run: nextTheme },
    { keys: 'Escape', does: T.keyBack, run: () => route.params.open && setParams({ open: undefined }, true) },
    ...seen.map((s) => ({ keys: 'g ' + s.letter, does: s.name, run: () => go(s.id) })),
  ])

  if (!screen) return null
  return (
    <div class="shell">
      <a
        class="skip"
        href="#main"
        onClick={(e) => {
          e.preventDefault()
          main.current?.focus()
        }}
      >
        {T.skip}
      </a>
      <TopBar onPalette={() => setOver('palette')} onHelp={() => setOver('help')} />
      <nav class="rail" aria-label={T.screens}>
        {seen.map((s, i) => (
          <ScreenLink s={s} now={s === screen} rest={i >= PLACES - 1 && seen.length > PLACES} />
        ))}
        {seen.length > PLACES && (
          <details class="more" key={screen.id}>
            <summary>
              <Icon name="more" label={T.more} />
            </summary>
            <div>
              {seen.slice(PLACES - 1).map((s) => (
                <ScreenLink s={s} now={s === screen} rest={false} />
              ))}
            </div>
          </details>
        )}
      </nav>
      <div class="middle">
        <VisitLine />
        <ConnectionLine />
        <main id="main" ref={main} tabIndex={-1} aria-labelledby="title">
          <Lazy key={screen.id} load={screen.load} what={screen.name} />
        </main>
      </div>
      {over === 'palette' && <Palette onClose={() => setOver('')} onHelp={() => setOver('help')} />}
      {over === 'help' && <Help onClose={() => setOver('')} />}
      {over === '' && <Guard />}
      <Regions />
    </div>
  )
}

const PLACES = 5 /* in the bottom bar of a phone */

function ScreenLink({ s, now, rest }: { s: Screen; now: boolean; rest: boolean }) {
  return (
    <a href={href(s.id)} aria-current={now ? 'page' : undefined} title={s.name} class={rest ? 'rest' : ''}>
      <Icon name={s.icon} /> <span class="word">{s.name}</span> <kbd aria-hidden="true">{s.letter}</kbd>
    </a>
  )
}

function TopBar({ onPalette, onHelp }: { onPalette(): void; onHelp(): void }) {
  const s = useStore(session)
  const alerts = useResource(lists.alerts).data?.alerts?.filter((a) => !a.explained_by && (!a.silenced_until_ms || a.silenced_until_ms < Date.now()))
  const bad = alerts?.some((a) => a.severity === 'bad')
  const hasAlerts = screens.some((x) => x.id === 'alerts')
  const words = alerts?.length ? T.alerts(alerts.length) : T.noAlerts
  return (
    <header class="topbar">
      <span class="product">
        <svg class="logo" viewBox="0 0 16 16" aria-hidden="true">
          <path d="M1 1h14v14H1z" />
          <path class="letter" d="M4 4h4a4 4 0 0 1 0 8H4zm2 2v4h2a2 2 0 0 0 0-4z" />
        </svg>
        <span class="word">drover</span> <span class="hub">{s?.name && <Name text={s.name} most={20} />}</span>
      </span>
      <ModeButton />
      <button type="button" class="search" onClick={onPalette}>
        <Icon name="search" /> <span class="word">{T.paletteHint}</span> <kbd aria-hidden="true">Ctrl K</kbd>
      </button>
      <span class="grow" />
      {alerts &&
        (hasAlerts ? (
          <a class={'button quiet' + (alerts.length ? (bad ? ' mark-bad' : ' mark-warn') : '')} href={href('alerts')}>
            <span aria-hidden="true">{alerts.length ? (bad ? '✕' : '▲') : '●'}</span> <span class="word">{words}</span>
          </a>
        ) : alerts.length ? (
          <span class={bad ? 'mark-bad' : 'mark-warn'}>
            <span aria-hidden="true">{bad ? '✕' : '▲'}</span> {words}
          </span>
        ) : null)}
      <button type="button" class="button quiet" onClick={onHelp} title={T.keyHelp} aria-label={T.helpTitle}>
        <Icon name="help" />
      </button>
      <PersonMenu />
    </header>
  )
}

function PersonMenu() {
  const s = useStore(session)
  const box = useRef<HTMLDetailsElement>(null)
  useEffect(() => {
    const away = (e: Event): void => {
      if (box.current?.open && !box.current.contains(e.target as Node)) box.current.open = false
    }
    addEventListener('pointerdown', away)
    addEventListener('focusin', away)
    return () => {
      removeEventListener('pointerdown', away)
      removeEventListener('focusin', away)
    }
  }, [])
  return (
    <details
      class="menu"
      ref={box}
      onKeyDown={(e) => {
        if (e.key !== 'Escape' || !box.current?.open) return
        box.current.open = false
        box.current.querySelector('summary')?.focus()
        e.stopPropagation()
      }}
    >
      <summary class="button quiet">
        <Icon name="person" /> <span class="word">{visible(s?.user ?? '')}</span>
      </summary>
      <div class="menu-box">
        <p>
          <strong>{visible(s?.user ?? '')}</strong> <span class="extra">{s?.role && T.roles[s.role]}</span>
        </p>
        <p class="extra">{T.hubVersion(s?.version ?? '')}</p>
        <button type="button" class="button" onClick={nextTheme}>
          {T.themeNext}
        </button>
        {!s?.visit && (
          <button type="button" class="button" onClick={() => void signOut()}>
            {T.signOut}
          </button>
        )}
      </div>
    </details>
  )
}

/* Whose console this is, for somebody who came from a hub, and the way back. */
function VisitLine() {
  const s = useStore(session)
  if (!wayBack || !s?.visit) return null
  return (
    <div class="visit" role="note">
      {T.visit.of(visible(s.name ?? ''), s.role ? T.roles[s.role] : '')} <a href={wayBack}>{T.visit.back}</a>
    </div>
  )
}

/* Only there when something is wrong with the way to the hub. */
function ConnectionLine() {
  useSecond()
  const link = useStore(linkView)
  const since = useStore(awaySince)
  const down = since !== undefined
  const left = link.retryAtMs ? link.retryAtMs - Date.now() : 0
  return (
    <div class={'connection' + (down ? ' down' : '')} role="status">
      {down && (
        <>
          <span class="mark-bad">✕ </span>
          {T.noContact(duration(Math.floor((Date.now() - since) / 1000) * 1000))}{' '}
          <span aria-live="off">{left > 0 ? T.triesIn(countdown(left)) : T.tries}</span>{' '}
          <button
            type="button"
            class="button quiet"
            onClick={() => {
              retryNow()
              void look()
            }}
          >
            {T.tryNow}
          </button>
        </>
      )}
    </div>
  )
}

export function Regions() {
  const s = useStore(spoken)
  const list = useStore(toasts)
  return (
    <>
      <div class="hide-visually" role="status" aria-live="polite">
        <span key={s.n}>{s.text}</span>
      </div>
      <div class="toasts" role="log" aria-label={T.results}>
        {list.map((t) => (
          <div key={t.id} class={'toast ' + t.kind}>
            <span>
              <span aria-hidden="true">{t.kind === 'ok' ? '● ' : '✕ '}</span>
              {visible(t.text)}
            </span>
            <button type="button" class="button quiet" aria-label={T.close} onClick={() => closeToast(t.id)}>
              <Icon name="close" />
            </button>
          </div>
        ))}
      </div>
    </>
  )
}
