// People at the console: the first admin, signing in, roles, sessions that end, what other sites' pages cannot do, and Live.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import { chmodSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFake } from './fakes/index.js';
import { command, DROVER, freePort, startDrover, until } from './lib/drover.js';
import { home, serve } from './lib/daemon.js';

const PASS = 'correct horse battery'; // made up here, used nowhere else
let fake, drover;

before(async () => {
  fake = await startFake('openai', { models: ['coder'] });
  fake.name = 'fake';
  drover = await startDrover({ endpoints: [fake], models: ['coder'] });
});
after(async () => {
  await drover?.stop();
  await fake?.close();
});

/** One browser: keeps its cookie, sends what the console's page sends. */
function browser(base = drover.url) {
  const it = {
    cookie: '',
    async ask(method, route, body, headers = {}) {
      const response = await fetch(base + route, { method, redirect: 'manual', signal: AbortSignal.timeout(20000),
        headers: { ...(method === 'GET' ? {} : { 'drover-console': '1' }), ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...(it.cookie ? { cookie: it.cookie } : {}), ...headers },
        body: body === undefined ? undefined : JSON.stringify(body) });
      const set = response.headers.get('set-cookie');
      if (set) it.cookie = set.split(';')[0];
      const text = await response.text();
      let json;
      try { json = JSON.parse(text); } catch { json = undefined; }
      return { status: response.status, headers: response.headers, json, text, code: json?.error?.code };
    },
    get: (route, headers) => it.ask('GET', route, undefined, headers),
    signIn: (name, passphrase = PASS) => it.ask('POST', '/drover/v1/session', { name, passphrase }),
  };
  return it;
}
const file = (name, text) => {
  const at = path.join(drover.dir, name);
  writeFileSync(at, text, { mode: 0o600 });
  return at;
};
async function person(name, role) {
  const { code, stderr } = await drover.cli('user', 'add', name, '--role', role, '--passphrase-file', file('pass', `${PASS}\n`));
  assert.equal(code, 0, stderr);
}

test('the first admin comes by a link that works once', async () => {
  const page = browser();
  const open = await page.get('/drover/v1/session');
  assert.deepEqual([open.status, open.json.signed_in, open.json.setup], [200, false, true]);
  assert.equal(open.json.version, undefined, 'nothing is told to strangers');
  assert.equal((await page.get('/drover/v1/status')).status, 401);
  const first = /setup=(\w{43})/.exec((await drover.cli('user', 'setup')).stdout)[1];
  const second = /setup=(\w{43})/.exec((await drover.cli('user', 'setup')).stdout)[1];
  const make = (token, who = page) => who.ask('POST', '/drover/v1/setup', { token, name: 'sam', passphrase: PASS });
  assert.equal((await make(first)).status, 403, 'a newer link voids the older');
  assert.equal((await make('x'.repeat(43))).status, 403);
  assert.equal((await page.ask('POST', '/drover/v1/setup', { token: second, name: 'sam', passphrase: 'short' })).status, 400);
  assert.equal((await page.ask('POST', '/drover/v1/setup', { token: second, name: '../x', passphrase: PASS })).status, 400);
  const both = await Promise.all([make(second), make(second, browser())]);
  assert.deepEqual(both.map((r) => r.status).sort(), [201, 403], 'and once for two at a time');
  const mine = both.find((r) => r.status === 201);
  assert.equal(mine.json.role, 'admin');
  assert.match(mine.headers.get('set-cookie'), /^drover-session=\w{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=28800$/);
  assert.equal((await make(second)).status, 403);
  assert.notEqual((await drover.cli('user', 'setup')).code, 0);
});

test('a session opens what its role may, and no more', async () => {
  for (const role of ['viewer', 'operator']) await person(role, role);
  const who = {};
  for (const name of ['sam', 'viewer', 'operator']) {
    who[name] = browser();
    assert.equal((await who[name].signIn(name)).status, 201);
  }
  const rows = [ // route, and what viewer, operator and admin get
    ['GET', '/drover/v1/status', 200, 200, 200], ['GET', '/drover/v1/endpoints', 200, 200, 200], ['GET', '/drover/v1/usage', 200, 200, 200],
    ['GET', '/drover/v1/logs?lines=1', 403, 200, 200], ['GET', '/drover/v1/log-level', 403, 200, 200], ['POST', '/drover/v1/endpoints/refresh', 403, 202, 202],
    ['GET', '/drover/v1/keys', 403, 403, 200], ['GET', '/drover/v1/users', 403, 403, 200], ['GET', '/drover/v1/audit', 403, 403, 200],
    ['GET', '/drover/v1/config', 403, 403, 200], ['POST', '/drover/v1/backup', 403, 403, 403], ['POST', '/drover/v1/setup/token', 403, 403, 403],
  ];
  for (const [method, route, ...want] of rows)
    for (const [i, name] of ['viewer', 'operator', 'sam'].entries())
      assert.equal((await who[name].ask(method, route)).status, want[i], `${name} ${method} ${route}`);
  assert.match((await who.viewer.get('/drover/v1/keys')).json.error.message, /role admin/);
  assert.equal((await who.viewer.ask('POST', '/drover/v1/keys', { name: 'mine' })).status, 403);
});

test('pages of other sites get nowhere', async () => {
  const page = browser();
  await page.signIn('sam');
  const cookie = page.cookie;
  const raw = (method, route, headers, body) => fetch(drover.url + route, { method, body, headers: { cookie, ...headers } }).then((r) => r.status);
  assert.equal(await raw('POST', '/drover/v1/endpoints/refresh', {}), 403, 'a form cannot send our header');
  assert.equal(await raw('POST', '/drover/v1/keys', { 'drover-console': '1', 'content-type': 'text/plain' }, '{}'), 415);
  assert.equal(await raw('GET', '/drover/v1/status', { origin: 'http://evil.example' }), 403);
  assert.equal(await raw('GET', '/drover/v1/status', { 'sec-fetch-site': 'cross-site' }), 403);
  const rebound = await new Promise((go) => http.get(`${drover.url}/drover/v1/session`, { headers: { host: 'evil.example' } }, (r) => go(r.resume().statusCode)));
  assert.equal(rebound, 421);
  assert.equal(await raw('GET', '/drover/v1/status', { 'drover-peer': '127.0.0.1', 'drover-tls': '1' }), 200);
  assert.equal((await page.ask('POST', '/drover/v1/session/confirm', { passphrase: PASS })).headers.get('strict-transport-security'), null, 'what the door tells cannot be told by a client');
  for (const route of ['/drover/v1/session', '/drover/v1/nothing', '/drover/v1/status']) {
    const { headers } = await page.get(route);
    assert.match(headers.get('content-security-policy'), /^default-src 'none'.*frame-ancestors 'none'.*trusted-types/);
    assert.equal(headers.get('x-content-type-options'), 'nosniff');
    assert.equal(headers.get('cache-control'), 'no-store');
  }
});

test('the admin socket is not reached by its name from outside', async () => {
  const page = browser();
  for (const route of ['/drover/v1/../v1/status', '/drover/v1//status', '/drover/v1/%2e%2e/status', '/console/%2e%2e/x'])
    assert.ok([400, 401, 404].includes(await new Promise((go) => http.get({ host: '127.0.0.1', port: drover.port, path: route }, (r) => go(r.resume().statusCode)))), route);
  assert.equal((await page.get('/drover/v1/keys', { authorization: 'Bearer nonsense' })).status, 401);
});

test('guesses get slow, and say nothing of what was wrong', async () => {
  const page = browser();
  const wrong = await page.signIn('sam', 'not the passphrase'), nobody = await page.signIn('no-such-person');
  assert.deepEqual([wrong.status, nobody.status], [401, 401]);
  assert.equal(wrong.json.error.message, nobody.json.error.message);
  let slowed;
  for (let i = 0; i < 12 && !slowed; i++) {
    const answer = await page.signIn('viewer', 'wrong wrong wrong');
    if (answer.status === 429) slowed = answer;
  }
  assert.ok(slowed, 'after a few');
  const many = await Promise.all(Array.from({ length: 40 }, () => browser().signIn('nobody-at-all', 'guess guess guess')));
  assert.ok(many.filter((r) => r.status === 401).length <= 6, 'all at once is no way around');
  assert.ok(Number(slowed.headers.get('retry-after')) >= 1);
  assert.equal((await browser().signIn('operator')).status, 201, 'others are not held up');
  const acts = (await drover.cli('audit', 'list')).stdout;
  assert.match(acts, /session\.refuse +viewer/);
});

test('what is sensitive wants the passphrase again after a while, and from the start on after a restart', async () => {
  const place = home(await freePort());
  let child = serve(place);
  try {
    await until('it', () => fetch(`${place.url}/healthz`));
    const token = /setup=(\w{43})/.exec((await command(DROVER, ['user', 'setup', '--config', place.file])).stdout)[1];
    const page = browser(place.url);
    assert.equal((await page.ask('POST', '/drover/v1/setup', { token, name: 'sam', passphrase: PASS })).status, 201);
    assert.equal((await page.ask('POST', '/drover/v1/keys', { name: 'k1' })).status, 201, 'just signed in');
    child.kill('SIGTERM');
    await child.ended;
    child = serve(place);
    await until('it again', () => fetch(`${place.url}/healthz`));
    assert.equal((await page.get('/drover/v1/session')).json.user, 'sam', 'the session outlives it');
    const again = await page.ask('POST', '/drover/v1/keys', { name: 'k2' });
    assert.deepEqual([again.status, again.code], [403, 'reauth_required']);
    assert.equal((await page.ask('POST', '/drover/v1/session/confirm', { passphrase: 'wrong wrong' })).status, 401);
    assert.equal((await page.ask('POST', '/drover/v1/session/confirm', { passphrase: PASS })).status, 200);
    assert.equal((await page.ask('POST', '/drover/v1/keys', { name: 'k2' })).status, 201);
    const bytes = readdirSync(path.join(place.dir, 'data')).map((f) => readFileSync(path.join(place.dir, 'data', f), 'latin1')).join('');
    assert.equal(bytes.includes(page.cookie.split('=')[1]), false, 'the secret is nowhere on disk');
    assert.equal(bytes.includes(PASS), false);
    assert.equal((child.log).includes(PASS), false);
  } finally {
    child.kill('SIGTERM');
    await child.ended;
    place.remove();
  }
});

test('a session ends with sign-out, with its person\'s rights, and when an admin says so', async () => {
  const admin = browser(), page = browser(), other = browser();
  await admin.signIn('sam');
  await page.signIn('operator');
  await other.signIn('operator');
  const list = (await page.get('/drover/v1/sessions')).json.sessions;
  assert.ok(list.length >= 2 && list.every((s) => s.user === 'operator'), 'one\'s own only');
  assert.equal(list.filter((s) => s.current).length, 1);
  const theirs = (await admin.get('/drover/v1/sessions')).json.sessions.find((s) => s.user === 'sam');
  assert.equal((await page.ask('DELETE', `/drover/v1/sessions/${theirs.id}`)).status, 404, 'what one may not see is not there');
  assert.equal((await page.ask('DELETE', '/drover/v1/session')).json.signed_in, false);
  assert.equal((await page.get('/drover/v1/status')).status, 401);
  const logs = await new Promise((go) => http.get(`${drover.url}/drover/v1/logs?follow=1&lines=1`, { headers: { cookie: other.cookie } }, go));
  logs.resume();
  const ended = new Promise((go) => logs.on('end', go));
  const users = (await admin.get('/drover/v1/users')).json.users, { version } = users.find((u) => u.name === 'operator');
  assert.equal((await admin.ask('PUT', '/drover/v1/users/operator', { role: 'viewer' }, { 'if-match': '"99"' })).status, 412);
  assert.equal((await admin.ask('PUT', '/drover/v1/users/operator', { role: 'king' }, { 'if-match': `"${version}"` })).status, 400);
  assert.equal((await admin.ask('PUT', '/drover/v1/users/operator', { role: 'viewer' }, { 'if-match': `"${version}"` })).status, 200);
  await Promise.race([ended, sleep(3000).then(() => { throw new Error('the log went on'); })]);
  assert.equal((await other.get('/drover/v1/status')).status, 401);
  assert.equal((await admin.ask('DELETE', '/drover/v1/users/sam')).status, 403, 'the last admin stays');
  assert.equal((await admin.ask('DELETE', '/drover/v1/users/operator')).status, 200);
  assert.equal((await browser().signIn('operator')).status, 401);
});

test('a session asks models through the gateway, and ends there, too', async () => {
  await person('asker', 'viewer');
  const page = browser();
  await page.signIn('asker');
  const ask = { model: 'coder', messages: [{ role: 'user', content: 'hi' }] };
  assert.equal((await page.ask('POST', '/v1/chat/completions', ask)).status, 200);
  await until('its row', async () => (await drover.cliJson('usage', '--by', 'key')).rows.some((r) => r.key === 'asker'));
  fake.options.reply = Array.from({ length: 400 }, () => 'x');
  fake.options.delayMs = 20;
  const stream = await fetch(`${drover.url}/v1/chat/completions`, { method: 'POST', body: JSON.stringify({ ...ask, stream: true }),
    headers: { cookie: page.cookie, 'drover-console': '1', 'content-type': 'application/json' } });
  assert.equal(stream.status, 200);
  const reader = stream.body.getReader();
  await reader.read();
  assert.equal((await drover.cli('user', 'rm', 'asker')).code, 0);
  let text = '';
  for (const end = performance.now() + 5000; performance.now() < end;) {
    const { done, value } = await reader.read();
    if (done) break;
    text += Buffer.from(value);
  }
  assert.match(text, /revoked|ended/);
  fake.options.delayMs = 0;
  assert.equal((await page.ask('POST', '/v1/chat/completions', ask)).status, 401);
});

test('Live asks for the permission key with what is risky; Dev comes back with it', async () => {
  const page = browser(), key = 'the key of the fleet';
  await page.signIn('sam');
  const { id } = (await page.ask('POST', '/drover/v1/keys', { name: 'live' })).json;
  assert.equal((await page.ask('PUT', '/drover/v1/mode/key', { permission_key: key })).status, 200);
  assert.equal((await page.ask('PUT', '/drover/v1/mode', { mode: 'live' })).json.mode, 'live');
  const locked = await page.ask('DELETE', `/drover/v1/keys/${id}`);
  assert.deepEqual([locked.status, locked.code], [403, 'locked']);
  assert.equal((await page.ask('DELETE', `/drover/v1/keys/${id}`, undefined, { 'drover-permission-key': 'a wrong one' })).status, 403);
  assert.equal((await page.get('/drover/v1/status')).status, 200);
  assert.equal((await page.ask('POST', '/drover/v1/keys', { name: 'more' })).code, 'locked');
  assert.equal((await page.ask('POST', '/drover/v1/users', { name: 'more', role: 'admin', passphrase: PASS })).code, 'locked');
  assert.equal((await page.ask('PUT', '/drover/v1/mode', { mode: 'dev' })).code, 'locked');
  assert.equal((await page.ask('DELETE', `/drover/v1/keys/${id}`, undefined, { 'drover-permission-key': key })).status, 200);
  const dev = await page.ask('PUT', '/drover/v1/mode', { mode: 'dev', permission_key: key, ttl_ms: 1500 });
  assert.equal(dev.json.mode, 'dev');
  await until('Live again', async () => (await page.get('/drover/v1/mode')).json.mode === 'live');
  assert.match((await drover.cli('mode')).stdout, /^live/);
  assert.equal((await drover.cli('mode', 'dev')).code, 0, 'who has the machine has the last word');
  assert.equal((await drover.cliJson('audit', 'verify')).intact, true);
});

test('the command line signs in at a hub elsewhere, follows its events, and signs out', async () => {
  const far = (...verb) => command(DROVER, [...verb, '--hub', drover.url], { env: { ...process.env, XDG_CONFIG_HOME: drover.dir, DROVER_BIN: undefined } });
  const none = await far('key', 'list');
  assert.equal(none.code, 1);
  assert.match(none.stderr, /nobody has signed in/);
  assert.equal((await far('login', '--user', 'sam', '--passphrase-file', file('pass', 'wrong wrong wrong\n'))).code, 4);
  const login = await far('login', '--user', 'sam', '--passphrase-file', file('pass', `${PASS}\n`));
  assert.equal(login.code, 0, login.stderr);
  assert.equal(statSync(path.join(drover.dir, 'drover/login.json')).mode & 0o777, 0o600);
  const made = await far('key', 'add', 'from-far');
  assert.match(made.stdout, /^sk-drv-/);
  assert.match((await far('user', 'list')).stdout, /sam +admin/);
  assert.equal((await far('backup', '/tmp/never')).code, 4, 'what is done on the machine itself is done there');
  const events = await far('events');
  assert.match(events.stdout, /^\d+ {2}\S+ {2}key/m);
  assert.equal((await far('status')).code, 0);
  assert.equal((await far('logs', '-n', '3')).code, 0);
  chmodSync(path.join(drover.dir, 'drover/login.json'), 0o644);
  assert.match((await far('status')).stderr, /others can read .*login\.json; chmod 600/);
  chmodSync(path.join(drover.dir, 'drover/login.json'), 0o600);
  assert.equal((await far('logout')).code, 0);
  assert.equal((await far('status')).code, 1);
  assert.match((await drover.cli('events')).stdout, /key/, 'and on the socket');
});

test('a body that can be read two ways, or is deep, is refused', async () => {
  const page = browser();
  await page.signIn('sam');
  const raw = (text) => fetch(`${drover.url}/drover/v1/keys`, { method: 'POST', body: text, headers: { cookie: page.cookie, 'drover-console': '1', 'content-type': 'application/json' } });
  for (const text of ['{"name":"a","name":"b"}', '{"name":"a","limits":{"concurrent":1,"concurrent":2}}', `{"name":${'['.repeat(60000)}${']'.repeat(60000)}}`,
    JSON.stringify(Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`m${i}`, i])))]) assert.equal((await raw(text)).status, 400, text.slice(0, 60));
});

test('in Live the log tells strangers to the machine only what somebody must act on', async () => {
  const page = browser();
  await page.signIn('sam');
  assert.equal((await drover.cli('mode', 'live')).code, 0);
  await drover.cli('reload');
  const lines = (await page.get('/drover/v1/logs?lines=4096')).text.trim().split('\n').map((l) => JSON.parse(l));
  assert.ok(lines.some((l) => l.held > 0));
  assert.ok(lines.every((l) => l.held || l.missed || ['warn', 'error'].includes(l.level)));
  assert.match((await drover.cli('logs', '-n', '20')).stdout, /nothing in it has changed/);
  assert.equal((await drover.cli('mode', 'dev')).code, 0);
});
