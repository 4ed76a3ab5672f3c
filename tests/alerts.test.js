// Alerts on their way out: a webhook that takes, refuses, is slow or is somebody else, and a command that behaves or does not.
// A key that ends soon is an alert within two seconds, and over when the key is gone.
import test, { after, before, beforeEach } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { DatabaseSync } from 'node:sqlite';
import { startFake } from './fakes/index.js';
import { home, serve } from './lib/daemon.js';
import { command, DROVER, freePort, startDrover, until } from './lib/drover.js';

const dir = mkdtempSync(path.join(tmpdir(), 'drover-alerts-'));
const place = (name) => path.join(dir, name);
const DAY = 86400000;
let drover, hook, safe, fake, keys = 0;

/** A receiver: what came, and what it says to each. */
function receiver(make) {
  const got = [];
  const server = make(async (request, response) => {
    let text = '';
    for await (const piece of request) text += piece;
    const m = { method: request.method, url: request.url, headers: request.headers, at: performance.now(), ...JSON.parse(text) };
    got.push(m);
    const status = self.answer(m, got.length);
    if (status) response.writeHead(status, self.headers).end('thanks');
  });
  const self = { got, server, headers: {}, answer: () => 200 };
  return self;
}
const listen = async (r) => {
  await new Promise((go) => r.server.listen(0, '127.0.0.1', go));
  return r.server.address().port;
};

/** A program for alerts.command that writes what it got, one file each, and then does what it likes. */
function program(name, then) {
  writeFileSync(place(name), `#!/bin/sh\nout=${dir}/${name}.$$\ncat > $out.json\n${then}\n`);
  chmodSync(place(name), 0o700);
  return place(name);
}
const files = (name, end) => readdirSync(dir).filter((f) => f.startsWith(name + '.') && f.endsWith(end)).map((f) => readFileSync(place(f), 'utf8'));
const messages = (name) => files(name, '.json').filter((t) => t.endsWith('}')).map((t) => JSON.parse(t));

const configure = async (alerts) => {
  drover.configure({ alerts });
  const { code, stderr } = await drover.cli('reload');
  assert.equal(code, 0, stderr);
};
/** The admin API by its socket. */
const api = (method, route, body) => new Promise((go, fail) => http.request({ socketPath: path.join(drover.dir, 'run', 'drover.sock'), method, path: `/drover/v1/${route}`,
  headers: { 'content-type': 'application/json' } }, async (response) => {
  let text = '';
  for await (const piece of response) text += piece;
  go({ status: response.statusCode, ...JSON.parse(text) });
}).on('error', fail).end(body && JSON.stringify(body)));
const alerts = () => api('GET', 'alerts');
/** A key that ends in a day: its alert is raised. */
async function raise(days = 1) {
  const name = `soon-${++keys}`;
  const { id } = await api('POST', 'keys', { name, expires_ms: Date.now() + days * DAY });
  return { name, id };
}
const end = async (k) => assert.equal((await api('DELETE', `keys/${k.id}`)).status, 200);
const about = (list, k, state) => list.find((m) => m.object === k.id && m.state === state);

before(async () => {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=localhost',
    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', place('key.pem'), '-out', place('cert.pem')], { stdio: 'pipe' });
  hook = receiver((f) => http.createServer(f));
  safe = receiver((f) => https.createServer({ cert: readFileSync(place('cert.pem')), key: readFileSync(place('key.pem')) }, f));
  hook.url = `http://127.0.0.1:${await listen(hook)}/hook`;
  safe.url = `https://localhost:${await listen(safe)}/hook`;
  writeFileSync(place('hook.key'), 'top-secret\n', { mode: 0o600 });
  fake = await startFake('openai', { models: ['m'] });
  fake.name = 'fake';
  drover = await startDrover({ endpoints: [fake], models: ['m'] });
});
beforeEach(() => {
  hook.got.length = safe.got.length = 0;
  hook.answer = () => 200;
  hook.headers = {};
});
after(async () => {
  await drover?.stop();
  for (const r of [hook, safe]) { r?.server.closeAllConnections(); r?.server.close(); }
  await fake?.close();
  rmSync(dir, { recursive: true, force: true });
});

test('the webhook is told when an alert is raised and when it is over, with the key', async () => {
  await configure({ webhook: hook.url, webhook_key_file: place('hook.key') });
  const k = await raise();
  const m = await until('the message', () => about(hook.got, k, 'raised'));
  assert.deepEqual([m.method, m.url, m.headers.authorization, m.headers['content-type']], ['POST', '/hook', 'Bearer top-secret', 'application/json']);
  assert.match(m.id, /^key-[0-9a-f]{16}$/);
  assert.deepEqual([m.kind, m.severity, m.value, m.threshold, m.unit, m.link], ['key', 'warn', 23, 168, 'hours', '#/keys']);
  assert.match(m.text, new RegExp(`^the key "${k.name}" ends in 23 h$`));
  assert.match(m.cure, /make a new key/);
  assert.ok(Math.abs(m.since_ms - Date.now()) < 10000 && Math.abs(m.at_ms - Date.now()) < 10000 && m.node);
  const row = (await alerts()).alerts.find((a) => a.id === m.id);
  for (const member of ['kind', 'text', 'cure', 'value', 'threshold', 'unit', 'since_ms', 'severity', 'object', 'link']) assert.deepEqual(m[member], row[member], member);
  await end(k);
  assert.equal((await until('its end', () => about(hook.got, k, 'cleared'))).id, m.id);
  await sleep(2500);
  assert.equal(hook.got.length, 2, 'each is told once');
  assert.deepEqual((await alerts()).delivery.webhook, { taken: 2, lost: 0, waiting: 0 });
});

test('a webhook that fails is asked again, later and later, and one that says no is not', async () => {
  await configure({ webhook: hook.url });
  hook.answer = (_, n) => (n <= 2 ? 500 : 200);
  let k = await raise();
  await until('the third try', () => hook.got.length === 3);
  const [first, second] = [hook.got[1].at - hook.got[0].at, hook.got[2].at - hook.got[1].at];
  assert.ok(first >= 400 && first < 2000 && second >= 900 && second < 3500, `${first} ${second}`);
  assert.equal(hook.got[0].headers.authorization, undefined);
  await end(k);
  await until('its end', () => about(hook.got, k, 'cleared'));
  const before = (await alerts()).delivery.webhook;
  hook.got.length = 0;
  hook.answer = () => 302;
  hook.headers = { location: hook.url };
  k = await raise();
  await until('what is lost', async () => (await alerts()).delivery.webhook.lost === before.lost + 1);
  assert.equal(hook.got.length, 1, 'a redirect is not followed and not asked again');
  assert.match((await alerts()).delivery.webhook.fault, /302; redirects are not followed/);
  await until('the line', () => /an alert was not delivered.*webhook.*key-.*raised.*302/.test(drover.log));
  await end(k);
  await until('the end is refused too', async () => (await alerts()).delivery.webhook.lost === before.lost + 2);
});

test('a webhook that never answers keeps nothing else waiting', async () => {
  const name = 'beside';
  await configure({ webhook: hook.url, command: [program(name, 'exit 0')] });
  hook.answer = (_, n) => (n === 1 ? 0 : 200);
  const k = await raise();
  await until('the command', () => about(messages(name), k, 'raised'));
  await until('the second try', () => hook.got.length === 2, 16000);
  assert.ok(hook.got[1].at - hook.got[0].at >= 9900);
  await until('the line', () => /tried again.*no whole answer within 10 s/.test(drover.log));
  await end(k);
  await until('its end', () => about(hook.got, k, 'cleared'));
});

test('a webhook with the wrong certificate is told nothing; with the right CA it is', async () => {
  await configure({ webhook: safe.url, webhook_key_file: place('hook.key') });
  const k = await raise();
  await until('the refusal', async () => /certificate/.test((await alerts()).delivery.webhook.fault ?? ''));
  assert.equal(safe.got.length, 0);
  await configure({ webhook: safe.url, webhook_key_file: place('hook.key'), webhook_ca: place('cert.pem') });
  const m = await until('what waited', () => about(safe.got, k, 'raised'), 20000);
  assert.equal(m.headers.authorization, 'Bearer top-secret');
  await end(k);
  await until('its end', () => about(safe.got, k, 'cleared'));
});

test('the command gets the message and nothing else of ours', async () => {
  const name = 'bare';
  await configure({ command: [program(name, 'env | sort > $out.env; ls -l /proc/$$/fd > $out.fd; pwd > $out.pwd; echo "$@" > $out.args'), '--to', '$(id); `id`', 'a b'] });
  const k = await raise();
  assert.equal((await until('the message', () => about(messages(name), k, 'raised'))).kind, 'key');
  await until('its end', () => /the command for alerts has ended.*exit=?"?:?0/.test(drover.log) && files(name, '.args').length);
  const env = files(name, '.env')[0].trim().split('\n').filter((l) => !/^(_|PWD|SHLVL|OLDPWD)=/.test(l));
  assert.deepEqual(env, ['LANG=C.UTF-8', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin']);
  assert.equal(files(name, '.pwd')[0], '/\n');
  assert.equal(files(name, '.args')[0], '--to $(id); `id` a b\n', 'no shell has read them');
  const open = files(name, '.fd')[0].trim().split('\n').filter((l) => l.includes('->')).map((l) => l.split(' ').slice(-3));
  for (const [fd, , to] of open) assert.ok(['0', '1', '2'].includes(fd) || to === '/dev/null' || to.startsWith(dir), `${fd} -> ${to}`);
  await end(k);
  await until('its end', () => about(messages(name), k, 'cleared'));
});

test('a command that fails, floods or hangs costs only itself', async () => {
  const before = async () => (await alerts()).delivery.command;
  await configure({ command: [program('fails', 'exit 3')] });
  let lost = (await before()).lost;
  let k = await raise();
  await until('the exit', async () => (await before()).lost === lost + 1);
  assert.match((await before()).fault, /^it exited with 3$/);
  await end(k);
  await until('the other exit', async () => (await before()).lost === lost + 2);

  await configure({ command: [program('floods', 'yes | head -c 50000000; yes | head -c 50000000 >&2')] });
  const { taken } = await before();
  k = await raise();
  await until('the flood', async () => (await before()).taken === taken + 1);
  await end(k);
  await until('the other flood', async () => (await before()).taken === taken + 2);

  await configure({ command: ['/nowhere/at/all'] });
  lost = (await before()).lost;
  k = await raise();
  await until('the fault', async () => /start \/nowhere\/at\/all: no such file/.test((await before()).fault ?? ''));
  await end(k);
  await until('the other fault', async () => (await before()).lost === lost + 2);

  await configure({ command: [program('hangs', 'echo $$ > $out.pid; sleep 77 & echo $! > $out.child; wait')] });
  lost = (await before()).lost;
  const three = [await raise(), await raise(), await raise()];
  await until('two', () => files('hangs', '.child').length === 2);
  await sleep(1000);
  assert.equal(files('hangs', '.child').length, 2, 'two at once, the third waits');
  assert.equal((await before()).waiting, 1);
  assert.equal((await drover.get('/healthz')).status, 200);
  await until('their end', async () => (await before()).lost === lost + 2, 40000, 250);
  assert.match((await before()).fault, /^killed: it ran longer than 30 s$/);
  const isGone = (pid) => { try { return /State:\s+Z/.test(readFileSync(`/proc/${pid}/status`, 'utf8')); } catch { return true; } };
  for (const pid of files('hangs', '.child').slice(0, 2)) await until('its child to be killed, too', () => isGone(pid.trim()));
  await configure({});
  for (const one of three) await end(one);
});

test('silences hold for those outside, and the end of what was told is told', async () => {
  await configure({ webhook: hook.url });
  const k = await raise();
  const m = await until('the message', () => about(hook.got, k, 'raised'));
  assert.equal((await api('PUT', `alerts/${m.id}/silence`, { until_ms: Date.now() + 9000 })).status, 200);
  assert.equal((await drover.cli('key', 'set', k.id, '--expires', '30d')).code, 0);
  await until('its end, though it is silent', () => about(hook.got, k, 'cleared'));
  hook.got.length = 0;
  assert.equal((await drover.cli('key', 'set', k.id, '--expires', '1d')).code, 0);
  await until('the alert', async () => (await alerts()).alerts.some((a) => a.id === m.id && a.silenced_until_ms));
  assert.equal(hook.got.length, 0);
  await until('the end of the silence', () => about(hook.got, k, 'raised'), 10000);
  await end(k);
  await until('its end', () => about(hook.got, k, 'cleared'));
});

test('a budget is told of at 80 %, and the alert of a used up one explains that', async () => {
  await configure({ webhook: hook.url });
  const made = await drover.cliJson('key', 'add', 'thrifty', '--tokens-per-day', '1000');
  const ask = () => drover.post('/v1/chat/completions', { model: 'm', max_tokens: 20, messages: [{ role: 'user', content: 'x'.repeat(60) }] }, { headers: { authorization: `Bearer ${made.key}` } });
  const used = async () => (await alerts()).alerts.find((a) => a.object === made.id);
  assert.equal((await ask()).status, 200);
  assert.equal(await used(), undefined);
  for (let i = 0; i < 100 && !(await used()); i++) {
    await ask();
    await sleep(100);
  }
  const near = await until('the first alert', () => about(hook.got, made, 'raised'));
  assert.equal(near.kind, 'budget_near');
  assert.ok(near.value >= 0.8 && near.value <= 1 && near.threshold === 0.8 && near.unit === 'ratio', JSON.stringify(near));
  assert.equal((await drover.cli('key', 'set', made.id, '--tokens-per-day', '1')).code, 0);
  await until('the second', () => hook.got.find((m) => m.kind === 'budget' && m.state === 'raised'));
  const rows = (await alerts()).alerts.filter((a) => a.object === made.id);
  const all = rows.find((a) => a.kind === 'budget');
  assert.equal(rows.find((a) => a.kind === 'budget_near')?.explained_by, all.id);
  assert.match(all.text, /used up/);
  await end(made);
  await until('both ends', () => hook.got.filter((m) => m.state === 'cleared').length === 2);
});

test('more than can wait is dropped, oldest first, and the log says which', async () => {
  const many = [];
  await configure({});
  for (let i = 0; i < 70; i++) many.push(await raise());
  await until('all alerts', async () => (await alerts()).alerts.length >= 70);
  hook.answer = () => 0;
  for (const k of many) await end(k);
  await until('none', async () => (await alerts()).alerts.length === 0, 60000, 100);
  await configure({ webhook: hook.url });
  const again = [];
  for (let i = 0; i < 66; i++) again.push(await raise());
  await until('one is dropped', async () => (await alerts()).delivery.webhook.lost > 0, 20000);
  await until('the line', () => /an alert was not delivered.*webhook.*too many wait/.test(drover.log));
  await configure({});
  for (const k of again) await end(k);
});

test('a copy that is a month old is told of until there is a newer one; who never made one hears nothing', async () => {
  hook.answer = () => 200;
  const lone = home(await freePort(), { alerts: { webhook: hook.url } });
  let child;
  const start = async () => {
    child = serve(lone);
    await until('drover', async () => (await fetch(`${lone.url}/healthz`)).status === 200, 20000);
  };
  const stop = async () => {
    child.kill('SIGTERM');
    assert.equal((await child.ended).code, 0, child.log);
  };
  const copy = async (name) => assert.equal((await command(DROVER, ['backup', place(name), '--config', lone.file])).code, 0);
  const age = (days) => {
    const db = new DatabaseSync(path.join(lone.dir, 'data', 'drover.db'));
    const { changes } = db.prepare("UPDATE setting SET value = ? WHERE name = 'backup'").run(String(Date.now() - days * DAY));
    db.close();
    return changes;
  };
  try {
    await start();
    await sleep(2500);
    assert.deepEqual(hook.got, []);
    await copy('copy-1');
    await until('it is noted', () => age(29.5) === 1);
    await stop();
    await start();
    await sleep(2500);
    assert.deepEqual(hook.got, [], 'not a month yet');
    await stop();
    age(31);
    await start();
    const m = await until('the alert', () => hook.got[0]);
    assert.deepEqual([m.kind, m.state, m.value, m.threshold, m.unit], ['backup', 'raised', 31, 30, 'days']);
    await copy('copy-2');
    await until('its end', () => hook.got.find((x) => x.state === 'cleared'));
    await stop();
  } finally {
    child.kill('SIGKILL');
    lone.remove();
  }
});

test('the reload refuses what cannot be: an address that is none, a command from a flag', async () => {
  drover.configure({ alerts: { webhook: 'ftp://a' } });
  assert.notEqual((await drover.cli('reload')).code, 0);
  drover.configure({ alerts: { command: 'rm -rf /' } });
  assert.notEqual((await drover.cli('reload')).code, 0);
  drover.configure({});
  const { code, stderr } = await drover.cli('config', 'check', '--set', 'alerts.command=[/bin/true]');
  assert.notEqual(code, 0);
  assert.match(stderr, /only the configuration file can set this/);
  const set = await drover.cli('config', 'set', 'alerts.command', '["/bin/true"]');
  assert.notEqual(set.code, 0, 'and not from the console either');
  assert.match(set.stderr, /alerts\.command/);
});
