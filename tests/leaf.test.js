// Leaves: agents on a node's local network, which speak to the hub through it. Real hub and node; the leaves are the package ws, and
// python3-websockets in tests/leaf.py.
import test, { after, afterEach } from 'node:test';
import assert from 'node:assert/strict';
import { chmodSync, existsSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { DatabaseSync } from 'node:sqlite';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';
import { serve } from './lib/daemon.js';
import { command, freePort, ROOT, startDrover, until } from './lib/drover.js';
import { admin, Member, enrol } from './lib/peers.js';
import { authority, newKey } from './lib/pki.js';

const open = [];
const closeAll = async () => { for (const one of open.splice(0).reverse()) await one(); };
afterEach(closeAll);
after(closeAll);

const TOKEN = 'a-token-of-the-local-network';

async function hubDaemon() {
  const port = await freePort();
  const hub = await startDrover({ listen: [{ address: `127.0.0.1:${port}`, tls: 'ca', client_cert: 'optional', roles: ['link'] }],
    config: { hub: { name: 'home', heartbeat: '5s' }, workers: 1 } });
  open.push(() => hub.stop());
  hub.linkPort = port;
  hub.api = (method, route, body) => admin(hub.dir, method, route, body);
  hub.node = async () => (await hub.api('GET', 'nodes/attic')).body;
  hub.leaf = async (agent = 'bench-1') => (await hub.node()).leaves?.find((l) => l.agent_id === agent);
  hub.sees = (agent, presence, ms = 15000) => until(`${agent} to be ${presence}`, async () => {
    const leaf = await hub.leaf(agent);
    if (leaf?.presence === presence) return leaf;
    throw new Error(JSON.stringify(leaf));
  }, ms);
  hub.order = async (op, agent, more) => {
    const { status, body } = await hub.api('POST', 'nodes/attic/directives', { op, agent, ...more });
    assert.equal(status, 202, JSON.stringify(body));
    return body.id;
  };
  hub.becomes = (id, state, ms) => until(`${id} to be ${state}`, async () => {
    const d = (await hub.api('GET', `directives/${id}`)).body;
    if (d.state === state) return d;
    throw new Error(JSON.stringify(d));
  }, ms);
  return hub;
}

async function nodeDaemon(hub, { relay = {}, allow = {} } = {}) {
  const port = await freePort();
  const line = (await hub.cliJson('hub', 'invite')).line;
  const node = await startDrover({ config: { name: 'attic', workers: 1, join: { token: line, name: 'attic', allow }, relay: { listen: `127.0.0.1:${port}`, ...relay } },
    prepare: (dir) => chmodSync(path.join(dir, 'drover.yaml'), 0o600) });
  open.push(() => node.stop());
  node.leafPort = port;
  await until('the link', async () => (await hub.node()).link?.up_ms >= 0);
  return node;
}
async function both(options) {
  const hub = await hubDaemon(), node = await nodeDaemon(hub, options);
  return { hub, node };
}
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
const query = (drover, sql) => {
  const db = new DatabaseSync(path.join(drover.dir, 'data/drover.db'), { readOnly: true });
  try { return db.prepare(sql).all(); } finally { db.close(); }
};

let counter = 0;
const row = (id, more) => ({ row_id: id, at: new Date().toISOString(), key: 'qwen3', in_tokens: 3, out_tokens: 4, status: 200, ...more });

/** A leaf of the package ws. */
class Leaf {
  constructor(port, { agent = 'bench-1', headers = { authorization: `Bearer ${TOKEN}` }, url = `ws://127.0.0.1:${port}/agent`, more = {} } = {}) {
    Object.assign(this, { agent, got: [], texts: [], waiters: new Set() });
    this.ws = new WebSocket(url, { headers, ...more });
    this.opened = new Promise((go, fail) => {
      this.ws.on('open', go);
      this.ws.on('unexpected-response', (_, response) => fail(Object.assign(new Error(`status ${response.statusCode}`), { status: response.statusCode })));
      this.ws.on('error', fail);
    });
    this.opened.catch(() => {});
    this.closed = new Promise((go) => this.ws.on('close', (code, reason) => { this.code = code; go({ code, reason: reason.toString() }); }));
    this.ws.on('message', (data) => {
      if (!data.toString().startsWith('{')) this.texts.push(data.toString());
      else this.got.push(JSON.parse(data));
      for (const look of this.waiters) look();
    });
    open.push(() => this.ws.terminate());
  }

  say(kind, payload, more = {}) {
    const id = `leaf-${process.pid}-${++counter}`;
    this.ws.send(JSON.stringify({ v: 1, kind, msg_id: id, ts: new Date().toISOString(), direction: 'up', site_id: 'elsewhere', agent_id: this.agent, payload, ...more }));
    return more.msg_id ?? id;
  }

  hears(kind, test = () => true, ms = 15000) {
    return new Promise((go, fail) => {
      const timer = setTimeout(() => fail(new Error(`no ${kind} within ${ms} ms (${this.code}): ${JSON.stringify(this.got)}`)), ms);
      const look = () => {
        const m = this.got.find((one) => one.kind === kind && test(one));
        if (!m) return;
        clearTimeout(timer);
        this.waiters.delete(look);
        go(m);
      };
      this.waiters.add(look);
      look();
    });
  }

  async join(payload = { name: 'Bench', version: '1', models: [{ key: 'qwen3' }] }) {
    await this.opened;
    this.say('register_agent', payload);
    return this;
  }
}

test('a leaf is seen at the hub, with its state, and gone with its socket', async () => {
  const { hub, node } = await both({ relay: { token: TOKEN } });
  const leaf = await new Leaf(node.leafPort).join();
  const registered = await leaf.hears('registered');
  assert.deepEqual([registered.payload.accepted, registered.payload.name, registered.agent_id, registered.direction], [true, 'Bench', 'bench-1', 'down']);
  assert.match(registered.site_id, /^attic-/, 'the node\'s own site, whatever the leaf said');
  assert.equal((await leaf.hears('hub_status')).payload.state, 'ready');
  leaf.say('heartbeat', { state: 'degraded', uptime_ms: 1 });
  const seen = await until('the state', async () => { const l = await hub.leaf(); return l?.state === 'degraded' && l; });
  assert.deepEqual([seen.name, seen.version, seen.models, seen.presence, seen.peer], ['Bench', '1', 1, 'connected', '127.0.0.1']);
  assert.equal((await hub.node()).heartbeat.state, 'running', 'what a leaf says of itself is not said of its node');
  assert.match((await hub.cli('node', 'show', 'attic')).stdout, /leaf +bench-1 \(Bench\), connected since .*, degraded, 1 models/);
  assert.ok(!(await hub.modelIds()).includes('qwen3'), 'a leaf has no streams: its models are no targets');
  leaf.ws.close();
  await hub.sees('bench-1', 'disconnected');
  assert.ok((await hub.api('GET', 'nodes/attic/history')).body.events.some((e) => e.what === 'leaf' && e.detail === 'bench-1 disconnected'));
});

test('a leaf whose heartbeats stop is stale, and connected again with the next (slow)', async () => {
  const { hub, node } = await both({ relay: { token: TOKEN } });
  const leaf = await new Leaf(node.leafPort).join();
  await hub.sees('bench-1', 'connected');
  await hub.sees('bench-1', 'stale', 25000); // three of 5 s are missing
  leaf.say('heartbeat', { state: 'running', uptime_ms: 1 });
  await hub.sees('bench-1', 'connected');
});

test('usage of a leaf is at the hub once, whatever is sent twice', async () => {
  const { hub, node } = await both({ relay: { token: TOKEN } });
  const leaf = await new Leaf(node.leafPort).join();
  await leaf.hears('registered');
  const id = leaf.say('usage_report', { outbox: 2, rows: [row('r1', { secret_member: 'x' }), row('r2')] });
  const ack = await leaf.hears('ack', (m) => m.re === id);
  assert.deepEqual([ack.payload.scope, ack.payload.outbox_acked], ['hub', 2]);
  assert.deepEqual(query(hub, 'SELECT agent_id, row_id, tokens_in FROM node_usage ORDER BY row_id').map((r) => ({ ...r })),
    [{ agent_id: 'bench-1', row_id: 'bench-1:r1', tokens_in: 3 }, { agent_id: 'bench-1', row_id: 'bench-1:r2', tokens_in: 3 }]);
  await until('the letter to leave the disk', () => query(node, 'SELECT count(*) AS n FROM leaf_letter')[0].n === 0);
  const states = leaf.got.filter((m) => m.kind === 'hub_status').map((m) => m.payload.state);
  assert.ok(states.at(-1) === 'ready' && states.every((state, k) => k === 0 || state !== states[k - 1]), `told when it changes: ${states}`);
  leaf.got.length = 0;
  leaf.say('usage_report', { outbox: 2, rows: [row('r1'), row('r2')] }, { msg_id: id });
  assert.equal((await leaf.hears('ack', (m) => m.re === id)).payload.scope, 'hub', 'acknowledged again');
  const other = await new Leaf(node.leafPort, { agent: 'bench-2' }).join();
  await other.hears('registered');
  const theirs = other.say('usage_report', { outbox: 1, rows: [row('r1')] });
  await other.hears('ack', (m) => m.re === theirs);
  const [sum] = (await hub.api('GET', 'usage?by=node')).body.rows;
  assert.deepEqual([sum.name, sum.requests, sum.input_tokens], ['attic', 3, 9]);
});

test('what a leaf says while the hub is away waits on the disk, through the end of the node too', async () => {
  const { hub, node } = await both({ relay: { token: TOKEN } });
  const leaf = await new Leaf(node.leafPort).join();
  await leaf.hears('registered');
  await kill(hub);
  assert.equal((await leaf.hears('hub_status', (m) => m.payload.state === 'away')).payload.backlog, 0);
  const ids = [];
  for (let i = 0; i < 5; i++) ids.push(leaf.say('usage_report', { outbox: i + 1, rows: [row(`w${i}`)] }));
  leaf.say('heartbeat', { state: 'running', uptime_ms: 1 });
  leaf.say('heartbeat', { state: 'draining', uptime_ms: 2 });
  for (const id of ids) assert.deepEqual((await leaf.hears('ack', (m) => m.re === id)).payload, { scope: 'relay', queued: true });
  leaf.got.length = 0;
  leaf.say('usage_report', { outbox: 1, rows: [row('w0')] }, { msg_id: ids[0] });
  assert.equal((await leaf.hears('ack', (m) => m.re === ids[0])).payload.queued, true, 'a repeat is acknowledged again');
  assert.equal(query(node, 'SELECT count(*) AS n FROM leaf_letter')[0].n, 5, 'and stored once');
  await kill(node);
  restart(node);
  const again = await until('the leaf to come back', async () => { const l = new Leaf(node.leafPort); await l.opened; return l; });
  await again.join();
  assert.equal((await again.hears('hub_status')).payload.backlog, 5);
  assert.equal((await again.hears('ack')).payload.queued, true, 'its registration waits, too');
  restart(hub);
  for (const id of ids) assert.equal((await again.hears('ack', (m) => m.re === id, 30000)).payload.scope, 'hub');
  assert.deepEqual(query(hub, 'SELECT row_id FROM node_usage ORDER BY row_id').map((r) => r.row_id), [0, 1, 2, 3, 4].map((i) => `bench-1:w${i}`));
  await until('the letters to leave the disk', () => query(node, 'SELECT count(*) AS n FROM leaf_letter')[0].n === 0);
  await again.hears('hub_status', (m) => m.payload.state === 'ready');
});

test('a leaf is not read while 4 MiB of it wait, and nothing of it is lost (slow)', { timeout: 120000 }, async () => {
  const { hub, node } = await both({ relay: { token: TOKEN } });
  const leaf = await new Leaf(node.leafPort).join();
  await leaf.hears('registered');
  await kill(hub);
  await leaf.hears('hub_status', (m) => m.payload.state === 'away');
  const rows = Array.from({ length: 500 }, (_, i) => row(`b${i}`, { dialect: 'd'.repeat(64), principal: 'p'.repeat(128), key: 'k'.repeat(150) })), ids = [];
  const full = () => leaf.got.some((m) => m.kind === 'hub_status' && m.payload.backlog > 0);
  for (let i = 0; i < 40 && !full(); i++) {
    ids.push(leaf.say('usage_report', { outbox: i + 1, rows: rows.map((r) => ({ ...r, row_id: `${i}-${r.row_id}` })) }));
    await sleep(1000);
  }
  assert.ok(full(), 'it is told');
  assert.match(node.process.log, /a leaf is not read/);
  const [{ n, bytes }] = query(node, 'SELECT count(*) AS n, sum(length(payload)) AS bytes FROM leaf_letter');
  assert.ok(bytes >= 4 << 20 && bytes < (4 << 20) + (512 << 10), `${n} letters of ${bytes} bytes`);
  const late = leaf.say('usage_report', { outbox: 99, rows: [row('late')] });
  await sleep(500);
  assert.ok(!leaf.got.some((m) => m.re === late), 'nobody has read it');
  restart(hub);
  for (const id of [...ids, late]) assert.equal((await leaf.hears('ack', (m) => m.re === id && m.payload.scope === 'hub', 60000)).re, id);
  assert.equal(query(hub, 'SELECT count(*) AS n FROM node_usage')[0].n, ids.length * 500 + 1);
});

test('what has waited for a day is dropped, and that is said', async () => {
  const { hub, node } = await both({ relay: { token: TOKEN } });
  const leaf = await new Leaf(node.leafPort).join();
  await leaf.hears('registered');
  await kill(hub);
  await leaf.hears('hub_status', (m) => m.payload.state === 'away');
  const ids = ['old', 'new'].map((id, i) => leaf.say('usage_report', { outbox: i + 1, rows: [row(id)] }));
  for (const id of ids) await leaf.hears('ack', (m) => m.re === id);
  await kill(node);
  const db = new DatabaseSync(path.join(node.dir, 'data/drover.db'));
  db.exec('UPDATE leaf_letter SET at_ms = at_ms - 90000000 WHERE no = 1');
  db.close();
  const again = restart(node);
  await until('the old letter to go', () => query(node, 'SELECT no FROM leaf_letter').map((r) => r.no).join() === '2');
  await until('the log', () => /messages of a leaf were dropped[^]*bench-1/.test(again.log));
  restart(hub);
  await until('the other at the hub', () => query(hub, 'SELECT row_id FROM node_usage').map((r) => r.row_id).join() === 'bench-1:new', 30000);
});

test('a directive goes to a leaf under the name it knows, and its result comes back', async () => {
  const { hub, node } = await both({ relay: { token: TOKEN }, allow: { models: true } });
  const leaf = await new Leaf(node.leafPort).join();
  await leaf.hears('registered');
  const id = await hub.order('load_model', 'bench-1', { args: { id: 'qwen3' } });
  const asked = await leaf.hears('preload_model');
  assert.deepEqual([asked.payload.directive_id, asked.payload.op, asked.payload.args, asked.agent_id], [id, 'load_model', { id: 'qwen3' }, 'bench-1']);
  leaf.say('ack', { directive_id: id, accepted: true }, { re: asked.msg_id });
  await hub.becomes(id, 'accepted');
  leaf.say('directive_progress', { directive_id: id, stage: 'loading', pct: 50 });
  await hub.becomes(id, 'running');
  const result = leaf.say('directive_result', { directive_id: id, status: 'succeeded', detail: { took_ms: 7 } });
  const over = await hub.becomes(id, 'succeeded');
  assert.deepEqual([over.agent, over.detail], ['bench-1', { took_ms: 7 }]);
  assert.equal((await leaf.hears('ack', (m) => m.re === result)).payload.directive_id, id);
  const other = await new Leaf(node.leafPort, { agent: 'bench-2' }).join();
  await other.hears('registered');
  const mine = await hub.order('undrain', 'bench-1');
  assert.equal((await leaf.hears('directive', (m) => m.payload.directive_id === mine)).payload.op, 'undrain');
  other.say('ack', { directive_id: mine, accepted: false, code: 'busy' });
  const foreign = other.say('directive_result', { directive_id: mine, status: 'succeeded' });
  assert.equal((await other.hears('ack', (m) => m.re === foreign)).payload.code, 'unknown_id');
  assert.equal((await hub.api('GET', `directives/${mine}`)).body.state, 'sent', 'what one leaf says of another\'s is about none');
});

test('a leaf may never be asked for more than its node allows', async () => {
  const { hub, node } = await both({ relay: { token: TOKEN } });
  const leaf = await new Leaf(node.leafPort).join();
  await leaf.hears('registered');
  const id = await hub.order('restart', 'bench-1');
  const d = await hub.becomes(id, 'refused');
  assert.deepEqual([d.code, /join\.allow\.restart/.test(d.message)], ['not_allowed', true]);
  assert.ok(!leaf.got.some((m) => m.kind === 'restart_agent'));
  await until('the audit log of the node', () => query(node, "SELECT object, detail FROM audit WHERE action = 'hub.leaf_directive_refused'")
    .some((a) => a.object === 'restart' && a.detail.startsWith(`${id} for bench-1, asked by`)));
});

test('a directive waits until its leaf is there', async () => {
  const { hub, node } = await both({ relay: { token: TOKEN } });
  const id = await hub.order('drain', 'bench-1');
  await sleep(300);
  assert.equal((await hub.api('GET', `directives/${id}`)).body.state, 'queued');
  const leaf = await new Leaf(node.leafPort).join();
  assert.equal((await leaf.hears('drain')).payload.directive_id, id);
  assert.equal((await hub.api('POST', 'nodes/attic/directives', { op: 'drain', agent: 'Not One' })).status, 400);
});

test('who may not come is told why, before the upgrade', async () => {
  const { hub, node } = await both({ relay: { token: TOKEN } });
  const status = (headers, route = '/agent') => new Promise((go, fail) => {
    const socket = net.connect(node.leafPort, '127.0.0.1', () => socket.write(`GET ${route} HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n`
      + `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${headers}\r\n`));
    socket.once('data', (d) => { socket.destroy(); go(Number(/^HTTP\/1.1 (\d+)/.exec(d)[1])); });
    socket.once('error', fail);
  });
  const good = `Authorization: Bearer ${TOKEN}\r\n`;
  assert.equal(await status(good), 101);
  assert.equal(await status(`${good}Origin: http://127.0.0.1\r\n`), 403);
  assert.equal(await status(good, '/link/v1'), 404);
  assert.equal(await status(''), 401);
  assert.equal(await status('Authorization: Bearer a-token-of-the-local-networl\r\n'), 401);
  assert.equal(await status('Authorization: Bearer\r\n'), 401);
  let limited = 0;
  for (let i = 0; i < 30 && !limited; i++) limited = await status('Authorization: Bearer wrong\r\n') === 429 ? i : 0;
  assert.ok(limited > 5, 'who tries on and on is slowed down');
  assert.equal(await status(good), 101, 'the right token is let in all the same');
  assert.equal((await hub.node()).leaves, undefined);
});

test('bad input of a leaf gets its answer, and harms nobody else', async () => {
  const { hub, node } = await both({ relay: { token: TOKEN } });
  const good = await new Leaf(node.leafPort, { agent: 'bench-9' }).join();
  await good.hears('registered');
  const rows = [
    ['preload_model', {}, {}, 'wrong_direction'], ['frobnicate', {}, {}, 'unknown_kind'], ['heartbeat', { state: 'sleepy', uptime_ms: 1 }, {}, 'invalid_payload'],
    ['heartbeat', { state: 'running', uptime_ms: 1 }, { direction: 'down' }, 'wrong_direction'], ['agent_status', { agent_id: 'bench-1', state: 'connected' }, {}, 'not_allowed'],
    ['heartbeat', { state: 'running', uptime_ms: 1 }, { via: [(await hub.node()).id] }, 'relay_loop'], ['heartbeat', { state: 'running', uptime_ms: 1 }, { agent_id: 'bench-2' }, 'agent_mismatch'],
  ];
  const leaf = await new Leaf(node.leafPort).join();
  for (const [kind, payload, more, code] of rows) {
    const id = leaf.say(kind, payload, more);
    assert.equal((await leaf.hears('error', (m) => m.re === id)).payload.code, code, kind);
  }
  leaf.say('heartbeat', { state: 'running', uptime_ms: 1 }, { agent_id: 'bench-3' });
  assert.equal((await leaf.closed).code, 1008, 'the second time in another name');

  const binary = await new Leaf(node.leafPort, { agent: 'bench-2' }).join();
  for (let i = 0; i < 3; i++) binary.ws.send(Buffer.from([1, 2]));
  assert.equal((await binary.closed).code, 1003);
  assert.equal(binary.got.filter((m) => m.payload.code === 'binary_not_allowed').length, 3);

  const loud = await new Leaf(node.leafPort, { agent: 'bench-3' }).join();
  for (let i = 0; i < 200 && loud.ws.readyState === 1; i++) loud.say('heartbeat', { state: 'running', uptime_ms: i });
  assert.equal((await loud.closed).code, 4029);
  assert.ok(loud.got.some((m) => m.payload.code === 'rate_limited' && m.payload.retry_ms > 0));

  const twin = new Leaf(node.leafPort, { agent: 'bench-9' });
  await twin.join();
  assert.equal((await twin.hears('error')).payload.code, 'duplicate_agent');
  assert.equal((await twin.closed).code, 4010);
  const node_id = (await hub.node()).id;
  const proud = await new Leaf(node.leafPort, { agent: node_id }).join();
  assert.equal((await proud.closed).code, 4003, 'a leaf is not its node');
  assert.equal((await hub.sees('bench-9', 'connected')).presence, 'connected');
  assert.equal(good.ws.readyState, 1);
  assert.equal((await hub.node()).link.up_ms > 0, true);
});

test('leaves come over TLS where the settings say so, and not without', async () => {
  const ca = authority('lan'), key = newKey(), hub = await hubDaemon(), dir = mkdtempSync(path.join(tmpdir(), 'drover-leaf-'));
  const [cert, secret] = ['chain.pem', 'key.pem'].map((f) => path.join(dir, f));
  writeFileSync(cert, ca.issue({ spki: key.spki, uri: 'drover://lan/hub/attic', dns: ['attic.lan'] }));
  writeFileSync(secret, key.pem, { mode: 0o600 });
  const node = await nodeDaemon(hub, { relay: { token: TOKEN, tls: { cert, key: secret } } });
  const leaf = new Leaf(node.leafPort, { url: `wss://127.0.0.1:${node.leafPort}/agent`, more: { ca: ca.pem, servername: 'attic.lan' } });
  await leaf.join();
  await leaf.hears('registered');
  await assert.rejects(new Leaf(node.leafPort).opened);
  assert.equal((await hub.sees('bench-1', 'connected')).peer, '127.0.0.1');
});

test('compat: text_ok, and a listener that needs no token on loopback', async () => {
  const { node } = await both({ relay: { compat: 'text_ok' } });
  const leaf = await new Leaf(node.leafPort, { headers: {} }).join();
  await leaf.hears('registered');
  assert.deepEqual(leaf.texts, ['ok']);
});

test('a hub takes nothing for leaves that were not announced, or of a node that did not say so', async () => {
  const hub = await hubDaemon();
  for (const features of [[], ['leaf_relay']]) {
    const identity = await enrol(hub.dir, hub.linkPort, `shed${features.length}`);
    const member = await Member.join(hub.linkPort, identity, { features });
    open.push(() => member.main.ws.terminate());
    const id = member.say('usage_report', { outbox: 1, rows: [row('x')] }, { agent_id: 'bench-1' });
    const error = await member.answer('error', id);
    assert.equal(error.payload.code, features.length ? 'unknown_id' : 'not_allowed');
    assert.equal(error.agent_id, 'bench-1');
  }
  assert.equal(query(hub, 'SELECT count(*) AS n FROM node_usage')[0].n, 0);
});

test('a node that others could reach without a token or TLS does not start', async () => {
  const hub = await hubDaemon();
  const file = path.join(hub.dir, 'other.yaml');
  writeFileSync(file, 'relay: {listen: "0.0.0.0:9100", token: "0123456789abcdef"}\n', { mode: 0o600 });
  const { code, stderr } = await command(process.env.DROVER_BIN ?? path.join(ROOT, 'build/drover'), ['config', 'check', '--config', file]);
  assert.notEqual(code, 0);
  assert.match(stderr, /relay\.listen: can be reached from other machines/);
});

test('a leaf in another language', async () => {
  const { hub, node } = await both({ relay: { token: TOKEN }, allow: { models: true } });
  const python = process.env.PYTHON ?? (existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3');
  const running = command(python, [path.join(ROOT, 'tests/leaf.py'), String(node.leafPort), TOKEN, 'bench-py'], { ms: 30000 });
  const early = running.then(({ stderr }) => { throw new Error(/No module named 'websockets'/.test(stderr) ? 'python3-websockets is missing: ./dev deps test installs it' : stderr); });
  await Promise.race([hub.sees('bench-py', 'connected'), early]);
  early.catch(() => {});
  const id = await hub.order('load_model', 'bench-py', { args: { id: 'qwen3' } });
  await hub.becomes(id, 'succeeded');
  const { code, stdout, stderr } = await running;
  assert.equal(code, 0, stderr);
  assert.deepEqual(JSON.parse(stdout), { accepted: true, usage: 'hub', did: 'load_model' });
});
