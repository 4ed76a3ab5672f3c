/* loglines.ts - lines of the log and what happened, as the Console keeps them: read once, kept in bounded memory, held back while
 * somebody reads, filtered, found, and written out as text. */

export const LEVELS = ['error', 'warn', 'info', 'debug'] as const
export type Level = (typeof LEVELS)[number]

export interface Line {
  n: number /* grows; tells lines apart */
  atMs: number
  time: string /* as the hub wrote it */
  level: Level
  source: string
  text: string
  fields: [string, string][]
  raw: string /* the JSON */
}

const word = (v: unknown): string => (typeof v === 'string' ? v : (JSON.stringify(v) ?? ''))
const levelOf = (v: unknown): Level => LEVELS.find((l) => l === v) ?? 'info'

let serial = 0
const HUB_KEEPS = 4096 /* lines */

/* A line of the hub's log. What tells of an endpoint is that endpoint's; the rest is the hub's own. */
export function logLine(o: Record<string, unknown>): Line {
  const { time, level, msg, ...rest } = o
  const at = Date.parse(String(time))
  const fields = Object.entries(rest).map(([k, v]): [string, string] => [k, word(v)])
  return {
    n: ++serial,
    atMs: Number.isFinite(at) ? at : 0,
    time: typeof time === 'string' ? time : '',
    level: levelOf(level),
    source: typeof o.endpoint === 'string' && o.endpoint ? o.endpoint : 'hub',
    text: word(msg ?? ''),
    fields,
    raw: JSON.stringify(o),
  }
}

/* Something that happened, as told over the socket. Its topic stands where a line has its source. */
export function eventLine(e: { id: number; at_ms: number; topic: string; data?: Record<string, unknown> }): Line {
  const fields = Object.entries(e.data ?? {}).map(([k, v]): [string, string] => [k, word(v)])
  return {
    n: ++serial,
    atMs: e.at_ms,
    time: Math.abs(e.at_ms) < 8.64e15 ? new Date(e.at_ms).toISOString() : '',
    level: 'info',
    source: e.topic,
    text: '',
    fields,
    raw: JSON.stringify(e),
  }
}

/* A hub tells its newest lines again to a page that comes back: those up to the last one told already are left out. It tells no more
 * than it keeps, so that a clock that was set back silences nothing for good. */
export class Repeats {
  private lastMs = 0
  private atLast = new Set<string>()
  private again = 0 /* so many may be repeats */

  came(): void {
    this.again = this.lastMs > 0 ? HUB_KEEPS : 0
  }

  fresh(lines: Line[]): Line[] {
    const out = this.again > 0 ? lines.filter((l) => l.atMs > this.lastMs || (l.atMs === this.lastMs && !this.atLast.has(l.raw))) : lines
    this.again = out.length ? 0 : this.again - lines.length
    for (const l of out) {
      if (l.atMs > this.lastMs) {
        this.lastMs = l.atMs
        this.atLast.clear()
      }
      if (l.atMs === this.lastMs) this.atLast.add(l.raw)
    }
    return out
  }
}

export const KEPT_LINES = 10_000
const KEPT_CHARS = 8_000_000
const weight = (l: Line): number => l.raw.length + l.text.length + 64

/* The newest lines, so many and so long at most. */
export class Ring {
  lines: Line[] = []
  dropped = 0
  private chars = 0

  constructor(
    private most = KEPT_LINES,
    private mostChars = KEPT_CHARS,
  ) {}

  add(more: Line[]): void {
    if (!more.length) return
    const all = this.lines.concat(more)
    for (const l of more) this.chars += weight(l)
    let from = 0
    while (from < all.length && (all.length - from > this.most || this.chars > this.mostChars)) this.chars -= weight(all[from++] as Line)
    this.dropped += from
    this.lines = from ? all.slice(from) : all
  }

  clear(): Line[] {
    const had = this.lines
    this.lines = []
    this.chars = 0
    this.dropped = 0
    return had
  }
}

/* What is shown, and, while somebody reads, what waits behind it. */
export class LogBook {
  readonly shown: Ring
  readonly waiting: Ring
  missed = 0 /* lost by the hub before we were told */
  withheld = 0 /* not told in Live */
  lost = 0 /* came while held, and there was no room */
  private held = false

  constructor(most = KEPT_LINES, mostChars = KEPT_CHARS) {
    this.shown = new Ring(most, mostChars)
    this.waiting = new Ring(most, mostChars)
  }

  add(more: Line[]): void {
    ;(this.held ? this.waiting : this.shown).add(more)
  }

  hold(on: boolean): void {
    if (this.held && !on) {
      this.lost += this.waiting.dropped
      this.shown.add(this.waiting.clear())
    }
    this.held = on
  }

  clear(): void {
    this.shown.clear()
    this.waiting.clear()
    this.missed = this.withheld = this.lost = 0
  }
}

/* --- filters ------------------------------------------------------------------------------------------------------- */

export interface LogFilter {
  levels: string /* first letters of those shown: 'ewi' */
  source: string /* '' is any */
  text: string
  fields: [string, string][]
}

/* Sifts a list that grows at its end and loses lines at its beginning: each line is looked at once, while the filter stays the same. */
export class Sieve {
  private keep: ((l: Line) => boolean) | undefined
  private seen = 0
  private out: Line[] = []

  run(lines: Line[], keep: (l: Line) => boolean): Line[] {
    const first = lines[0]?.n ?? Infinity
    if (keep !== this.keep) {
      this.keep = keep
      this.seen = 0
      this.out = []
    }
    let gone = 0
    while (gone < this.out.length && (this.out[gone] as Line).n < first) gone++
    let fresh = lines.length
    while (fresh > 0 && (lines[fresh - 1] as Line).n > this.seen) fresh--
    const more = lines.slice(fresh).filter(keep)
    this.seen = lines[lines.length - 1]?.n ?? this.seen
    if (gone || more.length) this.out = this.out.slice(gone).concat(more)
    return this.out
  }
}

/* Fields in the address: one a line, name=value. */
export const printFields = (f: [string, string][]): string => f.map(([k, v]) => `${k}=${v}`).join('\n')
export function readFields(text: string): [string, string][] {
  return text
    .split('\n')
    .map((x): [string, string] => [x.slice(0, x.indexOf('=')), x.slice(x.indexOf('=') + 1)])
    .filter(([k]) => k !== '')
}

const says = (l: Line): string => (l.text + ' ' + l.source + ' ' + l.fields.map(([k, v]) => `${k}=${v}`).join(' ')).toLowerCase()

export function passes(f: LogFilter): (l: Line) => boolean {
  const t = f.text.trim().toLowerCase()
  return (l) =>
    f.levels.includes(l.level[0] as string) &&
    (!f.source || l.source === f.source) &&
    f.fields.every(([k, v]) => l.fields.some(([lk, lv]) => lk === k && lv === v)) &&
    (!t || says(l).includes(t))
}

/* --- find ---------------------------------------------------------------------------------------------------------- */

export interface Find {
  text: string
  regexp: boolean
  exact: boolean /* capitals matter */
}

/* Undefined: nothing is looked for; 'bad': no regular expression. */
export function finder(f: Find): RegExp | 'bad' | undefined {
  if (!f.text) return undefined
  try {
    return new RegExp(f.regexp ? f.text : f.text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), f.exact ? 'g' : 'gi')
  } catch {
    return 'bad'
  }
}

/* What a line shows, and so what is looked through. */
export const lineText = (l: Line): string => [l.text, ...l.fields.map(([k, v]) => `${k}=${v}`)].filter(Boolean).join('  ')

export function found(r: RegExp, text: string): boolean {
  r.lastIndex = 0
  return r.test(text)
}

/* The next line that matches, seen from line `from`, around the end. */
export function findNext(lines: Line[], r: RegExp, from: number, step: 1 | -1): number {
  for (let i = 1; i <= lines.length; i++) {
    const at = (((from + i * step) % lines.length) + lines.length) % lines.length
    const l = lines[at]
    if (l && found(r, lineText(l))) return at
  }
  return -1
}

/* --- pieces of a line ---------------------------------------------------------------------------------------------- */

export interface Piece {
  text: string
  tone: string /* '' or a colour's name */
  hit: boolean
}

const tones: Record<number, string> = {
  31: 'bad',
  91: 'bad',
  33: 'warn',
  93: 'warn',
  34: 'ok',
  94: 'ok',
  32: 'accent',
  92: 'accent',
  36: 'accent',
  96: 'accent',
  35: 'busy',
  95: 'busy',
  90: 'muted',
  2: 'muted',
}
const HITS_MOST = 200

/* Colours that a terminal would obey become tones; what is found is marked. All other control characters stay, to be shown. */
export function pieces(text: string, r?: RegExp): Piece[] {
  const out: Piece[] = []
  let tone = ''
  let at = 0
  const plain = (part: string): void => {
    if (!part) return
    if (!r) {
      out.push({ text: part, tone, hit: false })
      return
    }
    let from = 0
    r.lastIndex = 0
    for (let m = r.exec(part), n = 0; m && n < HITS_MOST; m = r.exec(part), n++) {
      if (!m[0]) {
        r.lastIndex++
        continue
      }
      if (m.index > from) out.push({ text: part.slice(from, m.index), tone, hit: false })
      out.push({ text: m[0], tone, hit: true })
      from = m.index + m[0].length
    }
    if (from < part.length) out.push({ text: part.slice(from), tone, hit: false })
  }
  for (const m of text.matchAll(/\u001b\[([0-9;]{0,32})m/g)) {
    plain(text.slice(at, m.index))
    at = m.index + m[0].length
    for (const code of (m[1] || '0').split(';').map(Number)) {
      if (code === 0 || code === 39 || code === 22) tone = ''
      else if (tones[code]) tone = tones[code]
    }
  }
  plain(text.slice(at))
  return out
}

/* --- out of the page ----------------------------------------------------------------------------------------------- */

export function asText(lines: Line[]): string {
  return lines.map((l) => `${l.time} ${l.level.toUpperCase()} ${l.source} ${lineText(l).replace(/[\r\n]+/g, ' ')}\n`).join('')
}

export function asJsonLines(lines: Line[]): string {
  return lines.map((l) => l.raw + '\n').join('')
}

/* The first line at or behind a moment; the last one when all are older. */
export function lineAt(lines: Line[], ms: number): number {
  const at = lines.findIndex((l) => l.atMs >= ms)
  return at < 0 ? lines.length - 1 : at
}

/* --- where lines stand --------------------------------------------------------------------------------------------- */

/* The place of each line: usual is the height of a line nobody has measured. One longer than the list. */
export function offsets(lines: Line[], heights: Map<number, number>, usual: number): Float64Array {
  const out = new Float64Array(lines.length + 1)
  if (!heights.size) for (let i = 1; i < out.length; i++) out[i] = i * usual
  else for (let i = 0; i < lines.length; i++) out[i + 1] = (out[i] as number) + (heights.get((lines[i] as Line).n) ?? usual)
  return out
}

/* The line that stands at a place. */
export function lineFrom(places: Float64Array, px: number): number {
  let low = 0
  let high = Math.max(0, places.length - 2)
  while (low < high) {
    const mid = (low + high + 1) >> 1
    if ((places[mid] as number) <= px) low = mid
    else high = mid - 1
  }
  return low
}
