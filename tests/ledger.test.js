// The rows of the ledger: filters, and pages that neither skip nor repeat a row though many ended in one millisecond. And what is told
// when records cannot be written, or are not there any more.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import http from 'node:http';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { startFake } from './fakes/index.js';
import { home, serve } from './lib/daemon.js';
import { command, DROVER, freePort, until } from './lib/drover.js';

const ROWS = 120000, BUSY = 1300, T0 = Date.now() - 3600000; // BUSY rows ended in each of some milliseconds
let place, child, key, fake;

const admin = (method, route, body) => new Promise((go, fail) => http.request({ socketPath: path.join(place.dir, 'run', 'drover.sock'), method, path: `/drover/v1/${route}`,
  headers: { 'content-type': 'application/json' } }, async (response) => {
  let text = '';
  for await (const piece of response) text += piece;
  go({ status: response.statusCode, body: JSON.parse(text) });
}).on('error', fail).end(body && JSON.stringify(body)));
const start = async () => {
  child = serve(place);
  await until('drover', async () => (await fetch(`${place.url}/healthz`)).status === 200, 20000);
};
const stop = async () => {
  child.kill('SIGTERM');
  assert.deepEqual(await child.ended, { code: 0, signal: null }, child.log);
};
/** All pages of a question: their rows, and how many pages there were. */
async function all(question, limit = 500, between) {
  const rows = [];
  let pages = 0, cursor = '';
  for (;;) {
    const { status, body } = await admin('GET', `requests?limit=${limit}${question}${cursor}`);
    assert.equal(status, 200, JSON.stringify(body));
    assert.ok(body.requests.length <= limit);
    rows.push(...body.requests);
    pages++;
    if (!body.next) return { rows, pages };
    assert.ok(body.looked_to_ms > 0);
    cursor = `&cursor=${body.next}`;
    await between?.(pages);
  }
}
const id = (i) => (i * 2654435761 % 4294967296).toString(16).padStart(8, '0').repeat(4);
const endedMs = (i) => T0 + Math.floor(i / BUSY) * 7;
const result = (i) => (i % 50 === 0 ? 2 : i % 333 === 0 ? 4 : 0);

before(async () => {
  fake = await startFake('openai', { models: ['m'] });
  place = home(await freePort(), { endpoints: [{ name: 'fake', url: fake.url, kind: 'auto' }] });
  await start();
  key = (await admin('POST', 'keys', { name: 'rare' })).body;
  await stop();
  const db = new DatabaseSync(path.join(place.dir, 'data', 'drover.db'));
  db.exec('BEGIN');
  const add = db.prepare(`INSERT INTO request (ended_ms, id, key_id, slug, model, endpoint, runtime, dialect, api, stream, status, result, attempts, tokens_in, tokens_cached,
    tokens_out, tokens_reasoning, in_source, out_source, queue_us, first_us, total_us, bytes_in, bytes_out, cost, cost_source)
    VALUES (?, ?, ?, ?, ?, ?, 'openai', 'openai', '/v1/chat/completions', 0, ?, ?, 1, 1, 0, 1, 0, 1, 1, 0, 1, 1, 1, 1, NULL, 0)`);
  for (let i = 0; i < ROWS; i++)
    add.run(endedMs(i), id(i), i === 10 || i === 99999 ? key.id : '', `slug-${i % 3}`, `model-${i % 5}`, `box-${i % 7}`, { 0: 200, 2: 502, 4: 429 }[result(i)], result(i));
  db.exec('COMMIT');
  db.close();
  await start();
});
after(async () => {
  await stop();
  await fake.close();
  place.remove();
});

test('pages neither skip nor repeat a row, also while others come and in one millisecond', async () => {
  const from = T0 + 7 * 60;
  const want = new Set();
  for (let i = 0; i < ROWS; i++) if (endedMs(i) >= from && endedMs(i) < T0 + 7 * 70) want.add(id(i));
  const { rows, pages } = await all(`&from_ms=${from}&to_ms=${T0 + 7 * 70}`, 499, async (n) => {
    if (n === 3) assert.equal((await fetch(`${place.url}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"model":"nothing"}' })).status, 404);
  });
  assert.equal(pages, Math.ceil(want.size / 499));
  assert.equal(rows.length, want.size);
  assert.deepEqual(new Set(rows.map((r) => r.id)), want);
  for (let i = 1; i < rows.length; i++) assert.ok(rows[i - 1].ended_ms > rows[i].ended_ms || (rows[i - 1].ended_ms === rows[i].ended_ms && rows[i - 1].id > rows[i].id));
});

test('a page that is exactly full at the end has no next', async () => {
  const span = `&from_ms=${T0}&to_ms=${T0 + 1}`;
  assert.equal((await all(span, 130)).pages, 10);
  assert.equal((await all(span, 131)).pages, 10);
  const none = (await admin('GET', `requests?from_ms=${T0 + 1}&to_ms=${T0 + 2}`)).body;
  assert.deepEqual([none.requests, none.next], [[], undefined]);
});

test('each filter finds its rows and no other', async () => {
  const span = `&to_ms=${T0 + 70}`;
  const expect = (fits) => { let n = 0; for (let i = 0; endedMs(i) < T0 + 70; i++) n += fits(i); return n; };
  for (const [question, fits] of [
    ['&model=slug-1', (i) => i % 3 === 1], ['&model=model-4', (i) => i % 5 === 4], ['&endpoint=box-6', (i) => i % 7 === 6],
    ['&status=5xx', (i) => result(i) === 2], ['&status=429', (i) => result(i) === 4], ['&status=4xx', (i) => result(i) === 4], ['&result=ok', (i) => result(i) === 0],
    ['&result=upstream_error', (i) => result(i) === 2], ['&result=failed', (i) => result(i) !== 0], ['&key=', (i) => i !== 10],
    ['&model=slug-1&endpoint=box-2&result=failed', (i) => i % 3 === 1 && i % 7 === 2 && result(i) !== 0],
    [`&from_ms=${T0 + 14}`, (i) => endedMs(i) >= T0 + 14],
  ]) assert.equal((await all(question + span)).rows.length, expect(fits), question);
});

test('a key that was used long ago is found by name and by id, a bounded look at a time', async () => {
  for (const name of ['rare', key.id]) {
    const { rows, pages } = await all(`&key=${name}`);
    assert.deepEqual(rows.map((r) => r.id), [id(99999), id(10)]);
    assert.ok(pages >= 3 && pages < 6, String(pages));
    assert.equal(rows[0].key_name, 'rare');
  }
  const { body } = await admin('GET', 'requests?key=nobody');
  assert.deepEqual(body.requests, []);
  assert.ok(body.next && body.looked_to_ms < endedMs(ROWS - 1) && body.looked_to_ms > T0);
});

test('what cannot be is refused', async () => {
  for (const question of ['status=6xx', 'status=0', 'status=', 'status=xx', 'result=good', 'cursor=1', 'cursor=x.y', 'cursor=-1.a', `cursor=1.${'a'.repeat(65)}`, 'from_ms=0', 'to_ms=x', 'limit=501',
    'limit=0', `model=${'m'.repeat(257)}`])
    assert.equal((await admin('GET', `requests?${question}`)).status, 400, question);
});

test('the command line reads page after page', async () => {
  const cli = (...args) => command(DROVER, ['requests', ...args, '--config', place.file]);
  const lines = (await cli('--json', '-n', '1200', '--model', 'slug-2')).stdout.trim().split('\n').map((l) => JSON.parse(l));
  assert.equal(lines.length, 1200);
  assert.equal(new Set(lines.map((l) => l.id)).size, 1200);
  assert.ok(lines.every((l) => l.slug === 'slug-2'));
  const table = (await cli('--key', 'rare')).stdout.trim().split('\n');
  assert.equal(table.length, 3);
  assert.match(table[0], /^ENDED +KEY +MODEL +ENDPOINT +RESULT/);
  assert.match(table[1], /^20\d\d-\d\d-\d\dT[\d:]+Z +rare +slug-0 /);
  const csv = (await cli('--csv', '-n', '3', '--status', '5xx')).stdout.split('\r\n');
  assert.match(csv[0], /^id,ended_ms,/);
  assert.equal(csv.length, 5);
  assert.match((await cli('--from', '2026-01-01', '--to', '2026-01-02T10:30')).stdout, /no such request/);
  for (const wrong of [['--from', 'soon'], ['-n', '0'], ['--result', 'good']]) assert.notEqual((await cli(...wrong)).code, 0);
});

test('while records cannot be written it is not ready, and says why', async () => {
  const ready = async () => { const r = await fetch(`${place.url}/readyz`); return [r.status, (await r.json()).status]; };
  const ask = async (headers = {}) => (await fetch(`${place.url}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'Hi' }] }) })).status;
  const mine = { authorization: `Bearer ${key.key}` };
  await until('ready', async () => (await ready())[0] === 200);
  assert.equal(await ask(mine), 200);
  execFileSync('prlimit', ['--pid', String(child.pid), '--fsize=4096:']); // no file may grow
  try {
    await until('the fault', async () => { await ask(); return (await ready())[0] === 503; });
    assert.deepEqual(await ready(), [503, 'records cannot be written, so requests of keys are refused']);
    assert.equal(await ask(mine), 503);
    assert.equal(await ask(), 200, 'who has no key is served');
    assert.equal((await fetch(`${place.url}/healthz`)).status, 200);
  } finally {
    execFileSync('prlimit', ['--pid', String(child.pid), '--fsize=unlimited:']);
  }
  await until('ready again', async () => (await ready())[0] === 200);
  assert.equal(await ask(mine), 200);
});

test('an audit log that was cut or emptied behind its back is not intact', async () => {
  const verify = () => command(DROVER, ['audit', 'verify', '--config', place.file]);
  for (let i = 0; i < 3; i++) await admin('POST', 'keys', { name: `act-${i}` });
  const whole = await verify(), n = Number(/^intact: (\d+) rows, head [0-9a-f]{64}\n$/.exec(whole.stdout)?.[1]);
  assert.ok(whole.code === 0 && n >= 4, whole.stdout);
  const without = async (sql) => {
    await stop();
    const db = new DatabaseSync(path.join(place.dir, 'data', 'drover.db'));
    db.exec(sql);
    db.close();
    await start();
    return verify();
  };
  const cut = await without(`DELETE FROM audit WHERE seq > ${n - 2}`);
  assert.deepEqual([cut.code, cut.stdout], [1, `NOT intact: ${n - 2} rows are there of ${n} that were written; row ${n - 1} does not fit or is missing\n`]);
  const empty = await without('DELETE FROM audit');
  assert.deepEqual([empty.code, empty.stdout], [1, `NOT intact: 0 rows are there of ${n} that were written; row 1 does not fit or is missing\n`]);
  assert.equal((await admin('POST', 'keys', { name: 'afterwards' })).status, 201);
  assert.equal((await verify()).code, 1);
});
