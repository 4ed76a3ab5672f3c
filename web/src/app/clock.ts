/* clock.ts - one timer for all that shows an age; it rests while the tab is hidden. */
import { useEffect, useState } from 'preact/hooks'

const watchers = new Set<() => void>()
let timer: ReturnType<typeof setInterval> | undefined

function arm(): void {
  const need = watchers.size > 0 && !document.hidden
  if (need && timer === undefined) timer = setInterval(() => [...watchers].forEach((fn) => fn()), 1000)
  if (!need && timer !== undefined) {
    clearInterval(timer)
    timer = undefined
  }
}
document.addEventListener('visibilitychange', () => {
  arm()
  if (!document.hidden) [...watchers].forEach((fn) => fn())
})

/* Renders the caller once a second. */
export function useSecond(): void {
  const [, tick] = useState(0)
  useEffect(() => {
    const fn = (): void => tick((n) => n + 1)
    watchers.add(fn)
    arm()
    return () => {
      watchers.delete(fn)
      arm()
    }
  }, [])
}
