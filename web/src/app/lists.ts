/* lists.ts - the lists that more than one part of the page shows. */
import { resource } from './data'
import type { Alert, Certificates, Endpoint, Finding, Invite, Key, Mode, Node, Point, Slug, Status } from './types'

export const lists = {
  status: resource<Status>('status', ['fleet', 'hub'], 10_000),
  endpoints: resource<{ version: number; endpoints: Endpoint[] }>('endpoints', ['fleet'], 5_000),
  models: resource<{ models: Slug[] }>('models', ['fleet'], 15_000),
  history: resource<{ interval_ms: number; points: Point[] }>('history', ['hub'], 0),
  alerts: resource<{ alerts: Alert[] }>('alerts', ['alert'], 30_000),
  keys: resource<{ keys: Key[] }>('keys', ['key'], 15_000) /* administrators only */,
  nodes: resource<{ nodes: Node[] }>('nodes', ['node', 'fleet'], 5_000) /* of a hub only, as the next three */,
  certs: resource<Certificates>('certs', ['node'], 10_000),
  invites: resource<{ invites: Invite[] }>('invites', ['node'], 30_000) /* administrators only */,
  doctor: resource<{ findings: Finding[] }>('doctor', ['node', 'fleet'], 15_000),
  mode: resource<Mode>('mode', ['mode'], 60_000),
}
