/* alerts.ts - alerts in the order in which they want to be read. */
import type { Alert } from '../app/types'

export const isSilent = (a: Alert, nowMs: number): boolean => (a.silenced_until_ms ?? 0) > nowMs

/* Firing before silenced, bad before warnings, the newest first: what just broke is what can be mended. What another alert explains
 * stands below that one. */
export function alertOrder(list: Alert[], nowMs: number): Alert[] {
  const rank = (a: Alert): number => (isSilent(a, nowMs) ? 2 : 0) + (a.severity === 'bad' ? 0 : 1)
  const order = [...list].sort((a, b) => rank(a) - rank(b) || b.since_ms - a.since_ms)
  const ids = new Set(list.map((a) => a.id))
  return order
    .filter((a) => !a.explained_by || !ids.has(a.explained_by))
    .flatMap((a) => [a, ...order.filter((b) => b.explained_by === a.id)])
}

/* A place of this console, never elsewhere. */
export const evidence = (link: string | undefined): string | undefined => (link && /^#\/[a-z]+(\?[^#]*)?$/.test(link) ? link : undefined)
