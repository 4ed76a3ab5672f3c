import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  asJsonLines,
  asText,
  eventLine,
  finder,
  findNext,
  lineAt,
  lineFrom,
  lineText,
  LogBook,
  logLine,
  offsets,
  passes,
  pieces,
  printFields,
  readFields,
  Repeats,
  Ring,
  Sieve,
} from '../src/pure/loglines'

const line = (n: number, level = 'info', more: Record<string, unknown> = {}) =>
  logLine({ time: new Date(1_000_000 + n * 1000).toISOString(), level, msg: 'm' + n, ...more })

test('a line of the log is read: level, source, fields, and all of it as it came', () => {
  const l = logLine({ time: '2026-01-02T03:04:05.678Z', level: 'warn', msg: 'endpoint down', endpoint: 'box', ms: 12, deep: { a: 1 } })
  assert.deepEqual([l.atMs, l.level, l.source, l.text], [Date.parse('2026-01-02T03:04:05.678Z'), 'warn', 'box', 'endpoint down'])
  assert.deepEqual(l.fields, [
    ['endpoint', 'box'],
    ['ms', '12'],
    ['deep', '{"a":1}'],
  ])
  assert.equal(JSON.parse(l.raw).deep.a, 1)
})
test('what is no line as we know it is still a line', () => {
  const l = logLine({ level: 'fatal', msg: 7 })
  assert.deepEqual([l.atMs, l.level, l.source, l.text], [0, 'info', 'hub', '7'])
  assert.equal(logLine({}).text, '')
})
test('an event is a line of its topic', () => {
  const l = eventLine({ id: 3, at_ms: 5, topic: 'key', data: { id: 'k1' } })
  assert.deepEqual([l.source, lineText(l), l.atMs], ['key', 'id=k1', 5])
})

test('the ring keeps so many lines, the newest, and says how many went', () => {
  const r = new Ring(3)
  r.add([line(1), line(2)])
  r.add([line(3), line(4), line(5)])
  assert.deepEqual([r.lines.map((l) => l.text).join(), r.dropped], ['m3,m4,m5', 2])
})
test('the ring keeps so many characters: few long lines push out many short ones', () => {
  const r = new Ring(1000, 5000)
  r.add(Array.from({ length: 20 }, (_, i) => line(i)))
  r.add([line(99, 'info', { long: 'x'.repeat(4500) })])
  assert.ok(r.lines.length < 5)
  assert.equal(r.lines[r.lines.length - 1]?.text, 'm99')
  r.add([line(100, 'info', { long: 'x'.repeat(9000) })])
  assert.equal(r.lines.length, 0)
  r.add([line(101)])
  assert.equal(r.lines.length, 1)
})
test('a thousand lines a second for minutes do not grow what is kept', () => {
  const b = new LogBook(100)
  for (let i = 0; i < 300; i++) {
    if (i === 100) b.hold(true)
    b.add(Array.from({ length: 100 }, (_, n) => line(i * 100 + n)))
    assert.ok(b.shown.lines.length <= 100 && b.waiting.lines.length <= 100)
  }
  assert.equal(b.waiting.dropped, 200 * 100 - 100)
})
test('while held, what is shown does not change; let go, it comes, and what found no room is told', () => {
  const b = new LogBook(4)
  b.add([line(1), line(2)])
  b.hold(true)
  const before = b.shown.lines
  b.add([line(3), line(4), line(5), line(6), line(7), line(8)])
  assert.equal(b.shown.lines, before)
  assert.deepEqual([b.waiting.lines.length, b.waiting.dropped], [4, 2])
  b.hold(false)
  assert.deepEqual([b.shown.lines.map((l) => l.text).join(), b.lost, b.waiting.lines.length, b.waiting.dropped], ['m5,m6,m7,m8', 2, 0, 0])
})

test('lines told again after a pause of contact are left out, new ones of the same moment are not', () => {
  const r = new Repeats()
  r.came()
  assert.equal(r.fresh([line(1), line(2)]).length, 2)
  assert.equal(r.fresh([line(2)]).length, 1, 'without a new beginning nothing is a repeat')
  r.came()
  assert.deepEqual(
    r.fresh([line(1), line(2), line(2, 'error'), line(3)]).map((l) => l.level + l.text),
    ['errorm2', 'infom3'],
  )
  assert.equal(r.fresh([line(1)]).length, 1, 'behind the first new line nothing is a repeat')
})
test('a clock that was set back silences no more than the hub keeps', () => {
  const r = new Repeats()
  r.fresh([line(1000)])
  r.came()
  let came = 0
  for (let i = 0; i < 50; i++) came += r.fresh(Array.from({ length: 100 }, (_, n) => line(n))).length
  assert.equal(came, 5000 - 4100)
})

test('filters: levels, source, text in message and fields, fields exactly', () => {
  const l = line(1, 'warn', { endpoint: 'Box', cause: 'Refused' })
  const all = { levels: 'ewid', source: '', text: '', fields: [] as [string, string][] }
  assert.ok(passes(all)(l))
  assert.ok(!passes({ ...all, levels: 'eid' })(l))
  assert.ok(!passes({ ...all, levels: 'none' })(line(1, 'warn')))
  assert.ok(passes({ ...all, source: 'Box', text: ' refUSED ' })(l))
  assert.ok(!passes({ ...all, source: 'hub' })(l))
  assert.ok(passes({ ...all, fields: [['cause', 'Refused']] })(l))
  assert.ok(!passes({ ...all, fields: [['cause', 'Refuse']] })(l))
})
test('fields go through the address unharmed', () => {
  const f: [string, string][] = [
    ['a', 'x=y'],
    ['b', ''],
  ]
  assert.deepEqual(readFields(printFields(f)), f)
  assert.deepEqual(readFields(''), [])
})

test('find goes on around the end, both ways, and says when there is nothing', () => {
  const ls = ['a', 'hit', 'b', 'hit 2'].map((msg) => logLine({ msg }))
  const r = finder({ text: 'HIT', regexp: false, exact: false }) as RegExp
  assert.deepEqual([findNext(ls, r, 1, 1), findNext(ls, r, 3, 1), findNext(ls, r, 1, -1), findNext(ls, r, -1, 1)], [3, 1, 3, 1])
  assert.equal(findNext(ls, finder({ text: 'HIT', regexp: false, exact: true }) as RegExp, 0, 1), -1)
  assert.equal(findNext([], r, 0, 1), -1)
})
test('plain text is no expression, a bad expression is told', () => {
  assert.ok((finder({ text: 'a.c', regexp: false, exact: true }) as RegExp).test('a.c'))
  assert.ok(!(finder({ text: 'a.c', regexp: false, exact: true }) as RegExp).test('abc'))
  assert.equal(finder({ text: '(', regexp: true, exact: true }), 'bad')
  assert.equal(finder({ text: '', regexp: true, exact: true }), undefined)
})

test('colours become tones, what is found is marked, other control characters stay for the eye', () => {
  assert.deepEqual(
    pieces('\u001b[31mbad\u001b[0m ok\u001b[2J', /ok/g).map((p) => [p.text, p.tone, p.hit]),
    [
      ['bad', 'bad', false],
      [' ', '', false],
      ['ok', '', true],
      ['\u001b[2J', '', false],
    ],
  )
  assert.equal(
    pieces('aaa', /x*/g)
      .map((p) => p.text)
      .join(''),
    'aaa',
  )
  const many = pieces('a'.repeat(5000), /a/g)
  assert.ok(many.length < 300)
  assert.equal(many.map((p) => p.text).join('').length, 5000)
})

test('out of the page: one line each, whatever is in it', () => {
  const ls = [line(1, 'error', { cause: 'two\nlines' })]
  assert.equal(asText(ls).split('\n').length, 2)
  assert.match(asText(ls), /ERROR hub m1 {2}cause=two lines/)
  assert.equal(JSON.parse(asJsonLines(ls)).cause, 'two\nlines')
})
test('a moment finds its line, one behind all finds the last', () => {
  const ls = [line(1), line(2), line(3)]
  assert.deepEqual([lineAt(ls, 0), lineAt(ls, (ls[1]?.atMs ?? 0) - 1), lineAt(ls, 9e15)], [0, 1, 2])
})
test('places: measured lines push those below, and a place finds its line', () => {
  const ls = [line(1), line(2), line(3)]
  const at = offsets(ls, new Map([[ls[1]?.n ?? 0, 100]]), 20)
  assert.deepEqual([...at], [0, 20, 120, 140])
  assert.deepEqual(
    [0, 19, 20, 119, 120, 999].map((px) => lineFrom(at, px)),
    [0, 0, 1, 1, 2, 2],
  )
  assert.equal(lineFrom(offsets([], new Map(), 20), 50), 0)
})

test('a sieve that is fed bit by bit gives what a filter over all gives, and looks at each line once', () => {
  const s = new Sieve()
  const ring = new Ring(50)
  let looked = 0
  const keep = (l: { text: string }): boolean => (looked++, l.text.endsWith('5'))
  for (let i = 0; i < 40; i++) {
    ring.add(Array.from({ length: 7 }, (_, n) => line(i * 7 + n)))
    const got = s.run(ring.lines, keep)
    assert.deepEqual(
      got.map((l) => l.n),
      ring.lines.filter((l) => l.text.endsWith('5')).map((l) => l.n),
    )
  }
  assert.equal(looked, 280)
  assert.equal(s.run(ring.lines, keep), s.run(ring.lines, keep), 'nothing new is the same list')
  assert.deepEqual(
    s.run(ring.lines, () => true),
    ring.lines,
  )
  assert.deepEqual(
    s.run([], () => true),
    [],
  )
})
