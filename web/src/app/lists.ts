/* lists.ts - the lists that more than one part of the page shows. */
import { resource } from './data'
import type { Alert, Endpoint, Key, Mode, Point, Slug, Status } from './types'

export const lists = {
  status: resource<Status>('status', ['fleet', 'hub'], 10_000),
  endpoints: resource<{ endpoints: Endpoint[] }>('endpoints', ['fleet'], 5_000),
  models: resource<{ models: Slug[] }>('models', ['fleet'], 15_000),
  history: resource<{ interval_ms: number; points: Point[] }>('history', ['hub'], 0),
  alerts: resource<{ alerts: Alert[] }>('alerts', ['alert'], 30_000),
  keys: resource<{ keys: Key[] }>('keys', ['key'], 15_000) /* administrators only */,
  mode: resource<Mode>('mode', ['mode'], 60_000),
}
