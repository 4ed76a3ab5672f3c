/* view.tsx - lines as they come. The person holds the scroll wheel: scrolling up ends following at once, what comes meanwhile waits and
 * is counted; End goes on. Only the lines that are seen are in the page; each has its measured place, so that lines may wrap and open.
 *
 * book: where lines are kept; tick: changes when it has; sourceWord: what a line's source is called; levels: whether lines have them;
 * empty: said while there is none; tools: further controls of the source. */
import type { ComponentChildren } from 'preact'
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks'
import { useSecond } from '../../app/clock'
import { linkView } from '../../app/events'
import { useKeys } from '../../app/keyboard'
import { memo } from '../../app/memo'
import { prefs, recall, remember, setPref } from '../../app/prefs'
import { href, setParams, useParam } from '../../app/route'
import { say } from '../../app/say'
import { useStore } from '../../app/store'
import { Button } from '../../parts/button'
import { copyText } from '../../parts/copy'
import { Dialog } from '../../parts/dialog'
import { Empty } from '../../parts/empty'
import { SelectField, TextField } from '../../parts/field'
import { ScreenHead } from '../../parts/screenhead'
import { clock, count, rate, utc } from '../../pure/format'
import { localDate } from '../../pure/keydraft'
import {
  asJsonLines,
  asText,
  finder,
  findNext,
  KEPT_LINES,
  LEVELS,
  lineAt,
  lineFrom,
  lineText,
  offsets,
  passes,
  pieces,
  printFields,
  readFields,
  Sieve,
  type Level,
  type Line,
  type LogBook,
} from '../../pure/loglines'
import { visible } from '../../pure/visible'
import { T } from '../../text'
import { download } from '../keys/shared'

const SPARE_PX = 300
const USUAL_PX = 22
const NEAR_END_PX = 24
const LONG = 2000 /* characters of a line that are shown before it is opened */
const COPY_MOST = 2000 /* lines */

interface Props {
  tabs: ComponentChildren
  panel: 'log' | 'events'
  book: LogBook
  tick: number
  sourceWord: string
  levels: boolean
  empty: ComponentChildren
  tools?: ComponentChildren
}

export function Lines({ tabs, panel, book, tick, sourceWord, levels, empty, tools }: Props) {
  const paused = useStore(prefs).paused
  const link = useStore(linkView)
  const [following, setFollowing] = useState(true)
  const [letters, setLetters] = useParam('levels', 'ewid')
  const [source, setSource] = useParam('source')
  const [q, setQ] = useParam('q')
  const [f, setF] = useParam('f')
  const [findText, setFind] = useParam('find')
  const [re, setRe] = useParam('re')
  const [exact, setExact] = useParam('exact')
  const [wrap, setWrap] = useParam('wrap')
  const [open, setOpen] = useState<ReadonlySet<number>>(new Set())
  const [marked, setMarked] = useState(0) /* the line found last, or shown in context */
  const [going, setGoing] = useState(false) /* the dialog of a moment */
  const [aloud, setAloud] = useState(recall('console.aloud') === '1')
  const box = useRef<HTMLDivElement>(null)
  const findBox = useRef<HTMLInputElement>(null)
  const more = useRef<HTMLDetailsElement>(null)
  const [roomy] = useState(() => matchMedia('(min-width: 640px)').matches)

  const held = paused || !following
  book.hold(held)
  useEffect(() => () => book.hold(false), [])

  const lines = book.shown.lines
  const fields = useMemo(() => readFields(f), [f])
  const keep = useMemo(() => passes({ levels: levels ? letters : 'ewid', source, text: q, fields }), [letters, source, q, fields, levels])
  const [sieves] = useState(() => ({ shown: new Sieve(), waiting: new Sieve() }))
  const shown = sieves.shown.run(lines, keep)
  const look = useMemo(() => finder({ text: findText, regexp: re === '1', exact: exact === '1' }), [findText, re, exact])
  const hit = look instanceof RegExp ? look : undefined
  const waiting = book.waiting.lines
  const waits = sieves.waiting.run(waiting, keep).length

  /* --- places ------------------------------------------------------------------------------------------------------ */

  const heights = useRef(new Map<number, number>())
  const [measured, setMeasured] = useState(0)
  const [usual, setUsual] = useState(USUAL_PX)
  const [top, setTop] = useState(0)
  const [height, setHeight] = useState(600)
  const [width, setWidth] = useState(0)
  const places = useMemo(() => offsets(shown, heights.current, usual), [shown, measured, usual])
  const total = places[shown.length] ?? 0
  const from = following ? lineFrom(places, Math.max(0, total - height - SPARE_PX)) : lineFrom(places, Math.max(0, top - SPARE_PX))
  let to = from
  const end = following ? total : top + height + SPARE_PX
  while (to < shown.length && (places[to] ?? 0) < end) to++
  const pool = Math.ceil((to - from) / 32) * 32 || 32

  /* Measured after each drawing; what is above the eye must not push what is being read. */
  useLayoutEffect(() => {
    const b = box.current
    if (!b) return
    let changed = false
    let above = 0
    for (const el of b.querySelectorAll<HTMLElement>('[data-n]')) {
      const n = Number(el.dataset.n)
      const now = el.offsetHeight
      const was = heights.current.get(n)
      if (now && now !== (was ?? usual)) {
        if (el.offsetTop < b.scrollTop) above += now - (was ?? usual)
        heights.current.set(n, now)
        changed = true
      }
    }
    if (heights.current.size > 2 * KEPT_LINES) {
      const there = new Set(lines.map((l) => l.n))
      for (const n of heights.current.keys()) if (!there.has(n)) heights.current.delete(n)
    }
    if (changed) setMeasured((n) => n + 1)
    if (following && !paused) b.scrollTop = b.scrollHeight
    else if (above) b.scrollTop += above
  })
  useEffect(() => {
    heights.current.clear()
    setMeasured((n) => n + 1)
  }, [wrap, width])

  const goal = useRef<number | undefined>(undefined)
  const scrolledTo = useRef(0)
  useEffect(() => {
    const b = box.current
    if (!b) return
    let frame = 0
    const see = (): void => {
      frame = 0
      const at = b.scrollTop
      const up = at < scrolledTo.current - 1
      scrolledTo.current = at
      setTop(at)
      setHeight(b.clientHeight)
      setWidth(b.clientWidth)
      if (up && b.scrollHeight - at - b.clientHeight > NEAR_END_PX) setFollowing(false)
    }
    const later = (): void => {
      frame ||= requestAnimationFrame(see)
    }
    /* A wheel or a key means it before the place has changed: lines that come in between must not win. */
    const meant = (e: Event): void => {
      goal.current = undefined
      if (e instanceof WheelEvent ? e.deltaY < 0 : e instanceof KeyboardEvent && ['PageUp', 'Home', 'ArrowUp'].includes(e.key))
        if (b.scrollHeight > b.clientHeight) setFollowing(false)
    }
    b.addEventListener('scroll', later, { passive: true })
    b.addEventListener('wheel', meant, { passive: true })
    b.addEventListener('keydown', meant)
    const watch = new ResizeObserver(later)
    watch.observe(b)
    return () => {
      b.removeEventListener('scroll', later)
      b.removeEventListener('wheel', meant)
      b.removeEventListener('keydown', meant)
      watch.disconnect()
      cancelAnimationFrame(frame)
    }
  }, [lines.length > 0])
  useEffect(() => {
    const one = box.current?.querySelector<HTMLElement>('.line:not(.wrapped, .opened)')
    if (one?.offsetHeight) setUsual(one.offsetHeight)
  }, [lines.length > 0])

  /* To a line, which need not be in the page yet: to where it is thought to be, and once more when it has been measured. */
  useLayoutEffect(() => {
    const n = goal.current
    const b = box.current
    if (n === undefined || !b) return
    const at = shown.findIndex((l) => l.n === n)
    if (at < 0) {
      goal.current = undefined
      return
    }
    const want = Math.max(0, (places[at] ?? 0) - height / 2)
    if (b.querySelector(`[data-n="${n}"]`) && Math.abs(b.scrollTop - Math.min(want, b.scrollHeight - b.clientHeight)) < 2)
      goal.current = undefined
    else {
      b.scrollTop = want
      scrolledTo.current = b.scrollTop
      setTop(b.scrollTop)
    }
  })
  const show = (l: Line | undefined): void => {
    if (!l) return
    setFollowing(false)
    setMarked(l.n)
    goal.current = l.n
  }

  /* --- acts -------------------------------------------------------------------------------------------------------- */

  const follow = (): void => {
    setFollowing(true)
    setMarked(0)
    if (paused) setPref('paused', false)
  }
  const step = (by: 1 | -1): void => {
    if (!hit) return
    const now = shown.findIndex((l) => l.n === marked)
    const at = findNext(shown, hit, now >= 0 ? now : by > 0 ? Math.max(0, lineFrom(places, following ? total : top) - 1) : shown.length, by)
    if (at >= 0) show(shown[at])
    else say(T.log.notFound)
  }
  const toFind = (): void => {
    if (more.current) more.current.open = true
    findBox.current?.focus()
  }
  const clear = (): void => setParams({ levels: undefined, source: undefined, q: undefined, f: undefined })
  const context = (l: Line): void => {
    clear()
    show(l)
  }
  const turn = (letter: string): void =>
    setLetters(
      letters.includes(letter)
        ? letters.replace(letter, '') || 'none'
        : 'ewid'
            .split('')
            .filter((x) => x === letter || letters.includes(x))
            .join(''),
    )
  const toggle = (n: number): void => {
    const next = new Set(open)
    if (!next.delete(n)) next.add(n)
    heights.current.delete(n)
    setFollowing(false)
    setOpen(next)
  }
  const addField = (k: string, v: string): void => setF(printFields([...fields.filter(([fk]) => fk !== k), [k, v]]))
  /* The same functions for every drawing, so that lines that have not changed are not drawn again. */
  const now = useRef({ toggle, context, addField })
  now.current = { toggle, context, addField }
  const stable = useMemo(
    () => ({
      toggle: (n: number): void => now.current.toggle(n),
      context: (l: Line): void => now.current.context(l),
      addField: (k: string, v: string): void => now.current.addField(k, v),
    }),
    [],
  )
  useKeys(T.logs, [
    { keys: 'Space', does: T.keyPause, run: () => setPref('paused', !prefs.get().paused) },
    { keys: '/', does: T.log.find, run: () => toFind() },
    { keys: 'n', does: T.log.next, run: () => step(1) },
    { keys: 'Shift+N', does: T.log.previous, run: () => step(-1) },
    { keys: 'w', does: T.wrap, run: () => setWrap(wrap ? '' : '1') },
    { keys: 't', does: T.log.goTime, run: () => setGoing(true) },
    { keys: 'End', does: T.log.follow, run: follow },
    ...(levels
      ? LEVELS.map((l, i) => ({ keys: String(i + 1), does: T.log.turnLevel(T.log.levels[l]), run: () => turn(l[0] as string) }))
      : []),
  ])

  /* Errors to screen readers, by choice: the newest, at most one every three seconds. */
  const told = useRef({ n: 0, atMs: 0 })
  useEffect(() => {
    if (!aloud || !levels) return
    const list = [...lines.slice(-50), ...waiting.slice(-50)]
    const last = list.filter((l) => l.level === 'error').pop()
    if (!last || last.n <= told.current.n || Date.now() - told.current.atMs < 3000) return
    if (told.current.n) say(T.log.errorSaid(visible(last.text).slice(0, 200)))
    told.current = { n: last.n, atMs: Date.now() }
  }, [tick, aloud])

  const { sources, byLevel } = useCounts(lines)
  const gone = link.phase === 'waiting' || link.phase === 'off'
  const newestMs = [...lines.slice(-1), ...waiting.slice(-1)].pop()?.atMs
  const saveName = `drover-${panel}-${(shown[0]?.time ?? '').slice(0, 19).replace(/:/g, '')}`
  const range = shown.length
    ? T.log.range(shown.length, count(shown.length), clock(shown[0]?.atMs), clock(shown[shown.length - 1]?.atMs))
    : T.use.nothing
  const copyShown = async (): Promise<void> => say((await copyText(asText(shown.slice(-COPY_MOST)))) ? T.copied : T.log.cannotCopy)

  return (
    <>
      <ScreenHead
        title={T.logs}
        state={
          gone ? (
            <span class="mark-unknown">○ {T.log.ended(clock(newestMs))}</span>
          ) : paused ? (
            T.log.pausedState(waiting.length, count(waiting.length))
          ) : following ? (
            <Rate book={book} />
          ) : (
            T.log.readingState(waiting.length, count(waiting.length))
          )
        }
      />
      {tabs}
      <div id="tab-panel" role="tabpanel" aria-labelledby={'tab-' + panel} class="stack tight">
        <div class="filterbar" role="search">
          {levels && (
            <span class="row" role="group" aria-label={T.log.levelFilter}>
              {LEVELS.map((l, i) => (
                <button
                  key={l}
                  type="button"
                  class={'button level-' + l}
                  aria-pressed={letters.includes(l[0] as string)}
                  title={T.log.turnLevel(T.log.levels[l]) + ' (' + (i + 1) + ')'}
                  onClick={() => turn(l[0] as string)}
                >
                  {T.withCount(T.log.levels[l], byLevel.get(l) ?? 0)}
                </button>
              ))}
            </span>
          )}
          <SelectField
            inline
            label={sourceWord}
            value={source}
            onInput={setSource}
            options={[
              { value: '', text: T.any },
              ...[...new Set([...sources.keys(), source])]
                .filter(Boolean)
                .sort()
                .map((s) => ({ value: s, text: T.withCount(visible(s), sources.get(s) ?? 0) })),
            ]}
          />
          <label class="field inline">
            <span>{T.filter}</span>
            <input
              type="search"
              value={q}
              spellcheck={false}
              onInput={(e) => setQ(e.currentTarget.value)}
              onKeyDown={(e) => e.key === 'Escape' && (q ? setQ('') : e.currentTarget.blur())}
            />
          </label>
          {fields.map(([k, v]) => (
            <button
              key={k}
              type="button"
              class="button"
              aria-pressed="true"
              aria-label={T.log.dropField(visible(k), visible(v))}
              onClick={() => setF(printFields(fields.filter(([fk]) => fk !== k)))}
            >
              {visible(k)}={visible(v.slice(0, 40))} ✕
            </button>
          ))}
          {lines.length > shown.length && (
            <span class="hidden-note">
              {T.hidden(lines.length - shown.length)}{' '}
              <button type="button" class="button quiet" onClick={clear}>
                {T.showAll}
              </button>
            </span>
          )}
        </div>
        <details class="lines-tools" ref={more} open={roomy}>
          <summary class="button">{T.log.more}</summary>
          <div class="filterbar">
            <label class="field inline">
              <span>{T.log.find}</span>
              <input
                ref={findBox}
                type="search"
                value={findText}
                spellcheck={false}
                aria-invalid={look === 'bad' ? 'true' : undefined}
                onInput={(e) => setFind(e.currentTarget.value)}
                onKeyDown={(e) => {
                  if (e.key === 'Enter') step(e.shiftKey ? -1 : 1)
                  else if (e.key === 'Escape') findText ? setFind('') : e.currentTarget.blur()
                  else return
                  e.preventDefault()
                }}
              />
            </label>
            <span class="row tight">
              <Button act={() => step(-1)} label={T.log.previous} off={hit ? undefined : T.log.findFirst}>
                ↑
              </Button>
              <Button act={() => step(1)} label={T.log.next} off={hit ? undefined : T.log.findFirst}>
                ↓
              </Button>
              <Button act={() => setRe(re ? '' : '1')} pressed={re === '1'} label={T.log.regexp}>
                .*
              </Button>
              <Button act={() => setExact(exact ? '' : '1')} pressed={exact === '1'} label={T.log.capitals}>
                Aa
              </Button>
            </span>
            {look === 'bad' && <span class="fault">✕ {T.log.badRegexp}</span>}
            <Button act={() => setWrap(wrap ? '' : '1')} pressed={wrap === '1'}>
              {T.wrap}
            </Button>
            <Button act={() => setGoing(true)}>{T.log.goTime}</Button>
            {levels && (
              <Button
                act={() => {
                  remember('console.aloud', aloud ? '' : '1')
                  setAloud(!aloud)
                }}
                pressed={aloud}
              >
                {T.log.aloud}
              </Button>
            )}
            {tools}
            <details class="menu">
              <summary class="button">{T.log.take}</summary>
              <div class="menu-box">
                <p class="extra">{range}</p>
                <Button act={copyShown} off={shown.length ? undefined : T.use.nothing}>
                  {shown.length > COPY_MOST ? T.log.copyNewest(count(COPY_MOST)) : T.log.copyShown}
                </Button>
                <Button act={() => download(saveName + '.log', 'text/plain', asText(shown))} off={shown.length ? undefined : T.use.nothing}>
                  {T.log.saveText}
                </Button>
                <Button
                  act={() => download(saveName + '.jsonl', 'application/x-ndjson', asJsonLines(shown))}
                  off={shown.length ? undefined : T.use.nothing}
                >
                  {T.log.saveJson}
                </Button>
              </div>
            </details>
          </div>
        </details>
        <Losses book={book} panel={panel} />
        {!lines.length ? (
          <Empty why={gone ? T.log.ended(clock(newestMs)) : T.log.waiting}>{empty}</Empty>
        ) : !shown.length ? (
          <Empty why={T.log.filtered}>
            <Button act={clear}>{T.showAll}</Button>
          </Empty>
        ) : (
          <div class="lines-frame">
            <div class={'lines' + (wrap ? ' wrap' : '')} ref={box} role="log" aria-live="off" aria-label={T.log.tabs[panel]} tabIndex={0}>
              <div style={{ height: (places[from] ?? 0) + 'px' }} />
              {/* elements are used again for other lines: writing a text is cheaper than making a row */}
              {shown.slice(from, to).map((l, i) => (
                <LineView
                  key={(from + i) % pool}
                  l={l}
                  find={hit}
                  open={open.has(l.n)}
                  marked={l.n === marked}
                  wrapped={wrap === '1'}
                  onToggle={stable.toggle}
                  onContext={lines.length > shown.length ? stable.context : undefined}
                  onField={stable.addField}
                  events={!levels}
                />
              ))}
              <div style={{ height: total - (places[to] ?? total) + 'px' }} />
            </div>
            {held && (
              <button type="button" class="button main below" onClick={follow}>
                {T.log.below(waits, count(waits))}
              </button>
            )}
          </div>
        )}
      </div>
      {going && <GoTime lines={shown} onGo={(ms) => show(shown[lineAt(shown, ms)])} onClose={() => setGoing(false)} />}
    </>
  )
}

/* How many there are of each source and level; of long lists once a second. */
function useCounts(lines: Line[]): { sources: Map<string, number>; byLevel: Map<Level, number> } {
  const had = useRef({
    atMs: 0,
    of: undefined as Line[] | undefined,
    sources: new Map<string, number>(),
    byLevel: new Map<Level, number>(),
  })
  const now = had.current
  if (now.of === lines || (lines.length > 500 && Date.now() - now.atMs < 1000)) return now
  const sources = new Map<string, number>()
  const byLevel = new Map<Level, number>()
  for (const l of lines) {
    sources.set(l.source, (sources.get(l.source) ?? 0) + 1)
    byLevel.set(l.level, (byLevel.get(l.level) ?? 0) + 1)
  }
  had.current = { atMs: Date.now(), of: lines, sources, byLevel }
  return had.current
}

/* Lines a second over the last few seconds. */
function Rate({ book }: { book: LogBook }) {
  useSecond()
  const seen = useRef<{ atMs: number; n: number }[]>([])
  const n = book.shown.dropped + book.shown.lines.length
  const now = Date.now()
  seen.current = [...seen.current.filter((x) => now - x.atMs < 5000 && x.n <= n), { atMs: now, n }]
  const first = seen.current[0]
  return <>{T.log.followingState(rate(first && now - first.atMs >= 500 ? ((n - first.n) * 1000) / (now - first.atMs) : 0))}</>
}

/* Nothing is silent: what the hub lost, what it keeps back in Live, what found no room here. */
function Losses({ book, panel }: { book: LogBook; panel: 'log' | 'events' }) {
  const lost = book.lost + book.waiting.dropped
  if (!book.missed && !book.withheld && !lost && !book.shown.dropped) return null
  return (
    <p class="extra">
      {book.missed > 0 && (
        <span class="mark-warn">▲ {panel === 'events' ? T.log.missedEvents : T.log.missed(book.missed, count(book.missed))} </span>
      )}
      {book.withheld > 0 && <span>■ {T.log.withheld(book.withheld, count(book.withheld))} </span>}
      {lost > 0 && <span class="mark-warn">▲ {T.log.lostWhileHeld(lost, count(lost))} </span>}
      {book.shown.dropped > 0 && <span>{T.log.olderGone(book.shown.dropped, count(book.shown.dropped))}</span>}
    </p>
  )
}

interface LineProps {
  l: Line
  find?: RegExp
  open: boolean
  marked: boolean
  wrapped: boolean
  events: boolean
  onToggle(n: number): void
  onContext?: (l: Line) => void
  onField(k: string, v: string): void
}

function Text({ text, find }: { text: string; find?: RegExp }) {
  return (
    <>
      {pieces(text, find).map((p) => {
        const words = visible(p.text)
        return p.hit ? <mark>{words}</mark> : p.tone ? <span class={'tone-' + p.tone}>{words}</span> : words
      })}
    </>
  )
}

const requestOf = (l: Line): string =>
  (l.fields.find(([k]) => k === 'request' || k === 'request_id')?.[1] ??
    (l.source === 'request' ? l.fields.find(([k]) => k === 'id')?.[1] : '')) ||
  ''

function drawLine(p: LineProps) {
  const { l } = p
  const text = lineText(l)
  return (
    <div
      class={'line level-' + l.level + (p.open ? ' opened' : '') + (p.marked ? ' marked' : '') + (p.wrapped ? ' wrapped' : '')}
      data-n={l.n}
    >
      <button type="button" class="row-open" aria-expanded={p.open} aria-label={T.log.openLine(l.time)} onClick={() => p.onToggle(l.n)}>
        <span aria-hidden="true">{p.open ? '▾' : '▸'}</span>
      </button>
      <time dateTime={l.time} title={utc(l.atMs)}>
        {clock(l.atMs)}
        <span class="millis">.{String(l.atMs % 1000).padStart(3, '0')}</span>
      </time>
      {!p.events && (
        <span class="level" title={T.log.levels[l.level]}>
          {T.log.levelLetters[l.level]}
        </span>
      )}
      <span class="source">{visible(l.source)}</span>
      <span class="text">
        <Text text={text.length > LONG && !p.open ? text.slice(0, LONG) + '…' : text} find={p.find} />
      </span>
      {(p.marked || p.open) && p.onContext && (
        <button type="button" class="button quiet" onClick={() => p.onContext?.(l)}>
          {T.log.inContext}
        </button>
      )}
      {p.open && (
        <div class="line-fields">
          <dl>
            {l.fields.map(([k, v]) => (
              <div key={k}>
                <dt>{visible(k)}</dt>
                <dd>
                  <Text text={v} find={p.find} />{' '}
                  {v.length <= 200 && !v.includes('\n') && (
                    <button
                      type="button"
                      class="button quiet"
                      title={T.log.onlyField(visible(k), visible(v))}
                      onClick={() => p.onField(k, v)}
                    >
                      {T.log.only}
                    </button>
                  )}
                </dd>
              </div>
            ))}
          </dl>
          <div class="row tight">
            <button
              type="button"
              class="button quiet"
              onClick={() => void copyText(`${l.time} ${l.level} ${l.source} ${text}`).then((ok) => say(ok ? T.copied : T.log.cannotCopy))}
            >
              {T.log.copyLine}
            </button>
            <button
              type="button"
              class="button quiet"
              onClick={() => void copyText(l.raw).then((ok) => say(ok ? T.copied : T.log.cannotCopy))}
            >
              {T.log.copyJson}
            </button>
            {requestOf(l) && (
              <a class="button quiet" href={href('pulse', { open: requestOf(l) })}>
                {T.log.toRequest}
              </a>
            )}
          </div>
        </div>
      )}
    </div>
  )
}
const LineView = memo(drawLine)

function GoTime({ lines, onGo, onClose }: { lines: Line[]; onGo(ms: number): void; onClose(): void }) {
  const first = lines[0]?.atMs
  const last = lines[lines.length - 1]?.atMs
  const [at, setAt] = useState(localDate(last ?? Date.now()))
  const ms = Date.parse(at)
  const wrong = Number.isFinite(ms) ? undefined : T.log.badTime
  return (
    <Dialog title={T.log.goTime} onClose={onClose}>
      <form
        onSubmit={(e) => {
          e.preventDefault()
          if (wrong) return
          onClose()
          onGo(ms)
        }}
      >
        <TextField
          label={T.log.moment}
          type="datetime-local"
          value={at}
          onInput={setAt}
          hint={first ? T.log.have(clock(first), clock(last)) : undefined}
          fault={wrong}
          first
        />
        <footer class="row">
          <Button act={onClose}>{T.cancel}</Button>
          <button type="submit" class="button main">
            {T.log.show}
          </button>
        </footer>
      </form>
    </Dialog>
  )
}
