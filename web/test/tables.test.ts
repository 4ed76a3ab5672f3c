import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Alert } from '../src/app/types'
import { alertOrder, evidence, isSilent } from '../src/pure/alerts'
import { amount, cell, csv } from '../src/pure/csv'
import { envName, groupOf, isChanged, passesSetting, waysToSet, type Setting } from '../src/pure/settings'

test('CSV: quotes, line ends, unknown is empty', () => {
  assert.equal(
    csv(
      ['a', 'b', 'c'],
      [
        { a: 1.5, b: 'x "y", z', c: null },
        { a: -2, b: 'two\nlines', c: true },
      ],
    ),
    'a,b,c\r\n1.5,"x ""y"", z",\r\n-2,"two\nlines",true\r\n',
  )
})
test('a text that a spreadsheet would run does not begin as one; a figure below zero does', () => {
  assert.deepEqual(
    [cell('=1+1'), cell('@x'), cell('-a'), cell('+1'), cell('\tx'), cell(-1), cell('a=b')],
    ["'=1+1", "'@x", "'-a", "'+1", "'\tx", '-1', 'a=b'],
  )
})
test('money: two decimals, more where it is small, no currency where there is none in particular', () => {
  assert.deepEqual(
    [amount(0), amount(1234.5, 'EUR'), amount(0.000125, 'EUR'), amount(0.5, 'XXX'), amount(null), amount(undefined, 'EUR'), amount(2, '')],
    ['0.00', '1,234.50 EUR', '0.000125 EUR', '0.50', '–', '–', '2.00'],
  )
})

const setting = (name: string, more: Partial<Setting> = {}): Setting => ({
  name,
  value: '64MiB',
  default: '64MiB',
  origin: 'default',
  restart: false,
  type: 'size',
  help: 'most bytes of a body',
  ...more,
})

test('settings: groups, search over name, help and variable, changed only', () => {
  const list = [
    setting('name', { value: 'hub' }),
    setting('gateway.body_max', { origin: 'file', value: '1MiB', line: 3 }),
    setting('endpoints[].watts', { origin: 'file' }),
  ]
  const names = (f: Partial<Parameters<typeof passesSetting>[0]>): string =>
    list
      .filter(passesSetting({ text: '', group: '', origin: '', changed: false, ...f }))
      .map((s) => s.name)
      .join()
  assert.deepEqual(
    list.map((s) => groupOf(s.name)),
    ['', 'gateway', 'endpoints'],
  )
  assert.equal(names({ group: 'general' }), 'name')
  assert.equal(names({ text: 'body BYTES gateway' }), 'gateway.body_max')
  assert.equal(names({ text: 'drover_gateway' }), 'gateway.body_max')
  assert.equal(names({ origin: 'file' }), 'gateway.body_max,endpoints[].watts')
  assert.equal(names({ changed: true }), 'gateway.body_max')
  assert.ok(!isChanged(setting('x', { origin: 'file' })), 'set to the default is not changed')
})
test('ways to set it: file, variable, flag; inside a list only the file', () => {
  assert.equal(envName('gateway.body_max'), 'DROVER_GATEWAY_BODY_MAX')
  assert.deepEqual(waysToSet(setting('gateway.body_max')), {
    file: 'gateway:\n  body_max: 64MiB\n',
    environment: 'DROVER_GATEWAY_BODY_MAX=64MiB',
    flag: 'drover serve --set gateway.body_max=64MiB',
  })
  assert.equal(waysToSet(setting('gateway.body_max', { changeable: true })).command, 'drover config set gateway.body_max 64MiB')
  assert.deepEqual(waysToSet(setting('endpoints[].watts', { value: '90' })), { file: 'endpoints:\n  watts: 90\n' })
  assert.equal(waysToSet(setting('name', { value: "it's: a" })).flag, "drover serve --set 'name=it'\\''s: a'")
  assert.equal(waysToSet(setting('name', { value: 'a: b' })).file, 'name: "a: b"\n')
})

const alert = (id: string, more: Partial<Alert> = {}): Alert => ({
  id,
  kind: 'k',
  severity: 'warn',
  object: 'o',
  text: 't',
  cure: 'c',
  since_ms: 1,
  ...more,
})

test('alerts: firing before silenced, bad before warnings, newest first; a silence that is over is none', () => {
  const list = [
    alert('silent', { severity: 'bad', silenced_until_ms: 100 }),
    alert('old'),
    alert('new', { since_ms: 5 }),
    alert('bad', { severity: 'bad' }),
    alert('heard', { since_ms: 3, silenced_until_ms: 49 }),
  ]
  assert.equal(
    alertOrder(list, 50)
      .map((a) => a.id)
      .join(),
    'bad,new,heard,old,silent',
  )
  assert.ok(!isSilent(list[0] as Alert, 100))
})
test('the evidence is a place of this console', () => {
  assert.equal(evidence('#/fleet?open=box'), '#/fleet?open=box')
  for (const bad of ['javascript:alert(1)', 'https://example.com/', '//example.com', '#/fleet#x', '', undefined])
    assert.equal(evidence(bad), undefined)
})

test('an alert that another explains stands below that one', () => {
  const alert = (id: string, since_ms: number, more: object = {}) => ({ id, since_ms, severity: 'bad', kind: 'x', object: '', text: '', cure: '', ...more }) as never
  const order = (list: never[]): string => alertOrder(list, 0).map((a) => a.id).join()
  assert.equal(order([alert('slow', 9, { explained_by: 'down' }), alert('other', 5), alert('down', 1)]), 'other,down,slow')
  assert.equal(order([alert('slow', 9, { explained_by: 'gone' }), alert('other', 5)]), 'slow,other')
})
