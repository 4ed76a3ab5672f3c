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

// --- a node that keeps to no rule ---------------------------------------------------------------------------------------------------

async function hubAndPeer() {
  const hub = await hubDaemon();
  const who = await enrol(hub.dir, hub.linkPort, 'attic');
  const peer = await Member.join(hub.linkPort, who);
  open.push(() => peer.leave().catch(() => {}));
  peer.directives = (id) => peer.messages.filter((m) => m.kind === 'directive' && (!id || m.payload.directive_id === id));
  peer.got = (id, n = 1) => until(`directive ${id}, ${n} times`, () => peer.directives(id).length >= n && peer.directives(id)[n - 1]);
  return { hub, who, peer };
}

test('a directive is sent until it is answered: once more on this link, again on the next one', async () => {
  const { hub, who, peer } = await hubAndPeer();
  const id = await hub.order('attic', 'drain', { mode: 'hard', deadline_ms: 7 }, { reason: 'why not', timeout_ms: 1234, expires_ms: 60000 });
  const { payload } = await peer.got(id);
  assert.deepEqual([payload.op, payload.args, payload.principal, payload.reason, payload.timeout_ms], ['drain', { mode: 'hard', deadline_ms: 7 }, 'operator', 'why not', 1234]);
  assert.ok(payload.expires_ms > 50000 && payload.expires_ms <= 60000);
  assert.ok(Math.abs(Date.parse(payload.issued_at) - Date.now()) < 10000);
  assert.equal((await hub.directive(id)).state, 'sent');
  await peer.got(id, 2);
  await until('the hub to say that there is no answer', async () => (await hub.directive(id)).unanswered === true);
  await sleep(6000);
  assert.equal(peer.directives(id).length, 2, 'and not every five seconds');
  peer.cut();
  const again = await Member.join(hub.linkPort, who, { instance: peer.instance });
  open.push(() => again.leave().catch(() => {}));
  await until('it on the next link', () => again.messages.some((m) => m.kind === 'directive' && m.payload.directive_id === id));
  again.say('ack', { scope: 'node', directive_id: id, accepted: true });
  await hub.becomes(id, 'accepted');
  again.say('directive_progress', { directive_id: id, pct: 12.5, stage: 'draining', message: 'two\u0007 left' });
  const running = await hub.becomes(id, 'running');
  assert.deepEqual(running.progress, { stage: 'draining', message: 'two\ufffd left', pct: 12.5 });
  const re = again.say('directive_result', { directive_id: id, status: 'failed', code: 'busy', detail: { message: 'no', n: 1 } });
  const ack = await again.answer('ack', re);
  assert.deepEqual([ack.payload.scope, ack.payload.directive_id, ack.payload.code], ['hub', id, undefined]);
  const d = await hub.directive(id);
  assert.deepEqual([d.state, d.code, d.message, d.detail], ['failed', 'busy', 'no', { message: 'no', n: 1 }]);
  const repeat = again.say('directive_result', { directive_id: id, status: 'succeeded' });
  assert.equal((await again.answer('ack', repeat)).payload.code, 'unknown_id', 'it may forget it');
  again.say('ack', { directive_id: id, accepted: false, code: 'not_allowed' });
  await sleep(300);
  assert.deepEqual(await hub.directive(id), d, 'an end is an end');
});

test('what a node says of directives that are not its own, or are none, changes nothing', async () => {
  const { hub, peer } = await hubAndPeer();
  const other = await Member.join(hub.linkPort, await enrol(hub.dir, hub.linkPort, 'other'));
  open.push(() => other.leave().catch(() => {}));
  const id = await hub.order('attic', 'undrain');
  await peer.got(id);
  for (const strange of [id, 'never-was', 'a b\u0000c', 'x'.repeat(128)]) {
    const re = other.say('directive_result', { directive_id: strange, status: 'succeeded' });
    assert.equal((await other.answer('ack', re)).payload.code, 'unknown_id', strange);
    other.say('ack', { directive_id: strange, accepted: false, code: 'not_allowed', message: 'mine' });
    other.say('directive_progress', { directive_id: strange, stage: 'taken over' });
  }
  for (const [kind, payload, where] of [['directive_result', { directive_id: id, status: 'done' }, '/payload/status'], ['directive_result', { status: 'failed' }, '/payload/directive_id'],
    ['directive_result', { directive_id: id, status: 'failed', detail: [] }, '/payload/detail'], ['directive_result', { directive_id: 'x'.repeat(129), status: 'failed' }, '/payload/directive_id'],
    ['directive_progress', { directive_id: id, pct: 'half' }, '/payload/pct'], ['directive_progress', { directive_id: id, message: 'x'.repeat(513) }, '/payload/message']]) {
    const re = peer.say(kind, payload);
    const { payload: fault } = await peer.answer('error', re);
    assert.deepEqual([fault.code, fault.path], ['invalid_payload', where]);
  }
  const down = peer.say('directive', { directive_id: 'd1', op: 'restart', expires_ms: 60000 });
  assert.equal((await peer.answer('error', down)).payload.code, 'wrong_direction');
  const still = await hub.directive(id);
  assert.deepEqual([still.state, still.unanswered], ['sent', false], 'the hub has not lost it');
  const re = peer.say('directive_result', { directive_id: id, status: 'succeeded', code: 'Not A Code', detail: { blob: 'x'.repeat(9000) } });
  await peer.answer('ack', re);
  const d = await hub.directive(id);
  assert.deepEqual([d.state, d.code, d.detail], ['succeeded', '', { dropped: 'larger than a hub keeps' }], 'the acknowledgement was lost, the result was not');
});

test('a directive without an answer is unknown in the end, and the node is asked to cancel it; a late answer still counts', async () => {
  const { hub, peer } = await hubAndPeer();
  const id = await hub.order('attic', 'undrain', {}, { expires_ms: 1000 });
  await peer.got(id);
  const d = await hub.becomes(id, 'unknown', 45000);
  assert.ok(d.ended_ms - d.issued_ms >= 31000, `${d.ended_ms - d.issued_ms}`);
  const cancel = await until('a cancellation', () => peer.directives().find((m) => m.payload.op === 'cancel'));
  assert.deepEqual(cancel.payload.args, { what: 'directive', id });
  const re = peer.say('directive_result', { directive_id: id, status: 'succeeded' });
  assert.equal((await peer.answer('ack', re)).payload.code, undefined);
  assert.equal((await hub.directive(id)).state, 'succeeded');
});

test('a hub that is killed before it has written a result gets it again', async () => {
  const { hub, who, peer } = await hubAndPeer();
  const id = await hub.order('attic', 'undrain');
  await peer.got(id);
  hub.process.kill('SIGSTOP'); // it hears, and writes nothing
  peer.say('ack', { directive_id: id, accepted: true });
  peer.say('directive_result', { directive_id: id, status: 'succeeded' });
  await kill(hub);
  restart(hub);
  await until('the hub', async () => (await hub.api('GET', 'status')).status === 200);
  assert.ok(['queued', 'sent'].includes((await hub.directive(id)).state), 'that it was sent may not have been written either');
  const again = await until('another link', () => Member.join(hub.linkPort, who));
  open.push(() => again.leave().catch(() => {}));
  await until('it on the next link', () => again.messages.some((m) => m.kind === 'directive' && m.payload.directive_id === id));
  const re = again.say('directive_result', { directive_id: id, status: 'succeeded' });
  await again.answer('ack', re);
  assert.equal((await hub.directive(id)).state, 'succeeded');
});

// --- a hub that keeps to no rule ----------------------------------------------------------------------------------------------------

async function nodeAndPeer(options = {}) {
  const hub = await startHub();
  open.push(() => hub.stop());
  const node = await nodeDaemon(hub.line(), options);
  return { hub, node, link: await hub.linked() };
}
const directive = (id, op, more = {}) => ({ directive_id: id, op, issued_at: new Date().toISOString(), expires_ms: 60000, ...more });
const ackOf = (link, id, after = 0) => link.waitFor('ack', { after, test: (p) => p.directive_id === id });
const resultOf = (link, id, after = 0) => link.waitFor('directive_result', { after, test: (p) => p.directive_id === id });
const journal = (node) => {
  const db = new DatabaseSync(path.join(node.dir, 'data/drover.db'), { readOnly: true });
  try { return Object.fromEntries(db.prepare('SELECT id, state, is_told FROM errand').all().map((r) => [r.id, r])); } finally { db.close(); }
};

test('a directive runs once however often it comes, and its result is told until the hub has it', async () => {
  const { hub, node, link } = await nodeAndPeer();
  for (let i = 0; i < 3; i++) link.say('directive', directive('d1', 'refresh_inventory', { principal: 'sam' }));
  const ack = await ackOf(link, 'd1');
  assert.deepEqual([ack.payload.accepted, ack.payload.scope], [true, 'node']);
  const first = await resultOf(link, 'd1');
  assert.equal(first.payload.status, 'succeeded');
  let at = link.messages.length;
  link.say('directive', directive('d1', 'restart'));
  const repeat = await ackOf(link, 'd1', at);
  assert.equal(repeat.payload.accepted, true);
  assert.deepEqual((await resultOf(link, 'd1', at)).payload, first.payload, 'where it stands, and nothing runs');
  assert.deepEqual(Object.keys(journal(node)), ['d1']);
  link.ws.terminate();
  const next = await hub.linked(2);
  assert.deepEqual((await resultOf(next, 'd1')).payload, first.payload, 'again on the next link');
  await kill(node);
  restart(node);
  const third = await hub.linked(3);
  assert.deepEqual((await resultOf(third, 'd1')).payload, first.payload, 'and after a restart');
  third.say('ack', { scope: 'hub', directive_id: 'd1' });
  await until('the node to know that the hub knows', () => journal(node).d1.is_told === 1);
  third.ws.terminate();
  const fourth = await hub.linked(4);
  await sleep(2500);
  assert.ok(!fourth.messages.some((m) => m.kind === 'directive_result'), 'and then no more');
  at = fourth.messages.length;
  fourth.say('directive', directive('d1', 'refresh_inventory'));
  assert.deepEqual((await resultOf(fourth, 'd1', at)).payload, first.payload, 'but where it is asked for');
});

test('directives that a node cannot take are answered, and it is as well as before', async () => {
  const { node, link } = await nodeAndPeer({ allow: { inference: true, restart: false, config: true } });
  const old = new Date(Date.now() - 25 * 3600e3).toISOString();
  for (const [id, more, code] of [['a', { op: 'restart' }, 'not_allowed'], ['b', { op: 'load_model', args: { endpoint_id: 'x', id: 'y' } }, 'unsupported_op'],
    ['c', { op: 'set_log_level' }, 'invalid_payload'], ['d', { op: 'set_log_level', args: { level: 'loud' } }, 'invalid_payload'],
    ['e', { op: 'refresh_inventory', issued_at: old }, 'directive_forgotten'], ['f', { op: 'refresh_inventory', issued_at: undefined }, 'directive_forgotten'],
    ['g', { op: 'drain', args: { deadline_ms: -1 } }, 'invalid_payload'], ['a b', { op: 'undrain' }, 'invalid_payload'], ['nul\u0000', { op: 'undrain' }, 'invalid_payload'],
    ['h', { op: 'set_log_level', args: { level: 'info', pad: 'x'.repeat(17000) } }, 'too_large']]) {
    link.say('directive', directive(id, more.op, more));
    const { payload } = await ackOf(link, id);
    assert.deepEqual([payload.accepted, payload.code], [false, code], id);
    assert.ok(payload.message, id);
    const at = link.messages.length;
    link.say('directive', directive(id, more.op, more));
    assert.equal((await ackOf(link, id, at)).payload.code, code, 'the same again');
  }
  for (const [payload, where] of [[directive('x', 'reboot'), '/payload/op'], [directive('x', 'restart', { expires_ms: 999 }), '/payload/expires_ms'],
    [directive('x', 'restart', { expires_ms: 86400001 }), '/payload/expires_ms'], [directive('', 'restart'), '/payload/directive_id'], [directive('x', 'restart', { args: [] }), '/payload/args'],
    [directive('x', 'restart', { timeout_ms: -1 }), '/payload/timeout_ms']]) {
    const at = link.messages.length;
    link.say('directive', payload);
    const fault = await link.waitFor('error', { after: at });
    assert.deepEqual([fault.payload.code, fault.payload.path], ['invalid_payload', where]);
  }
  assert.deepEqual(Object.values(journal(node)).map((r) => r.state), Object.values(journal(node)).map(() => 3), 'all refused');
  link.say('directive', directive('fine', 'refresh_inventory', { args: { later: true } }));
  assert.equal((await resultOf(link, 'fine')).payload.status, 'succeeded', 'members that it does not know are a newer hub\'s');
});

test('directives of one line run one after another; those behind expire, are superseded, are cancelled', async () => {
  const fake = await fakeOf({ reply: Array.from({ length: 600 }, () => 'word '), delayMs: 50 });
  const { link } = await nodeAndPeer({ endpoints: [fake], models: ['qwen3'] });
  const running = link.request('POST', '/v1/chat/completions', { body: { model: 'qwen3', stream: true, messages: [{ role: 'user', content: 'hi' }] } });
  await running.until((b) => b.includes('word'));
  link.say('directive', directive('first', 'drain', { args: { deadline_ms: 60000 } }));
  await link.waitFor('directive_progress', { test: (p) => p.directive_id === 'first' });
  await link.waitFor('heartbeat', { test: (p) => p.state === 'draining' });
  link.say('directive', directive('late', 'undrain', { expires_ms: 1000 }));
  link.say('directive', directive('replaced', 'undrain'));
  link.say('directive', directive('behind', 'undrain', { supersedes: 'replaced' }));
  assert.equal((await resultOf(link, 'replaced')).payload.status, 'superseded');
  assert.equal((await resultOf(link, 'late')).payload.status, 'expired');
  link.say('directive', directive('beside', 'refresh_inventory'));
  assert.equal((await resultOf(link, 'beside')).payload.status, 'succeeded', 'others need not wait');
  link.say('directive', directive('stop-nothing', 'cancel', { args: { what: 'directive', id: 'nobody' } }));
  assert.deepEqual([(await resultOf(link, 'stop-nothing')).payload.status, (await resultOf(link, 'stop-nothing')).payload.code], ['succeeded', 'unknown_id']);
  link.say('directive', directive('stop-job', 'cancel', { args: { what: 'job', id: 'j1' } }));
  assert.deepEqual([(await resultOf(link, 'stop-job')).payload.status, (await resultOf(link, 'stop-job')).payload.code], ['failed', 'unsupported_op']);
  assert.ok(!link.messages.some((m) => m.kind === 'directive_result' && m.payload.directive_id === 'behind'), 'it waits');
  link.say('directive', directive('stop', 'cancel', { args: { what: 'directive', id: 'first' } }));
  assert.equal((await resultOf(link, 'first')).payload.status, 'cancelled');
  assert.equal((await resultOf(link, 'behind')).payload.status, 'succeeded');
  link.say('directive', directive('short', 'drain', { args: { deadline_ms: 60000 }, timeout_ms: 700 }));
  assert.equal((await resultOf(link, 'short')).payload.status, 'timed_out');
  link.say('directive', directive('long', 'drain', { args: { deadline_ms: 60000 }, timeout_ms: 3000 }));
  await link.waitFor('directive_progress', { test: (p) => p.directive_id === 'long' });
  for (let i = 0; i < 20; i++) link.say('directive', directive('long', 'drain'));
  await until('an answer to each', () => link.messages.filter((m) => m.kind === 'ack' && m.payload.directive_id === 'long').length >= 21);
  assert.ok(link.messages.filter((m) => m.kind === 'directive_progress' && m.payload.directive_id === 'long').length <= 2, 'one step of progress a second');
  const told = link.messages.filter((m) => m.kind === 'directive_progress' && m.payload.directive_id === 'first');
  assert.ok(told.length >= 1 && told.length <= 5, `${told.length} steps of progress`);
  running.reset();
});

test('the journal of a node is full at a number, and says so; what is a day old goes', async () => {
  const { hub, node, link } = await nodeAndPeer();
  link.say('directive', directive('d1', 'refresh_inventory'));
  await resultOf(link, 'd1');
  await kill(node);
  const dayAgo = Date.now() - 26 * 3600e3, write = (act) => {
    const db = new DatabaseSync(path.join(node.dir, 'data/drover.db'));
    act(db);
    db.close();
  };
  write((db) => {
    const row = db.prepare('SELECT * FROM errand').get(), columns = Object.keys(row);
    const insert = db.prepare(`INSERT INTO errand (${columns}) VALUES (${columns.map(() => '?')})`);
    db.exec('BEGIN');
    for (let i = 0; i < 4095; i++) insert.run(...columns.map((c) => ({ id: `old-${i}`, is_told: 1 })[c] ?? row[c]));
    db.exec('COMMIT');
  });
  const child = restart(node), full = await hub.linked(2);
  full.say('directive', directive('new', 'refresh_inventory'));
  const { payload } = await ackOf(full, 'new');
  assert.deepEqual([payload.accepted, payload.code], [false, 'busy']);
  full.say('directive', directive('old-3000', 'refresh_inventory'));
  assert.equal((await resultOf(full, 'old-3000')).payload.status, 'succeeded', 'known: told where it stands');
  child.kill('SIGKILL');
  await child.ended;
  open.pop();
  write((db) => db.exec(`UPDATE errand SET received_ms = ${dayAgo} WHERE CAST(substr(id, 5) AS INTEGER) < 500 AND id LIKE 'old-%'`));
  restart(node);
  const next = await hub.linked(3);
  await until('the oldest to go', () => Object.keys(journal(node)).length === 3596);
  next.say('directive', directive('old-7', 'refresh_inventory', { issued_at: new Date(dayAgo).toISOString() }));
  assert.equal((await ackOf(next, 'old-7')).payload.code, 'directive_forgotten');
  next.say('directive', directive('new', 'refresh_inventory'));
  assert.equal((await resultOf(next, 'new')).payload.status, 'succeeded');
});
