// Settings that are changed while Drover runs, by the API and the command line: all or nothing, by whoever may, after the same checks as
// those of a file, and there again after the hardest end.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { addPeople, person } from './lib/browser.js';
import { home, serve } from './lib/daemon.js';
import { command, DROVER, freePort, startDrover, until } from './lib/drover.js';

const PERMISSION = 'the key of the fleet';
let hub, admin, other, operator, layer;

before(async () => {
  hub = await startDrover({ config: { gateway: { deadline: '4m' } }, env: { DROVER_GATEWAY_PARK_MAX: '50' }, args: ['--set', 'gateway.park_timeout=9m'],
    prepare: (dir) => addPeople(dir, { sam: 'admin', kim: 'admin', olga: 'operator' }) });
  [admin, other, operator] = [await person(hub, 'sam'), await person(hub, 'kim'), await person(hub, 'olga')];
  layer = path.join(hub.dir, 'data', 'settings.yaml');
});
after(() => hub?.stop());

const look = async (who = admin) => (await who.ask('GET', 'settings')).json;
const one = async (name) => (await look()).settings.find((s) => s.name === name);
const check = (body) => admin.ask('POST', 'settings/check', body);
const patch = async (body, { who = admin, version, headers = {} } = {}) =>
  who.ask('PATCH', 'settings', body, { 'if-match': `"${version ?? (await look()).version}"`, ...headers });
const text = () => (existsSync(layer) ? readFileSync(layer, 'utf8') : undefined);
/** Runs what must change nothing: neither the file nor what is in force. */
async function unchanged(act) {
  const was = [text(), (await look()).version];
  const result = await act();
  assert.deepEqual([text(), (await look()).version], was);
  return result;
}

test('each setting tells whether it can be changed, and what a control for it needs', async () => {
  const { settings, version } = await look(), of = (name) => settings.find((s) => s.name === name);
  assert.ok(Number.isSafeInteger(version) && version > 0);
  assert.equal((await look(other)).version, version);
  assert.deepEqual([of('gateway.stall_timeout').changeable, of('gateway.stall_timeout').kind, of('gateway.stall_timeout').least, of('gateway.stall_timeout').most], [true, 'duration', '1s', '1h']);
  assert.deepEqual(of('log.level').choices.map((c) => c.word), ['error', 'warn', 'info', 'debug']);
  for (const name of ['data_dir', 'run_dir', 'name', 'listen', 'takeover', 'endpoints', 'models', 'telemetry.otlp.url', 'telemetry.otlp.key', 'telemetry.otlp.tls.ca'])
    assert.deepEqual([of(name).changeable, of(name).kind], [false, undefined], name);
  assert.ok(settings.filter((s) => s.changeable).length > 60);
});

test('a check tells what would change, and changes nothing', () => unchanged(async () => {
  const ours = (w) => !/^environment variable/.test(w.source); // whoever runs the tests may have set some
  const { status, json } = await check({ set: { 'gateway.stall_timeout': '2m', 'gateway.retry_max': 4, 'discovery.mdns': true, 'discovery.lan': ['10.0.0.1'], workers: 3 } });
  assert.equal(status, 200);
  assert.deepEqual([json.good, json.complaints, json.warnings.filter(ours)], [true, [], []]);
  assert.equal(json.version, (await look()).version);
  const to = Object.fromEntries(json.changes.map((c) => [c.key, c]));
  assert.deepEqual(to['gateway.stall_timeout'], { key: 'gateway.stall_timeout', from: '5m', to: '2m', origin: 'console', restart: false });
  assert.deepEqual([to['gateway.retry_max'].to, to['discovery.mdns'].to, to['discovery.lan'].to, to.workers.restart], ['4', 'true', '["10.0.0.1"]', true]);
  assert.equal(json.changes.length, 5);
  const bad = (await check({ set: { 'gateway.stall_timeout': '2h', 'gateway.stal_timeout': '2m', 'gateway.deadline': '1m', 'gateway.park_max': 3, 'gateway.park_timeout': '1m', 'data_dir': '/' } })).json;
  assert.equal(bad.good, false);
  assert.deepEqual(bad.changes, []);
  const said = Object.fromEntries(bad.complaints.map((c) => [c.key, c]));
  assert.deepEqual(said['gateway.stall_timeout'], { key: 'gateway.stall_timeout', message: 'more than 1h, the most there may be',
    expected: 'a duration with its unit (ms, s, m, h, d) from 1s to 1h', least: '1s', most: '1h', source: 'console' });
  assert.match(said['gateway.stal_timeout'].message, /unknown setting; did you mean stall_timeout\?/);
  assert.match(said['gateway.deadline'].message, /is set by .*drover\.yaml, line \d+, which wins/);
  assert.match(said['gateway.park_max'].message, /variable DROVER_GATEWAY_PARK_MAX, which wins/);
  assert.match(said['gateway.park_timeout'].message, /a flag, --set gateway\.park_timeout, which wins/);
  assert.match(said.data_dir.message, /not for the console/);
}));

test('a change is in force at once, private on the disk, and in the audit log', async () => {
  const { status, json } = await patch({ set: { 'gateway.stall_timeout': '2m', 'telemetry.retain': '30d' } });
  assert.equal(status, 200);
  assert.deepEqual(json.changes.map((c) => [c.key, c.from, c.to]), [['gateway.stall_timeout', '5m', '2m'], ['telemetry.retain', '90d', '30d']]);
  const now = await look();
  assert.equal(now.version, json.version);
  assert.deepEqual([(await one('gateway.stall_timeout')).value, (await one('gateway.stall_timeout')).origin], ['2m', 'console']);
  assert.equal(statSync(layer).mode & 0o777, 0o600);
  assert.match(text(), /^# .*\ngateway:\n {2}stall_timeout: 2m\ntelemetry:\n {2}retain: 30d\n$/);
  const [act] = (await admin.ask('GET', 'audit?limit=1')).json.acts;
  assert.deepEqual([act.actor, act.action, act.object, act.detail], ['sam', 'settings.set', 'settings', 'gateway.stall_timeout: 5m -> 2m, telemetry.retain: 90d -> 30d']);
  assert.match(hub.log, /configuration reloaded/);
  const acts = async () => (await admin.ask('GET', 'audit?limit=500')).json.acts.length, n = await acts();
  assert.deepEqual((await patch({ set: { 'gateway.stall_timeout': '120s' } })).json.changes, [], 'as it is');
  assert.equal(await acts(), n);
  assert.equal((await patch({ unset: ['telemetry.retain'] })).json.changes[0].origin, 'default');
  assert.equal((await one('telemetry.retain')).value, '90d');
});

test('what is set holds where it is used: the level of the log', async () => {
  assert.equal((await patch({ set: { 'log.level': 'warn' } })).status, 200);
  assert.equal((await admin.ask('GET', 'log-level')).json.level, 'warn');
  assert.equal((await patch({ unset: ['log.level'] })).status, 200);
  assert.equal((await admin.ask('GET', 'log-level')).json.level, 'info');
});

test('of two who change at once the second is told to look again', async () => {
  const { version } = await look();
  const [a, b] = await Promise.all([patch({ set: { 'gateway.retry_max': 3 } }, { version }), patch({ set: { 'gateway.retry_max': 5 } }, { who: other, version })]);
  assert.deepEqual([a.status, b.status].sort(), [200, 412]);
  const lost = [a, b].find((r) => r.status === 412);
  assert.equal(lost.json.error.code, 'precondition_failed');
  assert.equal((await one('gateway.retry_max')).value, a.status === 200 ? '3' : '5');
  assert.equal((await patch({ set: { 'gateway.retry_max': 7 } }, { who: other, version })).status, 412);
  assert.equal((await patch({ unset: ['gateway.retry_max'] }, { who: other })).status, 200);
  // The file, too, is something that was seen.
  const seen = (await look()).version;
  hub.configure({ gateway: { deadline: '3m' } });
  assert.equal((await hub.cli('reload')).code, 0);
  assert.equal((await patch({ set: { 'gateway.retry_max': 7 } }, { version: seen })).status, 412);
  hub.configure();
  assert.equal((await hub.cli('reload')).code, 0);
});

test('nothing of a bad change is done', () => unchanged(async () => {
  const good = { 'gateway.retry_max': 6 }, { version } = await look();
  const many = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`limits.x${i}`, 1]));
  for (const [body, status, words] of [
    [{ set: { ...good, 'gateway.unheard': 1 } }, 400, /gateway\.unheard: unknown setting/],
    [{ set: { ...good, 'gateway.deadline': '1m' } }, 400, /drover\.yaml, line \d+, which wins/],
    [{ set: { ...good, 'gateway.park_max': 1 } }, 400, /DROVER_GATEWAY_PARK_MAX/],
    [{ set: { ...good, 'gateway.park_timeout': '1m' } }, 400, /a flag/],
    [{ set: { ...good, listen: '[]' } }, 400, /listen: is not for the console to set/],
    [{ set: { ...good, data_dir: '/etc' } }, 400, /data_dir: is not for the console/],
    [{ set: { ...good, 'endpoints[].url': 'http://x' } }, 400, /unknown setting/],
    [{ set: { ...good, 'telemetry.otlp.key_file': '/etc/shadow' } }, 400, /unknown setting/],
    [{ set: { ...good, 'telemetry.otlp.url': 'http://elsewhere' } }, 400, /not for the console/],
    [{ set: { ...good, 'gateway.stall_timeout': 'soon' } }, 400, /expected a duration/],
    [{ set: { ...good, 'gateway.stall_timeout': 5 } }, 400, /expected a duration/],
    [{ set: { ...good, 'gateway.stall_timeout': null } }, 400, /must be a text, a number/],
    [{ set: { ...good, 'gateway.stall_timeout': { a: 1 } } }, 400, /must be a text, a number/],
    [{ set: { ...good, 'discovery.lan': [['10.0.0.1']] } }, 400, /must be a text, a number/],
    [{ set: { ...good, 'discovery.lan': ['10.0.0.0/8'] } }, 400, /more than 1024 addresses/],
    [{ set: { ...good, 'discovery.mdns': 'yes' } }, 400, /expected true or false/],
    [{ set: { ...good, 'gateway.body_max': '2GiB' } }, 400, /more than 1GiB/],
    [{ set: { ...good, 'limits.head.field': '64KiB' } }, 400, /larger than limits\.head\.total/],
    [{ set: { ...good, 'telemetry.currency': 'x'.repeat(4000) } }, 400, /expected the three capitals/],
    [{ set: good, unset: ['gateway.retry_max'] }, 400, /is here twice/],
    [{ set: good, unset: ['gateway.retry_max', 'workers'] }, 400, /and 1 more/],
    [{ unset: ['workers'] }, 400, /is not set from the console/],
    [{ unset: [7] }, 400, /"unset\[0\]" must be the name/],
    [{ unset: 'workers' }, 400, /"unset" must be a list/],
    [{ set: [good] }, 400, /"set" must be an object/],
    [{ set: good, extra: 1 }, 400, /"extra" is no member/],
    [{}, 400, /nothing to change/],
    [{ set: {}, unset: [] }, 400, /nothing to change/],
    [[], 400, /must be an object/],
    [{ set: many }, 400, /64 members/],
    [{ unset: Object.keys(many) }, 400, /more than 64 settings/],
    [{ set: { 'telemetry.currency': 'x'.repeat(70000) } }, 413, /65536 bytes/],
  ]) {
    const { status: got, json } = await patch(body, { version });
    assert.equal(got, status, JSON.stringify(body).slice(0, 100));
    assert.match(json.error.message, words);
    if (/complaints/.test(Object.keys(json).join())) assert.ok(json.complaints.length > 0 && json.complaints.every((c) => c.message));
  }
  const raw = (bytes, headers = {}) => fetch(`${hub.url}/drover/v1/settings`, { method: 'PATCH', body: bytes,
    headers: { cookie: admin.cookie, 'drover-console': '1', 'content-type': 'application/json', 'if-match': `"${version}"`, ...headers } });
  assert.equal((await raw('{"set":{"gateway.retry_max":1,"gateway.retry_max":2}}')).status, 400);
  assert.equal((await raw('{"set":')).status, 400);
  assert.equal((await raw('')).status, 400);
  assert.equal((await raw('{"set":{"gateway.retry_max":1}}', { 'if-match': '*' })).status, 400);
  assert.equal((await raw('{"set":{"gateway.retry_max":1}}', { 'if-match': '' })).status, 400);
  assert.equal((await raw('{"set":{"gateway.retry_max":1}}', { 'content-type': 'text/plain' })).status, 415);
  assert.equal((await raw('{"set":{"gateway.retry_max":1}}', { origin: 'http://evil.example' })).status, 403);
  assert.equal((await patch({ set: good }, { version: version - 1 })).status, 412);
}));

test('who may not, does not', () => unchanged(async () => {
  const { version } = await look(), body = { set: { 'gateway.retry_max': 6 } };
  assert.equal((await patch(body, { who: operator, version })).status, 403);
  assert.equal((await operator.ask('POST', 'settings/check', body)).status, 403);
  const nobody = (method, route) => fetch(`${hub.url}/drover/v1/${route}`, { method, body: JSON.stringify(body),
    headers: { 'content-type': 'application/json', 'drover-console': '1', 'if-match': `"${version}"` } });
  assert.equal((await nobody('PATCH', 'settings')).status, 401);
  assert.equal((await nobody('POST', 'settings/check')).status, 401);
}));

test('in Live a change takes the permission key, a check does not', async () => {
  assert.equal((await admin.ask('PUT', 'mode/key', { permission_key: PERMISSION })).status, 200);
  assert.equal((await admin.ask('PUT', 'mode', { mode: 'live' })).status, 200);
  const body = { set: { 'gateway.retry_max': 6 } };
  await unchanged(async () => {
    assert.equal((await patch(body)).json.error.code, 'locked');
    assert.equal((await patch(body, { headers: { 'drover-permission-key': 'another one' } })).json.error.code, 'locked');
    assert.equal((await check(body)).json.good, true);
  });
  assert.equal((await patch(body, { headers: { 'drover-permission-key': PERMISSION } })).status, 200);
  assert.equal((await one('gateway.retry_max')).value, '6');
  assert.equal((await patch({ unset: ['gateway.retry_max'] }, { headers: { 'drover-permission-key': PERMISSION } })).status, 200);
  assert.equal((await admin.ask('PUT', 'mode', { mode: 'dev', permission_key: PERMISSION })).status, 200);
});

test('a bad file is told, and nothing is written', async () => {
  await unchanged(async () => {
    hub.configure({ gateway: { body_max: 'much' } });
    const { status, json } = await patch({ set: { 'gateway.retry_max': 6 } });
    assert.equal(status, 400);
    assert.match(json.error.message, /drover\.yaml:\d+: gateway\.body_max: expected a size/);
    assert.equal((await check({ set: { 'gateway.retry_max': 6 } })).json.good, false);
  });
  hub.configure();
  assert.equal((await hub.cli('reload')).code, 0);
});

test('where nothing can be written nothing changes, and the answer says why', async () => {
  await unchanged(async () => {
    mkdirSync(`${layer}.new`);
    const { status, json } = await patch({ set: { 'gateway.retry_max': 6 } });
    rmdirSync(`${layer}.new`);
    assert.equal(status, 500);
    assert.match(json.error.message, /write .*settings\.yaml: File exists/);
  });
  const row = await until('the second row', async () => (await admin.ask('GET', 'audit?limit=1')).json.acts.find((a) => a.action === 'settings.refused'));
  assert.match(row.detail, /File exists/);
});

test('the command line sets, shows where it comes from, and takes back', async () => {
  const set = await hub.cli('config', 'set', 'gateway.stall_timeout', '3m');
  assert.deepEqual([set.code, set.stdout], [0, 'gateway.stall_timeout: 2m -> 3m\n']);
  assert.equal((await admin.ask('GET', 'audit?limit=1')).json.acts[0].peer, 'unix');
  assert.match((await hub.cli('config', 'show')).stdout, /\n {2}stall_timeout: 3m # console\n/);
  const shown = await hub.cliJson('config', 'show');
  assert.deepEqual([shown.gateway.stall_timeout, shown.origins['gateway.stall_timeout']], ['3m', 'console']);
  assert.match(shown.origins['gateway.deadline'], /^file, line \d+$/);
  assert.equal((await hub.cliJson('config', 'set', 'workers', '3')).changes[0].restart, true);
  assert.match((await hub.cli('config', 'unset', 'workers')).stdout, /^workers: 3 -> \d+ \(default\), after a restart\n$/);
  assert.equal((await hub.cli('config', 'set', 'discovery.lan', '10.0.0.1, 10.0.0.2')).code, 0);
  assert.equal((await one('discovery.lan')).value, '["10.0.0.1", "10.0.0.2"]');
  assert.equal((await hub.cli('config', 'set', 'discovery.lan', '[]')).code, 0);
  assert.equal((await hub.cli('config', 'unset', 'discovery.lan')).code, 0);
  const wrong = await hub.cli('config', 'set', 'gateway.stall_timeout', 'soon');
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /gateway\.stall_timeout: expected a duration.*\n +nothing was changed/);
  assert.match((await hub.cli('config', 'set', 'data_dir', '/x')).stderr, /not for the console to set/);
  assert.match((await hub.cli('config', 'set', 'gateway.deadline', '1m')).stderr, /drover\.yaml, line \d+, which wins/);
  for (const args of [['set', 'gateway.stall_timeout'], ['set'], ['unset'], ['unset', 'a', 'b'], ['show', 'x'], ['forget', 'x']])
    assert.equal((await hub.cli('config', ...args)).code, 2, args.join(' '));
  assert.equal((await hub.cli('config', 'unset', 'gateway.stall_timeout')).code, 0);
  assert.equal((await one('gateway.stall_timeout')).origin, 'default');
  for (const shell of ['bash', 'zsh', 'fish']) assert.match((await hub.cli('completion', shell)).stdout, /check show set unset/);
});

test('without a daemon set says so; a damaged file stops the start with its line; a killed one starts with the old or the new', async () => {
  const place = home(await freePort(), { log: { level: 'info' } }), file = path.join(place.dir, 'data', 'settings.yaml');
  const cli = (...args) => command(DROVER, [...args, '--config', place.file]);
  const ready = async (child) => until('an answer', async () => { assert.equal(child.result, undefined, child.log); return (await fetch(`${place.url}/healthz`)).ok; });
  const end = async (child, signal) => { child.kill(signal); await child.ended; };
  try {
    const alone = await cli('config', 'set', 'gateway.retry_max', '5');
    assert.equal(alone.code, 3);
    assert.match(alone.stderr, /no daemon answers/);
    let child = serve(place);
    await ready(child);
    let now = 2;
    for (let i = 0; i < 12; i++) { // killed somewhere between the audit row, the file and the reload
      const next = 3 + (i % 7), done = cli('config', 'set', 'gateway.retry_max', String(next));
      await sleep(20 + i * 4);
      await end(child, 'SIGKILL');
      const told = (await done).code === 0;
      assert.equal((await cli('config', 'check')).code, 0);
      child = serve(place);
      await ready(child);
      const { gateway } = JSON.parse((await cli('config', 'show', '--json')).stdout);
      assert.ok(gateway.retry_max === next || (!told && gateway.retry_max === now), `${gateway.retry_max}: was ${now}, set to ${next}, told ${told}`);
      now = gateway.retry_max;
    }
    await end(child, 'SIGTERM');
    // Between the file and the reload there is nothing but a whole file; what was begun beside it is nobody's.
    writeFileSync(file, 'gateway: {retry_max: 4}\n', { mode: 0o600 });
    writeFileSync(`${file}.new`, 'gateway: {retry_m', { mode: 0o600 });
    child = serve(place);
    await ready(child);
    assert.equal(JSON.parse((await cli('config', 'show', '--json')).stdout).gateway.retry_max, 4);
    assert.equal((await cli('config', 'set', 'gateway.retry_max', '5')).code, 0);
    assert.equal(existsSync(`${file}.new`), false);
    await end(child, 'SIGTERM');
    writeFileSync(file, '# by hand\ngateway:\n  retry_max: many\n');
    child = serve(place);
    assert.notEqual((await child.ended).code, 0);
    assert.match(child.log, /settings\.yaml:3:\d+: gateway\.retry_max: expected a whole number/);
    assert.equal((await cli('config', 'check')).code, 1);
  } finally {
    place.remove();
  }
});
