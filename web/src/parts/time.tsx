/* Ago: how long ago, up to an hour, then the clock. ms: hub time; exact UTC on hover and focus.
 * Clock: the clock. Age: a duration that grows, from ms. */
import { useSecond } from '../app/clock'
import { hubNow } from '../app/events'
import { clock, duration, utc } from '../pure/format'
import { T } from '../text'

export function Ago({ ms }: { ms: number | undefined }) {
  useSecond()
  if (!ms) return <span>–</span>
  const age = hubNow() - ms
  return (
    <time dateTime={utc(ms)} title={utc(ms)}>
      {age < 3_600_000 && age > -1000 ? T.ago(duration(Math.max(0, Math.floor(age / 1000) * 1000))) : clock(ms)}
    </time>
  )
}

export function Clock({ ms }: { ms: number | undefined }) {
  if (!ms) return <span>–</span>
  return (
    <time dateTime={utc(ms)} title={utc(ms)}>
      {clock(ms)}
    </time>
  )
}

export function Age({ ms }: { ms: number | undefined }) {
  useSecond()
  if (!ms) return <span>–</span>
  return <span title={utc(ms)}>{duration(Math.max(0, Math.floor((hubNow() - ms) / 1000) * 1000))}</span>
}
