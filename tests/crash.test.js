// The whole daemon is killed in the middle of its work, again and again, and started on the same records each time. What it said was
// done is done: acts, keys, revocations, people, sessions and rows that somebody has seen are there; budgets are never overspent in sum
// over all lives; the audit log is whole. What nobody was told may be there or not.
//
// DROVER_KILLS  how often (default 50). DROVER_SEED  when, in each life (default: the time; told with the result).
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFake } from './fakes/index.js';
import { command, DROVER, freePort, until } from './lib/drover.js';
import { sse } from './lib/http.js';
import { home, serve } from './lib/daemon.js';

const KILLS = Number(process.env.DROVER_KILLS ?? 50), SEED = Number(process.env.DROVER_SEED ?? Date.now() % 1e9);
delete process.env.DROVER_KILLS; // they are no settings
delete process.env.DROVER_SEED;
const PASS = 'correct horse battery'; // made up here, used nowhere else
const PROMPT = 'Say in a few words what a program may promise about the things it has written down before somebody pulled the plug. '.repeat(16);
const DELTAS = 20, PROMPT_TOKENS = 300, PRICE = 500; // of the fake: fewer than the prompt's bytes make us reserve
const ROOMY = { requests_per_min: 1000000, requests_burst: 10000, concurrent: 1000, tokens_per_min: 1000000000 };
// Of each but the last much less is there than all lives together would take, so that a budget that came back with a start would be
// seen. What a life leased and did not use is lost with it: `poor` leases all at once. `rich` never ends: there is load in each life.
const BUDGETS = {
  poor: { tokens_per_day: 4000 },
  thrifty: { tokens_per_day: 60000 },
  penny: { money_per_day: 10 },
  month: { tokens_per_month: 150000, money_per_month: 60 },
  rich: { tokens_per_day: 1000000000, money_per_day: 1000000 },
};

/** Numbers from 0 to 1 that are the same again for the same seed (mulberry32). */
let state = SEED;
function chance() {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}

let fake, place, child, began;
before(async () => {
  fake = await startFake('openai', { models: [{ id: 'm', context: 8192 }], reply: Array.from({ length: DELTAS }, () => ' word'),
    promptTokens: PROMPT_TOKENS,
    cached: 0, delayMs: 3 });
  const port = await freePort(), locked = await freePort();
  place = home(port, { listen: [{ address: `127.0.0.1:${port}`, auth: 'none' }, { address: `127.0.0.1:${locked}`, auth: 'key' }],
    endpoints: [{ name: 'far', url: fake.url, kind: 'openai' }], log: { level: 'warn' }, telemetry: { currency: 'EUR' },
    models: [{ slug: 'priced', targets: ['far/m'], price: { input: PRICE, output: PRICE } }] });
  place.locked = `http://127.0.0.1:${locked}`;
});
after(async () => {
  if (child && !child.result) child.kill('SIGKILL');
  await child?.ended;
  await fake?.close();
  place?.remove();
});

/** What was asked over the admin socket: {status, body}. Fails when it is killed before the whole answer is here. */
function admin(method, route, body, headers = {}) {
  return new Promise((go, fail) => {
    const data = body === undefined ? undefined : JSON.stringify(body);
    const request = http.request({ socketPath: path.join(place.dir, 'run/drover.sock'), method, path: `/drover/v1/${route}`, agent: false,
      timeout: 20000,
      headers: { host: 'localhost', ...(data ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(data) } : {}),
        ...headers } }, (r) => {
      let text = '';
      r.on('data', (d) => { text += d; }).on('error', fail).on('end', () => {
        try {
          go({ status: r.statusCode, body: JSON.parse(text) });
        } catch (error) {
          fail(error);
        }
      });
    });
    request.on('error', fail).on('timeout', () => request.destroy(new Error(`${route} hangs`)));
    request.end(data);
  });
}
const page = (method, route, body, cookie = '') => fetch(`${place.url}/drover/v1/${route}`, { method, body: body && JSON.stringify(body),
  signal: AbortSignal.timeout(20000),
  headers: { 'drover-console': '1', ...(body ? { 'content-type': 'application/json' } : {}), ...(cookie ? { cookie } : {}) } });

// --- what we were told --------------------------------------------------------------------------------------------------

const told = {
  acts: [],             // {action, object}: each was answered
  keys: new Map(),      // id -> {name, version, text, revoked, unsure}: unsure while an answer is outstanding
  people: new Set(),
  sessions: [],         // cookies
  rows: new Map(),      // id -> the row, as somebody saw it
};
const spent = {};       // key -> {tokens, money, refused}: what came to us
const days = new Set(); // a budget is whole again with the next
const counts = { answers: 0, cut: 0, early: 0, acts: 0 };

async function makeKey(name, limits) {
  const { status, body } = await admin('POST', 'keys', { name, limits });
  assert.equal(status, 201, JSON.stringify(body));
  told.keys.set(body.id, { name, version: 1, text: body.key });
  told.acts.push({ action: 'key.make', object: body.id });
  return body;
}

async function changeKey(id) {
  const k = told.keys.get(id);
  k.unsure = true;
  const { status, body } = await admin('PUT', `keys/${id}`, { owner: `owner ${k.version}` }, { 'if-match': `"${k.version}"` });
  assert.equal(status, 200, JSON.stringify(body));
  Object.assign(k, { version: body.version, unsure: false });
  told.acts.push({ action: 'key.change', object: id });
}

async function revokeKey(id) {
  const k = told.keys.get(id);
  k.unsure = true;
  const { status, body } = await admin('DELETE', `keys/${id}`);
  assert.equal(status, 200, JSON.stringify(body));
  Object.assign(k, { revoked: true, unsure: false });
  told.acts.push({ action: 'key.revoke', object: id });
}

async function signIn(name) {
  const response = await page('POST', 'session', { name, passphrase: PASS });
  assert.equal(response.status, 201);
  await response.text();
  told.sessions.push(response.headers.get('set-cookie').split(';')[0]);
  told.acts.push({ action: 'session.begin', object: name });
}

async function addPerson(name) {
  const { status, body } = await admin('POST', 'users', { name, role: 'viewer', passphrase: PASS });
  assert.equal(status, 201, JSON.stringify(body));
  told.people.add(name);
  told.acts.push({ action: 'user.add', object: name });
}

// --- load ---------------------------------------------------------------------------------------------------------------

/** One request with a key; adds what came of its answer to what the key has spent. */
async function ask(name, key, stream) {
  const used = spent[name];
  const count = (tokens) => {
    used.tokens += tokens;
    used.money += tokens * PRICE / 1e6;
  };
  const response = await fetch(`${place.locked}/v1/chat/completions`, { method: 'POST', signal: AbortSignal.timeout(20000),
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body: JSON.stringify({ model: 'priced', max_tokens: 50, stream, messages: [{ role: 'user', content: PROMPT }] }) });
  if (response.status !== 200) {
    const { error } = await response.json();
    used.refused ||= error.code === 'insufficient_quota';
    await sleep(error.code === 'insufficient_quota' ? 50 : 5); // right after a start the endpoint is still being asked
    return;
  }
  streaming += stream;
  try {
    if (stream) await readStream(response, used, count);
    else count((await response.json()).usage.total_tokens);
    counts.answers++;
  } finally {
    streaming -= stream;
  }
}

let streaming = 0; // answers that have begun and not ended

async function readStream(response, used, count) {
  let first = true;
  for await (const event of sse(response)) {
    if (!event.data || event.data === '[DONE]') continue;
    const { choices, error } = JSON.parse(event.data);
    if (error) used.refused ||= error.code === 'insufficient_quota';
    if (!choices?.[0]?.delta?.content) continue;
    count(first ? PROMPT_TOKENS + 1 : 1);
    first = false;
  }
}

/** Runs `step` again and again until this life is over; only that may make it fail. */
async function forever(life, step) {
  while (!life.over)
    try {
      await step();
    } catch (error) {
      if (error instanceof assert.AssertionError) life.wrong ??= error;
      if (life.over) break;
      await sleep(2); // it has been killed, and we are about to hear of it
    }
}

function beginLoad(life) {
  const loops = [];
  for (const name of Object.keys(BUDGETS)) {
    const { text } = [...told.keys.values()].find((k) => k.name === name);
    for (const stream of [false, true]) loops.push(forever(life, () => ask(name, text, stream)));
  }
  let n = 0;
  loops.push(forever(life, async () => {
    const { id } = await makeKey(`k-${life.n}-${n++}`, {});
    if (n % 3 > 0) await changeKey(id);
    if (n % 2 > 0) await revokeKey(id);
  }));
  loops.push(forever(life, async () => {
    for (const row of (await admin('GET', 'requests?limit=500')).body.requests) told.rows.set(row.id, row);
    await sleep(20);
  }));
  // A passphrase costs its tenth of a second of a processor, so there are few.
  if (life.n % 3 === 0) loops.push(forever(life, async () => { await signIn('sam'); await sleep(200); }));
  if (life.n % 10 === 5) loops.push(addPerson(`p-${life.n}`).catch((error) => { if (error instanceof assert.AssertionError) life.wrong ??= error; }));
  return loops;
}

// --- what must be there -------------------------------------------------------------------------------------------------

async function healthy() {
  await until('it to answer', async () => {
    if (child.result) throw new Error(`it has ended: ${child.log}`);
    return (await fetch(`${place.url}/healthz`)).status === 200;
  }, 15000, 5);
  days.add(new Date().toISOString().slice(0, 10));
}

/** All acts, newest first, down to number `from`. */
async function acts(from = 0) {
  const all = [];
  for (let before = Number.MAX_SAFE_INTEGER; before > from + 1;) {
    const { body } = await admin('GET', `audit?limit=500&before=${before}`);
    if (!body.acts.length) break;
    all.push(...body.acts);
    before = body.acts.at(-1).seq;
  }
  return all;
}

/** The ids of all rows that ended at or after `since`. */
async function rowIds(since = 0) {
  const ids = new Set();
  for (let cursor = ''; ;) {
    const { requests, next } = (await admin('GET', `requests?limit=500&from_ms=${Math.max(1, since)}${cursor}`)).body;
    for (const row of requests) {
      assert.equal(ids.has(row.id), false, `${row.id} twice`);
      ids.add(row.id);
    }
    if (!next) return ids;
    cursor = `&cursor=${next}`;
  }
}

/** Everything that was told since act `from` and time `since` must be there; all of it with 0 and 0. */
async function compare({ acts: from, since, sessions }) {
  const records = await until('the quick check after an unclean end', async () => {
    const found = (await admin('GET', 'status')).body.records;
    return ['unchecked', 'checking'].includes(found.check) ? null : found;
  }, 15000, 5);
  assert.deepEqual([records.state, records.check], ['well', 'fine'], records.fault);
  const { body: verdict } = await admin('POST', 'audit/verify', {});
  assert.equal(verdict.intact, true, JSON.stringify(verdict));

  const there = new Map();
  for (const act of await acts(from.seq)) {
    const what = `${act.action} ${act.object}`;
    there.set(what, (there.get(what) ?? 0) + 1);
  }
  for (const act of told.acts.slice(from.n)) {
    const what = `${act.action} ${act.object}`, left = there.get(what) ?? 0;
    assert.ok(left > 0, `${what} was answered and is not in the audit log`);
    there.set(what, left - 1);
  }
  const keys = new Map((await admin('GET', 'keys')).body.keys.map((k) => [k.id, k]));
  for (const [id, k] of told.keys) {
    const now = keys.get(id);
    if (k.revoked) assert.equal(now, undefined, `${k.name} was revoked and is back`);
    else if (!k.unsure) assert.equal(now?.version, k.version, `${k.name} as it was told`);
    // What was not answered is now known, one way or the other.
    if (k.unsure) Object.assign(k, { unsure: false, revoked: !now, version: now?.version ?? k.version });
  }
  const people = new Set((await admin('GET', 'users')).body.users.map((u) => u.name));
  for (const name of told.people) assert.ok(people.has(name), `${name} was added and is gone`);
  for (const cookie of told.sessions.slice(sessions)) {
    const { signed_in, user } = await (await page('GET', 'session', undefined, cookie)).json();
    assert.deepEqual([signed_in, user], [true, 'sam'], 'a session that was begun goes on');
  }
  const ids = await rowIds(since);
  for (const row of told.rows.values())
    if (row.ended_ms >= since) assert.ok(ids.has(row.id), `the row of ${row.id} was seen and is gone`);
  for (const [name, limits] of Object.entries(BUDGETS)) {
    const { tokens, money } = spent[name], most = (limit) => (limit ?? Infinity) * days.size;
    assert.ok(tokens <= most(limits.tokens_per_day) && tokens <= most(limits.tokens_per_month),
      `${name} got ${tokens} tokens: ${JSON.stringify(limits)}`);
    assert.ok(money <= most(limits.money_per_day) + 1e-6 && money <= most(limits.money_per_month) + 1e-6,
      `${name} got what costs ${money}: ${JSON.stringify(limits)}`);
  }
}

/** Where the present life begins in what was told. */
async function mark() {
  return { acts: { n: told.acts.length, seq: (await admin('GET', 'audit?limit=1')).body.acts[0]?.seq ?? 0 }, since: Date.now() - 1,
    sessions: told.sessions.length };
}

async function kill() {
  child.kill('SIGKILL');
  assert.deepEqual(await child.ended, { code: null, signal: 'SIGKILL' });
  assert.doesNotMatch(child.log, /Sanitizer|runtime error:|assertion|level=error/i);
}

test(`${KILLS} kills in the middle of load lose nothing that was told`, { timeout: 240000 }, async (t) => {
  began = performance.now();
  child = serve(place);
  await healthy();
  await until('the first admin', async () => { // its greeting makes a link, too, which voids ours
    const { token } = (await admin('POST', 'setup/token', {})).body;
    return (await page('POST', 'setup', { token, name: 'sam', passphrase: PASS })).status === 201;
  });
  told.people.add('sam');
  for (const [name, limits] of Object.entries(BUDGETS)) {
    await makeKey(name, { ...ROOMY, ...limits });
    spent[name] = { tokens: 0, money: 0, refused: false };
  }
  for (let n = 1; n <= KILLS; n++) {
    const from = await mark(), life = { n, over: false };
    const loops = beginLoad(life), answers = counts.answers;
    await sleep(20 + 280 * chance());
    life.over = true; // in the same breath: nobody shall wait for an answer that has not come
    counts.cut += streaming > 0;
    await kill();
    await Promise.all(loops);
    if (life.wrong) throw life.wrong;
    if (n % 5 === 0) { // and once more while it comes up
      child = serve(place);
      await sleep(150 * chance());
      await kill();
      counts.early++;
    }
    child = serve(place);
    await healthy();
    await compare(from).catch((error) => { throw new Error(`after kill ${n} (seed ${SEED}, ${counts.answers - answers} answers in that life): ${error.message}\n${child.log}`, { cause: error }); });
  }
  t.diagnostic(`seed ${SEED}: ${counts.answers} answers, ${told.acts.length} acts, ${told.rows.size} rows seen, ${counts.cut} lives cut in the middle of streams, ` +
    `${counts.early} while coming up; ${((performance.now() - began) / 1000).toFixed(1)} s; spent ${JSON.stringify(spent)}`);
  assert.ok(counts.answers > KILLS && told.rows.size > KILLS && told.acts.length > KILLS, 'there was load');
  assert.ok(counts.cut > KILLS / 4, 'it was killed in the middle of it');
});

test('at the end all of it is there, and the file is sound', { skip: KILLS < 1 }, async () => {
  // A person has ten sessions; the oldest gives way, also to one whose answer nobody saw. So of all that were begun the last few are there.
  await compare({ acts: { n: 0, seq: 0 }, since: 0, sessions: Math.max(0, told.sessions.length - 3) });
  assert.equal((await page('GET', 'status')).status, 401);
  const gone = [...told.keys.values()].filter((k) => k.revoked && k.text).slice(-3);
  for (const k of gone) {
    const { status } = await fetch(`${place.locked}/v1/models`, { headers: { authorization: `Bearer ${k.text}` } });
    assert.equal(status, 401, k.name);
  }
  // The sums of days were written with the rows they add up.
  const ids = await rowIds(), rows = (await admin('GET', 'usage?by=day')).body.rows;
  assert.equal(rows.reduce((n, r) => n + r.requests, 0), ids.size);
  const used = (await admin('GET', 'usage?by=key')).body.rows;
  for (const [name, limits] of Object.entries(BUDGETS)) {
    const row = used.find((r) => r.name === name);
    const tokens = row.input_tokens + row.output_tokens;
    const most = Math.min(limits.tokens_per_day ?? Infinity, limits.tokens_per_month ?? Infinity) * days.size;
    assert.ok(tokens <= most, `${name}: the ledger has ${tokens} tokens of ${most}`);
  }
  if (KILLS >= 40) // else they did not come to their ends, and nothing was proved
    for (const name of ['poor', 'thrifty', 'penny', 'month'])
      assert.ok(spent[name].refused, `the budget of ${name} was all there is: ${JSON.stringify(spent[name])}`);
  assert.ok(spent.rich.tokens > 0 && !spent.rich.refused);
  const verify = await command(DROVER, ['audit', 'verify', '--config', place.file]);
  assert.equal(verify.code, 0, verify.stderr);
  const check = await command(DROVER, ['backup', '--check', '--config', place.file]);
  assert.equal(check.code, 0, check.stdout + check.stderr);
  const { body: { records } } = await admin('GET', 'status');
  assert.deepEqual([records.state, records.rows_lost], ['well', 0]);
  child.kill('SIGTERM');
  assert.deepEqual(await child.ended, { code: 0, signal: null });
  assert.doesNotMatch(child.log, /Sanitizer|runtime error:/);
});
