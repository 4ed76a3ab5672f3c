/* markdown.ts - the part of Markdown that answers of models use, read into plain data. What is drawn from it (parts/markdown.tsx)
 * is a fixed list of elements; there is no HTML pass-through: a tag in the text is text.
 *
 * A stream is read once: what stands before a blank line outside of a code block is settled and never looked at again. */

export type Inline =
  | { kind: 'text'; text: string }
  | { kind: 'code'; text: string }
  | { kind: 'strong' | 'em'; children: Inline[] }
  | { kind: 'link'; href: string; children: Inline[] }
  | { kind: 'image'; href: string; text: string }
  | { kind: 'break' }

export type Block =
  | { kind: 'p'; children: Inline[] }
  | { kind: 'heading'; level: number; children: Inline[] }
  | { kind: 'code'; language: string; text: string }
  | { kind: 'list'; ordered: boolean; start: number; items: Block[][] }
  | { kind: 'quote'; blocks: Block[] }
  | { kind: 'table'; head: Inline[][]; rows: Inline[][][] }
  | { kind: 'rule' }

const DEPTH = 8 /* nesting of lists, quotes, emphasis; deeper is text */

/* Only these may be opened from an answer. */
export function safeLink(href: string): string | undefined {
  try {
    const u = new URL(href)
    return u.protocol === 'https:' || u.protocol === 'http:' || u.protocol === 'mailto:' ? u.href : undefined
  } catch {
    return undefined
  }
}

const fence = /^ {0,3}(`{3,}|~{3,})\s*([^`\s]*)/
const heading = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/
const rule = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/
const item = /^( {0,3})([-*+]|\d{1,9}[.)])(?:\s+(.*)|$)/
const quote = /^ {0,3}> ?(.*)$/
const delimiterRow = /^ {0,3}\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/

export function parse(text: string, depth = 0): Block[] {
  const lines = text.split('\n')
  const out: Block[] = []
  let i = 0
  while (i < lines.length) {
    const line = lines[i] ?? ''
    if (!line.trim()) {
      i++
      continue
    }
    const f = fence.exec(line)
    if (f) {
      const mark = f[1] ?? '```'
      const body: string[] = []
      for (i++; i < lines.length && !closes(lines[i] ?? '', mark); i++) body.push(lines[i] ?? '')
      i++
      out.push({ kind: 'code', language: f[2] ?? '', text: body.join('\n') })
      continue
    }
    const h = heading.exec(line)
    if (h) {
      out.push({ kind: 'heading', level: (h[1] ?? '#').length, children: inline(h[2] ?? '') })
      i++
      continue
    }
    if (rule.test(line)) {
      out.push({ kind: 'rule' })
      i++
      continue
    }
    if (depth < DEPTH && quote.test(line)) {
      const inner: string[] = []
      for (let m; i < lines.length && (m = quote.exec(lines[i] ?? '')); i++) inner.push(m[1] ?? '')
      out.push({ kind: 'quote', blocks: parse(inner.join('\n'), depth + 1) })
      continue
    }
    if (depth < DEPTH && item.test(line)) {
      i = readList(lines, i, out, depth)
      continue
    }
    if (line.includes('|') && delimiterRow.test(lines[i + 1] ?? '') && (lines[i + 1] ?? '').includes('-')) {
      i = readTable(lines, i, out)
      continue
    }
    const para: string[] = []
    for (; i < lines.length; i++) {
      const l = lines[i] ?? ''
      if (
        !l.trim() ||
        (para.length && (fence.test(l) || heading.test(l) || rule.test(l) || quote.test(l) || item.test(l)) && depth < DEPTH)
      )
        break
      para.push(l)
    }
    out.push({ kind: 'p', children: inline(para.join('\n')) })
  }
  return out
}

function closes(line: string, mark: string): boolean {
  const t = line.trim()
  return t.length >= mark.length && [...t].every((c) => c === mark[0])
}

function readList(lines: string[], from: number, out: Block[], depth: number): number {
  const first = item.exec(lines[from] ?? '')
  const ordered = /\d/.test(first?.[2] ?? '')
  const items: Block[][] = []
  let i = from
  while (i < lines.length) {
    const m = item.exec(lines[i] ?? '')
    if (!m || /\d/.test(m[2] ?? '') !== ordered || rule.test(lines[i] ?? '')) break
    const indent = (m[1] ?? '').length + (m[2] ?? '').length + 1
    const inner = [m[3] ?? '']
    for (i++; i < lines.length; i++) {
      const l = lines[i] ?? ''
      const space = l.length - l.trimStart().length
      if (l.trim() && space >= Math.min(indent, 2)) inner.push(l.slice(Math.min(space, indent)))
      else if (!l.trim() && (lines[i + 1] ?? '').startsWith('  ')) inner.push('')
      else if (l.trim() && !item.test(l) && (inner[inner.length - 1] ?? '').trim() && !fence.test(l) && !heading.test(l)) inner.push(l)
      else break
    }
    items.push(parse(inner.join('\n'), depth + 1))
    let next = i
    while (next < lines.length && !(lines[next] ?? '').trim()) next++
    if (next > i && item.test(lines[next] ?? '')) i = next
  }
  out.push({ kind: 'list', ordered, start: ordered ? parseInt(first?.[2] ?? '1', 10) : 1, items })
  return i
}

function cells(line: string): Inline[][] {
  const t = line
    .trim()
    .replace(/^\|/, '')
    .replace(/(^|[^\\])\|$/, '$1')
  return t.split(/(?<!\\)\|/).map((c) => inline(c.trim().replace(/\\\|/g, '|')))
}

function readTable(lines: string[], from: number, out: Block[]): number {
  const head = cells(lines[from] ?? '')
  const rows: Inline[][][] = []
  let i = from + 2
  for (; i < lines.length && (lines[i] ?? '').includes('|'); i++) {
    const row = cells(lines[i] ?? '').slice(0, head.length)
    while (row.length < head.length) row.push([])
    rows.push(row)
  }
  out.push({ kind: 'table', head, rows })
  return i
}

const bare = /^(?:https?:\/\/|mailto:)[^\s<>"'`]*[^\s<>"'`.,;:!?)\]}]/

export function inline(text: string, depth = 0): Inline[] {
  const out: Inline[] = []
  let plain = ''
  let i = 0
  const flush = (): void => {
    if (plain) out.push({ kind: 'text', text: plain })
    plain = ''
  }
  const add = (node: Inline): void => {
    flush()
    out.push(node)
  }
  while (i < text.length) {
    const c = text[i] ?? ''
    if (c === '\\' && /[\\`*_{}[\]()#+\-.!|<>~]/.test(text[i + 1] ?? '')) {
      plain += text[i + 1]
      i += 2
    } else if (c === '`') {
      let n = 1
      while (text[i + n] === '`') n++
      const end = findTicks(text, i + n, n)
      if (end < 0) {
        plain += text.slice(i, i + n)
        i += n
      } else {
        add({
          kind: 'code',
          text: text
            .slice(i + n, end)
            .replace(/\n/g, ' ')
            .replace(/^ (.*[^ ].*) $/, '$1'),
        })
        i = end + n
      }
    } else if (c === '\n') {
      add({ kind: 'break' })
      i++
    } else if (depth < DEPTH && (c === '*' || c === '_')) {
      const e = emphasis(text, i)
      if (e) {
        add({ kind: e.strong ? 'strong' : 'em', children: inline(e.body, depth + 1) })
        i = e.end
      } else {
        const run = /^[*_]+/.exec(text.slice(i, i + 64))?.[0] ?? c
        plain += run
        i += run.length
      }
    } else if (depth < DEPTH && (c === '[' || (c === '!' && text[i + 1] === '['))) {
      const l = link(text, c === '!' ? i + 1 : i)
      if (!l) {
        plain += c
        i++
      } else if (c === '!') {
        add({ kind: 'image', href: l.href, text: l.body })
        i = l.end
      } else {
        add({ kind: 'link', href: l.href, children: inline(l.body, DEPTH) })
        i = l.end
      }
    } else if ((c === 'h' || c === 'm') && !/\w/.test(text[i - 1] ?? '') && bare.test(text.slice(i, i + 2048))) {
      const href = bare.exec(text.slice(i, i + 2048))?.[0] ?? ''
      add(safeLink(href) ? { kind: 'link', href, children: [{ kind: 'text', text: href }] } : { kind: 'text', text: href })
      i += href.length
    } else {
      plain += c
      i++
    }
  }
  flush()
  return out
}

function findTicks(text: string, from: number, n: number): number {
  for (let at = text.indexOf('`', from); at >= 0; at = text.indexOf('`', at)) {
    let m = 1
    while (text[at + m] === '`') m++
    if (m === n) return at
    at += m
  }
  return -1
}

function emphasis(text: string, at: number): { strong: boolean; body: string; end: number } | undefined {
  const c = text[at] ?? ''
  const strong = text[at + 1] === c
  const n = strong ? 2 : 1
  const mark = c.repeat(n)
  if (/\s/.test(text[at + n] ?? ' ') || (c === '_' && /\w/.test(text[at - 1] ?? ''))) return undefined
  const far = Math.min(text.length, at + 4000) /* emphasis that reaches farther is no emphasis: bounds the search */
  for (let end = text.indexOf(mark, at + n); end > 0 && end < far; end = text.indexOf(mark, end + 1)) {
    const fits = end > at + n && !/\s/.test(text[end - 1] ?? ' ') && (strong || (text[end + 1] !== c && text[end - 1] !== c))
    if (fits && (c === '*' || !/\w/.test(text[end + n] ?? ''))) return { strong, body: text.slice(at + n, end), end: end + n }
  }
  return undefined
}

function link(text: string, at: number): { href: string; body: string; end: number } | undefined {
  const m = /^\[((?:[^[\]\\]|\\.){0,1000})\]\(\s*<?([^\s<>()]{1,2000})>?(?:\s+"[^"]{0,500}")?\s*\)/.exec(text.slice(at, at + 4000))
  return m ? { body: m[1] ?? '', href: m[2] ?? '', end: at + m[0].length } : undefined
}

/* --- a stream ------------------------------------------------------------------------------------------------------ */

export class MarkdownStream {
  readonly settled: Block[] = []
  private tail = ''
  private scanned = 0 /* the tail's lines before this offset were looked at */
  private fenceMark = '' /* of the code block that is open at `scanned` */

  /* What is not settled yet: shown as plain text. */
  get open(): string {
    return this.tail
  }

  add(text: string): void {
    this.tail += text
    let cut = -1
    for (let nl = this.tail.indexOf('\n', this.scanned); nl >= 0; nl = this.tail.indexOf('\n', this.scanned)) {
      const line = this.tail.slice(this.scanned, nl)
      this.scanned = nl + 1
      if (this.fenceMark) {
        if (closes(line, this.fenceMark)) {
          this.fenceMark = ''
          cut = this.scanned
        }
      } else {
        const f = fence.exec(line)
        if (f) this.fenceMark = f[1] ?? ''
        else if (!line.trim() && !this.inList()) cut = this.scanned
      }
    }
    if (cut > 0) this.settle(cut)
  }

  end(): void {
    this.settle(this.tail.length)
  }

  reset(): void {
    this.settled.length = 0
    this.tail = ''
    this.scanned = 0
    this.fenceMark = ''
  }

  /* A list may go on behind a blank line: it settles when something else follows, or when it has grown long. */
  private inList(): boolean {
    const block = this.tail.slice(0, this.scanned)
    if (block.length > 4000) return false
    const last = block.trimEnd().split('\n').pop() ?? ''
    return item.test(last) || /^\s{2,}\S/.test(last)
  }

  private settle(to: number): void {
    this.settled.push(...parse(this.tail.slice(0, to)))
    this.tail = this.tail.slice(to)
    this.scanned -= to
    if (this.scanned < 0) this.scanned = 0
  }
}
