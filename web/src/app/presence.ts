/* presence.ts - whether somebody is at the page. What the page fetches by itself would keep a session alive for ever; so half an idle
 * limit after the last key or touch it stops, and the limit can do its work. What the socket brings goes on. */

let lastMs = Date.now()
let limitMs = Infinity
const waiting = new Set<() => void>()

export function setIdleLimit(ms: number | undefined): void {
  limitMs = ms && ms > 0 ? ms / 2 : Infinity
}

export const present = (): boolean => Date.now() - lastMs < limitMs

/* Runs fn when somebody comes back. Returns the end of it. */
export function onReturn(fn: () => void): () => void {
  waiting.add(fn)
  return () => waiting.delete(fn)
}

function touched(): void {
  const was = present()
  lastMs = Date.now()
  if (!was) for (const fn of [...waiting]) fn()
}
for (const type of ['keydown', 'pointerdown', 'wheel']) addEventListener(type, touched, { passive: true, capture: true })
