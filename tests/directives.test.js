// Directives: what a hub asks its nodes to do. Hub and node as they are; a hub against a node that keeps to no rule, and a node against
// such a hub; and either of them killed in the middle.
import test, { after, afterEach } from 'node:test';
import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFake } from './fakes/index.js';
import { serve } from './lib/daemon.js';
import { freePort, startDrover, until } from './lib/drover.js';
import { startHub } from './lib/hub.js';
import { Member, admin, enrol } from './lib/peers.js';

const open = [];
const closeAll = async () => { for (const one of open.splice(0).reverse()) await one(); };
afterEach(closeAll);
after(closeAll);

const allowAll = { inference: true, config: true, certs: true, restart: true };
const OVER = ['refused', 'succeeded', 'failed', 'cancelled', 'timed_out', 'expired', 'superseded', 'unknown'];

async function hubDaemon(config = {}) {
  const port = await freePort();
  const hub = await startDrover({ listen: [{ address: `127.0.0.1:${port}`, tls: 'ca', client_cert: 'optional', roles: ['link'] }],
    config: { hub: { name: 'home', heartbeat: '5s' }, workers: 2, ...config } });
  open.push(() => hub.stop());
  hub.linkPort = port;
  hub.api = (method, route, body) => admin(hub.dir, method, route, body);
  hub.node = async (name) => (await hub.api('GET', `nodes/${name}`)).body;
  hub.order = async (node, op, args, more) => {
    const { status, body } = await hub.api('POST', `nodes/${node}/directives`, { op, ...(args ? { args } : {}), ...more });
    assert.equal(status, 202, JSON.stringify(body));
    assert.ok(['queued', 'sent'].includes(body.state), body.state);
    return body.id;
  };
  hub.directive = async (id) => (await hub.api('GET', `directives/${id}`)).body;
  hub.becomes = (id, state, ms) => until(`${id} to be ${state}`, async () => {
    const d = await hub.directive(id);
    if (d.state === state) return d;
    throw new Error(JSON.stringify(d));
  }, ms);
  hub.ends = (id, ms) => until(`the end of ${id}`, async () => {
    const d = await hub.directive(id);
    if (OVER.includes(d.state)) return d;
    throw new Error(JSON.stringify(d));
  }, ms);
  hub.does = async (node, op, args, more) => hub.ends(await hub.order(node, op, args, more));
  return hub;
}

async function nodeDaemon(line, { name = 'attic', allow = allowAll, endpoints = [], ...more } = {}) {
  const node = await startDrover({ endpoints, config: { name, workers: 2, join: { token: line, name, allow } },
    prepare: (dir) => chmodSync(path.join(dir, 'drover.yaml'), 0o600), ...more });
  open.push(() => node.stop());
  return node;
}

/** A hub and a node of it, linked. */
async function both(options = {}) {
  const hub = await hubDaemon();
  const node = await nodeDaemon((await hub.cliJson('hub', 'invite')).line, options);
  await until('the link', async () => (await hub.node('attic')).health === 'up' || (await hub.node('attic')).link?.up_ms >= 0);
  return { hub, node };
}

async function fakeOf(options) {
  const fake = await startFake('vllm', { models: ['qwen3'], ...options });
  open.push(() => fake.close());
  return fake;
}

/** Ends it as a power cut does; its stop has nothing left to judge. */
async function kill(drover) {
  drover.process.kill('SIGKILL');
  await drover.process.ended;
  drover.process.result = { code: 0 };
  drover.process.ended = Promise.resolve({ code: 0 });
}
function restart(drover) {
  const child = serve({ file: drover.file });
  open.push(async () => {
    child.kill('SIGTERM');
    assert.equal((await child.ended).code, 0, child.log);
  });
  return child;
}

// --- hub and node as they are ------------------------------------------------------------------------------------------------------

test('a node looks at its endpoints, and says what it found', async () => {
  const fake = await fakeOf();
  const { hub, node } = await both({ endpoints: [fake], models: ['qwen3'] });
  const looks = fake.requests.length;
  const d = await hub.does('attic', 'refresh_inventory', undefined, { reason: 'new disks' });
  assert.equal(d.state, 'succeeded', JSON.stringify(d));
  assert.deepEqual([d.op, d.by, d.reason, d.code], ['refresh_inventory', 'operator', 'new disks', '']);
  assert.deepEqual(d.detail, { endpoints: 1, healthy: 1, models: 1 });
  assert.ok(d.ended_ms >= d.issued_ms);
  assert.ok(fake.requests.length > looks, 'it was asked again');
  const missing = await hub.does('attic', 'refresh_inventory', { endpoint_id: 'nowhere' });
  assert.deepEqual([missing.state, missing.code], ['failed', 'unknown_id']);
  const lines = (await hub.api('GET', 'nodes/attic/history')).body.events.filter((e) => e.what === 'directive').map((e) => e.detail);
  assert.match(lines.find((l) => l.includes(d.id) && l.includes('succeeded')), /^refresh_inventory/);
  const own = (await admin(node.dir, 'GET', 'audit?limit=100')).body.acts.filter((a) => a.action === 'hub.directive');
  assert.ok(own.some((a) => a.detail.includes(d.id) && a.detail.includes('operator: new disks')), JSON.stringify(own));
  const shown = await hub.cli('node', 'order', 'attic', 'refresh_inventory', '--wait');
  assert.equal(shown.code, 0, shown.stderr);
  assert.match(shown.stdout, /refresh_inventory: succeeded.*"endpoints":1/);
  assert.match((await hub.cli('node', 'orders', 'attic')).stdout, /refresh_inventory +failed +operator +this node has no such endpoint/);
});

test('the level of a node\'s log is another for a while, and falls back by itself', async () => {
  const { hub, node } = await both();
  const level = async () => (await admin(node.dir, 'GET', 'log-level')).body.level;
  assert.equal(await level(), 'info');
  const d = await hub.does('attic', 'set_log_level', { level: 'debug', ttl_ms: 1500 });
  assert.deepEqual([d.state, d.detail.level, d.detail.was], ['succeeded', 'debug', 'info']);
  assert.equal(await level(), 'debug');
  await until('the level to fall back', async () => await level() === 'info', 5000);
});

test('a node is drained softly and hard, and gets work again', async () => {
  const fake = await fakeOf({ reply: Array.from({ length: 400 }, () => 'word '), delayMs: 50 });
  const { hub, node } = await both({ endpoints: [fake], models: ['qwen3'] });
  await until('the model at the hub', async () => (await hub.modelIds()).includes('qwen3'));
  const stream = async () => {
    const response = await hub.post('/v1/chat/completions', { model: 'qwen3', stream: true, messages: [{ role: 'user', content: 'hi' }] });
    assert.equal(response.status, 200);
    return response.text();
  };
  const running = stream();
  await until('the request at the node', () => fake.requests.some((r) => r.path === '/v1/chat/completions'));
  const soft = await hub.order('attic', 'drain', { deadline_ms: 60000 });
  await hub.becomes(soft, 'running');
  assert.equal((await hub.directive(soft)).progress.stage, 'draining');
  await until('no new work', async () => (await hub.node('attic')).heartbeat?.state === 'draining');
  assert.equal((await hub.post('/v1/chat/completions', { model: 'qwen3', messages: [] }, { signal: AbortSignal.timeout(15000) }).catch(() => ({ status: 0 }))).status === 200, false);
  assert.equal((await node.post('/v1/chat/completions', { model: 'qwen3', stream: true, messages: [] }, { signal: AbortSignal.timeout(400) })).status, 200,
    'its own clients are served');
  const undrain = await hub.order('attic', 'undrain');
  await hub.becomes(undrain, 'accepted');
  const cancel = (await hub.api('DELETE', `directives/${soft}`)).body;
  assert.equal((await hub.ends(cancel.id)).state, 'succeeded');
  assert.equal((await hub.ends(soft)).state, 'cancelled');
  assert.equal((await hub.ends(undrain)).state, 'succeeded', 'its turn came when the drain was over');
  await until('work again', async () => (await hub.node('attic')).heartbeat?.state === 'running');
  const hard = await hub.does('attic', 'drain', { mode: 'hard', deadline_ms: 300 });
  assert.equal(hard.state, 'succeeded', JSON.stringify(hard));
  assert.ok(hard.detail.cancelled >= 1 && hard.detail.left === 0, JSON.stringify(hard.detail));
  assert.match(await running, /error/, 'the client is told');
});

test('a node starts anew in the same process, and says so over the next link', async () => {
  const { hub, node } = await both();
  const before = await hub.node('attic'), { pid } = node.process;
  const started = async () => (await admin(node.dir, 'GET', 'status')).body.uptime_ms;
  const up = await started();
  const d = await hub.does('attic', 'restart', { grace_ms: 1000 });
  assert.equal(d.state, 'succeeded', JSON.stringify(d));
  assert.equal(d.detail.message, 'started anew');
  const now = await hub.node('attic');
  assert.ok(now.epoch > before.epoch && now.linked);
  assert.ok(await started() < up || node.log.split('listening').length > 2, 'another run');
  assert.equal(node.process.pid, pid);
  assert.equal(node.process.result, undefined);
  assert.equal((await hub.does('attic', 'refresh_inventory')).state, 'succeeded');
});

test('a node renews its certificate now', async () => {
  const { hub } = await both();
  const before = await hub.node('attic');
  const d = await hub.does('attic', 'rotate_certs');
  assert.equal(d.state, 'succeeded', JSON.stringify(d));
  const now = await hub.node('attic');
  assert.notEqual(now.fingerprint, before.fingerprint);
  assert.equal(now.epoch, d.detail.epoch);
  assert.ok(now.epoch > before.epoch);
});

test('what a node\'s settings forbid, or its version cannot do, is refused and written down at both ends', async () => {
  const { hub, node } = await both({ allow: {} });
  for (const [op, args, code, why] of [['restart', {}, 'not_allowed', /join\.allow\.restart/], ['set_log_level', { level: 'debug' }, 'not_allowed', /join\.allow\.config/],
    ['load_model', { endpoint_id: 'x', id: 'y' }, 'unsupported_op', /load_model/], ['unload_model', {}, 'unsupported_op', /unload/], ['run_job', {}, 'unsupported_op', /run_job/],
    ['cancel_job', {}, 'unsupported_op', /cancel_job/], ['update_registry', {}, 'unsupported_op', /registry/], ['update_config', {}, 'unsupported_op', /update_config/]]) {
    const d = await hub.does('attic', op, args);
    assert.deepEqual([d.state, d.code], ['refused', code], op);
    assert.match(d.message, why);
    const there = (await admin(node.dir, 'GET', 'audit?limit=100')).body.acts.find((a) => a.action === 'hub.directive_refused' && a.detail.includes(d.id));
    assert.match(there.detail, new RegExp(code));
    const here = (await hub.api('GET', 'audit?limit=100')).body.acts.find((a) => a.action === 'node.directive' && a.detail.includes(d.id));
    assert.equal(here.detail, `${op} ${d.id}`);
  }
  assert.equal((await hub.does('attic', 'refresh_inventory')).state, 'succeeded');
});

test('the admin API says what is wrong with a directive', async () => {
  const hub = await hubDaemon();
  const who = await enrol(hub.dir, hub.linkPort, 'attic');
  const made = (body, node = 'attic') => hub.api('POST', `nodes/${node}/directives`, body);
  for (const [body, why] of [[[], /object/], [{}, /op/], [{ op: 7 }, /op/], [{ op: 'reboot' }, /reboot/], [{ op: 'drain', args: [] }, /args/], [{ op: 'drain', args: { mode: 'now' } }, /soft, hard/],
    [{ op: 'restart', args: { grace_ms: 1e9 } }, /grace_ms/], [{ op: 'restart', args: { force: true } }, /force/], [{ op: 'cancel', args: { what: 'directive' } }, /id/],
    [{ op: 'undrain', timeout_ms: 0 }, /timeout_ms/], [{ op: 'undrain', expires_ms: 999 }, /expires_ms/], [{ op: 'undrain', expires_ms: 86400001 }, /expires_ms/],
    [{ op: 'undrain', reason: 'a\nb' }, /reason/], [{ op: 'undrain', color: 'red' }, /color/], [{ op: 'load_model', args: { a: 'x'.repeat(17000) } }, /16384/]]) {
    const { status, body: answer } = await made(body);
    assert.equal(status, 400, JSON.stringify(body).slice(0, 100));
    assert.match(answer.error.message, why);
  }
  assert.equal((await made({ op: 'undrain' }, 'nobody')).status, 404);
  assert.equal((await hub.api('GET', 'directives/nothing')).status, 404);
  assert.equal((await hub.api('DELETE', 'directives/nothing')).status, 404);
  assert.equal((await hub.api('GET', 'nodes/nobody/directives')).status, 404);
  for (let i = 0; i < 64; i++) assert.equal((await made({ op: 'undrain' })).status, 202, `${i}`);
  const { status, body } = await made({ op: 'undrain' });
  assert.equal(status, 429);
  assert.match(body.error.message, /64 directives/);
  const { directives } = (await hub.api('GET', 'nodes/attic/directives')).body;
  assert.equal(directives.length, 64);
  const gone = (await hub.api('DELETE', `directives/${directives[0].id}`)).body;
  assert.equal(gone.state, 'cancelled', 'it was never sent');
  assert.equal((await made({ op: 'undrain' })).status, 202);
  assert.equal((await hub.api('POST', `nodes/${who.id}/revoke`)).status, 200);
  assert.equal((await made({ op: 'undrain' }, who.id)).status, 409);
  assert.equal((await hub.api('DELETE', `nodes/${who.id}`)).status, 200);
  assert.equal((await hub.api('GET', `directives/${directives[1].id}`)).status, 404, 'they go with the node');
});

// --- killed in the middle ------------------------------------------------------------------------------------------------------------

test('a directive for a node that is away outlives its hub, and is done when both are back', async () => {
  const { hub, node } = await both();
  await kill(node);
  await until('the hub to see it', async () => !(await hub.node('attic')).linked);
  const id = await hub.order('attic', 'set_log_level', { level: 'debug', ttl_ms: 60000 }), late = await hub.order('attic', 'undrain', {}, { expires_ms: 1000 });
  assert.equal((await hub.directive(id)).state, 'queued');
  await kill(hub);
  restart(hub);
  await until('the hub', async () => (await hub.api('GET', 'status')).status === 200);
  const gone = await hub.ends(late);
  assert.deepEqual([gone.state, gone.code], ['expired', 'expired']);
  restart(node);
  const d = await hub.ends(id, 60000);
  assert.equal(d.state, 'succeeded', JSON.stringify(d));
});

test('a node that is killed while one runs says so, and does not run it again', async () => {
  const fake = await fakeOf({ reply: Array.from({ length: 400 }, () => 'word '), delayMs: 50 });
  const { hub, node } = await both({ endpoints: [fake], models: ['qwen3'] });
  await until('the model at the hub', async () => (await hub.modelIds()).includes('qwen3'));
  const running = hub.post('/v1/chat/completions', { model: 'qwen3', stream: true, messages: [{ role: 'user', content: 'hi' }] }).then((r) => r.text()).catch(() => {});
  await until('the request at the node', () => fake.requests.some((r) => r.path === '/v1/chat/completions'));
  const id = await hub.order('attic', 'drain', { deadline_ms: 60000 });
  const behind = await hub.order('attic', 'undrain');
  await hub.becomes(id, 'running');
  await hub.becomes(behind, 'accepted');
  await kill(node);
  await running;
  restart(node);
  const d = await hub.ends(id, 60000);
  assert.deepEqual([d.state, d.code], ['failed', 'interrupted']);
  assert.equal((await hub.ends(behind)).state, 'succeeded', 'what had not begun is done after it');
  const rows = new DatabaseSync(path.join(node.dir, 'data/drover.db'), { readOnly: true });
  await until('the node to know that the hub knows', () => rows.prepare('SELECT count(*) AS n FROM errand WHERE is_told = 0').get().n === 0);
  rows.close();
});
