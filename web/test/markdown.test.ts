import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inline, MarkdownStream, parse, safeLink, type Block, type Inline } from '../src/pure/markdown'

const text = (t: string): Inline => ({ kind: 'text', text: t })
const plain = (list: Inline[]): string =>
  list.map((n) => ('children' in n ? plain(n.children) : n.kind === 'break' ? '\n' : n.text)).join('')
const kinds = (s: string): string[] => parse(s).map((b) => b.kind)

test('paragraphs, headings, rules', () => {
  assert.deepEqual(parse('# One\n\ntwo\n***\nthree'), [
    { kind: 'heading', level: 1, children: [text('One')] },
    { kind: 'p', children: [text('two')] },
    { kind: 'rule' },
    { kind: 'p', children: [text('three')] },
  ])
})
test('a block of code keeps all that is in it', () => {
  assert.deepEqual(parse('```js\n# no *heading*\n\n<b>\n```\nafter'), [
    { kind: 'code', language: 'js', text: '# no *heading*\n\n<b>' },
    { kind: 'p', children: [text('after')] },
  ])
  assert.deepEqual(parse('````\n```\n````'), [{ kind: 'code', language: '', text: '```' }])
  assert.deepEqual(parse('~~~\nnever closed'), [{ kind: 'code', language: '', text: 'never closed' }])
})
test('lists, nested and numbered', () => {
  const [b] = parse('3. a\n4. b\n   - c\n   - d\n')
  assert.ok(b?.kind === 'list' && b.ordered && b.start === 3 && b.items.length === 2)
  const inner = b.items[1]?.[1]
  assert.ok(inner?.kind === 'list' && !inner.ordered && inner.items.length === 2)
})
test('quotes', () => {
  const [b] = parse('> a\n> - b')
  assert.ok(b?.kind === 'quote')
  assert.deepEqual(
    b.blocks.map((x) => x.kind),
    ['p', 'list'],
  )
})
test('tables: rows are as wide as the head', () => {
  const [b] = parse('| a | b |\n|---|:-:|\n| 1 | 2 | 3 |\n| 4 |\n')
  assert.ok(b?.kind === 'table')
  assert.deepEqual(
    b.rows.map((r) => r.map(plain)),
    [
      ['1', '2'],
      ['4', ''],
    ],
  )
})
test('emphasis, code, escapes', () => {
  assert.deepEqual(inline('**a** *b* `c*d*` \\*e\\*'), [
    { kind: 'strong', children: [text('a')] },
    text(' '),
    { kind: 'em', children: [text('b')] },
    text(' '),
    { kind: 'code', text: 'c*d*' },
    text(' *e*'),
  ])
  assert.deepEqual(inline('snake_case_name 2 * 3 * 4'), [text('snake_case_name 2 * 3 * 4')])
})
test('tags are text', () => {
  assert.deepEqual(inline('<img src=x onerror=alert(1)>'), [text('<img src=x onerror=alert(1)>')])
  assert.deepEqual(kinds('<script>\nalert(1)\n</script>'), ['p'])
})
test('only http, https and mailto are links', () => {
  assert.equal(safeLink('javascript:alert(1)'), undefined)
  assert.equal(safeLink('data:text/html,x'), undefined)
  assert.equal(safeLink('//evil.example'), undefined)
  assert.equal(safeLink('vbscript:x'), undefined)
  assert.equal(safeLink('https://a.example/b'), 'https://a.example/b')
  assert.equal(safeLink('mailto:a@b.example'), 'mailto:a@b.example')
})
test('images are not images', () => {
  assert.deepEqual(inline('![a](http://evil.example/x.png)'), [{ kind: 'image', href: 'http://evil.example/x.png', text: 'a' }])
})
test('bare addresses end before punctuation', () => {
  assert.deepEqual(inline('see https://a.example/b.'), [
    text('see '),
    { kind: 'link', href: 'https://a.example/b', children: [text('https://a.example/b')] },
    text('.'),
  ])
})
test('a stream gives the same blocks as the whole, however it is cut', () => {
  const doc =
    '# T\n\npara *one*\nstill\n\n- a\n- b\n\n  more of b\n\n- c\n\n```py\nx = 1\n\ny = 2\n```\n\n| a |\n|---|\n| 1 |\n\n> q\n\nlast'
  const whole = parse(doc)
  for (const size of [1, 2, 5, 11, doc.length]) {
    const s = new MarkdownStream()
    for (let i = 0; i < doc.length; i += size) s.add(doc.slice(i, i + size))
    s.end()
    assert.deepEqual(s.settled, whole, `pieces of ${size}`)
    assert.equal(s.open, '')
  }
})
test('what is settled is never read again', () => {
  const s = new MarkdownStream()
  s.add('one\n\ntwo')
  const first = s.settled[0]
  assert.equal(s.open, 'two')
  s.add('\n\nthree')
  assert.equal(s.settled[0], first)
  assert.equal(s.settled.length, 2)
})
test('hostile text takes no time to speak of', () => {
  const started = Date.now()
  for (const piece of ['*', '_', '[', '![', '`', '> ', '- ', '**a', '[a](', '| ', '\\', '#', '~'].map((x) => x.repeat(20_000))) parse(piece)
  parse('a'.repeat(200_000))
  parse(Array.from({ length: 3000 }, (_, i) => ' '.repeat(i % 7) + '- x').join('\n'))
  assert.ok(Date.now() - started < 10_000, `${Date.now() - started} ms`)
})
test('nesting has an end', () => {
  const depth = (blocks: Block[]): number => Math.max(0, ...blocks.map((b) => (b.kind === 'quote' ? 1 + depth(b.blocks) : 0)))
  assert.ok(depth(parse('>'.repeat(500) + ' x')) <= 8)
})
