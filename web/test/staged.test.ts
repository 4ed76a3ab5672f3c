import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Setting } from '../src/pure/settings'
import { bodyOf, complaintOf, draftText, lockOf, withDraft, type Drafts } from '../src/pure/staged'
import { linesOf, listOf, splitValue, unitsOf } from '../src/pure/settingvalue'

const setting = (name: string, more: Partial<Setting> = {}): Setting => ({
  name,
  value: '5m',
  default: '5m',
  origin: 'default',
  restart: false,
  type: '',
  help: '',
  changeable: true,
  ...more,
})
const NONE: Drafts = new Map()

test('a number and its unit: one number in the largest unit that it fills', () => {
  for (const [kind, value, number, unit] of [
    ['duration', '5m', '5', 'm'],
    ['duration', '90s', '90', 's'],
    ['duration', '1m30s', '90', 's'],
    ['duration', '1h30m', '90', 'm'],
    ['duration', '1d', '1', 'd'],
    ['duration', '1500ms', '1500', 'ms'],
    ['size', '64MiB', '64', 'MiB'],
    ['size', '256B', '256', 'B'],
    ['rate', '2KiB/s', '2', 'KiB/s'],
    ['pace', '600/min', '600', '/min'],
    ['pace', '10/s', '10', '/s'],
    ['percent', '25%', '25', '%'],
    ['duration', '', '', 'ms'],
    ['duration', 'soon', 'soon', 'ms'],
    ['duration', '1.5h', '1.5h', 'ms'],
    ['duration', '5 m', '5 m', 'ms'],
    ['duration', '5x', '5x', 'ms'],
  ] as const)
    assert.deepEqual(splitValue(kind, value), { number, unit }, value)
  assert.deepEqual(unitsOf('size'), ['B', 'KiB', 'MiB', 'GiB'])
  assert.deepEqual(unitsOf('text'), [])
})
test('lists as YAML writes them, and as lines', () => {
  assert.deepEqual(listOf('[]'), [])
  assert.deepEqual(listOf(''), [])
  assert.deepEqual(listOf('["10.0.0.1", "fd00::5"]'), ['10.0.0.1', 'fd00::5'])
  assert.deepEqual(listOf('[plain, "a, \\"b\\"", c-d]'), ['plain', 'a, "b"', 'c-d'])
  assert.deepEqual(linesOf(' a \n\n b\n'), ['a', 'b'])
})
test('what changes nothing is no draft', () => {
  const s = setting('a.b')
  const one = withDraft(NONE, s, { value: '2m' })
  assert.deepEqual([...one], [['a.b', { value: '2m' }]])
  assert.equal(withDraft(one, s, { value: '5m' }).size, 0)
  assert.equal(withDraft(one, s, undefined).size, 0)
  assert.equal(withDraft(NONE, s, {}).size, 0, 'it is at its default already')
  assert.equal(withDraft(NONE, setting('a.b', { origin: 'console', value: '2m' }), {}).size, 1)
  const list = setting('l', { value: '["x", y]', kind: 'list' })
  assert.equal(withDraft(NONE, list, { value: ['x', 'y'] }).size, 0)
  assert.equal(withDraft(NONE, list, { value: ['y', 'x'] }).size, 1)
  assert.equal(NONE.size, 0)
})
test('what is sent: values under set, the rest under unset', () => {
  const drafts: Drafts = new Map([
    ['a', { value: '2m' }],
    ['b', {}],
    ['l', { value: ['x'] }],
  ])
  assert.deepEqual(bodyOf(drafts), { set: { a: '2m', l: ['x'] }, unset: ['b'] })
  assert.equal(draftText({}, setting('a')), '5m')
  assert.equal(draftText({ value: ['x', 'y'] }, setting('a')), '[x, y]')
})
test('locks: what is never for a page, and what something else sets', () => {
  assert.equal(lockOf(setting('a')), undefined)
  assert.equal(lockOf(setting('a', { origin: 'console' })), undefined)
  for (const origin of ['file', 'environment', 'flag'] as const) assert.equal(lockOf(setting('a', { origin })), origin)
  assert.equal(lockOf(setting('a', { changeable: false })), 'never')
  assert.equal(lockOf(setting('a', { changeable: undefined })), 'never', 'a hub that does not say')
})
test('a complaint stands at its setting, that of an entry at the list', () => {
  const all = [
    { key: 'discovery.lan[2]', message: 'x' },
    { key: 'gateway.deadline', message: 'y' },
  ]
  assert.equal(complaintOf(all, 'discovery.lan')?.message, 'x')
  assert.equal(complaintOf(all, 'discovery.la'), undefined)
  assert.equal(complaintOf(all, 'gateway'), undefined)
  assert.equal(complaintOf(all, 'gateway.deadline')?.message, 'y')
})
