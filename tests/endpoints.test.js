// Endpoints that a person adds while Drover runs: looked at first, added, changed, removed, by whoever may, and there again after a restart.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { chmodSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { startFake } from './fakes/index.js';
import { addPeople, person } from './lib/browser.js';
import { home, serve } from './lib/daemon.js';
import { command, DROVER, freePort, startDrover, until } from './lib/drover.js';

const KEY = `sk-endpoint-${process.pid}`;
let hub, admin, operator, viewer, layer;
const fakes = {};

before(async () => {
  fakes.fixed = await startFake('vllm', { models: ['fixed-model'] });
  fakes.other = await startFake('vllm', { models: ['other-model', 'more'] });
  fakes.ollama = await startFake('ollama', { models: ['llama3:latest'] });
  hub = await startDrover({ endpoints: [{ name: 'fixed', url: fakes.fixed.url }], models: ['fixed-model'],
    prepare: (dir) => addPeople(dir, { sam: 'admin', olga: 'operator', vera: 'viewer' }) });
  [admin, operator, viewer] = [await person(hub, 'sam'), await person(hub, 'olga'), await person(hub, 'vera')];
  layer = path.join(hub.dir, 'data', 'settings.yaml');
});
after(async () => {
  await hub?.stop();
  for (const fake of Object.values(fakes)) await fake.close();
});

const all = async (who = viewer) => (await who.ask('GET', 'endpoints')).json;
const one = async (name) => (await all()).endpoints.find((e) => e.name === name);
const models = async () => (await (await fetch(`${hub.url}/v1/models`)).json()).data.map((m) => m.id);
const change = async (method, name, body, version) => admin.ask(method, `endpoints/${name}`, body, { 'if-match': `"${version ?? (await all()).version}"` });
const audit = async () => (await admin.ask('GET', 'audit')).json.acts;

test('each tells where it comes from, and what is set', async () => {
  const fixed = await one('fixed');
  assert.equal(fixed.origin, 'configuration');
  assert.deepEqual([fixed.settings.weight, fixed.settings.kind, fixed.settings.key, fixed.settings.max_concurrent], [100, 'auto', null, null]);
});

test('a look tells what is there, and keeps nothing of it', async () => {
  const was = await all();
  const vllm = (await admin.ask('POST', 'endpoints/test', { name: 'new', url: fakes.other.url })).json;
  assert.deepEqual([vllm.state, vllm.kind, vllm.models, vllm.wants_key], ['up', 'vllm', ['other-model', 'more'], false]);
  const ollama = (await admin.ask('POST', 'endpoints/test', { name: 'new', url: fakes.ollama.url })).json;
  assert.deepEqual([ollama.kind, ollama.models], ['ollama', ['llama3:latest']]);
  const wrong = (await admin.ask('POST', 'endpoints/test', { name: 'new', url: fakes.ollama.url, kind: 'vllm' })).json;
  assert.ok(wrong.is_other_kind || wrong.state !== 'up', JSON.stringify(wrong));
  const nobody = (await admin.ask('POST', 'endpoints/test', { name: 'new', url: `http://127.0.0.1:${await freePort()}` })).json;
  assert.deepEqual([nobody.state, nobody.models], ['down', []]);
  assert.match(nobody.reason, /refused/i);
  const unknown = (await admin.ask('POST', 'endpoints/test', { name: 'new', url: 'http://no-such-host.invalid' })).json;
  assert.equal(unknown.state, 'down');
  assert.deepEqual((await all()).endpoints.map((e) => e.name), was.endpoints.map((e) => e.name));
  assert.equal((await all()).version, was.version);
});

test('one that hangs holds up nothing, and only so many are looked at at one time', async () => {
  const silent = net.createServer((socket) => socket.on('error', () => {}).resume()).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const answers = Promise.all(Array.from({ length: 6 }, () => admin.ask('POST', 'endpoints/test', { name: 'slow', url: `http://127.0.0.1:${silent.address().port}` })));
  assert.equal((await one('fixed')).state, 'up');
  const all = await answers;
  assert.deepEqual(all.map((a) => a.status).sort(), [200, 200, 200, 200, 429, 429]);
  for (const { status, json } of all) assert.equal(status === 200 ? json.state : json.error.code, status === 200 ? 'down' : 'rate_limited');
  silent.close();
});

test('what is added serves at once, and is there after a restart; its key is shown nowhere', async () => {
  const { status, json } = await admin.ask('POST', 'endpoints', { name: 'other', url: fakes.other.url, key: KEY, weight: 50, models: { exclude: ['more'] } });
  assert.equal(status, 200, JSON.stringify(json));
  await until('its model', async () => (await models()).includes('other-model'));
  assert.ok(!(await models()).includes('more'));
  assert.equal(fakes.other.requests.at(-1).headers.authorization, `Bearer ${KEY}`);
  const other = await one('other');
  assert.deepEqual([other.origin, other.settings.weight, other.settings.models.exclude], ['console', 50, ['more']]);
  assert.ok(!JSON.stringify([await all(admin), (await admin.ask('GET', 'settings')).json, (await admin.ask('GET', 'config')).json, await audit()]).includes(KEY));
  assert.equal(statSync(layer).mode & 0o777, 0o600);
  assert.ok(readFileSync(layer, 'utf8').includes(KEY), 'else it could not be used after a restart');
  assert.ok((await audit()).some((e) => e.action === 'endpoint.add' && e.object === 'other' && e.actor === 'sam'));
});

test('a change says what it has seen; a key is not sent elsewhere unless it is given again', async () => {
  const { version } = await all();
  assert.equal((await change('PATCH', 'other', { max_concurrent: 3 }, version)).status, 200);
  assert.equal((await change('PATCH', 'other', { max_concurrent: 4 }, version)).status, 412);
  assert.equal((await admin.ask('PATCH', 'endpoints/other', { max_concurrent: 4 })).status, 400, 'without If-Match');
  assert.equal((await one('other')).settings.max_concurrent, 3);
  const elsewhere = await change('PATCH', 'other', { url: fakes.ollama.url });
  assert.equal(elsewhere.status, 400);
  assert.match(elsewhere.json.error.message, /key: give the key again/);
  assert.equal((await admin.ask('POST', 'endpoints/test', { name: 'other', url: fakes.ollama.url })).status, 400, 'not by a look either');
  assert.equal((await admin.ask('POST', 'endpoints/test', { name: 'other', weight: 7 })).json.state, 'up');
  assert.equal((await change('PATCH', 'other', { url: fakes.ollama.url, key: null, models: { exclude: null } })).status, 200);
  await until('the other models', async () => (await models()).includes('llama3:latest'));
  assert.ok(!fakes.ollama.requests.some((r) => r.headers.authorization));
  assert.equal((await change('PATCH', 'other', { url: fakes.other.url })).status, 200);
});

test('what cannot be is refused with its key, and changes nothing', async () => {
  const was = [readFileSync(layer, 'utf8'), (await all()).version];
  const refused = async (body, key, text) => {
    const { status, json } = await admin.ask('POST', 'endpoints', body);
    assert.equal(status, 400, JSON.stringify(body));
    if (key !== undefined) assert.deepEqual([json.complaints[0].key, json.complaints[0].message.includes(text)], [key, true], JSON.stringify(json));
  };
  await refused({ name: 'fixed', url: 'http://a' }, 'name', 'the configuration has an endpoint of this name');
  await refused({ name: 'other', url: 'http://a' }, 'name', 'another endpoint is called');
  await refused({ name: 'x' }, 'endpoints', 'url is missing');
  await refused({ name: 'x', url: 'file:///etc/passwd' }, 'url', 'expected a URL');
  await refused({ name: 'x', url: 'http://a:b@c' }, 'url', 'without user and password');
  await refused({ name: 'x/y', url: 'http://a' }, 'name', 'expected 1 to 64 letters');
  await refused({ name: 'x', url: 'http://a', key_file: '/etc/shadow' }, 'key_file', 'only the configuration file');
  await refused({ name: 'x', url: 'https://a', tls: { ca: '/proc/kmsg' } }, 'tls.ca', 'is not for the console to set');
  await refused({ name: 'x', url: 'http://a', key: 'two words' }, 'key', 'visible ASCII');
  await refused({ name: 'x', url: 'http://a', weight: {} }, 'weight', 'expected');
  await refused({ name: 'x', url: 'http://a', surprise: 1 }, 'surprise', 'unknown setting');
  await refused([], undefined);
  await refused('x', undefined);
  assert.equal((await admin.ask('POST', 'endpoints', { name: 'x', url: `http://a/${'y'.repeat(70000)}` })).status, 413);
  for (const method of ['PATCH', 'DELETE']) {
    assert.equal((await change(method, 'fixed', { weight: 1 })).status, 403, 'of the configuration');
    assert.equal((await change(method, 'nobody', { weight: 1 })).status, 404);
  }
  assert.deepEqual([readFileSync(layer, 'utf8'), (await all()).version], was);
});

test('the audit log says what changed of which, and that a key was given, not which', async () => {
  assert.equal((await change('PATCH', 'other', { weight: 60, key: `${KEY}-2` })).status, 200);
  const [act] = (await admin.ask('GET', 'audit?limit=1')).json.acts;
  assert.deepEqual([act.action, act.object, act.detail], ['endpoint.change', 'other', 'weight: 60, key: (given)']);
  assert.equal((await change('PATCH', 'other', { weight: 50, key: KEY })).status, 200);
});

test('what JSON may write, YAML reads', async () => {
  const answer = await fetch(`${hub.url}/drover/v1/endpoints/test`, { method: 'POST', headers: { cookie: admin.cookie, origin: hub.url, 'content-type': 'application/json', 'drover-console': '1' },
    body: `{"name":"x","url":${JSON.stringify(fakes.other.url)},"models":{"exclude":["\\ud83d\\ude00*","a\\/b"]}}` });
  assert.equal(answer.status, 200, await answer.text());
});

test('an endpoint that is Drover itself ends in 508, not in a thousand requests', async () => {
  assert.equal((await admin.ask('POST', 'endpoints', { name: 'self', url: hub.url, priority: 50, kind: 'drover' })).status, 200);
  await until('it', async () => (await one('self'))?.state === 'up' && (await one('self')).models.length > 0);
  const count = async () => (await hub.cliJson('status')).requests, before = await count();
  const answer = await fetch(`${hub.url}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ model: 'other-model', messages: [{ role: 'user', content: 'hi' }] }) });
  await answer.text();
  assert.ok((await count()) - before < 20, `${(await count()) - before} requests`);
  assert.equal((await change('DELETE', 'self')).status, 200);
});

test('an endpoint that is named is meant, whatever models of others call themselves', async () => {
  const liar = await startFake('vllm', { models: ['fixed/fixed-model', 'fixed-model@fixed'] });
  try {
    assert.equal((await admin.ask('POST', 'endpoints', { name: 'liar', url: liar.url, priority: 90 })).status, 200);
    await until('its models', async () => (await models()).includes('fixed/fixed-model'));
    const ask = (model) => fetch(`${hub.url}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ model, messages: [{ role: 'user', content: 'hi' }] }) });
    assert.match((await ask('fixed-model@fixed')).headers.get('drover-target'), /^fixed\//);
    const config = readFileSync(path.join(hub.dir, 'drover.yaml'), 'utf8');
    writeFileSync(path.join(hub.dir, 'drover.yaml'), JSON.stringify({ ...JSON.parse(config), models: [{ slug: 'pinned', targets: ['fixed/fixed-model'] }] }));
    await hub.cli('reload');
    const { candidates } = await hub.cliJson('explain', 'pinned');
    assert.deepEqual(candidates.map((c) => c.endpoint), ['fixed']);
    writeFileSync(path.join(hub.dir, 'drover.yaml'), config);
    await hub.cli('reload');
  } finally {
    await change('DELETE', 'liar');
    await liar.close();
  }
});

test('only an admin may', async () => {
  for (const who of [viewer, operator]) {
    assert.equal((await who.ask('POST', 'endpoints', { name: 'x', url: 'http://a' })).status, 403);
    assert.equal((await who.ask('POST', 'endpoints/test', { name: 'x', url: 'http://a' })).status, 403);
    assert.equal((await who.ask('DELETE', 'endpoints/other', undefined, { 'if-match': '"1"' })).status, 403);
  }
});

test('the command line does the same', async () => {
  const place = home(await freePort()), daemon = serve(place);
  const drover = (...words) => command(DROVER, [...words, '--config', place.file]);
  try {
    await until('the daemon', async () => (await drover('status')).code === 0);
    const looked = await drover('endpoint', 'test', fakes.other.url);
    assert.equal(looked.code, 0, looked.stderr);
    assert.match(looked.stdout, /^up after \d+ ms: vllm.*, 2 models\n {2}other-model\n/);
    assert.equal((await drover('endpoint', 'test', `http://127.0.0.1:${await freePort()}`)).code, 1);
    const secret = path.join(place.dir, 'key');
    writeFileSync(secret, `${KEY}\n`);
    chmodSync(secret, 0o600);
    const added = await drover('endpoint', 'add', 'gpu', fakes.other.url, 'max_concurrent=2', 'models.include=other*,x', 'models.exclude=more', '--key-file', secret);
    assert.equal(added.code, 0, added.stderr);
    const shown = async () => JSON.parse((await drover('endpoint', 'list', '--json')).stdout).endpoints.find((e) => e.name === 'gpu');
    assert.deepEqual((await shown()).settings.models, { include: ['other*', 'x'], exclude: ['more'] });
    assert.equal((await drover('endpoint', 'set', 'gpu', 'max_concurrent=', 'weight=9')).code, 0);
    assert.deepEqual([(await shown()).settings.max_concurrent, (await shown()).settings.weight], [null, 9]);
    for (const [words, text] of [[['add', 'x', 'http://a', 'key=secret'], /--key-file/], [['add', 'x', 'http://a', 'weight'], /expected KEY=VALUE/], [['add', 'x'], /usage/], [['set', 'gpu'], /usage/], [['gone'], /usage/]]) {
      const { code, stderr } = await drover('endpoint', ...words);
      assert.deepEqual([code, text.test(stderr)], [2, true], stderr);
    }
    assert.match((await drover('endpoint', 'rm', 'nobody')).stderr, /there is no endpoint "nobody"/);
    daemon.kill('SIGKILL');
    await daemon.ended;
    const again = serve(place);
    try {
      await until('its model', async () => (await drover('models')).stdout.includes('other-model'));
      assert.equal((await drover('endpoint', 'rm', 'gpu')).code, 0);
      assert.equal(await shown(), undefined);
    } finally {
      again.kill('SIGKILL');
      await again.ended;
    }
  } finally {
    daemon.kill('SIGKILL');
    place.remove();
  }
});

test('the doctor tells of one place from two sources', async () => {
  const findings = async () => (await admin.ask('GET', 'doctor')).json.findings.map((f) => f.code);
  assert.ok(!(await findings()).some((code) => code.startsWith('endpoint_')));
  assert.equal((await admin.ask('POST', 'endpoints', { name: 'again', url: fakes.fixed.url })).status, 200);
  assert.ok((await findings()).includes('endpoint_twice'));
  assert.equal((await change('DELETE', 'again')).status, 200);
  const config = readFileSync(path.join(hub.dir, 'drover.yaml'), 'utf8');
  writeFileSync(path.join(hub.dir, 'drover.yaml'), config.replace('"fixed"', '"other"'));
  await hub.cli('reload');
  assert.ok((await findings()).includes('endpoint_rests'));
  assert.equal((await one('other')).origin, 'configuration');
  writeFileSync(path.join(hub.dir, 'drover.yaml'), config);
  await hub.cli('reload');
  assert.equal((await one('other')).origin, 'console');
});

test('a backup has them beside the records, private, and nothing is written over', async () => {
  const copy = path.join(hub.dir, 'copy.db'), beside = `${copy}.settings.yaml`;
  writeFileSync(beside, 'mine');
  assert.match((await hub.cli('backup', copy)).stderr, /copy\.db\.settings\.yaml is there already/);
  assert.deepEqual([readFileSync(beside, 'utf8'), existsSync(copy)], ['mine', false]);
  rmSync(beside);
  const { code, stdout, stderr } = await hub.cli('backup', copy);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /copy\.db\.settings\.yaml: what was set from the console, with the keys of endpoints/);
  assert.deepEqual([readFileSync(beside, 'utf8'), statSync(beside).mode & 0o777], [readFileSync(layer, 'utf8'), 0o600]);
});

test('what is removed is gone, with its key', async () => {
  assert.equal((await change('DELETE', 'other')).status, 200);
  await until('its models to go', async () => !(await models()).includes('other-model'));
  assert.equal(await one('other'), undefined);
  assert.ok(!readFileSync(layer, 'utf8').includes('endpoints'));
  assert.equal((await change('DELETE', 'other')).status, 404);
});
