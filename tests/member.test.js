// This machine as a node: it enrols at a hub, keeps a link, serves what comes over it, and renews its certificate. The hub is one of JavaScript
// (lib/hub.js), with certificates made here and now.
import test, { after, afterEach } from 'node:test';
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFake } from './fakes/index.js';
import { serve } from './lib/daemon.js';
import { DROVER, command, startDrover, until } from './lib/drover.js';
import { allSse, chatText } from './lib/http.js';
import { startHub } from './lib/hub.js';
import { CANCEL, ECHO, PROTOCOL, REFUSED_SERVICE, answer } from './lib/link.js';
import { authority } from './lib/pki.js';

const open = [];
afterEach(async () => { for (const one of open.splice(0).reverse()) await one(); });
after(async () => { for (const one of open.splice(0).reverse()) await one(); });

async function hubOf(options) {
  const hub = await startHub(options);
  open.push(() => hub.stop());
  return hub;
}
async function fakeOf(kind, options) {
  const fake = await startFake(kind, options);
  open.push(() => fake.close());
  return fake;
}
async function nodeOf(hub, { endpoints = [], join = {}, config = {}, ...more } = {}) {
  const drover = await startDrover({ endpoints, config: { name: 'attic', workers: 2, ...(hub ? { join: { token: hub.line(), ...join } } : {}), ...config },
    prepare: (dir) => chmodSync(path.join(dir, 'drover.yaml'), 0o600), ...more });
  open.push(() => drover.stop());
  return drover;
}
/** Ends it as a power cut does; its stop has nothing left to judge. */
async function kill(drover) {
  drover.process.kill('SIGKILL');
  await drover.process.ended;
  drover.process.result = { code: 0 };
  drover.process.ended = Promise.resolve({ code: 0 });
}
/** The daemon once more on the same directory. */
function restart(drover) {
  const child = serve({ file: drover.file });
  open.push(async () => {
    child.kill('SIGTERM');
    assert.equal((await child.ended).code, 0, child.log);
  });
  return child;
}
const status = (drover) => drover.cliJson('join', '--status');
const stateIs = (drover, state, ms) => until(`the state ${state}`, async () => {
  const s = await status(drover);
  if (s.state === state) return s;
  throw new Error(JSON.stringify(s));
}, ms);

// --- enrolment ---------------------------------------------------------------------------------------------------------------

test('a node enrols with its line, links, and tells what it has', async () => {
  const hub = await hubOf();
  const fake = await fakeOf('vllm', { models: ['qwen3', 'llama'] });
  const drover = await nodeOf(hub, { endpoints: [fake], models: ['qwen3'] });
  const link = await hub.linked();
  const [asked] = hub.enrolments;
  assert.equal(asked.token, hub.joinToken);
  assert.equal(asked.name, 'attic');
  assert.equal(asked.mode, 'reverse');
  assert.equal(asked.headers.origin, undefined);
  assert.match(asked.csr, /BEGIN CERTIFICATE REQUEST/);
  const { headers, authorized, uri } = link.upgrade;
  assert.ok(authorized, 'the client certificate is the fleet\'s');
  assert.equal(uri, `URI:drover://home/node/${headers['drover-node']}`);
  assert.equal(headers['sec-websocket-protocol'], 'drover.link.1');
  assert.equal(headers['sec-websocket-extensions'], undefined);
  assert.equal(link.hello.node_id, headers['drover-node']);
  assert.equal(link.hello.boot_count, 1);
  assert.equal(link.hello.last_epoch, null);
  const s = await stateIs(drover, 'linked');
  assert.equal(s.fleet, 'home');
  assert.equal(s.hub, hub.url);
  assert.equal(s.lanes, 1);
  await until('the hub to know both models', () => known(link).has('qwen3') && known(link).has('llama'));
  const qwen = known(link).get('qwen3');
  assert.equal(qwen.id, 'qwen3');
  assert.equal(qwen.endpoint_id, fake.name);
  assert.equal(typeof qwen.context_max, 'number');
  assert.deepEqual(link.register.allow, { inference: true, models: false, config: false, certs: true, jobs: false, restart: false, console: 'view' });
  assert.deepEqual(link.register.services, ['http', 'echo']);
  const beat = await link.waitFor('heartbeat', { test: (p) => p.state === 'running' && p.healthy_endpoints === 1 });
  assert.equal(beat.payload.total_endpoints, 1);
  const beats = link.messages.filter((m) => m.kind === 'heartbeat').length;
  await sleep(2500);
  assert.ok(link.messages.filter((m) => m.kind === 'heartbeat').length >= beats + 2, 'a heartbeat each second');
  for (const file of ['member.json', 'token', 'pair/gen-1/key.pem']) assert.equal(statSync(path.join(drover.dir, 'data/join', file)).mode & 0o077, 0, file);
  assert.ok(!existsSync(path.join(drover.dir, 'data/join/wish.json')), 'the one-time token is not kept');
  const bearer = readFileSync(path.join(drover.dir, 'data/join/token'), 'utf8');
  for (const secret of [hub.joinToken, bearer, hub.line().slice(16, 60)]) assert.ok(!drover.log.includes(secret), 'no secret in the log');
});

/** What the hub knows of the node's models, from the registration and what came after it. */
function known(link) {
  const models = new Map();
  for (const { kind, payload } of link.messages) {
    if (kind === 'register_agent') models.clear();
    for (const m of payload.models ?? []) models.set(m.key, m);
    for (const m of payload.models_upsert ?? []) models.set(m.key, m);
    for (const k of payload.models_remove ?? []) models.delete(k);
  }
  return models;
}

test('a hub that waits for a person is asked again with the same key, and the fingerprint is told', async () => {
  let yes = false;
  const hub = await hubOf({ enrol: () => (yes ? undefined : 'wait') });
  const drover = await nodeOf(hub);
  const s = await stateIs(drover, 'waiting');
  await until('it to ask again', () => hub.enrolments.length >= 3);
  assert.equal(s.fingerprint, hub.enrolments[0].fingerprint);
  assert.equal(new Set(hub.enrolments.map((e) => e.fingerprint)).size, 1);
  assert.match(drover.log, new RegExp(`not approved.*${s.fingerprint}`));
  yes = true;
  await hub.linked();
});

test('a node that waits goes on after a restart, with the same key', async () => {
  let yes = false;
  const hub = await hubOf({ enrol: () => (yes ? undefined : 'wait') });
  const drover = await nodeOf(undefined);
  const [first] = await Promise.all([until('the first question', () => hub.enrolments[0]), command(DROVER, ['join', hub.line(), '--config', drover.file], { ms: 3000 })]);
  await kill(drover);
  yes = true;
  const again = await command(DROVER, ['join', hub.line(), '--config', drover.file, '--name', 'other']);
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stdout, /joined the fleet home/);
  assert.match(again.stdout, /drover serve/);
  assert.equal(hub.enrolments.at(-1).fingerprint, first.fingerprint);
  assert.equal(hub.enrolments.at(-1).name, 'other');
});

test('an answer that got lost is asked for again and gives the same node', async () => {
  const hub = await hubOf({ enrol: (_, n) => (n === 1 ? 'lose' : undefined) });
  await nodeOf(hub);
  await hub.linked();
  assert.equal(hub.enrolments.length, 2);
  assert.equal(hub.enrolments[0].fingerprint, hub.enrolments[1].fingerprint);
  assert.equal(hub.bearers.size, 1);
});

test('a line that is used up is told, and tried again only after a minute', async () => {
  const hub = await hubOf({ enrol: () => ({ status: 401, json: { error: { code: 'unauthenticated', message: 'the line is unknown, used or too old' } } }) });
  const drover = await nodeOf(hub);
  const s = await until('the refusal', async () => (await status(drover)).error && status(drover));
  assert.equal(s.state, 'asking');
  assert.match(s.error, /401.*unknown, used or too old/);
  assert.ok(s.next_try_ms - Date.now() > 50_000 && s.next_try_ms - Date.now() < 900_000, `in ${s.next_try_ms - Date.now()} ms`);
  assert.equal(hub.enrolments.length, 1);
});

test('a node that the operator refused stops asking', async () => {
  const hub = await hubOf({ enrol: () => ({ status: 403, json: { error: { code: 'denied', message: 'not this one' } } }) });
  const drover = await nodeOf(undefined);
  const { code, stderr } = await drover.cli('join', hub.line());
  assert.equal(code, 4);
  assert.match(stderr, /not this one/);
  await sleep(1500);
  assert.equal(hub.enrolments.length, 1);
  assert.equal((await status(drover)).state, 'denied');
  hub.enrol = undefined; /* he changed his mind, and made another line */
  const again = await drover.cli('join', hub.line());
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stdout, /linked to the fleet home/);
});

test('a hub with another key than the line says gets no byte of the token', async () => {
  const hub = await hubOf();
  const drover = await nodeOf(undefined);
  await drover.post('/healthz', '').catch(() => {});
  const child = drover.cli('join', hub.line({ pin: randomBytes(32) }));
  const s = await until('the fault', async () => {
    const now = await status(drover);
    return now.error ? now : undefined;
  });
  assert.equal(s.state, 'asking');
  assert.match(s.error, /key is not the one that was expected/);
  assert.equal(hub.enrolments.length, 0);
  assert.equal(hub.connections, 0, 'the handshake did not end well for the hub either');
  await drover.cli('leave');
  await child;
});

test('a busy hub says when to ask again; an answer without sense is no membership', async () => {
  const answers = [{ status: 429, headers: { 'Retry-After': '1' } }, { status: 200, json: 'x' }];
  const hub = await hubOf({ enrol: () => answers.shift() });
  const drover = await nodeOf(hub);
  const s = await until('the second answer', async () => {
    const now = await status(drover);
    return /who is who/.test(now.error ?? '') && now;
  });
  assert.ok(hub.enrolments.length === 2 && s.next_try_ms - Date.now() > 20_000, JSON.stringify(s));
  assert.ok(!existsSync(path.join(drover.dir, 'data/join/member.json')));
  for (const answer of [{ status: 200, json: 'x'.repeat(400_000) }, { status: 200, json: {} }, { status: 500, json: [] }, { status: 302, headers: { Location: 'http://127.0.0.1:1/' } }]) {
    answers.push(answer);
    const { code, stderr } = await drover.cli('join', hub.line());
    assert.equal(code === 0, answer.status === 500 || answer.status === 302, stderr);
    if (code === 0) await drover.cli('leave');
  }
  assert.equal((await drover.get('/healthz')).status, 200);
});

test('a certificate for somebody else, or under other roots, is not taken', async () => {
  const strange = authority('home');
  let answerOf = (a) => ({ node_id: 'somebody-else' });
  const hub = await hubOf({ enrol: (a) => answerOf(a) });
  const drover = await nodeOf(hub);
  const first = await until('the fault', async () => (await status(drover)).error);
  assert.match(first, /is for drover:\/\/home\/node\/attic/);
  assert.ok(!existsSync(path.join(drover.dir, 'data/join/member.json')));
  answerOf = () => ({ trust: strange.pem });
  await drover.cli('leave');
  const child = drover.cli('join', hub.line());
  const second = await until('the other fault', async () => (await status(drover)).error);
  assert.match(second, /certificate/);
  await drover.cli('leave');
  await child;
});

// --- the link ------------------------------------------------------------------------------------------------------------------

test('what the hub asks for over the link is served: lists, chats, streams', async () => {
  const hub = await hubOf();
  const fake = await fakeOf('vllm', { models: ['qwen3'], reply: ['Hel', 'lo'], delayMs: 20 });
  const drover = await nodeOf(hub, { endpoints: [fake], models: ['qwen3'] });
  const link = await hub.linked();
  const list = await link.http('GET', '/v1/models');
  assert.equal(list.status, 200);
  assert.deepEqual(list.json.data.map((m) => m.id), ['qwen3']);
  assert.equal((await link.http('GET', '/healthz')).status, 200);
  const own = await link.http('GET', '/drover/v1/models');
  assert.equal(own.json.models[0].slug, 'qwen3');
  const chat = await link.http('POST', '/v1/chat/completions', { body: { model: 'qwen3', messages: [{ role: 'user', content: 'hi' }] } });
  assert.equal(chat.json.choices[0].message.content, 'Hello');
  const streamed = await link.http('POST', '/v1/chat/completions', { body: { model: 'qwen3', stream: true, messages: [] }, headers: { 'Drover-Principal': 'alice' } });
  assert.match(streamed.text, /"Hel"/);
  assert.match(streamed.text, /\[DONE\]/);
  assert.equal(fake.requests.at(-1).headers['drover-principal'], undefined);
  const rows = await until('the ledger', async () => {
    const { stdout } = await drover.cli('requests', '--json');
    const found = stdout.trim().split('\n').map((row) => JSON.parse(row));
    return found.some((r) => r.key === 'hub:alice') && found;
  });
  assert.ok(rows.some((r) => r.key === 'hub'));
  const long = await link.http('POST', '/v1/chat/completions', { body: { model: 'qwen3', messages: [{ role: 'user', content: 'x'.repeat(600_000) }] } });
  assert.equal(long.status, 200);
});

test('many streams at one time are not one greedy address', async () => {
  const hub = await hubOf();
  const fake = await fakeOf('vllm', { models: ['qwen3'], delayMs: 5 });
  await nodeOf(hub, { endpoints: [fake], models: ['qwen3'], config: { limits: { conn: { per_address: 2, per_loopback: 3, new_per_address_per_s: 1, new_per_address_burst: 2 } } } });
  const link = await hub.linked();
  const answers = await Promise.all(Array.from({ length: 60 }, () => link.http('POST', '/v1/chat/completions', { body: { model: 'qwen3', messages: [] } })));
  assert.deepEqual([...new Set(answers.map((a) => a.status))], [200]);
});

test('a stream that the hub gives up ends the work at the runtime', async () => {
  const hub = await hubOf();
  const fake = await fakeOf('vllm', { models: ['qwen3'], reply: Array(500).fill('x'), delayMs: 20 });
  const drover = await nodeOf(hub, { endpoints: [fake], models: ['qwen3'] });
  const link = await hub.linked();
  const s = link.request('POST', '/v1/chat/completions', { body: { model: 'qwen3', stream: true, messages: [] } });
  await s.until((b) => b.includes('"x"'));
  s.reset(CANCEL);
  const at = performance.now();
  await until('the runtime to be left', () => fake.requests.at(-1).closedAt, 3000, 5);
  assert.ok(performance.now() - at < 1000);
  await until('nothing to be under way', async () => (await drover.cliJson('status')).in_flight === 0);
});

test('only the models are served over the link, and paths must mean one thing', async () => {
  const hub = await hubOf();
  const fake = await fakeOf('ollama', { models: ['qwen3:8b'] });
  await nodeOf(hub, { endpoints: [fake], models: ['qwen3:8b'] });
  const link = await hub.linked();
  for (const p of ['/v1/%2e%2e/api', '/a%2fb', '//x', '/v1/../api/tags', '/v1/models/a%5cb', '/v1/./models'])
    assert.equal((await link.http('GET', p)).status, 400, p);
  for (const p of ['/drover/v1/keys', '/drover/v1/settings', '/drover/v1/join', '/metrics', '/version', '/console/', '/drover/v1/models/x', '/nothing']) {
    const a = await link.http('GET', p);
    assert.equal(a.status, 404, p);
    assert.equal(a.json.error.code, 'not_found', p);
  }
  assert.equal((await link.http('GET', '/', { headers: { Accept: 'text/html' } })).status, 404);
  assert.equal((await link.http('DELETE', '/drover/v1/models')).status, 405);
  assert.equal((await link.http('DELETE', '/drover/v1/keys/x')).status, 404);
  assert.equal((await link.http('POST', '/api/pull', { body: { model: 'qwen3:8b' } })).status, 403);
  assert.equal((await link.http('POST', '/v1/strange', { body: { model: 'qwen3:8b' } })).status, 403);
  assert.ok(!fake.requests.some((r) => r.path === '/api/pull' || r.path === '/v1/strange'));
  const cl = await link.http('POST', '/v1/chat/completions', { headers: { 'Content-Length': '3', 'Transfer-Encoding': 'chunked' } });
  assert.equal(cl.status, 400);
});

test('the operator of the node has the last word', async () => {
  const hub = await hubOf();
  const fake = await fakeOf('ollama', { models: ['qwen3:8b'] });
  await nodeOf(hub, { endpoints: [fake], models: ['qwen3:8b'], join: { allow: { inference: false, models: true } } });
  const link = await hub.linked();
  assert.equal(link.register.allow.inference, false);
  assert.equal((await link.http('GET', '/v1/models')).status, 403);
  assert.equal((await link.http('GET', '/drover/v1/models')).status, 403);
  assert.equal((await link.http('POST', '/v1/chat/completions', { body: { model: 'qwen3:8b', messages: [] } })).status, 403);
  assert.notEqual((await link.http('POST', '/api/pull', { body: { model: 'qwen3:8b' } })).status, 403);
  assert.equal((await link.http('GET', '/healthz')).status, 200);
});

test('a stream is for one exchange', async () => {
  const hub = await hubOf();
  await nodeOf(hub);
  const link = await hub.linked();
  const head = 'GET /healthz HTTP/1.1\r\nHost: node\r\n\r\n';
  const s = link.open({ data: head + head });
  await s.until(() => false);
  assert.equal(answer(s).n, 1);
  assert.equal(answer(s).status, 200);
  assert.equal(answer(s).headers.connection?.[0], 'close');
});

test('echo comes back, an unknown service is refused', async () => {
  const hub = await hubOf();
  await nodeOf(hub);
  const link = await hub.linked();
  const echo = link.open({ service: ECHO, data: 'to and fro' });
  await echo.until((b) => b.length === 10);
  assert.equal(echo.received.toString(), 'to and fro');
  const odd = link.open({ service: 77 });
  await odd.until(() => false);
  assert.equal(odd.code, REFUSED_SERVICE);
  assert.notEqual(odd.code, PROTOCOL);
});

test('a request that goes round in circles ends with 508', async () => {
  const hub = await hubOf();
  const fake = await fakeOf('vllm', { models: ['qwen3'] });
  const drover = await nodeOf(hub, { endpoints: [fake], models: ['qwen3'] });
  const link = await hub.linked();
  const ask = (hops) => link.http('POST', '/v1/chat/completions', { body: { model: 'qwen3', messages: [] }, headers: { 'Drover-Hops': String(hops) } });
  assert.equal((await ask(4)).status, 200);
  const late = await ask(5);
  assert.equal(late.status, 508);
  assert.equal(late.json.error.code, 'loop_detected');
  const outside = (hops) => drover.post('/v1/chat/completions', { model: 'qwen3', messages: [] }, { headers: { 'Drover-Hops': hops, 'Drover-Principal': 'root' } });
  assert.deepEqual([(await outside('4')).status, (await outside('5')).status, (await outside('-1')).status], [200, 508, 508], 'another Drover may have us as its endpoint');
  await until('rows', async () => (await drover.cliJson('usage', '--by', 'key')).rows.reduce((n, r) => n + r.requests, 0) > 0);
  assert.doesNotMatch(JSON.stringify(await drover.cliJson('usage', '--by', 'key')), /root/, 'who it says that it is, is not believed');
});

test('further lanes are opened once streams come', async () => {
  const hub = await hubOf({ welcome: { lanes: 4, lane_token: 'lane-token-1' } });
  const drover = await nodeOf(hub);
  const link = await hub.linked();
  await sleep(1500);
  assert.equal(hub.lanes.length, 0);
  await link.http('GET', '/healthz');
  await until('a lane', () => hub.lanes.length === 1);
  assert.equal(hub.upgrades.at(-1).headers['drover-lane'], 'lane-token-1');
  assert.equal((await hub.lanes[0].http('GET', '/healthz')).status, 200);
  await until('both lanes in the status', async () => (await status(drover)).lanes === 2);
  hub.lanes[0].ws.close(1000);
  await until('one lane less', async () => (await status(drover)).lanes === 1);
  assert.equal((await link.http('GET', '/healthz')).status, 200);
});

test('a model that appears is told, one that goes too, and after a gap everything', async () => {
  const hub = await hubOf();
  const fake = await fakeOf('ollama', { models: ['qwen3:8b'] });
  const drover = await nodeOf(hub, { endpoints: [fake], models: ['qwen3:8b'] });
  const link = await hub.linked();
  await until('the first model', () => known(link).has('qwen3:8b'));
  fake.options.models.push({ ...fake.options.models[0], id: 'llama3:8b' });
  await drover.cli('endpoints');
  await fetch(`${drover.url}/healthz`);
  await until('the new one', async () => {
    await drover.cliJson('models');
    return known(link).has('llama3:8b');
  }, 60000, 500);
  const revs = link.messages.filter((m) => m.kind === 'capabilities').map((m) => m.payload.rev);
  assert.deepEqual(revs, revs.map((_, i) => revs[0] + i), 'each one more than the last');
  assert.equal(revs[0], link.register.capabilities_rev + 1);
  const before = link.messages.length;
  link.say('error', { code: 'capabilities_gap', message: 'a gap', fatal: false });
  const again = await link.waitFor('register_agent', { after: before });
  assert.deepEqual(again.payload.models.map((m) => m.key).sort(), ['llama3:8b', 'qwen3:8b']);
  assert.equal(again.payload.capabilities_rev, revs.at(-1));
});

test('opaque names stay opaque', async () => {
  const hub = await hubOf();
  const fake = await fakeOf('vllm', { models: ['qwen3-secret'] });
  await nodeOf(hub, { endpoints: [fake], config: { slugs: 'opaque' } });
  const link = await hub.linked();
  await until('a model', () => known(link).size === 1);
  const told = JSON.stringify(link.messages);
  assert.ok(!told.includes('secret') && !told.includes(String(new URL(fake.url).port)), told);
  assert.equal((await link.http('GET', '/drover/v1/models')).status, 404);
});

// --- coming back ---------------------------------------------------------------------------------------------------------------

test('a hub that died is dialled again, and the epoch before is remembered', async () => {
  const hub = await hubOf();
  const drover = await nodeOf(hub);
  const link = await hub.linked();
  link.ws.terminate();
  const next = await hub.linked(2);
  assert.equal(next.hello.last_epoch, 41);
  assert.equal(next.hello.instance, link.hello.instance);
  assert.equal((await next.http('GET', '/healthz')).status, 200);
  const { port, ca } = hub;
  await hub.stop();
  await until('it to notice', async () => ['resting', 'dialling'].includes((await status(drover)).state));
  assert.ok((await status(drover)).error);
  const again = await startHub({ port, ca, epoch: 90 });
  open.push(() => again.stop());
  again.bearers = hub.bearers;
  const third = await again.linked(1, 40000);
  assert.equal(third.hello.last_epoch, 42);
  assert.equal((await stateIs(drover, 'linked')).error, undefined);
});

test('a restart of the node is another instance with a higher count', async () => {
  const hub = await hubOf();
  const drover = await nodeOf(hub);
  const link = await hub.linked();
  drover.process.kill('SIGTERM');
  await drover.process.ended;
  assert.equal(drover.process.result.code, 0);
  assert.ok(link.messages.some((m) => m.kind === 'goodbye' && m.payload.reason === 'stopping'));
  assert.ok(link.messages.some((m) => m.kind === 'heartbeat' && m.payload.state === 'stopping'));
  assert.ok(link.frames.some((f) => f.name === 'GOAWAY'));
  restart(drover);
  const second = await hub.linked(2);
  assert.notEqual(second.hello.instance, link.hello.instance);
  assert.equal(second.hello.boot_count, 2);
  assert.equal(hub.enrolments.length, 1);
});

for (const [name, end, least, most] of [
  ['an identity that is not accepted (4003)', (link) => link.ws.close(4003, 'revoked'), 60, 75],
  ['another machine with its identity (4010)', (link) => link.ws.close(4010, 'duplicate'), 60, 75],
  ['another version (4001)', (link) => link.ws.close(4001, 'version'), 300, 375],
  ['too many resets (4011)', (link) => link.ws.close(4011, 'flood'), 60, 75],
  ['a goodbye with a time', (link) => { link.say('goodbye', { reason: 'restart', retry_ms: 20000 }); link.ws.close(1001, 'restart'); }, 20, 25],
]) {
  test(`after ${name} it waits ${least} to ${most} s`, async () => {
    const hub = await hubOf();
    const drover = await nodeOf(hub);
    end(await hub.linked());
    const s = await stateIs(drover, 'resting');
    const wait = (s.next_try_ms - s.since_ms) / 1000;
    assert.ok(wait >= least - 0.5 && wait <= most + 0.5, `${wait} s`);
    assert.match(drover.log, /no link to the hub; it is tried again/);
    assert.equal(hub.links.length, 1);
  });
}

test('1001 without more is followed by another try soon', async () => {
  const hub = await hubOf();
  await nodeOf(hub);
  (await hub.linked()).ws.close(1001, 'bye');
  await hub.linked(2, 5000);
});

test('a hub that says goodbye is left for its other address before the link ends', async () => {
  const hub = await hubOf();
  const other = await hubOf({ ca: hub.ca, epoch: 70 });
  other.bearers = hub.bearers;
  hub.enrol = () => ({ urls: [hub.url, other.url] });
  const fake = await fakeOf('vllm', { models: ['qwen3'], reply: Array(100).fill('x'), delayMs: 30 });
  const drover = await nodeOf(hub, { endpoints: [fake], models: ['qwen3'] });
  await until('a link', () => hub.links.length + other.links.length === 1);
  const [from, to] = hub.links.length ? [hub, other] : [other, hub];
  const first = await from.linked();
  const running = first.request('POST', '/v1/chat/completions', { body: { model: 'qwen3', stream: true, messages: [] } });
  await running.until((b) => b.includes('"x"'));
  first.say('goodbye', { reason: 'restart', retry_ms: 60000 });
  const second = await to.linked();
  assert.equal(first.code, undefined);
  await until('both to know it', async () => (await status(drover)).hub === to.url);
  await running.until(() => false);
  assert.match(answer(running).text, /\[DONE\]/, 'what ran there went on to its end');
  first.ws.close(1001, 'restart');
  await sleep(500);
  assert.equal((await status(drover)).state, 'linked');
  assert.equal((await second.http('GET', '/healthz')).status, 200);
  const { join } = await drover.cliJson('status');
  assert.deepEqual([join.state, join.fleet], ['linked', 'home']);
  assert.match((await drover.cli('status')).stdout, /node of +home: linked\n/);
});

test('the link is not kept with a hub of another authority', async () => {
  const hub = await hubOf();
  const drover = await nodeOf(hub);
  await hub.linked();
  const { port } = hub;
  await hub.stop();
  const strange = await hubOf({ port });
  strange.bearers = hub.bearers;
  const s = await until('the refusal', async () => {
    const now = await status(drover);
    return /certificate/.test(now.error ?? '') && now;
  });
  assert.notEqual(s.state, 'linked');
  assert.equal(strange.upgrades.length, 0);
});

test('a hub behind a public certificate is joined by its address alone, and its operator approves', async () => {
  let yes = false;
  const hub = await hubOf({ enrol: () => (yes ? { urls: [] } : 'wait'), dns: ['localhost'] });
  const roots = path.join(mkdtempSync(path.join(tmpdir(), 'drover-roots-')), 'ca.pem');
  writeFileSync(roots, hub.ca.pem);
  open.push(() => rmSync(path.dirname(roots), { recursive: true }));
  const drover = await nodeOf(undefined, { env: { SSL_CERT_FILE: roots } });
  const joining = drover.cli('join', hub.url.replace('127.0.0.1', 'localhost'));
  await stateIs(drover, 'waiting');
  assert.equal(hub.enrolments[0].token, undefined);
  yes = true;
  const joined = await joining;
  assert.equal(joined.code, 0, joined.stderr);
  assert.match(joined.stdout, new RegExp(`waiting for the hub's operator.*\n +${hub.enrolments[0].fingerprint}\n`));
  await hub.linked();
  const plain = await nodeOf(undefined);
  const refused = await plain.cli('join', 'http://192.0.2.1:7443');
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /reached by https/);
});

test('a busy hub says when to come again, a credential that is not good waits a minute', async () => {
  const hub = await hubOf({ upgrade: () => ({ status: 503, headers: { 'Retry-After': '2' } }) });
  const drover = await nodeOf(hub);
  await until('the second try', () => hub.upgrades.length >= 2);
  const gap = hub.upgrades[1].at - hub.upgrades[0].at;
  assert.ok(gap >= 1950 && gap < 3500, `${gap} ms`);
  hub.upgrade = () => 401;
  const s = await until('the refusal', async () => {
    const now = await status(drover);
    return /401/.test(now.error ?? '') && now;
  });
  assert.ok(s.next_try_ms - Date.now() > 50_000);
});

test('a hub that says nothing after the upgrade is left, and tried again', async () => {
  const hub = await hubOf({ silent: true });
  const drover = await nodeOf(hub);
  await until('the first socket', () => hub.links.length === 1);
  assert.equal((await hub.links[0].closed).code, 4004);
  hub.silent = false;
  const link = await hub.linked(2);
  assert.equal((await stateIs(drover, 'linked')).error, undefined);
  link.say('frobnicate', {});
  link.ws.send('not JSON at all');
  const faults = await until('both faults', () => {
    const found = link.messages.filter((m) => m.kind === 'error');
    return found.length === 2 && found;
  }).catch((error) => { throw new Error(`${error.message}; ${JSON.stringify(link.messages.slice(-3))} ${link.code}`); });
  assert.deepEqual(faults.map((m) => m.payload.code), ['unknown_kind', 'bad_json']);
  link.seq++;
  link.say('directive', { directive_id: 'd1', op: 'restart', expires_ms: 60000 });
  const ack = await link.waitFor('ack');
  assert.deepEqual([ack.payload.directive_id, ack.payload.accepted, ack.payload.code], ['d1', false, 'not_allowed']);
  assert.equal((await link.http('GET', '/healthz')).status, 200);
});

test('a registration that is refused waits a minute', async () => {
  const hub = await hubOf({ registered: () => ({ accepted: false, code: 'not_allowed', message: 'full' }) });
  const drover = await nodeOf(hub);
  const s = await stateIs(drover, 'resting');
  assert.ok(s.next_try_ms - s.since_ms >= 59_000);
  assert.match(drover.log, /did not accept the registration.*full/);
});

// --- the certificate -----------------------------------------------------------------------------------------------------------

test('the certificate is renewed in time, and the link moves to it without a gap', async () => {
  const hub = await hubOf({ leafS: 12, leafFromS: 0 });
  const fake = await fakeOf('vllm', { models: ['qwen3'], reply: Array(200).fill('x'), delayMs: 50 });
  const drover = await nodeOf(hub, { endpoints: [fake], models: ['qwen3'] });
  const first = await hub.linked();
  const running = first.request('POST', '/v1/chat/completions', { body: { model: 'qwen3', stream: true, messages: [] } });
  await running.until((b) => b.includes('"x"'));
  hub.leafS = 7 * 86400;
  const second = await hub.linked(2, 30000);
  assert.equal(hub.renewals.length, 1);
  assert.equal(hub.renewals[0].cert, hub.enrolments[0].fingerprint, 'proven with the old one');
  assert.notEqual(second.upgrade.serial, first.upgrade.serial);
  assert.equal(second.hello.instance, first.hello.instance);
  assert.equal(first.code, undefined, 'the old link is still there');
  assert.equal(running.ended, false, 'and so is its stream');
  first.ws.close(4010, 'replaced');
  await sleep(500);
  assert.equal((await status(drover)).state, 'linked');
  assert.equal(hub.links.length, 2);
  assert.equal((await second.http('GET', '/healthz')).status, 200);
  assert.equal(readFileSync(path.join(drover.dir, 'data/join/token'), 'utf8'), hub.bearers.get(second.upgrade.headers['drover-node'])[0]);
});

const soon = () => new Date(Date.now() + 1000).toISOString();
const trustOf = (drover) => readFileSync(path.join(drover.dir, 'data/join/fleet/trust.pem'), 'utf8');

test('what the hub wants renewed is renewed once, within the time that it gives', async () => {
  const hub = await hubOf();
  const drover = await nodeOf(hub);
  const first = await hub.linked();
  await sleep(1100); // certificates begin at whole seconds
  const at = Date.now(), leaf_not_before = new Date(at - 300_000).toISOString();
  for (let i = 0; i < 5; i++) first.say('hub_status', { state: 'ready', trust_sequence: 1, leaf_not_before, renew_spread_ms: 2500 });
  const second = await hub.linked(2);
  assert.ok(hub.renewals[0].at - at <= 3500, `${hub.renewals[0].at - at} ms after it was told`);
  assert.notEqual(second.upgrade.serial, first.upgrade.serial);
  second.say('hub_status', { state: 'ready', trust_sequence: 1, leaf_not_before, renew_spread_ms: 0 });
  await sleep(1500);
  assert.equal(hub.renewals.length, 1, 'said again it means nothing: the certificate is younger');
  second.say('hub_status', { state: 'ready', trust_sequence: 1, renew_spread_ms: 0, leaf_not_before: new Date(Date.now() + 86400_000).toISOString() });
  await sleep(2500);
  assert.ok(hub.renewals.length < 8, `a moment that never comes is no reason to ask on and on: ${hub.renewals.length}`);
  assert.equal((await status(drover)).state, 'linked');
});

test('the hub wants nothing renewed where join.allow.certs says no', async () => {
  const hub = await hubOf({ welcome: { trust_sequence: 9, leaf_not_before: soon(), renew_spread_ms: 0 } });
  await nodeOf(hub, { join: { allow: { certs: false } } });
  await hub.linked();
  await sleep(1500);
  assert.equal(hub.renewals.length, 0);
});

test('other roots are taken only from a bundle that a root of ours has signed, with a higher number', async () => {
  const hub = await hubOf({ bearersKept: 20 }), next = authority('home', 2), stranger = authority('home', 3), both = hub.ca.pem + next.pem;
  const drover = await nodeOf(hub);
  const link = await hub.linked(), was = trustOf(drover);
  const bad = [
    { trust: both, trust_sequence: 2 },
    { trust: both, trust_sequence: 2, bundle: next.bundle(2, both) },
    { trust: both, trust_sequence: 2, bundle: stranger.bundle(2, both) },
    { trust: both, trust_sequence: 2, bundle: hub.ca.bundle(1, both) },
    { trust: both, trust_sequence: 2, bundle: hub.ca.bundle(2, both).replace(next.pem, stranger.pem) },
    { trust: both, trust_sequence: 2, bundle: authority('barn').bundle(2, both) },
  ];
  [hub.roots] = bad;
  link.say('hub_status', { state: 'ready', trust_sequence: 2, renew_spread_ms: 0 });
  await until('the first refusal', () => drover.log.includes('could not be renewed'));
  assert.equal(trustOf(drover), was);
  for (const roots of bad.slice(1)) { // a restart asks at once; by itself it would wait a minute
    hub.roots = roots;
    hub.welcome = { trust_sequence: 2, renew_spread_ms: 0 };
    const n = hub.renewals.length;
    await kill(drover);
    const child = restart(drover);
    await until('it to ask', () => hub.renewals.length > n);
    await until('the refusal', () => child.log.includes('could not be renewed'));
    assert.equal(trustOf(drover), was);
    drover.process = Object.assign(child, { result: undefined });
  }
  hub.roots = { trust: both, trust_sequence: 2, bundle: hub.ca.bundle(2, both) };
  await kill(drover);
  restart(drover);
  await until('the roots of both', () => trustOf(drover) === `Drover trust bundle 2\n${both}`);
});

test('a node that was off for longer than its certificate renews with its bearer', async () => {
  const hub = await hubOf({ leafS: 5, leafFromS: 0 });
  const drover = await nodeOf(hub);
  await hub.linked();
  await kill(drover);
  await sleep(5500);
  hub.leafS = 7 * 86400;
  const before = hub.links.length;
  restart(drover);
  await hub.linked(before + 1);
  const last = hub.renewals.at(-1);
  assert.equal(last.cert, undefined, 'no certificate is shown');
});

test('a renewal that fails leaves the link and is tried again later', async () => {
  const hub = await hubOf({ leafS: 40, leafFromS: -100 });
  hub.refuseRenewal = true;
  const drover = await nodeOf(hub);
  const link = await hub.linked();
  await until('the first try', () => hub.renewals.length === 1);
  await until('the log', () => /could not be renewed/.test(drover.log));
  await sleep(2500);
  assert.equal(hub.renewals.length, 1);
  assert.equal((await link.http('GET', '/healthz')).status, 200);
  assert.equal((await status(drover)).state, 'linked');
});

// --- the command line ------------------------------------------------------------------------------------------------------------

test('drover join tells how it goes, drover leave forgets everything', async () => {
  const hub = await hubOf();
  const fake = await fakeOf('vllm', { models: ['qwen3'] });
  const drover = await nodeOf(undefined, { endpoints: [fake], models: ['qwen3'] });
  assert.equal((await status(drover)).state, 'off');
  assert.equal((await drover.cli('leave')).code, 5);
  assert.equal((await drover.cli('join')).code, 2);
  assert.equal((await drover.cli('join', 'nonsense')).code, 1);
  assert.match((await drover.cli('join', hub.line(), '--mode', 'sideways')).stderr, /reverse or direct/);
  const joined = await drover.cli('join', hub.line(), '--name', 'loft');
  assert.equal(joined.code, 0, joined.stderr);
  assert.match(joined.stdout, /key made/);
  assert.match(joined.stdout, /linked to the fleet home\n.*as +loft\n/);
  assert.match(joined.stdout, /it sees +1 model of 1 endpoint\n/);
  assert.equal((await drover.cli('join', hub.line())).code, 1);
  assert.match((await drover.cli('join', '--status')).stdout, /^linked for /);
  const link = hub.links[0];
  const left = await drover.cli('leave');
  assert.equal(left.code, 0, left.stderr);
  await link.waitFor('goodbye', { test: (p) => p.reason === 'leaving' });
  assert.equal((await link.closed).code, 1000);
  assert.ok(!existsSync(path.join(drover.dir, 'data/join')));
  assert.equal((await status(drover)).state, 'off');
  const outside = await drover.post('/drover/v1/join', { line: hub.line() });
  assert.ok([401, 403].includes(outside.status));
});

test('two Drovers: what is asked of the hub is answered by the runtime behind the node', async () => {
  const fake = await fakeOf('vllm', { models: ['qwen3'], reply: ['Hel', 'lo'], delayMs: 20 });
  const node = await nodeOf(undefined, { endpoints: [fake], models: ['qwen3'] });
  const hub = await startDrover({ config: { name: 'home-hub', hub: { name: 'home' } }, listen: [{ address: '127.0.0.1:0', tls: 'ca', client_cert: 'optional', roles: ['link'] }] });
  open.push(() => hub.stop());
  const [line] = (await hub.cli('hub', 'invite')).stdout.match(/drover:\/\/join\/1\/[\w-]+/);
  const joined = await node.cli('join', line, '--name', 'attic');
  assert.equal(joined.code, 0, joined.stderr);
  await until('the model at the hub', async () => (await hub.modelIds()).includes('qwen3'));
  const chat = { model: 'qwen3', messages: [{ role: 'user', content: 'hi' }] };
  const whole = await hub.post('/v1/chat/completions', chat);
  assert.equal((await whole.json()).choices[0].message.content, 'Hello');
  const events = await allSse(await hub.post('/v1/chat/completions', { ...chat, stream: true }));
  assert.equal(chatText(events), 'Hello');
  const many = await Promise.all(Array.from({ length: 40 }, () => hub.post('/v1/chat/completions', chat).then((r) => r.status)));
  assert.deepEqual([...new Set(many)], [200]);
  const large = await hub.post('/v1/chat/completions', { ...chat, messages: [{ role: 'user', content: 'x'.repeat(3_000_000) }] });
  assert.equal(large.status, 200);
  assert.ok(fake.requests.at(-1).body.length > 3_000_000);
  await until('more than one lane', async () => (await status(node)).lanes > 1);
  fake.options.reply = Array(500).fill('x');
  const cut = new AbortController();
  const long = await hub.post('/v1/chat/completions', { ...chat, stream: true }, { signal: cut.signal });
  await long.body.getReader().read();
  cut.abort();
  await until('the runtime to be left', () => fake.requests.at(-1).closedAt, 3000, 10);
  fake.options.reply = ['Hello'];
  await kill(node);
  await until('the hub to notice', async () => (await hub.post('/v1/chat/completions', chat)).status >= 500);
  restart(node);
  await until('it to be back', async () => (await hub.post('/v1/chat/completions', chat)).status === 200, 60000, 200);
  const left = await node.cli('leave');
  assert.equal(left.code, 0, left.stderr);
});

test('without a daemon drover join stores the membership, and the daemon begins with it', async () => {
  const hub = await hubOf();
  const drover = await nodeOf(undefined);
  drover.process.kill('SIGTERM');
  await drover.process.ended;
  const line = path.join(drover.dir, 'line');
  writeFileSync(line, `${hub.line()}\n`);
  const joined = await command('sh', ['-c', `"${DROVER}" join - --config "${drover.file}" <"${line}"`], { env: { ...process.env } });
  assert.equal(joined.code, 0, joined.stderr);
  assert.match(joined.stdout, /joined the fleet home/);
  assert.equal(hub.links.length, 0);
  restart(drover);
  await hub.linked();
});

test('a damaged membership is told, and does not keep the daemon from serving', async () => {
  const hub = await hubOf();
  const drover = await nodeOf(hub);
  await hub.linked();
  drover.process.kill('SIGTERM');
  await drover.process.ended;
  writeFileSync(path.join(drover.dir, 'data/join/token'), 'rubbish', { mode: 0o600 });
  restart(drover);
  await until('it to answer', async () => (await fetch(`${drover.url}/healthz`)).status === 200);
  const s = await status(drover);
  assert.equal(s.state, 'broken');
  assert.match(s.error, /token holds no bearer.*|leave/);
  assert.equal((await drover.cli('leave')).code, 0);
});
