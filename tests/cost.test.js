// What requests cost: by a slug's price, by the energy of the machine, or nobody knows; and keys with a budget of money, which is
// never overspent.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFake } from './fakes/index.js';
import { freePort, startDrover, until } from './lib/drover.js';
import { allSse } from './lib/http.js';

const CHAT = '/v1/chat/completions', ROOMY = ['--requests', '60000', '--burst', '1000', '--concurrent', '1000', '--tokens', '10000000'];
// Of the fake: 21 tokens in, 16 of them cached, 5 out.
const COST = { priced: (5 * 3000 + 16 * 500 + 5 * 10000) / 1e6, cheap: 73 / 1e6, dear: (21 * 50000 + 5 * 50000) / 1e6, fee: 0.002 };
let fake, own, drover, locked;

before(async () => {
  fake = await startFake('openai', { models: [{ id: 'm', context: 8192 }, { id: 'n', context: 8192 }] });
  own = await startFake('openai', { models: [{ id: 'home', context: 8192 }] });
  const port = await freePort();
  locked = `http://127.0.0.1:${port}`;
  drover = await startDrover({
    endpoints: [{ name: 'far', url: fake.url, kind: 'auto' }, { name: 'own', url: own.url, kind: 'auto', watts: 500000 }],
    listen: [{ address: `127.0.0.1:${port}`, auth: 'key' }],
    config: {
      telemetry: { currency: 'EUR', energy_price: 0.3 },
      models: [
        { slug: 'priced', targets: ['far/m'], price: { input: 3000, cached: 500, output: 10000 } },
        { slug: 'cheap', targets: ['far/m'], price: { input: 3, cached: 0.5, output: 10 } },
        { slug: 'dear', targets: ['far/m'], price: { input: 50000, output: 50000 } },
        { slug: 'fee', targets: ['far/m'], price: { request: 0.002 } },
        { slug: 'free', targets: ['far/m'], price: { input: 0, output: 0 } },
        { slug: 'forced', targets: ['far/m'], price: { input: 0, output: 1000 }, force: { max_tokens: 4000 } },
        { slug: 'falls', targets: ['gone/m'], fallback: ['dear'], price: { input: 1, output: 1 } },
        { slug: 'plain', targets: ['far/n'] },
      ],
    },
    models: ['priced', 'dear', 'fee', 'free', 'forced', 'plain', 'home'],
  });
});
after(async () => {
  await drover?.stop();
  await fake?.close();
  await own?.close();
});

const ask = (model, more) => ({ model, messages: [{ role: 'user', content: 'hi' }], max_tokens: 50, ...more });
async function key(name, ...options) {
  const { code, stdout, stderr } = await drover.cli('key', 'add', name, ...ROOMY, ...options);
  assert.equal(code, 0, stderr);
  return stdout.trim();
}
const chat = (k, model, more) => fetch(locked + CHAT, { method: 'POST', body: JSON.stringify(ask(model, more)), signal: AbortSignal.timeout(20000),
  headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${k}` } });
const served = async (response) => {
  assert.equal(response.status, 200, await response.clone().text());
  return response.json();
};
const admin = (target) => new Promise((go, fail) => http.get({ socketPath: path.join(drover.dir, 'run/drover.sock'), path: target, host: 'localhost' },
  (r) => { let t = ''; r.on('data', (d) => { t += d; }).on('end', () => go(JSON.parse(t))); }).on('error', fail));
const idOf = async (name) => (await drover.cliJson('key', 'show', name)).id;
/** The ledger's rows of a key, newest first, once there are n. */
const rows = async (name, n) => {
  const id = await idOf(name);
  return until(`${n} rows of ${name}`, async () => {
    const mine = (await admin('/drover/v1/requests?limit=500')).requests.filter((r) => r.key === id);
    return mine.length >= n && mine;
  });
};
const sum = async (name) => {
  const id = await idOf(name);
  return (await drover.cliJson('usage')).rows.find((r) => r.key === id);
};

test('a priced slug costs what its tokens do, streams and cached tokens included', async () => {
  const k = await key('priced');
  await served(await chat(k, 'priced'));
  await allSse(await chat(k, 'priced', { stream: true }));
  for (const row of await rows('priced', 2)) {
    assert.equal(row.cost, COST.priced);
    assert.equal(row.cost_source, 'price');
  }
  const mine = await sum('priced');
  assert.equal(mine.cost, 2 * COST.priced);
  assert.equal(mine.cost_unknown, 0);
});

test('a fee is for each answered request; what is free costs 0, what has no price is unknown', async () => {
  const k = await key('kinds');
  for (const model of ['fee', 'free', 'plain']) await served(await chat(k, model));
  assert.equal((await chat(k, 'no-such-model')).status, 404);
  fake.options.failWith = 400;
  assert.equal((await chat(k, 'fee')).status, 400);
  delete fake.options.failWith;
  const found = (await rows('kinds', 5)).map((r) => [r.slug, r.status, r.cost, r.cost_source]);
  assert.deepEqual(found.sort(), [['fee', 200, 0.002, 'price'], ['fee', 400, 0, 'price'], ['free', 200, 0, 'price'], ['other', 404, 0, 'none'],
    ['plain', 200, null, 'none']].sort());
  const mine = await sum('kinds');
  assert.deepEqual([mine.cost, mine.cost_unknown, mine.requests], [0.002, 1, 5]);
});

test('on own hardware a request costs its part of the energy', async () => {
  const k = await key('home');
  own.options.firstDelayMs = 300;
  await served(await chat(k, 'home'));
  const [alone] = await rows('home', 1);
  assert.equal(alone.cost_source, 'energy');
  // 500 kW for at least 0.3 s at 0.30 a kWh.
  const rate = 500 / 3600 * 0.3;
  assert.ok(alone.cost >= 0.29 * rate && alone.cost <= alone.total_us / 1e6 * rate + 1e-6, `${alone.cost}`);
  await Promise.all(Array.from({ length: 5 }, async () => served(await chat(k, 'home'))));
  own.options.firstDelayMs = 0;
  const five = (await rows('home', 6)).slice(0, 5), all = five.reduce((n, r) => n + r.cost, 0);
  const longest = Math.max(...five.map((r) => r.total_us)) / 1e6;
  assert.ok(all < 3 * longest * rate, 'five at once share the machine');
});

test('usage tells cost and currency, as a table and as CSV', async () => {
  const id = await idOf('kinds'), table = await drover.cli('usage'), csv = await drover.cli('usage', '--csv');
  assert.match(table.stdout, /COST \(EUR\)/);
  assert.match(table.stdout, new RegExp(`kinds \\(${id}\\).* 0\\.002000, 1 unknown$`, 'm'));
  assert.match(csv.stdout, /^key,name,.*,cost,cost_unknown,currency\r$/m);
  assert.match(csv.stdout, new RegExp(`^"${id}","kinds",5,.*,0\\.002000,1,EUR\r$`, 'm'));
  for (const by of ['model', 'slug', 'endpoint', 'day']) assert.equal((await drover.cliJson('usage', '--by', by)).currency, 'EUR');
  const text = await (await drover.get('/metrics')).text();
  assert.match(text, /^drover_cost_total\{model="fee",runtime="\w+",source="price"\} 0\.002$/m);
  assert.match(text, /^drover_requests_unpriced_total\{model="plain",runtime="\w+"\} 1$/m);
});

test('fifty at once on the last cent spend no more than it', async () => {
  const limit = 0.01, k = await key('cent', '--money-per-day', String(limit));
  const answers = await Promise.all(Array.from({ length: 50 }, () => chat(k, 'cheap')));
  const ok = answers.filter((a) => a.status === 200).length;
  assert.ok(answers.every((a) => a.status === 200 || a.status === 429));
  let n = ok, last;
  while (n < 500 && (last = await chat(k, 'cheap')).status === 200) n++;
  const refused = await last.json();
  assert.equal(refused.error.code, 'insufficient_quota');
  assert.match(refused.error.message, /budget of money has [\d.]+ left today \(of 0\.01\), and this request may take 0\.\d+/);
  await rows('cent', n);
  const spent = (await sum('cent')).cost;
  assert.ok(Math.abs(spent - n * COST.cheap) < 1e-9, `${spent}`);
  assert.ok(spent <= limit, `${spent} of ${limit}`);
  assert.ok(spent > limit - 0.001, `nearly all of it can be spent: ${n} requests, ${spent}`);
  assert.equal((await chat(k, 'free')).status, 200, 'what costs nothing needs no money');
});

test('an output limit that a slug forces is reserved, not the smaller one of the request', async () => {
  const k = await key('forced', '--money-per-month', '3.5'), small = fake.inferences.length;
  const no = await chat(k, 'forced', { max_tokens: 1 }); // 4000 tokens at 1000 a million: 4
  assert.equal(no.status, 429);
  assert.match((await no.json()).error.message, /may take 4;/);
  assert.equal(fake.inferences.length, small, 'it reached no runtime');
  const tokens = await key('forced-tokens', '--tokens-per-day', '3000');
  assert.equal((await chat(tokens, 'forced', { max_tokens: 1 })).status, 429, 'of tokens, too');
});

test('a fallback that costs more must be afforded, too', async () => {
  const k = await key('falls', '--money-per-day', '4');
  assert.equal((await served(await chat(k, 'falls'))).object, 'chat.completion');
  const [row] = await rows('falls', 1);
  assert.deepEqual([row.slug, row.cost], ['dear', COST.dear]);
  const [before] = [fake.inferences.length];
  const no = await chat(k, 'falls', { max_tokens: 100 }); // 0.0001 by its own price, more than 5 by that of the fallback
  assert.equal(no.status, 429);
  assert.equal(fake.inferences.length, before);
});

test('a stream that outgrows its budget of money ends there', async () => {
  const k = await key('stream', '--money-per-day', '60');
  fake.options.answer = async (request, response) => { // in bursts: between them there is time to ask for more
    const word = `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content: ' word' } }] })}\n\n`;
    await response.head(200, { 'Content-Type': 'text/event-stream' });
    for (let i = 0; i < 12 && !response.socket.destroyed; i++, await sleep(100)) await response.piece(word.repeat(1000));
    await response.piece('data: [DONE]\n\n');
    await response.finish();
  };
  const events = await allSse(await chat(k, 'priced', { stream: true, max_tokens: undefined }));
  delete fake.options.answer;
  assert.match(JSON.stringify(events.at(-1).data === '[DONE]' ? events.at(-2).data : events.at(-1).data), /insufficient_quota/);
  const [row] = await rows('stream', 1);
  assert.ok(row.cost > 30 && row.cost <= 60, `${row.cost}`);
});

test('a budget of money outlives the settings around it; amounts are exact', async () => {
  await key('exact', '--money-per-day', '0.1', '--money-per-month', '1000000000');
  assert.deepEqual((await drover.cliJson('key', 'show', 'exact')).limits.money_per_day, 0.1);
  assert.equal((await drover.cli('key', 'set', 'exact', '--priority', '3')).code, 0);
  assert.equal((await drover.cli('key', 'set', 'exact', '--tokens-per-day', '7')).code, 0);
  const shown = await drover.cli('key', 'show', 'exact');
  assert.match(shown.stdout, /^ {2}money-per-day +0\.1$/m);
  assert.match(shown.stdout, /^ {2}money-per-month +1000000000$/m);
  assert.equal((await drover.cli('key', 'set', 'exact', '--money-per-day', '0')).code, 0);
  assert.equal((await drover.cliJson('key', 'show', 'exact')).limits.money_per_day, undefined);
  for (const bad of ['-1', '0.0000001', '1000000001', 'much', '1e3']) {
    const { code, stderr } = await drover.cli('key', 'set', 'exact', '--money-per-day', bad);
    assert.equal(code, 2);
    assert.match(stderr, /--money-per-day takes AMOUNT/);
  }
  const body = (v) => ({ name: `api-${v}`, limits: { money_per_day: v } });
  const post = (v) => new Promise((go, fail) => http.request({ socketPath: path.join(drover.dir, 'run/drover.sock'), path: '/drover/v1/keys', method: 'POST',
    host: 'localhost', headers: { 'Content-Type': 'application/json' } }, (r) => { r.resume(); go(r.statusCode); }).on('error', fail).end(JSON.stringify(body(v))));
  for (const bad of [-1, 0.1234567, 1e10, '0.5', null]) assert.equal(await post(bad), 400, `${bad}`);
  assert.equal(await post(0.123456), 201);
});

test('what has no price is served to keys with a budget of money, or refused, as the settings say', async () => {
  const k = await key('unpriced', '--money-per-day', '1'), none = await key('no-money', '--tokens-per-day', '100000');
  await served(await chat(k, 'plain'));
  drover.configure({ access: { unpriced: 'refuse' } });
  assert.equal((await drover.cli('reload')).code, 0);
  const no = await until('the refusal', async () => {
    const answer = await chat(k, 'plain');
    return answer.status === 403 && answer;
  });
  assert.match((await no.json()).error.message, /"plain" has no price.*access\.unpriced/);
  await served(await chat(k, 'free'));
  await served(await chat(k, 'home'));
  await served(await chat(none, 'plain'));
  drover.configure();
  assert.equal((await drover.cli('reload')).code, 0);
});
