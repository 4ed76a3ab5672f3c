import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  changes,
  check,
  emptyForm,
  formOf,
  lines,
  members,
  memberWords,
  readLimit,
  spend,
  spanEnd,
  spanStart,
  words,
  type KeyMembers,
} from '../src/pure/keydraft'

const now = Date.UTC(2026, 5, 16, 12)
const key: KeyMembers = {
  name: 'ci',
  owner: 'sam',
  enabled: true,
  expires_ms: null,
  models: ['*'],
  endpoints: ['*'],
  networks: [],
  rights: [],
  priority: 0,
  limits: {},
}

test('nothing is chosen beforehand: an empty form lacks a name, an end, models and endpoints', () => {
  assert.deepEqual(Object.keys(check(emptyForm(), now)).sort(), ['endpoints', 'expires', 'models', 'name'])
})
test('a key goes into the form and back unchanged', () => {
  const k: KeyMembers = {
    ...key,
    models: ['a', 'b-*'],
    networks: ['10.0.0.0/8'],
    rights: ['pass', 'measure'],
    priority: -3,
    limits: { concurrent: 2, money_per_month: 1.5 },
  }
  assert.deepEqual(changes(k, members(formOf(k), now)), {})
  assert.deepEqual(check(formOf(k), now), {})
})
test('an end with seconds is not cut down by a form that knows minutes', () => {
  const k = { ...key, expires_ms: now + 12_345_678 }
  assert.deepEqual(changes(k, members(formOf(k), now)), {})
  assert.ok('expires_ms' in changes(k, members({ ...formOf(k), expires: '30' }, now)))
})
test('only what differs is sent; limits as a whole, in any order', () => {
  const to = members({ ...formOf(key), owner: 'ann', limits: { ...formOf(key).limits, concurrent: '4' } }, now)
  assert.deepEqual(changes(key, to), { owner: 'ann', limits: { concurrent: 4 } })
  assert.deepEqual(
    changes({ ...key, limits: { concurrent: 1, requests_per_min: 2 } }, { ...key, limits: { requests_per_min: 2, concurrent: 1 } }),
    {},
  )
})
test('an end that is over is told, but a key that is over can be changed otherwise', () => {
  const k = { ...key, expires_ms: now - 86_400_000 }
  assert.ok(check({ ...formOf(k) }, now).expires)
  assert.equal(check(formOf(k), now, formOf(k)).expires, undefined)
})
test('limits as typed', () => {
  assert.deepEqual(
    ['', '12', '1,000', '1 000', '1_000'].map((t) => readLimit('concurrent', t)),
    [0, 12, 1000, 1000, 1000],
  )
  assert.deepEqual(
    ['1.5', '-1', 'x', '4294967296', '1e3'].map((t) => readLimit('concurrent', t)),
    [undefined, undefined, undefined, undefined, undefined],
  )
  assert.deepEqual(
    ['2.5', '2,5', '0.000001'].map((t) => readLimit('money_per_day', t)),
    [2.5, 2.5, 0.000001],
  )
  assert.deepEqual(
    ['0.0000001', '2000000000', '-1', '1.2.3'].map((t) => readLimit('money_per_day', t)),
    [undefined, undefined, undefined, undefined],
  )
})
test('names: one each, without blanks and repeats', () => {
  assert.deepEqual(lines(' a\nb, a ,\n\n c '), ['a', 'b', 'c'])
})
test('faults name their field', () => {
  const f = { ...formOf(key), name: 'é'.repeat(33), networks: 'here', priority: '101' }
  assert.deepEqual(Object.keys(check(f, now)).sort(), ['name', 'networks', 'priority'])
})

test('in words: what it may, where from, how much', () => {
  const said = words(
    {
      ...key,
      expires_ms: now + 30 * 86_400_000,
      models: ['qwen3-32b'],
      networks: ['10.0.0.0/8'],
      rights: ['manage'],
      limits: { requests_per_min: 20, tokens_per_month: 1_000_000, money_per_day: 2.5 },
      priority: 5,
    },
    'EUR',
    now,
  ).join(' ')
  for (const part of [
    '30 days from now',
    'may ask for qwen3-32b, and for nothing else',
    'from 10.0.0.0/8 only',
    'pull, load',
    '20 requests a minute',
    '1,000,000 tokens a month',
    '2.50 EUR cost a day',
    'goes ahead',
  ])
    assert.ok(said.includes(part), part + ' in: ' + said)
  const open = words(key, 'XXX', now).join(' ')
  for (const part of ['until somebody revokes it', 'every model', 'Any endpoint', 'any address', 'no budget', 'nothing but ask'])
    assert.ok(open.includes(part), part)
  assert.match(words({ ...key, models: [], enabled: false }, '', now).join(' '), /lets nobody in.*no model/)
})
test('members in words, for two people who disagree', () => {
  assert.equal(memberWords('limits', { concurrent: 2 }, ''), '2 requests side by side')
  assert.equal(memberWords('expires_ms', null, ''), 'never')
  assert.equal(memberWords('models', ['a', 'b'], ''), 'a, b')
})

test('days and months are those of UTC', () => {
  assert.equal(new Date(spanStart('month', now)).toISOString(), '2026-06-01T00:00:00.000Z')
  assert.equal(new Date(spanEnd('month', Date.UTC(2026, 11, 31))).toISOString(), '2027-01-01T00:00:00.000Z')
  assert.equal(spanEnd('day', now) - spanStart('day', now), 86_400_000)
})
test('a budget: spent, left, and when it ends at this pace', () => {
  const half = spend(1000, 600, 'month', now) /* 15.5 of 30 days gone */
  assert.deepEqual([half.left, half.share], [400, 0.6])
  assert.equal(half.endsMs, spanStart('month', now) + ((now - spanStart('month', now)) * 1000) / 600)
  assert.equal(spend(1000, 100, 'month', now).endsMs, undefined, 'lasts')
  assert.deepEqual(
    [spend(1000, 1200, 'day', now).left, spend(1000, 1200, 'day', now).share, spend(1000, 1200, 'day', now).endsMs],
    [0, 1.2, undefined],
  )
  assert.equal(spend(1000, 500, 'day', spanStart('day', now) + 60_000).endsMs, undefined, 'a minute is no pace')
})
