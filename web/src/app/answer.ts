/* answer.ts - one answer as it grows: thinking apart, text settled block by block, times measured here. Drawn by parts/answer.tsx at
 * most 25 times a second, however many pieces come. */
import { MarkdownStream } from '../pure/markdown'
import { ReplyReader } from '../pure/reply'
import { count, duration } from '../pure/format'
import { T } from '../text'
import { answeredMs } from './api'
import { path as at } from './place'
import { prefs } from './prefs'
import { say } from './say'
import { store } from './store'

const SAY_MS = 3000
const DRAW_MS = 40 /* text that grows faster is not read faster */

export class Answer {
  readonly version = store(0) /* grows with each frame that has something new */
  readonly reader: ReplyReader
  readonly markdown = new MarkdownStream()
  readonly tools: string[] = []
  think = ''
  text = ''
  raw = '' /* the bytes as they came, for looking at; at most RAW_MAX characters */
  rawCut = false
  readonly startMs = performance.now()
  firstMs: number | undefined /* the first piece of text or thinking */
  thinkMs: number | undefined /* from the first piece of thinking to the first of text, or to now */
  endMs: number | undefined
  private thinkFrom: number | undefined
  private said = 0 /* characters of text that were read aloud */
  private saidMs = 0
  private frame = 0
  private drawnMs = 0
  private decoder = new TextDecoder()

  constructor(private aloud = true) {
    this.reader = new ReplyReader({
      think: (t) => this.piece('think', t),
      text: (t) => this.piece('text', t),
      wasThinking: () => {
        this.think = this.text + this.think
        this.text = ''
        this.markdown.reset()
        this.thinkFrom = this.firstMs
      },
      tool: (name) => {
        this.tools.push(name)
        this.changed()
      },
    })
  }

  get growing(): boolean {
    return this.endMs === undefined
  }

  get thinkGoing(): boolean {
    return this.growing && this.think !== '' && this.text === ''
  }

  get unfinished(): boolean {
    return !this.growing && this.reader.thinkingOpen
  }

  feed(bytes: Uint8Array): void {
    if (this.raw.length < RAW_MAX) this.raw += this.decoder.decode(bytes, { stream: true })
    else this.rawCut = true
    this.reader.feed(bytes)
  }

  end(): void {
    if (this.endMs !== undefined) return
    this.reader.end()
    this.markdown.end()
    this.endMs = performance.now()
    if (this.thinkFrom !== undefined && this.text === '') this.thinkMs = this.endMs - this.thinkFrom
    if (this.aloud) say(T.answerFinished(count(this.reader.usage.output), duration(this.endMs - this.startMs)))
    this.bump()
  }

  /* Tokens a second after the first, by the runtime's count; unknown without one. */
  get perSecond(): number | undefined {
    const n = this.reader.usage.output
    if (n === undefined || this.firstMs === undefined || this.endMs === undefined || n < 2) return undefined
    const s = (this.endMs - this.firstMs) / 1000
    return s > 0.05 ? (n - 1) / s : undefined
  }

  private piece(kind: 'think' | 'text', t: string): void {
    const now = performance.now()
    if (this.firstMs === undefined) {
      this.firstMs = now
      if (this.aloud) say(T.answering)
    }
    if (kind === 'think') {
      this.thinkFrom ??= now
      this.think += t
      this.thinkMs = now - this.thinkFrom
    } else {
      if (this.thinkFrom !== undefined && this.text === '') this.thinkMs = now - this.thinkFrom
      this.text += t
      this.markdown.add(t)
      if (this.aloud && prefs.get().readAloud && now - this.saidMs > SAY_MS) this.speak(now)
    }
    this.changed()
  }

  /* Whole sentences only. */
  private speak(now: number): void {
    const fresh = this.text.slice(this.said)
    const end = Math.max(fresh.lastIndexOf('. '), fresh.lastIndexOf('? '), fresh.lastIndexOf('! '), fresh.lastIndexOf('\n'))
    if (end < 0) return
    this.said += end + 1
    this.saidMs = now
    say(fresh.slice(0, end + 1))
  }

  private changed(): void {
    if (this.frame) return
    const draw = (): void => {
      if (performance.now() - this.drawnMs < DRAW_MS) this.frame = requestAnimationFrame(draw)
      else this.bump()
    }
    this.frame = requestAnimationFrame(draw)
  }

  private bump(): void {
    cancelAnimationFrame(this.frame)
    this.frame = 0
    this.drawnMs = performance.now()
    this.version.set(this.version.get() + 1)
  }
}

const RAW_MAX = 1 << 20

export interface AskResult {
  status: number
  error?: string
  headers: Record<string, string>
}

/* Sends a request to the gateway and streams what comes into the answer. Resolves when it has ended; a stop by `signal` is an end. */
export async function ask(path: string, body: unknown, answer: Answer, signal: AbortSignal, key?: string): Promise<AskResult> {
  const headers: Record<string, string> = { 'content-type': 'application/json', 'drover-console': '1' }
  if (key) headers.authorization = 'Bearer ' + key
  const told: Record<string, string> = {}
  let status = 0
  try {
    /* With a key of its own the request comes as that key and not as the person who is signed in. */
    const res = await fetch(at(path), {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
      signal,
      credentials: key ? 'omit' : 'same-origin',
      cache: 'no-store',
      redirect: 'error',
    })
    status = res.status
    answeredMs.set(Date.now())
    res.headers.forEach((v, k) => {
      if (k.startsWith('drover-') || k === 'x-request-id' || k === 'content-type') told[k] = v
    })
    answer.reader.setForm(res.headers.get('content-type') ?? '')
    const reader = res.body?.getReader()
    for (;;) {
      const { done, value } = (await reader?.read()) ?? { done: true, value: undefined }
      if (done) break
      if (value) answer.feed(value)
    }
    answer.end()
    return { status, headers: told, error: answer.reader.error || (res.ok ? undefined : T.httpStatus(status)) }
  } catch {
    answer.end()
    return { status, headers: told, error: signal.aborted ? undefined : status ? T.streamBroke : T.unreachable }
  }
}
