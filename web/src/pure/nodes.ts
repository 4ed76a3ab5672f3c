/* nodes.ts - how a node is, in one state: what somebody decided about it comes first, then how its link is, then its models. */
import type { Finding, Node } from '../app/types'

export type NodeState = 'waiting' | 'up' | 'degraded' | 'loading' | 'down' | 'lost' | 'new' | 'linking' | 'drained' | 'refused' | 'revoked'

export function nodeState(n: Node): NodeState {
  if (n.state !== 'approved') return n.state
  if (n.drained) return 'drained'
  if (!n.linked) return n.epoch > 0 ? 'lost' : 'new'
  return n.health === undefined || n.health === 'unknown' ? 'linking' : n.health
}

/* By hub time; undefined: nobody knows. */
export function nodeSince(n: Node, nowMs: number): number | undefined {
  if (n.link) return n.link.up_ms ? nowMs - n.link.up_ms : undefined
  if (n.state === 'waiting') return n.created_ms
  return n.state === 'approved' && n.epoch > 0 ? (n.down_since_ms ?? n.seen_ms) : n.decided_ms
}

/* Those that wait for somebody first, then what is wrong, then the rest; those that are out last. */
const order: NodeState[] = ['waiting', 'lost', 'down', 'degraded', 'new', 'linking', 'loading', 'drained', 'up', 'refused', 'revoked']
export const nodeRank = (n: Node): number => order.indexOf(nodeState(n))

/* Two people can compare groups of four. */
export const fingerprintGroups = (hex: string): string => hex.match(/.{1,4}/g)?.join(' ') ?? ''

const worth = { error: 0, warning: 1, info: 2 }
export function findingsOf(all: Finding[], n: Node): Finding[] {
  return all.filter((f) => f.node === n.name).sort((a, b) => (worth[a.severity] ?? 3) - (worth[b.severity] ?? 3))
}

/* "a=1" and "b" on lines of their own; what cannot be read is given back as fault. */
export function readLabels(text: string): { labels: Record<string, string>; fault?: string } {
  const labels: Record<string, string> = {}
  for (const line of text.split('\n').map((l) => l.trim())) {
    if (!line) continue
    const at = line.indexOf('=')
    const name = (at < 0 ? line : line.slice(0, at)).trim()
    if (!/^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$/.test(name)) return { labels, fault: line }
    labels[name] = at < 0 ? '' : line.slice(at + 1).trim()
  }
  return { labels }
}
export const writeLabels = (labels: Record<string, string>): string =>
  Object.entries(labels)
    .map(([k, v]) => `${k}=${v}`)
    .join('\n')
