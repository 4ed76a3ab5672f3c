/* palette.tsx - Ctrl K: go to a screen, an endpoint, a model, a request by its id; acts that can be undone run at once. */
import { useMemo, useRef, useState } from 'preact/hooks'
import { Dialog } from '../parts/dialog'
import { visible } from '../pure/visible'
import { T } from '../text'
import { get, post } from './api'
import { useResource } from './data'
import { lists } from './lists'
import { prefs, setPref } from './prefs'
import { go } from './route'
import { say, toast } from './say'
import { screens } from './screens'
import { may, signOut } from './session'
import type { EndedRequest } from './types'

interface Entry {
  text: string
  kind: string
  run(): unknown
}

/* All letters of what was typed, in order; the earlier and closer together the better. Undefined: does not match. */
export function score(text: string, typed: string): number | undefined {
  const t = text.toLowerCase()
  const at = t.indexOf(typed)
  if (at >= 0) return at
  let from = -1
  let first = -1
  for (const c of typed) {
    from = t.indexOf(c, from + 1)
    if (from < 0) return undefined
    if (first < 0) first = from
  }
  return 100 + from - first
}

const MOST = 50

export function Palette({ onClose, onHelp }: { onClose(): void; onHelp(): void }) {
  const [typed, setTyped] = useState('')
  const [at, setAt] = useState(0)
  const endpoints = useResource(lists.endpoints).data?.endpoints
  const models = useResource(lists.models).data?.models
  const listRef = useRef<HTMLUListElement>(null)

  const entries = useMemo((): Entry[] => {
    const out: Entry[] = screens.filter((s) => may(s.least)).map((s) => ({ text: s.name, kind: T.kindScreen, run: () => go(s.id) }))
    out.push({ text: T.tryModel, kind: T.kindAct, run: () => go('pulse', { tab: 'try' }) })
    out.push({ text: T.themeNext, kind: T.kindAct, run: nextTheme })
    out.push({ text: prefs.get().paused ? T.goOn : T.pauseAll, kind: T.kindAct, run: () => setPref('paused', !prefs.get().paused) })
    out.push({
      text: prefs.get().letters ? T.lettersOff : T.lettersOn,
      kind: T.kindAct,
      run: () => setPref('letters', !prefs.get().letters),
    })
    out.push({
      text: prefs.get().compact ? T.rowsNormal : T.rowsCompact,
      kind: T.kindAct,
      run: () => setPref('compact', !prefs.get().compact),
    })
    out.push({ text: prefs.get().motion ? T.motionOff : T.motionOn, kind: T.kindAct, run: () => setPref('motion', !prefs.get().motion) })
    if (may('operator')) out.push({ text: T.lookAgain, kind: T.kindAct, run: lookAgain })
    out.push({ text: T.helpTitle, kind: T.kindAct, run: onHelp })
    out.push({ text: T.signOut, kind: T.kindAct, run: signOut })
    for (const e of endpoints ?? []) out.push({ text: visible(e.name), kind: T.kindEndpoint, run: () => go('fleet', { open: e.name }) })
    for (const m of models ?? []) {
      out.push({ text: visible(m.slug), kind: T.kindModel, run: () => go('fleet', { q: m.slug }) })
      out.push({ text: T.tryThis(visible(m.slug)), kind: T.kindAct, run: () => go('pulse', { tab: 'try', model: m.slug }) })
    }
    return out
  }, [endpoints, models])

  const found = useMemo(() => {
    const t = typed.trim().toLowerCase()
    const hits = t
      ? entries.map((e) => ({ e, s: score(e.text, t) })).filter((x): x is { e: Entry; s: number } => x.s !== undefined)
      : entries.map((e) => ({ e, s: 0 }))
    hits.sort((a, b) => a.s - b.s)
    const out = hits.slice(0, MOST).map((x) => x.e)
    if (/^[\w-]{6,}$/.test(typed.trim()))
      out.push({ text: T.findRequest(typed.trim()), kind: T.kindRequest, run: () => findRequest(typed.trim()) })
    return out
  }, [entries, typed])

  const pick = async (e: Entry | undefined): Promise<void> => {
    if (!e) return
    onClose()
    try {
      await e.run()
    } catch (x) {
      toast('bad', x instanceof Error ? x.message : String(x))
    }
  }
  const move = (to: number): void => {
    const n = Math.max(0, Math.min(found.length - 1, to))
    setAt(n)
    listRef.current?.children[n]?.scrollIntoView({ block: 'nearest' })
  }
  return (
    <Dialog title={T.palette} onClose={onClose} wide>
      <input
        type="text"
        class="palette-input"
        role="combobox"
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant={found[at] ? 'palette-' + at : undefined}
        aria-label={T.paletteHint}
        placeholder={T.paletteHint}
        data-autofocus=""
        spellcheck={false}
        autocomplete="off"
        value={typed}
        onInput={(e) => {
          setTyped(e.currentTarget.value)
          setAt(0)
        }}
        onKeyDown={(e) => {
          if (e.key === 'ArrowDown') move(at + 1)
          else if (e.key === 'ArrowUp') move(at - 1)
          else if (e.key === 'Enter') void pick(found[at])
          else return
          e.preventDefault()
        }}
      />
      <ul class="palette-list" id="palette-list" role="listbox" aria-label={T.palette} ref={listRef}>
        {found.map((e, i) => (
          <li
            id={'palette-' + i}
            role="option"
            aria-selected={i === at}
            onClick={() => void pick(e)}
            onMouseMove={() => at !== i && setAt(i)}
          >
            {e.text} <span class="extra">{e.kind}</span>
          </li>
        ))}
      </ul>
      {!found.length && <p>{T.nothingFound}</p>}
    </Dialog>
  )
}

export function nextTheme(): void {
  const order = ['system', 'light', 'dark'] as const
  const next = order[(order.indexOf(prefs.get().theme) + 1) % 3] ?? 'system'
  setPref('theme', next)
  say(T.themeIs(next))
}

export async function lookAgain(): Promise<void> {
  await post('endpoints/refresh')
  toast('ok', T.looking)
}

async function findRequest(id: string): Promise<void> {
  const r = await get<{ requests: EndedRequest[] }>('requests?limit=500')
  const hit = r.requests.find((x) => x.id === id || x.id.endsWith(id))
  if (hit) go('pulse', { open: hit.id })
  else toast('bad', T.requestNotFound(id))
}
