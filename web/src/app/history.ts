/* history.ts - the last 15 minutes, a point a second: fetched once, then grown by the socket's figures. A second that nobody told of
 * is a gap. */
import { useEffect } from 'preact/hooks'
import { useResource, type Loaded } from './data'
import { useFeed } from './events'
import { lists } from './lists'
import { prefs } from './prefs'
import { session } from './session'
import { store, useStore } from './store'
import type { Point } from './types'

const KEPT = 900
const points = store<Point[]>([])
session.watch((s) => !s?.signed_in && points.set([]))

export function merge(had: Point[], more: Point[]): Point[] {
  const last = had[had.length - 1]?.at_ms ?? 0
  const added = more.filter((p) => p.at_ms > last)
  return added.length ? [...had, ...added].slice(-KEPT) : had
}

/* The newest n seconds, one entry each, undefined where none was told. */
export function spread(list: Point[], n: number, endMs: number): (Point | undefined)[] {
  const out: (Point | undefined)[] = Array.from({ length: n }, () => undefined)
  for (let i = list.length - 1; i >= 0; i--) {
    const p = list[i]
    if (!p) continue
    const at = n - 1 - Math.round((endMs - p.at_ms) / 1000)
    if (at < 0) break
    if (at < n) out[at] = p
  }
  return out
}

export function useHistory(): { points: Point[]; loaded: Loaded<unknown> } {
  const loaded = useResource(lists.history)
  const list = useStore(points)
  useEffect(() => {
    const fresh = loaded.data?.points
    if (!fresh?.length) return
    const now = points.get()
    const last = now[now.length - 1]?.at_ms ?? 0
    const end = fresh[fresh.length - 1]?.at_ms ?? 0
    points.set(end >= last ? fresh : merge(fresh, now))
  }, [loaded.data])
  useFeed('figures', (p) => {
    if (!prefs.get().paused) points.set(merge(points.get(), [p]))
  })
  return { points: list, loaded }
}
