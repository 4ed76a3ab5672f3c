// The console's live side: its files, the events over one WebSocket, what is under way now, the last minutes, stopping a request.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFake } from './fakes/index.js';
import { DROVER, startDrover, until } from './lib/drover.js';

const PASS = 'some words that nobody guesses';
const ask = { model: 'coder', messages: [{ role: 'user', content: 'hi' }] };
let fake, drover;
const cookies = {};

before(async () => {
  fake = await startFake('openai', { models: ['coder'] });
  fake.name = 'fake';
  drover = await startDrover({ endpoints: [fake], models: ['coder'], config: { telemetry: { content: true } },
    prepare: (dir) => {
      for (const role of ['viewer', 'operator', 'admin'])
        execFileSync(DROVER, ['user', 'add', role, '--role', role, '--passphrase-file', '-', '--config', path.join(dir, 'drover.yaml')], { input: `${PASS}\n`, stdio: 'pipe' });
    } });
  for (const name of ['viewer', 'operator', 'admin']) {
    const answer = await drover.post('/drover/v1/session', { name, passphrase: PASS }, { headers: { 'drover-console': '1' } });
    assert.equal(answer.status, 201);
    cookies[name] = answer.headers.get('set-cookie').split(';')[0];
  }
});
after(async () => {
  await drover?.stop();
  await fake?.close();
});

const as = (name, route, method = 'GET') => drover.get(route, { method, headers: { cookie: cookies[name], 'drover-console': '1' } });

/** A page's socket: .all is what came; want(probe) waits for one message. */
async function follow(name, subscribe, headers = {}) {
  const ws = new WebSocket(`${drover.url.replace('http', 'ws')}/drover/v1/events`, { headers: { cookie: cookies[name], origin: drover.url, ...headers } });
  const it = { ws, all: [], closed: false,
    say: (message) => ws.send(JSON.stringify(message)),
    want: (what, probe) => until(what, () => it.all.find(probe)),
    close: () => ws.close() };
  ws.addEventListener('message', (m) => it.all.push(JSON.parse(m.data)));
  ws.addEventListener('close', (e) => { it.closed = e.code; });
  await new Promise((go, fail) => { ws.addEventListener('open', go); ws.addEventListener('error', () => fail(new Error('no socket'))); });
  if (subscribe) it.say({ subscribe, log_level: 'info' });
  return it;
}
const slowStream = (n = 200) => {
  fake.options.reply = Array.from({ length: n }, (_, i) => ` w${i}`);
  fake.options.delayMs = 25;
};
const quick = () => {
  fake.options.reply = ['Hel', 'lo'];
  fake.options.delayMs = 0;
};

test('the console\'s files come small, once, and with a policy', async () => {
  const get = (route, headers = {}) => new Promise((go, fail) => http.get(drover.url + route, { headers }, (r) => {
    const parts = [];
    r.on('data', (d) => parts.push(d)).on('end', () => go({ status: r.statusCode, headers: r.headers, body: Buffer.concat(parts) }));
  }).on('error', fail));
  const root = await get('/', { accept: 'text/html' });
  assert.deepEqual([root.status, root.headers.location], [307, '/console/']);
  assert.equal((await get('/')).body.toString(), 'Ollama is running', 'a program that greets is greeted');
  const page = await get('/console/'), html = page.body.toString();
  assert.equal(page.status, 200);
  assert.match(page.headers['content-type'], /^text\/html/);
  assert.equal(page.headers['cache-control'], 'no-store');
  assert.match(page.headers['content-security-policy'], /script-src 'self'/);
  assert.doesNotMatch(html, /<script[^>]*>[^<]|style="|\son\w+="/, 'nothing inline');
  const script = /(?:src|href)="([^"]+\.js)"/.exec(html)[1], at = new URL(script, `${drover.url}/console/`).pathname;
  const plain = await get(at), br = await get(at, { 'accept-encoding': 'gzip, br' }), gz = await get(at, { 'accept-encoding': 'gzip;q=1, br;q=0' });
  assert.equal(br.headers['content-encoding'], 'br');
  assert.equal(gz.headers['content-encoding'], 'gzip');
  assert.ok(brotliDecompressSync(br.body).equals(plain.body) && gunzipSync(gz.body).equals(plain.body) && br.body.length < plain.body.length / 2);
  assert.match(plain.headers['cache-control'], /immutable/);
  assert.equal((await get(at, { 'if-none-match': plain.headers.etag })).status, 304);
  for (const route of ['/console/nothing.js', '/console/assets/', '/console/assets/x-AAAA.js']) assert.equal((await get(route)).status, 404);
  assert.equal((await drover.post('/console/', {})).status, 405);
});

test('events come in order, are resumed by number, and tell of what ended', async () => {
  const page = await follow('viewer', ['events', 'figures']);
  const { hello } = await page.want('hello', (m) => m.hello);
  assert.match(hello.boot, /^\w{16}$/);
  const made = await (await drover.post('/v1/chat/completions', ask)).json();
  assert.ok(made.choices);
  const { event } = await page.want('the request', (m) => m.event?.topic === 'request');
  assert.deepEqual([event.data.slug, event.data.endpoint, event.data.result, event.data.status], ['coder', 'fake', 'ok', 200]);
  assert.ok(event.data.output_tokens > 0 && event.data.total_us > 0);
  assert.equal((await drover.cli('key', 'add', 'told')).code, 0);
  await page.want('the key', (m) => m.event?.topic === 'key');
  await page.want('figures', (m) => m.figures?.at_ms > 0);
  const numbers = page.all.filter((m) => m.event).map((m) => m.event.id);
  assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b));
  page.close();
  const again = await follow('viewer');
  again.say({ subscribe: ['events'], since: event.id - 1 });
  await again.want('the same once more', (m) => m.event?.id === event.id);
  again.say({ subscribe: ['events'], since: numbers.at(-1) });
  await sleep(500);
  assert.equal(again.all.filter((m) => m.event?.id === event.id).length, 1);
  again.close();
});

test('what is under way is shown, and an operator stops it', async () => {
  slowStream();
  const stream = await drover.post('/v1/chat/completions', { ...ask, stream: true });
  const text = stream.text();
  const page = await follow('operator', ['live']);
  const { live } = await page.want('it', (m) => m.live?.requests.some((r) => r.state === 'answering' && r.output > 3));
  const row = live.requests.find((r) => r.state === 'answering');
  assert.deepEqual([row.asked, row.slug, row.endpoint, row.model, row.stream], ['coder', 'coder', 'fake', 'coder', true]);
  assert.equal(row.id, stream.headers.get('x-request-id'));
  assert.ok(row.ttft_ms >= 0 && row.bytes_out > 0);
  const list = await (await as('viewer', '/drover/v1/live')).json();
  assert.ok(list.requests.some((r) => r.id === row.id) && list.total >= 1);
  assert.equal((await as('viewer', `/drover/v1/live/${row.id}/stop`, 'POST')).status, 403);
  assert.equal((await as('operator', `/drover/v1/live/${row.id}/stop`, 'POST')).status, 202);
  assert.match(await text, /operator stopped/);
  await until('nothing under way', async () => (await (await as('viewer', '/drover/v1/live')).json()).total === 0);
  page.close();
  quick();
});

test('an operator stops all that goes on with a key, and nothing else', async () => {
  slowStream(80);
  const { key, id } = await drover.cliJson('key', 'add', 'greedy');
  const open = (headers) => drover.post('/v1/chat/completions', { ...ask, stream: true }, { headers });
  const mine = await Promise.all(Array.from({ length: 4 }, () => open({ authorization: `Bearer ${key}` }))), other = await open();
  const texts = mine.map((r) => r.text()), rest = other.text();
  const stop = (name, body) => fetch(`${drover.url}/drover/v1/live/stop`, { method: 'POST', body: JSON.stringify(body),
    headers: { cookie: cookies[name], 'drover-console': '1', 'content-type': 'application/json' } });
  assert.equal((await stop('viewer', { key: id })).status, 403);
  for (const wrong of [{}, { key: 7 }, { key: '' }]) assert.equal((await stop('operator', wrong)).status, 400);
  assert.equal((await stop('operator', { key: 'nobody' })).status, 202);
  assert.equal((await stop('operator', { key: 'greedy' })).status, 202);
  for (const text of texts) assert.match(await text, /operator stopped the requests of this key/);
  assert.match(await rest, /\[DONE\]/);
  assert.equal((await (await open({ authorization: `Bearer ${key}` })).text()).includes('[DONE]'), true, 'what comes later is served');
  await drover.cli('key', 'revoke', id);
  quick();
});

test('what a client is sent may be watched where content is on, and that is in the audit log', async () => {
  slowStream(80);
  const stream = await drover.post('/v1/chat/completions', { ...ask, stream: true });
  const id = stream.headers.get('x-request-id'), text = stream.text();
  const low = await follow('viewer', ['live']);
  low.say({ watch: id });
  assert.match((await low.want('a refusal', (m) => m.watch)).watch.refused, /role operator/);
  low.close();
  const page = await follow('operator', ['live']);
  page.say({ watch: id });
  await page.want('the end', (m) => m.watch?.end);
  const all = await text, seen = page.all.filter((m) => m.watch).map((m) => m.watch);
  const bytes = seen.map((w) => Buffer.from(w.bytes, 'base64').toString()).join('');
  assert.ok(bytes.length > 100 && all.endsWith(bytes), 'the very bytes, from where it began to watch');
  assert.equal(seen[0].dialect, 'openai');
  assert.match((await drover.cli('audit', 'list')).stdout, new RegExp(`content\\.watch +${id}`));
  page.close();
  quick();
});

test('log lines come by level, and to operators only', async () => {
  const low = await follow('viewer', ['log', 'events']), page = await follow('operator', ['log']);
  await drover.cli('reload');
  await page.want('a line', (m) => m.log?.some((l) => /nothing in it has changed/.test(JSON.stringify(l))));
  assert.equal(low.all.some((m) => m.log), false);
  low.close();
  page.close();
});

test('a socket needs a session and a page of ours, and ends with the session', async () => {
  const refused = (headers) => new Promise((go) => http.get(`${drover.url}/drover/v1/events`, { headers: { connection: 'upgrade', upgrade: 'websocket', 'sec-websocket-version': '13',
    'sec-websocket-key': Buffer.alloc(16, 7).toString('base64'), ...headers } }).on('response', (r) => go(r.resume().statusCode)).on('upgrade', (r, s) => { s.destroy(); go(101); }));
  assert.equal(await refused({ origin: drover.url }), 401);
  assert.equal(await refused({ cookie: cookies.viewer }), 403, 'no origin');
  assert.equal(await refused({ cookie: cookies.viewer, origin: 'http://evil.example' }), 403);
  for (const near of ['http://localhost:3000', `http://127.0.0.1:${drover.port + 1}`, `https://127.0.0.1:${drover.port}`, 'null'])
    assert.equal(await refused({ cookie: cookies.viewer, origin: near }), 403, `another port is another origin: ${near}`);
  assert.equal((await drover.get('/drover/v1/status', { headers: { cookie: cookies.viewer, origin: 'http://localhost:3000' } })).status, 403);
  assert.equal(await refused({ cookie: cookies.viewer, origin: drover.url }), 101);
  assert.equal(await refused({ cookie: cookies.viewer, origin: drover.url, 'sec-websocket-version': '12' }), 400);
  assert.equal((await as('viewer', '/drover/v1/events')).status, 400);
  const page = await follow('viewer', ['events', 'live', 'figures']);
  await page.want('hello', (m) => m.hello);
  assert.equal((await as('viewer', '/drover/v1/session', 'DELETE')).status, 200);
  await until('its end', () => page.closed);
  assert.equal(page.all.at(-1).bye.code, 'signed_out');
  assert.equal(page.closed, 4401);
});

test('a page that sends nonsense is told so; one that reads nothing holds little', async () => {
  const page = await follow('operator');
  page.ws.send('[1,2');
  await until('the end', () => page.closed);
  assert.equal(page.all.at(-1).bye.code, 'bad_message');
  const odd = await follow('operator');
  const wrong = [[{ subscribe: 'events' }, /must be a list/], [{ subscribe: [1, null, 'nothing'] }, /takes events, live/], [{ since: -1, subscribe: ['events'] }, /"since"/],
    [{ since: 1e15, subscribe: ['events'] }, /"since"/], [{ subscribe: ['log'], log_level: 'zzz' }, /"log_level"/], [{ watch: 1 }, /"watch"/], [{}, /subscribe/]];
  for (const [m, words] of wrong) {
    const before = odd.all.length;
    odd.say(m);
    await until(`a word about ${JSON.stringify(m)}`, () => odd.all.slice(before).some((a) => words.test(a.error?.message)));
  }
  odd.say({ watch: 'x'.repeat(400) });
  await odd.want('a refusal', (m) => m.watch?.refused);
  odd.ws.send('x'.repeat(70000));
  await until('too big', () => odd.closed);
  assert.equal(odd.closed, 1009);
});

test('one person cannot take all the places for pages', async () => {
  const mine = await Promise.all(Array.from({ length: 32 }, () => follow('operator')));
  await assert.rejects(follow('operator'));
  (await follow('admin')).close();
  for (const page of mine) page.close();
  await until('room again', async () => { (await follow('operator')).close(); return true; });
});

test('the last minutes are kept', async () => {
  const points = await until('three requests in the past', async () => {
    const history = await (await as('operator', '/drover/v1/history')).json();
    assert.equal(history.interval_ms, 1000);
    return history.points.reduce((n, p) => n + p.requests, 0) >= 3 && history.points;
  });
  assert.ok(points.length >= 3 && points.every((p, i) => i === 0 || p.at_ms > points[i - 1].at_ms));
});

test('settings tell where they come from, and no secret', async () => {
  const { file, settings } = await (await as('admin', '/drover/v1/settings')).json(), of = (name) => settings.find((s) => s.name === name);
  assert.equal(file, drover.file);
  assert.deepEqual([of('telemetry.content').value, of('telemetry.content').origin], ['true', 'file']);
  assert.ok(of('telemetry.content').line > 0);
  assert.equal(of('gateway.body_max').value, '64MiB');
  assert.deepEqual([of('gateway.body_max').origin, of('gateway.body_max').default], ['default', '64MiB']);
  assert.equal(of('workers').restart, true);
  assert.ok(settings.every((s) => typeof s.value === 'string'));
  assert.equal(JSON.parse(of('endpoints').value).length, 1);
  assert.ok(settings.every((s) => s.help && s.type && s.name));
  assert.equal((await as('operator', '/drover/v1/settings')).status, 403);
});

test('an alert fires after a while, says what to do, is silenced, and ends', async () => {
  const dead = await startFake('openai', { models: ['gone'] });
  dead.name = 'dead';
  drover.configure({ endpoints: [{ name: 'fake', url: fake.url, kind: 'auto' }, { name: 'dead', url: dead.url, kind: 'auto' }], telemetry: { content: true } });
  assert.equal((await drover.cli('reload')).code, 0);
  await until('the second', async () => (await drover.modelIds()).includes('gone'));
  const page = await follow('operator', ['events']);
  await dead.close();
  const list = async () => (await (await as('operator', '/drover/v1/alerts')).json()).alerts;
  const alert = await until('the alert', async () => (await list()).find((a) => a.kind === 'endpoint' && a.object === 'dead'), 90000, 500);
  assert.equal(alert.severity, 'bad');
  assert.match(alert.text, /^dead is down: /);
  assert.match(alert.cure, /start the runtime/);
  await page.want('its event', (m) => m.event?.topic === 'alert' && m.event.data.fires);
  const silence = (until_ms, name = 'operator') => fetch(`${drover.url}/drover/v1/alerts/${alert.id}/silence`, { method: 'PUT', body: JSON.stringify({ until_ms }),
    headers: { cookie: cookies[name], 'drover-console': '1', 'content-type': 'application/json' } });
  const later = Date.now() + 3600000;
  assert.equal((await silence(later + 30 * 86400000)).status, 400);
  assert.equal((await silence('soon')).status, 400);
  assert.equal((await silence(later)).status, 200);
  assert.equal((await list()).find((a) => a.id === alert.id).silenced_until_ms, later);
  assert.match((await drover.cli('audit', 'list')).stdout, /alert\.silence/);
  drover.configure({ endpoints: [{ name: 'fake', url: fake.url, kind: 'auto' }], telemetry: { content: true } });
  await drover.cli('reload');
  await page.want('its end', (m) => m.event?.topic === 'alert' && m.event.data.fires === false);
  assert.deepEqual(await list(), []);
  page.close();
});

test('two hundred streams and ten consoles at once', async () => {
  slowStream(20);
  const pages = await Promise.all(Array.from({ length: 10 }, () => follow('operator', ['events', 'live', 'figures', 'log'])));
  const streams = await Promise.all(Array.from({ length: 200 }, () => drover.post('/v1/chat/completions', { ...ask, stream: true })));
  const texts = await Promise.all(streams.map((s) => s.text()));
  assert.ok(texts.every((t) => t.includes(' w19') && t.includes('[DONE]')));
  const ids = new Set(streams.map((s) => s.headers.get('x-request-id')));
  for (const page of pages) {
    await until('every end', () => page.all.filter((m) => m.event?.topic === 'request' && ids.has(m.event.data.id)).length === 200);
    page.close();
  }
  quick();
});
