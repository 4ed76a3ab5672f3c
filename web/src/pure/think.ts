/* think.ts - parts a model's text into thinking and answer by its <think> marks, whatever way the text was cut into pieces.
 *
 * A mark counts at the start of the text or of a line; in the middle of a sentence it is text (a model may talk about marks).
 * Marks nest. A closing mark that nothing opened means that all before it was thinking (runtimes whose template holds the
 * opening mark send only the closing one). One that is never closed leaves `open` true: thinking, not finished. */

export type Piece =
  | { kind: 'think' | 'text'; text: string }
  /* all text given out so far was thinking after all */
  | { kind: 'was-thinking' }

const marks = ['<think>', '<thinking>', '</think>', '</thinking>']
const longest = Math.max(...marks.map((m) => m.length))

export class ThinkSplitter {
  private held = '' /* the end of what came, as long as it may be the beginning of a mark */
  private depth = 0
  private opened = false
  private closed = false
  private lineStart = true
  private swallow = false /* line ends right behind a mark belong to it */

  /* Whether the text so far ends inside of thinking. */
  get open(): boolean {
    return this.depth > 0
  }

  feed(text: string): Piece[] {
    const out: Piece[] = []
    const all = this.held + text
    let from = 0
    let at = 0
    this.held = ''
    const give = (to: number): void => {
      if (to > from) this.emit(out, all.slice(from, to))
      from = to
    }
    while ((at = all.indexOf('<', at)) >= 0) {
      const rest = all.slice(at, at + longest)
      const mark = marks.find((m) => rest.startsWith(m))
      if (mark) {
        const counts = this.counts(mark, all.slice(from, at))
        if (!counts) {
          at += mark.length
          continue
        }
        give(at)
        this.apply(mark, out)
        at += mark.length
        from = at
      } else if (rest.length < longest && marks.some((m) => m.startsWith(rest))) {
        give(at)
        this.held = all.slice(at)
        return out
      } else {
        at++
      }
    }
    give(all.length)
    return out
  }

  /* The end of the text: what was held back was no mark. */
  end(): Piece[] {
    const out: Piece[] = []
    if (this.held) this.emit(out, this.held)
    this.held = ''
    return out
  }

  private counts(mark: string, before: string): boolean {
    if (mark.startsWith('</')) return this.depth > 0 || (!this.opened && !this.closed)
    if (this.depth > 0) return true
    const line = before.lastIndexOf('\n')
    return line >= 0 ? !before.slice(line + 1).trim() : this.lineStart && !before.trim()
  }

  private apply(mark: string, out: Piece[]): void {
    if (!mark.startsWith('</')) {
      this.depth++
      this.opened = true
    } else if (this.depth > 0) {
      this.depth--
      this.closed = true
    } else {
      this.closed = true
      out.push({ kind: 'was-thinking' })
    }
    this.swallow = true
    this.lineStart = true
  }

  private emit(out: Piece[], text: string): void {
    if (this.swallow) {
      text = text.replace(/^\s+/, '')
      if (!text) return
      this.swallow = false
    }
    const line = text.lastIndexOf('\n')
    this.lineStart = line >= 0 ? !text.slice(line + 1).trim() : this.lineStart && !text.trim()
    const kind = this.depth > 0 ? 'think' : 'text'
    const last = out[out.length - 1]
    if (last && last.kind === kind) last.text += text
    else out.push({ kind, text })
  }
}
