/* reply.ts - reads an answer of any dialect, streamed or whole, into thinking, text and figures. What it does not know it
 * passes over: an answer is shown as far as it is understood. */
import { Lines, SseReader } from './sse'
import { ThinkSplitter } from './think'

export interface Usage {
  input?: number
  output?: number
  reasoning?: number
}

export interface ReplyEvents {
  think(text: string): void
  text(text: string): void
  wasThinking(): void
  tool(name: string): void
}

type Json = { [k: string]: Json | undefined } & { [i: number]: Json | undefined } & { length?: number }

function parse(text: string): Json | undefined {
  try {
    const v: unknown = JSON.parse(text)
    return v !== null && typeof v === 'object' ? (v as Json) : undefined
  } catch {
    return undefined
  }
}

const str = (v: unknown): string => (typeof v === 'string' ? v : '')
const num = (v: unknown): number | undefined => (typeof v === 'number' && Number.isFinite(v) ? v : undefined)
const list = (v: unknown): Json[] => (Array.isArray(v) ? (v as Json[]).filter((x) => x !== null && typeof x === 'object') : [])

export class ReplyReader {
  readonly usage: Usage = {}
  finish = ''
  error = ''
  model = ''
  private split = new ThinkSplitter()
  private sse = new SseReader()
  private lines = new Lines()
  private whole = ''
  private decoder = new TextDecoder()
  private form: 'unknown' | 'sse' | 'ndjson' | 'json' = 'unknown'

  constructor(private to: ReplyEvents) {}

  /* Whether the text ended inside of a <think> that nothing closed. */
  get thinkingOpen(): boolean {
    return this.split.open
  }

  feed(bytes: Uint8Array): void {
    if (this.form === 'unknown') this.form = this.guess(bytes)
    if (this.form === 'sse') for (const e of this.sse.feed(bytes)) this.value(parse(e.data))
    else if (this.form === 'ndjson') for (const l of this.lines.feed(bytes)) this.value(parse(l))
    else this.whole += this.decoder.decode(bytes, { stream: true })
  }

  end(): void {
    if (this.form === 'ndjson') for (const l of this.lines.end()) this.value(parse(l))
    if (this.form === 'json') this.value(parse(this.whole + this.decoder.decode()))
    this.pieces(this.split.end())
  }

  setForm(contentType: string): void {
    if (contentType.includes('event-stream')) this.form = 'sse'
    else if (contentType.includes('ndjson')) this.form = 'ndjson'
    else if (contentType.includes('json')) this.form = 'json'
  }

  /* Without a content type: events begin with a field name or a colon; a line of JSON that ends and is whole is one of many. */
  private guess(bytes: Uint8Array): 'sse' | 'ndjson' | 'json' {
    const text = new TextDecoder().decode(bytes).trimStart()
    if (!text.startsWith('{') && !text.startsWith('[')) return 'sse'
    const line = text.indexOf('\n')
    return line > 0 && parse(text.slice(0, line)) ? 'ndjson' : 'json'
  }

  private pieces(pieces: ReturnType<ThinkSplitter['feed']>): void {
    for (const p of pieces) {
      if (p.kind === 'was-thinking') this.to.wasThinking()
      else if (p.kind === 'think') this.to.think(p.text)
      else this.to.text(p.text)
    }
  }

  private text(text: string): void {
    if (text) this.pieces(this.split.feed(text))
  }

  private think(text: string): void {
    if (text) this.to.think(text)
  }

  private value(v: Json | undefined): void {
    if (!v) return
    if (v.error) this.error ||= str(v.error.message) || str(v.error) || 'error'
    if (typeof v.model === 'string') this.model ||= v.model
    if (Array.isArray(v.choices)) this.chat(v)
    else if (typeof v.type === 'string') this.typed(str(v.type), v)
    else if (v.message || typeof v.response === 'string') this.ollama(v)
    this.count(v.usage ?? v.message?.usage ?? v.response?.usage)
  }

  private count(u: Json | undefined): void {
    if (!u) return
    this.usage.input = num(u.prompt_tokens) ?? num(u.input_tokens) ?? this.usage.input
    this.usage.output = num(u.completion_tokens) ?? num(u.output_tokens) ?? this.usage.output
    const parts = u.completion_tokens_details ?? u.output_tokens_details
    this.usage.reasoning = num(parts?.reasoning_tokens) ?? this.usage.reasoning
  }

  /* OpenAI chat and completions. */
  private chat(v: Json): void {
    for (const c of list(v.choices)) {
      const m = c.delta ?? c.message
      if (m) {
        this.think(str(m.reasoning_content) || str(m.reasoning))
        this.text(str(m.content))
        for (const t of list(m.tool_calls)) if (str(t.function?.name)) this.to.tool(str(t.function?.name))
      }
      this.text(str(c.text))
      this.finish = str(c.finish_reason) || this.finish
    }
  }

  /* Anthropic messages and OpenAI responses: each event tells its type. */
  private typed(type: string, v: Json): void {
    if (type === 'content_block_delta') {
      this.think(str(v.delta?.thinking))
      this.text(str(v.delta?.text))
    } else if (type === 'content_block_start') {
      if (str(v.content_block?.type) === 'tool_use') this.to.tool(str(v.content_block?.name))
    } else if (type === 'message_delta') {
      this.finish = str(v.delta?.stop_reason) || this.finish
    } else if (type === 'message') {
      for (const b of list(v.content)) this.block(b)
      this.finish = str(v.stop_reason) || this.finish
    } else if (type === 'response.output_text.delta') {
      this.text(str(v.delta))
    } else if (type === 'response.reasoning_text.delta' || type === 'response.reasoning_summary_text.delta') {
      this.think(str(v.delta))
    } else if (type === 'response.completed' || type === 'response.incomplete' || type === 'response.failed') {
      this.finish = str(v.response?.status) || this.finish
    }
  }

  private block(b: Json): void {
    this.think(str(b.thinking))
    this.text(str(b.text))
    if (str(b.type) === 'tool_use') this.to.tool(str(b.name))
  }

  private ollama(v: Json): void {
    this.think(str(v.message?.thinking) || str(v.thinking))
    this.text(str(v.message?.content) || str(v.response))
    for (const t of list(v.message?.tool_calls)) if (str(t.function?.name)) this.to.tool(str(t.function?.name))
    this.finish = str(v.done_reason) || this.finish
    this.usage.input = num(v.prompt_eval_count) ?? this.usage.input
    this.usage.output = num(v.eval_count) ?? this.usage.output
  }
}
