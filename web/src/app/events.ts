/* events.ts - the one socket of the tab. Screens say what they want to hear while they are shown (useFeed, onTopic); hidden tabs
 * stop after 30 s and catch up when they are seen again. */
import { useEffect, useRef, useState } from 'preact/hooks'
import { Link, type Phase } from './link'
import { path } from './place'
import { prefs } from './prefs'
import { store, useStore } from './store'
import type { HubEvent, Live, Point, Topic } from './types'

const HIDDEN_MS = 30_000

export interface LinkView {
  phase: Phase
  retryAtMs?: number
  downSinceMs?: number
}
export const linkView = store<LinkView>({ phase: 'off' })

/* The hub's clock minus ours, from what it said last: ages are told by its clock. */
let clockOffset = 0
export const hubNow = (): number => Date.now() + clockOffset
export function noteClock(hubMs: number | undefined): void {
  if (typeof hubMs === 'number' && hubMs > 0) clockOffset = hubMs - Date.now()
}

type Feed = 'live' | 'figures' | 'log'
type FeedValue = { live: Live; figures: Point; log: { lines: unknown[]; missed: number; held: number } }
const wanted: Record<Feed, number> = { live: 0, figures: 0, log: 0 }
let logLevel = 'info'
const feeds = new Map<Feed, Set<(value: never) => void>>()
const topics = new Map<Topic, Set<(e: HubEvent | undefined) => void>>()
const others = new Map<string, Set<(value: unknown) => void>>()
let onBye: ((code: string, text: string) => void) | undefined

function spread(kind: string, value: unknown, whole: Record<string, unknown>): void {
  if (kind === 'live') noteClock((value as Live).at_ms)
  if (kind === 'figures') noteClock((value as Point).at_ms)
  if (kind === 'bye') {
    const bye = value as { code?: string; text?: string }
    onBye?.(bye.code ?? '', bye.text ?? '')
  }
  const given = kind === 'log' ? { lines: value, missed: Number(whole.missed ?? 0), held: Number(whole.held ?? 0) } : value
  for (const fn of [...(feeds.get(kind as Feed) ?? [])]) fn(given as never)
  for (const fn of [...(others.get(kind) ?? [])]) fn(value)
}

const link = new Link(
  {
    open(on) {
      const s = new WebSocket((location.protocol === 'https:' ? 'wss://' : 'ws://') + location.host + path('/drover/v1/events'))
      s.onopen = on.open
      s.onmessage = (m) => {
        if (typeof m.data === 'string') on.text(m.data)
      }
      s.onclose = on.close
      return { send: (text) => s.send(text), close: () => s.close() }
    },
    later(ms, fn) {
      const t = setTimeout(fn, ms)
      return () => clearTimeout(t)
    },
    random: Math.random,
  },
  {
    phase(phase, ms) {
      const since = linkView.get().downSinceMs
      linkView.set({
        phase,
        retryAtMs: phase === 'waiting' ? Date.now() + ms : undefined,
        downSinceMs: phase === 'open' || phase === 'off' ? undefined : (since ?? (phase === 'waiting' ? Date.now() : undefined)),
      })
    },
    event(e) {
      for (const fn of [...(topics.get(e.topic) ?? [])]) fn(e)
    },
    anew() {
      for (const set of topics.values()) for (const fn of [...set]) fn(undefined)
    },
    message: spread,
  },
)

function tell(): void {
  const want = ['events']
  for (const f of ['live', 'figures', 'log'] as const) if (wanted[f] > 0) want.push(f)
  link.want(want, logLevel)
}

let running = false
export function startEvents(bye: (code: string, text: string) => void): void {
  onBye = bye
  running = true
  tell()
  if (!document.hidden) link.start()
}

export function stopEvents(): void {
  running = false
  link.stop()
}

export function retryNow(): void {
  if (running) link.start()
}

let hiddenTimer: ReturnType<typeof setTimeout> | undefined
document.addEventListener('visibilitychange', () => {
  clearTimeout(hiddenTimer)
  if (document.hidden) hiddenTimer = setTimeout(() => link.stop(), HIDDEN_MS)
  else if (running) link.start()
})

/* Runs fn for each value of a feed while the caller is on screen. fn may change between renders. */
export function useFeed<F extends Feed>(feed: F, fn: (value: FeedValue[F]) => void, level?: string): void {
  const now = useRef(fn)
  now.current = fn
  useEffect(() => {
    const run = (value: FeedValue[F]): void => now.current(value)
    let set = feeds.get(feed)
    if (!set) feeds.set(feed, (set = new Set()))
    set.add(run as (value: never) => void)
    wanted[feed]++
    if (level) logLevel = level
    tell()
    return () => {
      set.delete(run as (value: never) => void)
      wanted[feed]--
      tell()
    }
  }, [feed, level])
}

/* The newest value of a feed, held while updates are paused. */
export function useLatest<F extends 'live' | 'figures'>(feed: F): FeedValue[F] | undefined {
  const [value, set] = useState<FeedValue[F] | undefined>(undefined)
  const paused = useStore(prefs).paused
  useFeed(feed, (v) => {
    if (!paused || value === undefined) set(() => v)
  })
  return value
}

/* Runs fn for events of a topic; with undefined when events were lost and all must be fetched again. Returns the end of it. */
export function onTopic(topic: Topic, fn: (e: HubEvent | undefined) => void): () => void {
  let set = topics.get(topic)
  if (!set) topics.set(topic, (set = new Set()))
  set.add(fn)
  return () => set.delete(fn)
}

export interface WatchFrame {
  id: string
  refused?: string
  dialect?: string
  bytes?: string
  from?: number
  end?: boolean
}

/* Asks for the streaming text of one request of somebody else's; null ends it. Returns false while there is no socket. */
export function watchRequest(id: string | null): boolean {
  return link.say({ watch: id })
}

export function onWatch(fn: (f: WatchFrame) => void): () => void {
  let set = others.get('watch')
  if (!set) others.set('watch', (set = new Set()))
  const run = (v: unknown): void => fn(v as WatchFrame)
  set.add(run)
  return () => set.delete(run)
}
