/* format.ts - figures as people read them. Unknown stays unknown: undefined and null give a dash. */

type Maybe = number | null | undefined
export const UNKNOWN = '–'
const known = (n: Maybe): n is number => typeof n === 'number' && Number.isFinite(n)

const grouped = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })

export function count(n: Maybe): string {
  return known(n) ? grouped.format(n) : UNKNOWN
}

/* Two figures that matter: 18.2, 0.25, 2,140. */
export function rate(n: Maybe): string {
  if (!known(n)) return UNKNOWN
  if (n === 0) return '0'
  return n >= 100 ? grouped.format(n) : n >= 1 ? n.toFixed(1) : n.toFixed(2)
}

export function percent(part: Maybe, whole: Maybe): string {
  if (!known(part) || !known(whole) || whole <= 0) return UNKNOWN
  const p = (100 * part) / whole
  return (p === 0 ? '0' : p < 10 ? p.toFixed(1) : p.toFixed(0)) + ' %'
}

/* How long: under a second in ms, under 10 s to one decimal, then whole seconds, minutes, hours, days. */
export function duration(ms: Maybe): string {
  if (!known(ms)) return UNKNOWN
  if (ms < 0) ms = 0
  if (ms < 999.5) return Math.round(ms) + ' ms'
  if (ms < 9950) return (ms / 1000).toFixed(1) + ' s'
  const s = Math.round(ms / 1000)
  if (s < 60) return s + ' s'
  if (s < 3600) return Math.floor(s / 60) + ' min' + (s % 60 && s < 600 ? ' ' + (s % 60) + ' s' : '')
  if (s < 86400) return Math.floor(s / 3600) + ' h' + (Math.floor((s % 3600) / 60) ? ' ' + Math.floor((s % 3600) / 60) + ' min' : '')
  return Math.floor(s / 86400) + ' d' + (Math.floor((s % 86400) / 3600) ? ' ' + Math.floor((s % 86400) / 3600) + ' h' : '')
}

/* Seconds with one decimal, for a column whose head tells the unit. */
export function seconds(ms: Maybe): string {
  return known(ms) ? (ms / 1000).toFixed(ms < 9950 ? 2 : 1) : UNKNOWN
}

/* 1:59, for what counts down. */
export function countdown(ms: number): string {
  const s = Math.max(0, Math.ceil(ms / 1000))
  return Math.floor(s / 60) + ':' + String(s % 60).padStart(2, '0')
}

/* The same while it is under an hour; more of it in words. */
export function remaining(ms: number): string {
  return ms < 3_600_000 ? countdown(ms) : duration(Math.floor(ms / 60_000) * 60_000)
}

export function bytes(n: Maybe): string {
  if (!known(n)) return UNKNOWN
  if (n >= 0.05 * 2 ** 30) return (n / 2 ** 30).toFixed(1) + ' GiB'
  if (n >= 0.05 * 2 ** 20) return (n / 2 ** 20).toFixed(1) + ' MiB'
  return n >= 1024 ? (n / 1024).toFixed(1) + ' KiB' : n + ' B'
}

/* 32768 is 32k: contexts are told in powers of two where they are some. */
export function tokens(n: Maybe): string {
  if (!known(n)) return UNKNOWN
  return n >= 1024 && n % 1024 === 0 ? n / 1024 + 'k' : grouped.format(n)
}

const two = (n: number): string => String(n).padStart(2, '0')

/* The local clock, with the day if it is another one. */
export function clock(ms: Maybe, now = Date.now()): string {
  if (!known(ms)) return UNKNOWN
  const d = new Date(ms)
  const time = two(d.getHours()) + ':' + two(d.getMinutes()) + ':' + two(d.getSeconds())
  const same = d.toDateString() === new Date(now).toDateString()
  return same ? time : d.getFullYear() + '-' + two(d.getMonth() + 1) + '-' + two(d.getDate()) + ' ' + time
}

export function utc(ms: Maybe): string {
  return known(ms) && Math.abs(ms) < 8.64e15 ? new Date(ms).toISOString() : UNKNOWN
}

/* The 100 p-th percentile, by nearest rank. */
export function percentile(values: number[], p: number): number | undefined {
  if (!values.length) return undefined
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(p * sorted.length) - 1))]
}
