/* rows.ts - the list of Pulse: requests that go on and those that ended, one row each, in the order in which they came. A row keeps
 * its place when it ends. While the list is held (somebody reads), rows change in place but none comes or goes. */
import type { EndedRequest, Live, LiveRequest } from '../app/types'

export interface Row {
  id: string
  atMs: number /* when it was received, by the hub's clock */
  live?: LiveRequest
  gone?: boolean /* no longer among the live ones, its end not heard of yet; live is what was known last */
  ended?: EndedRequest
}

export type RowState =
  | 'reading'
  | 'queued'
  | 'waiting'
  | 'thinking'
  | 'answering'
  | 'ending'
  | 'ok'
  | 'client_error'
  | 'upstream_error'
  | 'cancelled'
  | 'rejected'

export const receivedMs = (e: EndedRequest): number => e.ended_ms - e.total_us / 1000

export function stateOf(r: Row): RowState {
  if (r.ended) return r.ended.result
  const l = r.live
  if (!l || r.gone) return 'ending'
  return l.state === 'answering' && (l.reasoning ?? 0) > 0 && (l.output ?? 0) <= (l.reasoning ?? 0) ? 'thinking' : l.state
}

export const group = (s: RowState): 'live' | 'queued' | 'done' | 'failed' =>
  s === 'queued'
    ? 'queued'
    : s === 'ok'
      ? 'done'
      : s === 'client_error' || s === 'upstream_error' || s === 'cancelled' || s === 'rejected'
        ? 'failed'
        : 'live'

/* Tokens a second behind the first one. */
export function speed(r: Row, nowMs: number): number | undefined {
  if (r.ended) {
    const { output_tokens: n, first_us: first, total_us: all } = r.ended
    return n && n > 1 && first !== null && all - first > 50_000 ? ((n - 1) * 1e6) / (all - first) : undefined
  }
  const l = r.live
  const n = l?.output
  if (!l || !n || n < 2 || l.ttft_ms === undefined) return undefined
  const ms = nowMs - l.received_ms - l.ttft_ms
  return ms > 50 ? ((n - 1) * 1000) / ms : undefined
}

function same(a: LiveRequest | undefined, b: LiveRequest): boolean {
  return a !== undefined && Object.keys(b).every((k) => a[k as keyof LiveRequest] === b[k as keyof LiveRequest])
}

/* In the order of the ledger's pages. */
const older = (a: EndedRequest, b: EndedRequest): boolean => a.ended_ms < b.ended_ms || (a.ended_ms === b.ended_ms && a.id < b.id)

const KEPT = 1000

export class RowBook {
  private rows = new Map<string, Row>()
  private shown: Row[] = []
  private names = new Map<string, string>()
  private edge: EndedRequest | undefined /* of the pages without filters: all that is newer was fetched or heard of */

  live(view: Live): void {
    const seen = new Set<string>()
    for (const l of view.requests) {
      seen.add(l.id)
      const r = this.rows.get(l.id)
      if (!r) this.rows.set(l.id, { id: l.id, atMs: l.received_ms, live: l })
      else if (!r.ended && (r.gone || !same(r.live, l))) this.rows.set(l.id, { ...r, live: l, gone: false })
    }
    /* Gone from the hub's list and its end not heard of yet; where the hub cut its list, it may go on. */
    if (!view.cut)
      for (const r of [...this.rows.values()]) if (r.live && !r.gone && !r.ended && !seen.has(r.id)) this.rows.set(r.id, { ...r, gone: true })
  }

  /* Names of keys by their ids, where the person may know them; ended requests tell only the id. */
  setNames(names: Map<string, string>): void {
    this.names = names
    for (const r of [...this.rows.values()]) if (r.ended) this.rows.set(r.id, { ...r, ended: this.named(r.ended) })
  }

  private named(e: EndedRequest): EndedRequest {
    const name = e.key_name || this.names.get(e.key)
    return name ? { ...e, key_name: name } : e
  }

  ended(list: EndedRequest[]): void {
    for (const told of list) {
      const e = this.named(told)
      const r = this.rows.get(e.id)
      if (r) this.rows.set(e.id, r.ended ? r : { ...r, ended: e })
      else this.rows.set(e.id, { id: e.id, atMs: receivedMs(e), ended: e })
    }
  }

  /* One of those pages; without an edge it is the newest one. */
  page(list: EndedRequest[]): void {
    this.ended(list)
    const last = list[list.length - 1]
    if (last && (!this.edge || older(last, this.edge))) this.edge = last
  }

  /* Behind which older ones are to be fetched. */
  cursor(): string | undefined {
    return this.edge && `${this.edge.ended_ms}.${this.edge.id}`
  }

  /* Forgets what lies behind the edge: pages with other filters than those of now, with gaps between. */
  forgetSifted(): void {
    const edge = this.edge
    for (const r of [...this.rows.values()]) if (edge && r.ended && older(r.ended, edge)) this.rows.delete(r.id)
  }

  get(id: string): Row | undefined {
    return this.rows.get(id)
  }

  /* The rows to show, newest first, and how many wait behind a held list. A row that changed is another object, and only then. */
  list(held: boolean, kept = KEPT): { rows: Row[]; waiting: number } {
    if (held && this.shown.length) {
      const now = this.shown.map((s) => this.rows.get(s.id) ?? s)
      const newest = this.shown[0]?.atMs ?? 0
      const ids = new Set(this.shown.map((s) => s.id))
      let waiting = 0
      for (const r of this.rows.values()) if (r.atMs >= newest && !ids.has(r.id)) waiting++
      return { rows: now, waiting }
    }
    const order = [...this.rows.values()].sort((a, b) => b.atMs - a.atMs || (a.id < b.id ? 1 : -1))
    /* The end of one that is gone will bring it back. */
    order.forEach((r, i) => {
      if (stateOf(r) === 'ending' || (i >= kept && r.ended)) this.rows.delete(r.id)
    })
    this.shown = order.filter((r) => this.rows.has(r.id))
    if (this.edge && !this.rows.has(this.edge.id))
      this.edge = this.shown.reduce<EndedRequest | undefined>((a, r) => (r.ended && (!a || older(r.ended, a)) ? r.ended : a), undefined)
    return { rows: this.shown, waiting: 0 }
  }
}

/* First-token times in steps that double or so: for the histogram. */
export const FIRST_STEPS_MS = [100, 250, 500, 1000, 2500, 5000, Infinity]

export function histogram(rows: Row[]): number[] {
  const out = FIRST_STEPS_MS.map(() => 0)
  for (const r of rows) {
    const ms = r.ended ? (r.ended.first_us === null ? undefined : r.ended.first_us / 1000) : r.live?.ttft_ms
    if (ms === undefined) continue
    const at = FIRST_STEPS_MS.findIndex((s) => ms < s)
    out[at] = (out[at] ?? 0) + 1
  }
  return out
}
