import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Finding, Node } from '../src/app/types'
import { findingsOf, fingerprintGroups, nodeRank, nodeSince, nodeState, readLabels, writeLabels } from '../src/pure/nodes'

const node = (more: Partial<Node>): Node => ({
  id: 'attic-000000',
  name: 'attic',
  state: 'approved',
  drained: false,
  mode: 'reverse',
  labels: {},
  told: {},
  fingerprint: 'ab'.repeat(32),
  epoch: 1,
  linked: false,
  ...more,
})

test('a decision comes before the link, the link before the models', () => {
  assert.equal(nodeState(node({ state: 'waiting' })), 'waiting')
  assert.equal(nodeState(node({ state: 'revoked', linked: true, health: 'up' })), 'revoked')
  assert.equal(nodeState(node({ drained: true, linked: true, health: 'down' })), 'drained')
  assert.equal(nodeState(node({ epoch: 0 })), 'new')
  assert.equal(nodeState(node({})), 'lost')
  assert.equal(nodeState(node({ linked: true })), 'linking')
  assert.equal(nodeState(node({ linked: true, health: 'degraded' })), 'degraded')
})

test('what needs somebody stands first, what is out last', () => {
  const all = [node({ state: 'revoked' }), node({ linked: true, health: 'up' }), node({}), node({ state: 'waiting' })]
  assert.deepEqual(
    all.sort((a, b) => nodeRank(a) - nodeRank(b)).map(nodeState),
    ['waiting', 'lost', 'up', 'revoked'],
  )
})

test('since when', () => {
  const link = { up_ms: 400 } as Node['link']
  assert.equal(nodeSince(node({ linked: true, link }), 1000), 600)
  assert.equal(nodeSince(node({ state: 'waiting', created_ms: 5 }), 1000), 5)
  assert.equal(nodeSince(node({ down_since_ms: 7, seen_ms: 6 }), 1000), 7)
  assert.equal(nodeSince(node({ seen_ms: 6 }), 1000), 6)
  assert.equal(nodeSince(node({ epoch: 0, decided_ms: 3 }), 1000), 3)
})

test('findings of one node, the worst first', () => {
  const f = (severity: Finding['severity'], of: string): Finding => ({ code: 'x', severity, what: '', where: '', cure: '', node: of })
  assert.deepEqual(
    findingsOf([f('info', 'attic'), f('error', 'other'), f('error', 'attic'), f('warning', 'attic')], node({})).map((x) => x.severity),
    ['error', 'warning', 'info'],
  )
})

test('labels as lines, and back', () => {
  assert.deepEqual(readLabels('site = cellar \n\nrack\ngpu/vendor=a=b'), { labels: { site: 'cellar', rack: '', 'gpu/vendor': 'a=b' } })
  assert.equal(readLabels('a b=c').fault, 'a b=c')
  assert.equal(readLabels('=c').fault, '=c')
  assert.equal(writeLabels({ a: '1', b: '' }), 'a=1\nb=')
  assert.equal(fingerprintGroups('abcdef01'), 'abcd ef01')
})
