// What a node's own clients used, told to its hub: where the node's settings say so, each row once, whatever gets lost on the way.
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

async function hubDaemon() {
  const port = await freePort();
  const hub = await startDrover({ listen: [{ address: `127.0.0.1:${port}`, tls: 'ca', client_cert: 'optional', roles: ['link'] }],
    config: { hub: { name: 'home', heartbeat: '5s' }, workers: 2 } });
  open.push(() => hub.stop());
  hub.linkPort = port;
  hub.api = (method, route, body) => admin(hub.dir, method, route, body);
  hub.used = async () => (await hub.api('GET', 'usage?by=node')).body.rows;
  return hub;
}
async function nodeDaemon(line, join = { report_usage: true }) {
  const fake = await startFake('vllm', { models: ['qwen3'] });
  open.push(() => fake.close());
  const node = await startDrover({ endpoints: [fake], models: ['qwen3'], config: { name: 'attic', workers: 2, join: { token: line, name: 'attic', ...join } },
    prepare: (dir) => chmodSync(path.join(dir, 'drover.yaml'), 0o600) });
  open.push(() => node.stop());
  return node;
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
const chat = async (drover, model = 'qwen3') => {
  const response = await drover.post('/v1/chat/completions', { model, messages: [{ role: 'user', content: 'hi' }] });
  assert.equal(response.status, 200, await response.clone().text());
  await response.text();
};
const query = (drover, sql) => {
  const db = new DatabaseSync(path.join(drover.dir, 'data/drover.db'), { readOnly: true });
  try { return db.prepare(sql).all(); } finally { db.close(); }
};

test('a hub knows what its nodes\' own clients used, and its own requests are not among it', async () => {
  const hub = await hubDaemon(), node = await nodeDaemon((await hub.cliJson('hub', 'invite')).line);
  await until('the model at the hub', async () => (await hub.modelIds()).includes('qwen3'));
  await until('the cursor', () => query(node, 'SELECT acked FROM usage_outbox').length === 1);
  for (let i = 0; i < 3; i++) await chat(node);
  await chat(hub);
  const [row] = await until('the report', async () => {
    const rows = await hub.used();
    return rows.length && rows[0].requests >= 3 && rows;
  });
  assert.deepEqual([row.name, row.requests, row.failed], ['attic', 3, 0]);
  const own = (await admin(node.dir, 'GET', 'usage?by=key')).body.rows;
  assert.equal(own.reduce((n, r) => n + r.requests, 0), 4, 'the node has all four');
  const tokens = query(node, 'SELECT sum(tokens_in) AS i, sum(tokens_out) AS o FROM request WHERE report_seq > 0')[0];
  assert.deepEqual([row.input_tokens, row.output_tokens], [tokens.i, tokens.o]);
  const mine = (await hub.api('GET', 'usage?by=key')).body.rows;
  assert.equal(mine.reduce((n, r) => n + r.requests, 0), 1, 'what others used is in nobody\'s usage here');
  await until('the cursor to move', () => query(node, 'SELECT acked FROM usage_outbox')[0].acked === 3);
  assert.match((await hub.cli('usage', '--by', 'node')).stdout, /NODE[^]*attic \(attic-\w+\) +3 +0/);
  await kill(node);
  await kill(hub);
  restart(hub);
  restart(node);
  await until('the link', async () => (await hub.api('GET', 'nodes/attic')).body.linked);
  await chat(node);
  await until('the fourth', async () => (await hub.used())[0].requests === 4);
});

test('a node that was not told to tells nothing', async () => {
  const hub = await startHub();
  open.push(() => hub.stop());
  const node = await nodeDaemon(hub.line(), {});
  const link = await hub.linked();
  await chat(node);
  await sleep(7000);
  assert.ok(!link.messages.some((m) => m.kind === 'usage_report'));
  assert.deepEqual(query(node, 'SELECT report_seq FROM request').map((r) => r.report_seq), [0]);
});

test('rows go out until the hub has them: the same rows, on the next link, after a restart; then no more', async () => {
  const hub = await startHub();
  open.push(() => hub.stop());
  const node = await nodeDaemon(hub.line());
  const link = await hub.linked();
  await until('the cursor', () => query(node, 'SELECT acked FROM usage_outbox').length === 1);
  await chat(node);
  await chat(node);
  const { payload } = await link.waitFor('usage_report', { test: (p) => p.rows.length === 2 }).catch(() => link.waitFor('usage_report'));
  const first = payload.rows[0];
  assert.deepEqual(Object.keys(first).filter((k) => ['principal', 'exchange_id'].includes(k)), [], 'nobody is named');
  assert.equal(first.key, 'qwen3');
  assert.equal(first.status, 200);
  assert.match(first.row_id, /^\d+\.1$/);
  link.say('ack', { scope: 'hub', outbox_acked: payload.outbox + 7 });
  link.ws.terminate();
  const second = await hub.linked(2), again = await second.waitFor('usage_report');
  assert.deepEqual(again.payload.rows[0], first, 'an ack of something else moves nothing');
  await kill(node);
  restart(node);
  const third = await hub.linked(3), report = await third.waitFor('usage_report');
  assert.deepEqual(report.payload.rows.map((r) => r.row_id.split('.')[1]), ['1', '2']);
  third.say('ack', { scope: 'hub', outbox_acked: report.payload.outbox });
  await until('the cursor to move', () => query(node, 'SELECT acked FROM usage_outbox')[0].acked === 2);
  await sleep(6500);
  assert.equal(third.messages.filter((m) => m.kind === 'usage_report').length, 1);
  await chat(node);
  const next = await third.waitFor('usage_report', { test: (p) => p.outbox === 3 });
  assert.equal(next.payload.rows.length, 1);
});

test('a hub counts each row once, and says what it does not take', async () => {
  const hub = await hubDaemon();
  const peer = await Member.join(hub.linkPort, await enrol(hub.dir, hub.linkPort, 'attic'));
  const other = await Member.join(hub.linkPort, await enrol(hub.dir, hub.linkPort, 'other'));
  open.push(() => peer.leave().catch(() => {}), () => other.leave().catch(() => {}));
  const at = new Date().toISOString(), row = (id, more) => ({ row_id: `${id}`, at, key: 'm', in_tokens: 10, out_tokens: 2, total_ms: 5, status: 200, ...more });
  const report = async (who, outbox, rows, kind = 'ack') => (await who.answer(kind, who.say('usage_report', { outbox, rows }), 20000)).payload;
  assert.deepEqual(await report(peer, 2, [row(1), row(2, { status: 500 })]), { scope: 'hub', outbox_acked: 2 });
  assert.equal((await report(peer, 2, [row(1), row(2), row(2)])).outbox_acked, 2, 'again: the ack was lost');
  await report(peer, 5, [row(3, { exchange_id: 'e1' }), row(4, { at: '1999-12-31T23:59:59Z' }), row(5, { in_tokens: 2 ** 53 - 1, key: 'x\u0000\u202ey', dialect: '\u0007' })]);
  await report(other, 1, [row(1)]);
  let used = await hub.used();
  const mine = used.find((u) => u.name === 'attic');
  assert.deepEqual([mine.requests, mine.failed, mine.input_tokens, mine.output_tokens], [4, 1, 10 + 10 + 10 + 1e9, 8]);
  assert.deepEqual([used.find((u) => u.name === 'other').requests], [1], 'row_ids are the node\'s own');
  const days = query(hub, 'SELECT DISTINCT day FROM node_usage_day').map((r) => r.day);
  assert.ok(days.every((d) => d >= Math.floor(Date.now() / 86400e3) - 1), 'no day of the last century');
  for (const [payload, code, where] of [[{ rows: [] }, 'invalid_payload', '/payload/outbox'], [{ outbox: 6 }, 'invalid_payload', '/payload/rows'], [{ outbox: 6, rows: {} }, 'invalid_payload', '/payload/rows'],
    [{ outbox: 6, rows: [{ at, key: 'm' }] }, 'invalid_payload', '/payload/rows/0/row_id'], [{ outbox: 6, rows: [row(6, { in_tokens: -1 })] }, 'invalid_payload', '/payload/rows/0/in_tokens'],
    [{ outbox: 6, rows: [row(6, { key: 'x'.repeat(201) })] }, 'invalid_payload', '/payload/rows/0/key'], [{ outbox: 6, rows: Array.from({ length: 501 }, (_, i) => row(`t${i}`)) }, 'too_large', '/payload/rows']]) {
    const fault = (await peer.answer('error', peer.say('usage_report', payload))).payload;
    assert.deepEqual([fault.code, fault.path], [code, where]);
  }
  const re = [1, 2, 3].map((i) => peer.say('usage_report', { outbox: 10 + i, rows: [row(`b${i}`)] }));
  await peer.answer('ack', re[0]);
  assert.equal((await peer.answer('error', re[1])).payload.code, 'busy', 'one at a time');
  const short = (i) => ({ row_id: `${i}`, at, key: 'm' });
  let refused;
  for (let i = 0; i < 210 && !refused; i++) {
    const id = other.say('usage_report', { outbox: 100 + i, rows: Array.from({ length: 500 }, (_, k) => short(i * 500 + k)) });
    const [m] = await Promise.all([until('an answer', () => other.messages.find((x) => x.re === id), 20000, 2), sleep(45)]); // within 1 MiB a second
    if (m.kind === 'error') {
      assert.equal(m.payload.code, 'rate_limited');
      assert.match(m.payload.message, /hour/);
      refused = i;
    }
  }
  assert.ok(refused >= 199 && refused <= 200, `report ${refused}`);
  assert.equal(peer.main.end, undefined);
  assert.equal((await hub.api('DELETE', `nodes/${peer.who.id}`)).status, 200);
  used = await hub.used();
  assert.equal(used.find((u) => u.node === peer.who.id).requests, 5, 'what was used stays known, as of a key that was revoked');
  assert.equal(query(hub, `SELECT count(*) AS n FROM node_usage WHERE node_id = '${peer.who.id}'`)[0].n, 0);
});
