// Keys: who may come in, what they may ask for and how much of it; that a revoked one ends what goes on; that all of it is
// recorded and outlives the daemon.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { chmodSync, copyFileSync, existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFake } from './fakes/index.js';
import { DROVER, command, freePort, startDrover, until } from './lib/drover.js';
import { allSse, chatText } from './lib/http.js';

const CHAT = '/v1/chat/completions', MESSAGES = '/v1/messages';
const ask = (more) => ({ model: 'coder', messages: [{ role: 'user', content: 'hi' }], max_tokens: 50, ...more });
let fake, other, drover, locked;

before(async () => {
  fake = await startFake('openai', { models: ['coder', 'writer'] });
  other = await startFake('openai', { models: ['coder'] });
  fake.name = 'fake';
  other.name = 'other';
  const port = await freePort();
  locked = `http://127.0.0.1:${port}`;
  drover = await startDrover({ endpoints: [fake, other], listen: [{ address: `127.0.0.1:${port}`, auth: 'key' }], models: ['coder', 'writer'],
    config: { gateway: { park_timeout: '20s' } } });
});
after(async () => {
  await drover?.stop();
  await fake?.close();
  await other?.close();
});

/** Makes a key with these options of `drover key add`; its text. */
async function key(name, ...options) {
  const { code, stdout, stderr } = await drover.cli('key', 'add', name, ...options);
  assert.equal(code, 0, stderr);
  return stdout.trim();
}
const post = (route, body, headers) => fetch(locked + route, { method: 'POST', body: JSON.stringify(body),
  headers: { 'Content-Type': 'application/json', ...headers }, signal: AbortSignal.timeout(20000) });
const bearer = (k) => ({ Authorization: `Bearer ${k}` });
const chat = (k, more) => post(CHAT, ask(more), bearer(k));
const fault = async (response) => (await response.json()).error;

test('without a key only health is told', async () => {
  for (const route of [CHAT, MESSAGES, '/api/chat', '/api/v1/chat', '/v1/unknown', '/v1/embeddings']) assert.equal((await post(route, ask())).status, 401, route);
  for (const route of ['/v1/models', '/api/tags', '/metrics', '/version', '/api/version', '/drover/v1/status'])
    assert.ok([401, 404].includes((await fetch(locked + route)).status), route);
  for (const route of ['/healthz', '/readyz']) assert.equal((await fetch(locked + route)).status, 200);
  const anthropic = await post(MESSAGES, ask());
  assert.deepEqual((await anthropic.json()).error.type, 'authentication_error');
});

test('a key takes another secret: both open it for a while, with one budget; or the old one ends at once, streams and all', async () => {
  const first = await key('turning', '--tokens-per-day', '1000000', '--requests', '600');
  const turned = await drover.cli('key', 'rotate', 'turning', '--overlap', '2s');
  assert.equal(turned.code, 0, turned.stderr);
  const second = turned.stdout.trim();
  assert.match(second, /^sk-drv-[0-9A-Za-z]{61}$/);
  assert.match(turned.stderr, /The one before works until \d{4}-/);
  assert.notEqual(second, first);
  for (const k of [first, second]) assert.equal((await chat(k)).status, 200);
  const shown = await drover.cliJson('key', 'show', 'turning');
  assert.ok(shown.old_secret_until_ms > Date.now() - 2000 && shown.id === first.slice(7, 19));
  assert.equal(JSON.stringify(shown).includes(second.slice(19)), false);
  const again = await drover.cli('key', 'rotate', 'turning');
  assert.deepEqual([again.code, /still works for \d+ s: wait, or rotate with an overlap of 0/.test(again.stderr)], [1, true], again.stderr);
  await until('the end of the first', async () => (await chat(first)).status === 401, 15000, 500);
  const late = await fault(await chat(first));
  assert.match(late.message, /was given another secret/);
  assert.equal((await chat(second)).status, 200);
  assert.equal((await drover.cliJson('key', 'show', 'turning')).old_secret_until_ms, undefined);
  fake.options.reply = other.options.reply = Array.from({ length: 400 }, () => ' word');
  fake.options.delayMs = other.options.delayMs = 20;
  const stream = await chat(second, { stream: true });
  assert.equal(stream.status, 200);
  const whole = stream.text();
  const third = await drover.cliJson('key', 'rotate', 'turning', '--overlap', '0');
  assert.equal(third.old_secret_until_ms, undefined);
  assert.match(await whole, /error/, 'it did not run to its end');
  fake.options.reply = other.options.reply = ['Hel', 'lo'];
  fake.options.delayMs = other.options.delayMs = 0;
  assert.equal((await chat(second)).status, 401);
  assert.equal((await chat(third.key)).status, 200);
  for (const [overlap, words] of [['soon', /must be a duration/], ['91d', /90 days at most/], ['-1h', /must be a duration/], ['24', /must be a duration/]])
    assert.match((await drover.cli('key', 'rotate', 'turning', `--overlap=${overlap}`)).stderr, words);
  assert.equal((await drover.cli('key', 'rotate', 'nobody')).code, 5);
  assert.equal((await chat(third.key)).status, 200, 'what is refused changes nothing');
  assert.match((await drover.cli('audit', 'list')).stdout, /key\.rotate .*turning; the secret before works 2 s longer/);
  assert.equal((await drover.cli('key', 'revoke', 'turning')).code, 0);
});

test('a key opens in each of the places vendors use, and only one may be sent', async () => {
  const k = await key('places');
  for (const headers of [bearer(k), { 'x-api-key': k }, { 'api-key': k }, { Authorization: `Basic ${Buffer.from(`me:${k}`).toString('base64')}` },
    { ...bearer(k), 'x-api-key': k }]) assert.equal((await post(CHAT, ask(), headers)).status, 200, JSON.stringify(headers));
  assert.equal((await post(CHAT, ask(), { ...bearer(k), 'x-api-key': 'another' })).status, 400);
  assert.equal((await fetch(`${locked}/v1/models?key=${k}`)).status, 401, 'never from the query');
  const wrong = k.slice(0, -1) + (k.endsWith('a') ? 'b' : 'a');
  for (const other of [wrong, 'sk-proj-abc', k.slice(0, 30)]) assert.equal((await chat(other)).status, 401);
  assert.equal(fake.inferences.concat(other.inferences).some((r) => JSON.stringify(r.headers).includes('sk-drv-')), false, 'it goes no further');
});

test('it uses the models and endpoints it is allowed, and sees no others', async () => {
  const k = await key('narrow', '--models', 'coder', '--endpoints', 'oth*');
  const list = await (await fetch(`${locked}/v1/models`, { headers: bearer(k) })).json();
  assert.deepEqual(list.data.map((m) => m.id), ['coder']);
  for (let i = 0; i < 5; i++) {
    const answer = await chat(k);
    assert.equal(answer.headers.get('drover-target'), 'other/coder');
    await answer.text();
  }
  const no = await chat(k, { model: 'writer' }), never = await chat(k, { model: 'no-such' });
  assert.equal(no.status, 404);
  assert.equal((await fault(no)).message.replace('writer', 'no-such'), (await fault(never)).message, 'absent and forbidden look alike');
  assert.equal((await chat(k, { model: 'coder@fake' })).status, 403, 'another endpoint is denied');
  const nothing = await key('nothing', '--models', '');
  assert.equal((await chat(nothing)).status, 404, 'an empty list allows nothing');
});

test('rights, places and times', async () => {
  const plain = await key('plain'), may = await key('may', '--rights', 'pass,measure');
  assert.equal((await post('/v1/rerank-me', ask(), bearer(plain))).status, 403);
  assert.notEqual((await post('/v1/rerank-me', ask(), bearer(may))).status, 403);
  assert.equal((await post('/api/pull', { model: 'x' }, bearer(may))).status, 403);
  assert.equal((await fetch(`${locked}/v1/responses/resp_1`, { headers: bearer(plain) })).status, 403, "another's stored answer");
  assert.equal((await post('/v1/moderations', { input: 'x' }, bearer(plain))).status, 403, 'no model, no list of models');
  assert.equal((await fetch(`${locked}/metrics`, { headers: bearer(plain) })).status, 403);
  assert.equal((await fetch(`${locked}/metrics`, { headers: bearer(may) })).status, 200);
  assert.equal((await chat(await key('elsewhere', '--from', '10.0.0.0/8'))).status, 403);
  assert.equal((await chat(await key('here', '--from', '10.0.0.0/8,127.0.0.1'))).status, 200);
  assert.equal((await drover.cli('key', 'set', 'here', '--enabled', 'no')).code, 0);
  assert.equal((await chat((await drover.cliJson('key', 'show', 'here')).id)).status, 401);
});

test('rates are exact and told in the vendors\' headers', async () => {
  const k = await key('slow', '--requests', '60', '--burst', '3', '--tokens', '100000');
  const first = await chat(k);
  assert.equal(first.headers.get('x-ratelimit-limit-requests'), '60');
  assert.equal(first.headers.get('x-ratelimit-remaining-requests'), '2');
  assert.match(first.headers.get('x-ratelimit-reset-requests'), /^(\d+m)?\d+(\.\d{0,2}[1-9])?s$/);
  assert.equal(first.headers.get('x-ratelimit-limit-tokens'), '100000');
  const answers = await Promise.all(Array.from({ length: 20 }, () => post(MESSAGES, ask(), { 'x-api-key': k })));
  assert.equal(answers.filter((a) => a.status === 200).length, 2);
  const refused = answers.find((a) => a.status === 429);
  assert.equal(refused.headers.get('retry-after'), '1');
  assert.equal((await refused.json()).error.type, 'rate_limit_error');
  assert.match(answers.find((a) => a.status === 200).headers.get('anthropic-ratelimit-requests-reset'), /^\d{4}-\d\d-\d\dT/);
});

test('as many at one time as allowed', async () => {
  const k = await key('two', '--concurrent', '2', '--requests', '6000', '--burst', '100');
  fake.options.firstDelayMs = other.options.firstDelayMs = 400;
  const answers = await Promise.all(Array.from({ length: 6 }, () => chat(k)));
  assert.deepEqual(answers.map((a) => a.status).sort(), [200, 200, 429, 429, 429, 429]);
  await Promise.all(answers.map((a) => a.text()));
  assert.equal((await chat(k)).status, 200);
  fake.options.firstDelayMs = other.options.firstDelayMs = 0;
});

test('a budget is never overspent, by many at once or over a restart', async () => {
  const k = await key('poor', '--tokens-per-day', '2000', '--requests', '60000', '--burst', '1000', '--concurrent', '1000', '--tokens', '10000000');
  const answers = await Promise.all(Array.from({ length: 60 }, () => chat(k, { max_tokens: 400 })));
  const ok = answers.filter((a) => a.status === 200);
  assert.ok(ok.length >= 1 && answers.every((a) => a.status === 200 || a.status === 429));
  const each = (await ok[0].json()).usage.total_tokens;
  let n = ok.length, last;
  while (n < 500 && (last = await chat(k, { max_tokens: 400 })).status === 200) n++;
  assert.equal((await fault(last)).code, 'insufficient_quota');
  assert.ok(n * each <= 2000, `${n} answers of ${each} tokens`);
  assert.ok(n * each + 500 > 2000, 'and nearly all of it can be spent');
});

test('a stream that outgrows its budget ends there', async () => {
  const k = await key('stream', '--tokens-per-day', '6000', '--requests', '6000', '--tokens', '10000000');
  fake.options.reply = other.options.reply = Array.from({ length: 12000 }, () => ' word');
  const events = await allSse(await chat(k, { stream: true, max_tokens: undefined }));
  delete fake.options.reply;
  delete other.options.reply;
  fake.options.reply = other.options.reply = ['Hel', 'lo'];
  assert.match(JSON.stringify(events.at(-1).data === '[DONE]' ? events.at(-2).data : events.at(-1).data), /insufficient_quota/);
  const words = chatText(events).split(' word').length;
  assert.ok(words > 3000 && words < 8000, `${words}`);
});

test('revoking a key ends its streams within a second, in every dialect', async () => {
  for (const [route, more] of [[CHAT, {}], [MESSAGES, {}], ['/api/chat', {}]]) {
    const k = await key(`gone${route.length}`);
    fake.options.reply = other.options.reply = Array.from({ length: 500 }, () => 'x');
    fake.options.delayMs = other.options.delayMs = 20;
    const response = await post(route, ask({ stream: true, ...more }), bearer(k));
    assert.equal(response.status, 200);
    const reader = response.body.getReader();
    await reader.read();
    const before = performance.now();
    assert.equal((await drover.cli('key', 'revoke', `gone${route.length}`)).code, 0);
    let text = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      text += Buffer.from(value);
    }
    assert.ok(performance.now() - before < 3000);
    assert.match(text, /revoked/);
    assert.equal((await post(route, ask(), bearer(k))).status, 401);
  }
  fake.options.delayMs = other.options.delayMs = 0;
});

test('a key that may less, or whose time is over, ends its streams, too', async () => {
  for (const [name, end] of [['narrowed', () => drover.cli('key', 'set', 'narrowed', '--models', 'writer')], ['timed', () => drover.cli('key', 'set', 'timed', '--expires', '1m')]]) {
    const k = await key(name);
    fake.options.reply = other.options.reply = Array.from({ length: 400 }, () => 'x');
    fake.options.delayMs = other.options.delayMs = 20;
    const response = await chat(k, { stream: true }), text = response.text();
    await sleep(200);
    assert.equal((await end()).code, 0);
    if (name === 'narrowed') assert.match(await text, /may something else now/);
    else assert.match(await text, /\[DONE\]/, 'a later end lets it go on');
  }
  fake.options.delayMs = other.options.delayMs = 0;
  fake.options.reply = other.options.reply = ['Hel', 'lo'];
});

test('every request is in the ledger, by key and by day', async () => {
  const k = await key('counted');
  for (let i = 0; i < 5; i++) await (await chat(k)).text();
  await allSse(await chat(k, { stream: true }));
  await (await drover.post(CHAT, ask())).text();
  await sleep(200);
  const { id } = await drover.cliJson('key', 'show', 'counted');
  const of = async (by) => (await drover.cliJson('usage', '--by', by)).rows;
  const mine = (await of('key')).find((row) => row.key === id);
  assert.equal(mine.requests, 6);
  assert.equal(mine.name, 'counted');
  assert.ok(mine.input_tokens > 0 && mine.output_tokens > 0);
  assert.ok((await of('key')).some((row) => row.key === ''), 'and what came without a key');
  const [today] = await of('day');
  assert.equal(today.day, new Date().toISOString().slice(0, 10));
  for (const by of ['model', 'slug', 'endpoint']) assert.equal((await of(by)).reduce((n, row) => n + row.requests, 0), today.requests);
  const csv = await drover.cli('usage', '--csv');
  assert.match(csv.stdout, new RegExp(`^"${id}","counted",6,0,`, 'm'));
  const list = await (await import('node:http')).default;
  const rows = await new Promise((go, fail) => list.get({ socketPath: path.join(drover.dir, 'run/drover.sock'), path: '/drover/v1/requests?limit=3', host: 'localhost' },
    (r) => { let t = ''; r.on('data', (d) => { t += d; }).on('end', () => go(JSON.parse(t).requests)); }).on('error', fail));
  assert.equal(rows.length, 3);
  assert.ok(rows.some((row) => row.key === id && row.key_name === 'counted' && row.api === CHAT && row.result === 'ok' && row.first_us > 0));
  assert.equal((await drover.cliJson('status')).records.rows_lost, 0);
});

test('the records are copied and checked while in use, and the copy opens', async () => {
  const k = await key('copied'), file = path.join(drover.dir, 'copy.db');
  const made = await drover.cliJson('backup', file);
  assert.equal(made.bytes, statSync(file).size);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.notEqual((await drover.cli('backup', file)).code, 0, 'nothing is written over');
  assert.equal((await drover.cliJson('backup', '--check')).fine, true);
  const port = await freePort(), again = await startDrover({ endpoints: [fake], models: ['coder'], listen: [{ address: `127.0.0.1:${port}`, auth: 'key' }],
    prepare: (dir) => copyFileSync(file, path.join(dir, 'data/drover.db')) });
  try {
    const answer = await fetch(`http://127.0.0.1:${port}${CHAT}`, { method: 'POST', body: JSON.stringify(ask()), headers: { ...bearer(k), 'Content-Type': 'application/json' } });
    assert.equal(answer.status, 200);
  } finally {
    await again.stop();
  }
});

test('env and launch point clients here, completion is what the shell reads', async () => {
  const shown = await drover.cli('env');
  assert.match(shown.stdout, new RegExp(`^export OPENAI_BASE_URL='${drover.url}/v1'$`, 'm'));
  assert.match(shown.stdout, new RegExp(`^export OLLAMA_HOST='127.0.0.1:${drover.port}'$`, 'm'));
  const file = path.join(drover.dir, 'my.key'), odd = "sk-drv-it's";
  writeFileSync(file, `${odd}\n`);
  chmodSync(file, 0o644);
  const shared = await drover.cli('env', '--key-file', file);
  assert.match(shared.stderr, /others can read .*my\.key; chmod 600 it/);
  assert.ok(shared.code > 0 && shared.stdout === '');
  chmodSync(file, 0o600);
  const sourced = spawnSync('sh', ['-c', `${(await drover.cli('env', '--key-file', file)).stdout}printf %s "$ANTHROPIC_API_KEY"`], { encoding: 'utf8' });
  assert.equal(sourced.stdout, odd);
  const { stdout } = await command(DROVER, ['--config', drover.file, 'launch', 'sh', '-c', 'echo $ANTHROPIC_BASE_URL --json']);
  assert.equal(stdout, `${drover.url} --json\n`);
  assert.equal((await command(DROVER, ['--config', drover.file, 'launch', 'no-such-program'])).code, 5);
  for (const shell of ['bash', 'zsh', 'fish']) assert.match((await drover.cli('completion', shell)).stdout, /status .*key .*usage/);
  const bash = spawnSync('bash', ['-c', `${(await drover.cli('completion', 'bash')).stdout}
COMP_WORDS=(drover key re); COMP_CWORD=2; _drover; echo "\${COMPREPLY[@]}"`], { encoding: 'utf8' });
  assert.equal(bash.stdout, 'revoke\n');
});

test('uses of keys that are refused are in the audit log, equal ones together', async () => {
  const k = await key('refused', '--models', 'writer'), { id } = await drover.cliJson('key', 'show', 'refused');
  for (let i = 0; i < 3; i++) assert.equal((await chat(k)).status, 404);
  assert.equal((await post('/api/pull', { model: 'x' }, bearer(k))).status, 403);
  assert.equal((await drover.cli('key', 'set', 'refused', '--enabled', 'no')).code, 0);
  assert.equal((await chat(k)).status, 401);
  const acts = await until('the rows', async () => {
    const rows = (await drover.cliJson('audit', 'list')).acts.filter((a) => a.action === 'key.refuse' && a.object === id);
    return rows.length >= 3 && rows;
  });
  const details = acts.map((a) => a.detail).join('\n');
  assert.match(details, /a model that it may not use \(3 times\)/);
  assert.match(details, /right "manage"/);
  assert.match(details, /switched off/);
  assert.ok(acts.every((a) => a.peer === '127.0.0.1'));
  assert.equal(JSON.stringify(acts).includes(k.slice(20)), false, 'no secret');
  assert.equal((await drover.cliJson('audit', 'verify')).intact, true);
});

test('guessing keys is slowed', async () => {
  const mine = await startDrover({ endpoints: [fake], models: ['coder'] }), port = mine.port;
  try {
    const guess = () => fetch(`http://127.0.0.1:${port}${CHAT}`, { method: 'POST', body: '{}', headers: { 'x-api-key': `sk-drv-${'a'.repeat(61)}` } });
    const statuses = [];
    for (let i = 0; i < 30; i++) statuses.push((await guess()).status);
    assert.deepEqual([...new Set(statuses)], [401, 429]);
    assert.ok(statuses.filter((s) => s === 401).length <= 21);
  } finally {
    await mine.stop();
  }
});

test('the admin API refuses what makes no sense, and two who edit at once do not overwrite each other', async () => {
  await key('edited', '--requests', '100');
  for (const [args, what] of [[['--expires', 'soon'], /--expires takes/], [['--requests', 'many'], /--requests takes/], [['--rights', 'all'], /rights\[0\]/],
    [['--from', '10.0.0.0/99'], /networks/], [['--priority', '1000'], /priority/], [['--owner', 'x'.repeat(70)], /owner/]]) {
    const { code, stderr } = await drover.cli('key', 'set', 'edited', ...args);
    assert.ok(code === 1 || code === 2, `${args}: ${code}`);
    assert.match(stderr, what);
  }
  assert.equal((await drover.cli('key', 'add', 'edited')).code, 1, 'the name is taken');
  assert.equal((await drover.cli('key', 'show', 'nobody')).code, 5);
  const now = await drover.cliJson('key', 'show', 'edited');
  assert.equal(now.version, 1);
  const both = await Promise.all(['200', '300'].map((n) => drover.cli('key', 'set', 'edited', '--requests', n)));
  const after = await drover.cliJson('key', 'show', 'edited');
  assert.equal(after.version - 1, both.filter((b) => b.code === 0).length);
});

test('keys, budgets and the audit log outlive the daemon; the file holds no key', async () => {
  const k = await key('lasting', '--tokens-per-day', '1000');
  const n = (await drover.cliJson('audit', 'list')).acts.length;
  const verdict = await drover.cliJson('audit', 'verify');
  assert.equal(verdict.intact, true);
  assert.ok(n > 10);
  const data = path.join(drover.dir, 'data');
  for (const name of readdirSync(data)) {
    const file = path.join(data, name);
    assert.equal(statSync(file).mode & 0o77, 0, `${name} is private`);
    assert.equal(readFileSync(file).includes(k.slice(7)), false, `${name} holds a key`);
  }
  assert.equal(drover.log.includes(k.slice(19, 50)), false);
  assert.ok(existsSync(path.join(data, 'drover.db')));
});
