import assert from 'node:assert/strict'
import test from 'node:test'
import { body, formOf, isChanged, NEW, type EndpointSettings } from '../src/pure/endpointdraft'

const there: EndpointSettings = {
  name: 'gpu',
  url: 'https://gpu.example',
  kind: 'vllm',
  key: '(set, not shown)',
  max_concurrent: 4,
  weight: 100,
  models: { include: ['qwen*'], exclude: [] },
  tls: { insecure: false },
}

test('to add: what is not set is left out', () => {
  assert.deepEqual(body({ ...NEW, name: ' gpu ', url: 'http://a ' }), {
    name: 'gpu',
    url: 'http://a',
    kind: 'auto',
    models: { include: null, exclude: null },
  })
  assert.deepEqual(body({ ...NEW, name: 'g', url: 'https://a', key: 'sk', most: '4', weight: 'much', include: 'a, b*', insecure: true }), {
    name: 'g',
    url: 'https://a',
    kind: 'auto',
    key: 'sk',
    max_concurrent: 4,
    weight: 'much',
    models: { include: ['a', 'b*'], exclude: null },
    tls: { insecure: true },
  })
})

test('to change: what differs, and a key only when it was given or taken away', () => {
  const was = formOf(there)
  assert.equal(isChanged(was, was), false)
  assert.deepEqual(body({ ...was, most: '' }, was), { max_concurrent: null })
  assert.deepEqual(body({ ...was, include: '' }, was), { models: { include: null, exclude: null } })
  assert.deepEqual(body({ ...was, key: 'sk-2' }, was), { key: 'sk-2' })
  assert.deepEqual(body({ ...was, key: 'sk-2', dropKey: true }, was), { key: null })
  assert.deepEqual(body({ ...was, insecure: true }, was), { tls: { insecure: true } })
})
