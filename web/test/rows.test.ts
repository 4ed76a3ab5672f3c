import assert from 'node:assert/strict'
import { test } from 'node:test'
import { check, emptyDraft, request } from '../src/pure/draft'
import { histogram, RowBook, speed, stateOf } from '../src/pure/rows'
import type { EndedRequest, Live, LiveRequest } from '../src/app/types'

const live = (id: string, received_ms: number, more: Partial<LiveRequest> = {}): LiveRequest => ({
  id,
  received_ms,
  state: 'answering',
  api: '/v1/chat/completions',
  asked: 'm',
  stream: true,
  queue_ms: 0,
  bytes_out: 0,
  attempts: 1,
  ...more,
})
const view = (requests: LiveRequest[], cut = false): Live => ({ at_ms: 0, total: requests.length, queued: 0, cut, requests })
const ended = (id: string, ended_ms: number, total_ms: number, more: Partial<EndedRequest> = {}): EndedRequest =>
  ({
    id,
    ended_ms,
    total_us: total_ms * 1000,
    result: 'ok',
    status: 200,
    output_tokens: 10,
    first_us: 1000,
    queue_us: 0,
    ...more,
  }) as EndedRequest
const ids = (b: RowBook, held = false): string =>
  b
    .list(held)
    .rows.map((r) => r.id)
    .join()

test('newest first, and a row keeps its place when it ends', () => {
  const b = new RowBook()
  b.live(view([live('a', 1), live('b', 2), live('c', 3)]))
  assert.equal(ids(b), 'c,b,a')
  b.ended([ended('b', 100, 98)])
  b.live(view([live('a', 1), live('c', 3)]))
  assert.equal(ids(b), 'c,b,a')
  assert.equal(stateOf(b.list(false).rows[1]!), 'ok')
})
test('a held list changes in place; what comes waits and is counted', () => {
  const b = new RowBook()
  b.live(view([live('a', 1), live('b', 2)]))
  assert.equal(ids(b), 'b,a')
  b.live(view([live('a', 1, { output: 9 }), live('b', 2), live('c', 3)]))
  const held = b.list(true)
  assert.deepEqual([held.rows.map((r) => r.id).join(), held.waiting, held.rows[1]?.live?.output], ['b,a', 1, 9])
  b.live(view([live('c', 3)]))
  b.ended([ended('a', 50, 49)])
  assert.equal(ids(b, true), 'b,a')
  assert.equal(ids(b), 'c,a')
})
test('a row between the live ones and its end keeps what was known of it, so that filters and order do not lose it', () => {
  const b = new RowBook()
  b.live(view([live('a', 1, { asked: 'tiny', ttft_ms: 5 })]))
  b.list(false)
  b.live(view([]))
  const [gone] = b.list(true).rows
  assert.deepEqual([stateOf(gone!), gone!.live?.asked, gone!.live?.ttft_ms], ['ending', 'tiny', 5])
  b.live(view([live('a', 1, { asked: 'tiny' })]))
  assert.equal(stateOf(b.list(true).rows[0]!), 'answering')
})
test('gone without an end is not shown as going on, unless the hub cut its list', () => {
  const b = new RowBook()
  b.live(view([live('a', 1), live('b', 2)]))
  b.live(view([live('b', 2)], true))
  assert.equal(ids(b), 'b,a')
  b.live(view([live('b', 2)]))
  assert.equal(ids(b), 'b')
})
test('ended requests get the name of their key when it is known, before or after', () => {
  const b = new RowBook()
  b.ended([ended('a', 2, 1, { key: 'k1' })])
  b.setNames(new Map([['k1', 'web-app']]))
  b.ended([ended('b', 3, 1, { key: 'k1' }), ended('c', 4, 1, { key: 'k2' })])
  assert.deepEqual(
    b.list(false).rows.map((r) => r.ended?.key_name),
    [undefined, 'web-app', 'web-app'],
  )
})
test('a row is another object when it changed, and only then', () => {
  const b = new RowBook()
  b.live(view([live('a', 1), live('b', 2)]))
  const [x, y] = b.list(false).rows
  b.live(view([live('a', 1, { output: 2 }), live('b', 2)]))
  const [x2, y2] = b.list(false).rows
  assert.equal(x, x2)
  assert.notEqual(y, y2)
})
test('only so many are kept, and what goes on is never dropped', () => {
  const b = new RowBook()
  b.live(view([live('old', 0)]))
  b.ended(Array.from({ length: 50 }, (_, i) => ended('e' + i, 1000 + i, 1)))
  assert.equal(b.list(false, 10).rows.length, 11)
  assert.ok(b.get('old'))
  assert.ok(!b.get('e0'))
})
test('thinking is told from answering while all output is thinking', () => {
  assert.equal(stateOf({ id: 'a', atMs: 0, live: live('a', 0, { output: 5, reasoning: 5 }) }), 'thinking')
  assert.equal(stateOf({ id: 'a', atMs: 0, live: live('a', 0, { output: 6, reasoning: 5 }) }), 'answering')
  assert.equal(stateOf({ id: 'a', atMs: 0, live: live('a', 0, { output: 6 }) }), 'answering')
})
test('speed counts the tokens behind the first', () => {
  assert.equal(speed({ id: 'a', atMs: 0, ended: ended('a', 0, 1001, { output_tokens: 11, first_us: 1000 }) }, 0), 10)
  assert.equal(speed({ id: 'a', atMs: 0, ended: ended('a', 0, 1001, { output_tokens: null }) }, 0), undefined)
  assert.equal(speed({ id: 'a', atMs: 0, live: live('a', 0, { output: 21, ttft_ms: 1000 }) }, 3000), 10)
})
test('the histogram counts known first tokens only', () => {
  const rows = [90, 100, 600, 9000].map((ms, i) => ({ id: String(i), atMs: 0, ended: ended(String(i), 0, 1, { first_us: ms * 1000 }) }))
  assert.deepEqual(histogram([...rows, { id: 'x', atMs: 0, ended: ended('x', 0, 1, { first_us: null }) }]), [1, 1, 0, 1, 0, 0, 1])
})

test('a draft becomes the same request in three dialects', () => {
  const d = { ...emptyDraft, model: 'm', system: 's', temperature: '0,5', maxTokens: '100', thinking: 'on' as const }
  const turns = [{ role: 'user' as const, content: 'hi' }]
  assert.deepEqual(request(d, turns), {
    path: '/v1/chat/completions',
    body: {
      model: 'm',
      stream: true,
      stream_options: { include_usage: true },
      temperature: 0.5,
      max_tokens: 100,
      reasoning_effort: 'medium',
      messages: [{ role: 'system', content: 's' }, ...turns],
    },
  })
  assert.deepEqual(request({ ...d, dialect: 'anthropic', maxTokens: '', budget: '1024' }, turns), {
    path: '/v1/messages',
    body: {
      model: 'm',
      max_tokens: 4096,
      stream: true,
      system: 's',
      temperature: 0.5,
      thinking: { type: 'enabled', budget_tokens: 1024 },
      messages: turns,
    },
  })
  assert.deepEqual(request({ ...d, dialect: 'ollama' }, turns), {
    path: '/api/chat',
    body: {
      model: 'm',
      stream: true,
      think: true,
      options: { temperature: 0.5, num_predict: 100 },
      messages: [{ role: 'system', content: 's' }, ...turns],
    },
  })
  assert.deepEqual(request({ ...emptyDraft, model: 'm' }, turns).body, {
    model: 'm',
    stream: true,
    stream_options: { include_usage: true },
    messages: turns,
  })
})
test('what cannot be sent is told before', () => {
  assert.deepEqual(check(emptyDraft), {})
  assert.deepEqual(check({ ...emptyDraft, temperature: '3', maxTokens: '1.5' }), { temperature: 'range', maxTokens: 'whole' })
  assert.deepEqual(check({ ...emptyDraft, dialect: 'anthropic', thinking: 'on', maxTokens: '100', budget: '100' }), { budget: 'over' })
})

test('older pages go on behind the last row of the page before, and what was sifted is forgotten with its filter', () => {
  const b = new RowBook()
  assert.equal(b.cursor(), undefined)
  b.ended([ended('heard', 90, 1)])
  assert.equal(b.cursor(), undefined, 'what was heard of is no page')
  b.page([ended('f', 80, 1), ended('e', 70, 1), ended('d', 70, 1)])
  assert.equal(b.cursor(), '70.d')
  b.ended([ended('b', 20, 1), ended('a', 10, 1)])
  assert.equal(ids(b), 'heard,f,e,d,b,a')
  assert.equal(b.cursor(), '70.d')
  b.forgetSifted()
  assert.equal(ids(b), 'heard,f,e,d')
  b.page([ended('c', 70, 1), ended('b', 20, 1)])
  assert.equal(b.cursor(), '20.b')
  b.list(false, 3) /* what is not kept is fetched again */
  assert.equal(b.cursor(), '70.e')
})
