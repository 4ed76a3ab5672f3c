/* sse.ts - framing of streamed answers: server-sent events (WHATWG HTML, section 9.2) and lines of JSON. Bytes may be cut
 * anywhere: inside of a character, between CR and LF. */

export interface SseEvent {
  event: string
  data: string
}

/* Gives whole lines; CR, LF and CRLF end one. */
export class Lines {
  private decoder = new TextDecoder() /* drops a byte order mark, holds back cut characters */
  private held = ''
  private afterCr = false

  feed(bytes: Uint8Array): string[] {
    return this.cut(this.decoder.decode(bytes, { stream: true }))
  }

  /* What stands behind the last line end, if anything. */
  end(): string[] {
    const lines = this.cut(this.decoder.decode())
    if (this.held) lines.push(this.held)
    this.held = ''
    return lines
  }

  private cut(text: string): string[] {
    if (this.afterCr && text.startsWith('\n')) text = text.slice(1)
    if (text) this.afterCr = text.endsWith('\r')
    const lines = (this.held + text).split(/\r\n|\n|\r/)
    this.held = lines.pop() ?? ''
    return lines
  }
}

export class SseReader {
  private lines = new Lines()
  private event = ''
  private data: string[] = []

  feed(bytes: Uint8Array): SseEvent[] {
    const out: SseEvent[] = []
    for (const line of this.lines.feed(bytes)) this.line(line, out)
    return out
  }

  /* An event that the end cut off is dropped, as the specification wants it. */
  private line(line: string, out: SseEvent[]): void {
    if (line === '') {
      if (this.data.length) out.push({ event: this.event || 'message', data: this.data.join('\n') })
      this.event = ''
      this.data = []
      return
    }
    const colon = line.indexOf(':')
    if (colon === 0) return /* a comment */
    const field = colon < 0 ? line : line.slice(0, colon)
    let value = colon < 0 ? '' : line.slice(colon + 1)
    if (value.startsWith(' ')) value = value.slice(1)
    if (field === 'event') this.event = value
    else if (field === 'data') this.data.push(value)
  }
}
