import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Lines, SseReader, type SseEvent } from '../src/pure/sse'

const bytes = (s: string): Uint8Array => new TextEncoder().encode(s)

function events(b: Uint8Array, size: number): SseEvent[] {
  const r = new SseReader()
  const out: SseEvent[] = []
  for (let i = 0; i < b.length; i += size) out.push(...r.feed(b.subarray(i, i + size)))
  return out
}

function always(text: string, want: SseEvent[]): void {
  const b = bytes(text)
  for (const size of [b.length || 1, 1, 2, 3, 7]) assert.deepEqual(events(b, size), want, `pieces of ${size}`)
}

test('an event is its data lines joined', () => always('data: a\ndata: b\n\n', [{ event: 'message', data: 'a\nb' }]))
test('the event field names it, for one event only', () =>
  always('event: ping\ndata: 1\n\ndata: 2\n\n', [
    { event: 'ping', data: '1' },
    { event: 'message', data: '2' },
  ]))
test('comments, ids and unknown fields are passed over', () =>
  always(': queued, place 3\nid: 4\nfoo: x\ndata: y\n\n', [{ event: 'message', data: 'y' }]))
test('CR, LF and CRLF all end a line', () =>
  always('data: a\r\n\r\ndata: b\r\rdata: c\n\n', [
    { event: 'message', data: 'a' },
    { event: 'message', data: 'b' },
    { event: 'message', data: 'c' },
  ]))
test('only one space behind the colon is cut', () => always('data:  a\ndata:b\n\n', [{ event: 'message', data: ' a\nb' }]))
test('an event that the end cut off is dropped', () => always('data: a\n\ndata: b\n', [{ event: 'message', data: 'a' }]))
test('a byte order mark at the beginning is no part of the first field', () =>
  always('\ufeffdata: a\n\n', [{ event: 'message', data: 'a' }]))
test('characters cut in the middle come whole', () => always('data: grüße 🐑 終\n\n', [{ event: 'message', data: 'grüße 🐑 終' }]))
test('an event without data is none', () => always('event: x\n\ndata\n\n', [{ event: 'message', data: '' }]))
test('lines of JSON: the last one needs no line end', () => {
  const l = new Lines()
  assert.deepEqual(l.feed(bytes('{"a":1}\n{"b"')), ['{"a":1}'])
  assert.deepEqual(l.feed(bytes(':2}')), [])
  assert.deepEqual(l.end(), ['{"b":2}'])
})
