import assert from 'node:assert/strict'
import { test } from 'node:test'
import { NAME_MOST, pickParams, readHidden, readViews, sameParams, VIEWS_MOST, withView, writeHidden } from '../src/pure/views'

const allowed = ['q', 'sort', 'hide']

test('what was kept comes back, and nothing else does', () => {
  const views = [{ name: 'slow', params: { q: 'x', sort: '-first', hide: 'in.out' } }]
  assert.deepEqual(readViews(JSON.stringify(views), allowed), views)
  for (const bad of ['', '{', 'null', '7', '{}', '[null]', '[{}]', '[{"name":7,"params":{}}]', '[{"name":"a"}]', `[{"name":"${'a'.repeat(NAME_MOST + 1)}","params":{}}]`])
    assert.deepEqual(readViews(bad, allowed), [], bad)
  assert.deepEqual(readViews('[{"name":"a","params":{"q":"x","open":"r","tab":"try","sort":7,"hide":""}},{"name":"a","params":{}}]', allowed), [
    { name: 'a', params: { q: 'x' } },
  ])
  assert.equal(readViews(JSON.stringify(Array.from({ length: 50 }, (_, i) => ({ name: 'v' + i, params: {} }))), allowed).length, VIEWS_MOST)
})

test('a view takes the place of one of its name', () => {
  const one = withView(withView([], { name: 'b', params: {} }), { name: 'a', params: { q: '1' } })
  assert.deepEqual(
    withView(one, { name: 'a', params: { q: '2' } }).map((v) => v.name + (v.params.q ?? '')),
    ['a2', 'b'],
  )
})

test('views are compared by what they hold', () => {
  assert.ok(sameParams({ q: 'a' }, pickParams({ q: 'a', open: 'x', sort: '' }, allowed)))
  assert.ok(!sameParams({ q: 'a' }, { q: 'b' }))
  assert.ok(!sameParams({ q: 'a' }, { q: 'a', sort: 'x' }))
})

test('hidden columns are one word, and none is one too', () => {
  assert.deepEqual(readHidden(writeHidden(['in', 'out'])), ['in', 'out'])
  assert.equal(writeHidden([]), '-')
  assert.deepEqual(readHidden('-'), [])
  assert.deepEqual(readHidden(''), [])
})
