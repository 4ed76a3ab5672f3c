/* data.ts - lists of the hub that parts of the page share: fetched once, again when an event says so (at most once a second) or
 * when their period is over, and only while somebody shows them. What was there stays when a fetch fails. */
import { useEffect } from 'preact/hooks'
import { ApiError, get } from './api'
import { onTopic } from './events'
import { prefs } from './prefs'
import { onReturn, present } from './presence'
import { store, useStore, type Store } from './store'
import type { Topic } from './types'

export interface Loaded<T> {
  data?: T
  error?: ApiError
  atMs?: number /* when data came, by our clock */
  busy: boolean
}

export interface Resource<T> {
  view: Store<Loaded<T>>
  everyMs: number
  reload(): Promise<void>
  use(): void
  release(): void
}

const resources = new Map<string, Resource<unknown>>()
const LEAST_MS = 1000

/* path: below /drover/v1/; topics: events after which it is fetched again; everyMs: period, 0 for none. */
export function resource<T>(path: string, topics: Topic[] = [], everyMs = 0): Resource<T> {
  const had = resources.get(path)
  if (had) return had as Resource<T>
  const view = store<Loaded<T>>({ busy: false })
  let users = 0
  let ends: (() => void)[] = []
  let timer: ReturnType<typeof setTimeout> | undefined
  let running: Promise<void> | undefined
  let again = false
  let startedMs = 0

  const arm = (ms: number): void => {
    clearTimeout(timer)
    timer = setTimeout(() => void soon(), ms)
  }
  const soon = (): void => {
    if (!users || document.hidden || prefs.get().paused || !present()) return
    const wait = startedMs + LEAST_MS - Date.now()
    if (wait > 0) arm(wait)
    else if (running) again = true
    else void reload()
  }
  const load = async (): Promise<void> => {
    startedMs = Date.now()
    view.set({ ...view.get(), busy: true })
    try {
      view.set({ data: await get<T>(path), atMs: Date.now(), busy: false })
    } catch (e) {
      const error = e instanceof ApiError ? e : new ApiError(0, 'fault', String(e))
      view.set({ ...view.get(), error, busy: false })
    }
    running = undefined
    if (users && again) {
      again = false
      soon()
    } else if (users && everyMs) arm(everyMs)
  }
  const reload = (): Promise<void> => (running ??= load())
  const seen = (): void => {
    if (!document.hidden) soon()
  }

  const r: Resource<T> = {
    view,
    everyMs,
    reload,
    use() {
      if (users++) return
      ends = topics.map((t) => onTopic(t, soon))
      ends.push(
        prefs.watch((p) => !p.paused && soon()),
        onReturn(soon),
      )
      document.addEventListener('visibilitychange', seen)
      const at = view.get().atMs
      if (at === undefined || Date.now() - at > LEAST_MS) void reload()
      else if (everyMs) arm(everyMs)
    },
    release() {
      if (--users) return
      for (const end of ends) end()
      document.removeEventListener('visibilitychange', seen)
      clearTimeout(timer)
    },
  }
  resources.set(path, r as Resource<unknown>)
  return r
}

/* After signing out nothing of what was seen may stay. */
export function forgetAll(): void {
  for (const r of resources.values()) r.view.set({ busy: false })
}

export function useResource<T>(r: Resource<T>): Loaded<T> {
  useEffect(() => {
    r.use()
    return () => r.release()
  }, [r])
  return useStore(r.view)
}

/* Older than three periods: it keeps its figures and gets the ring and "as of". */
export function isStale(l: Loaded<unknown>, everyMs: number, now = Date.now()): boolean {
  return l.atMs !== undefined && everyMs > 0 && now - l.atMs > 3 * everyMs
}
