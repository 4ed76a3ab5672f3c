// Nodes of a hub: invitations, enrolment and renewal as a machine does them, what the operator decides, and what each route of the admin
// API makes of wrong requests. The links themselves are tested elsewhere.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import http from 'node:http';
import { DatabaseSync } from 'node:sqlite';
import path from 'node:path';
import { startFake } from './fakes/index.js';
import { addPeople, person } from './lib/browser.js';
import { home, serve } from './lib/daemon.js';
import { command, DROVER, freePort, startDrover, until } from './lib/drover.js';
import { call, enrol as enrolAt, linkOf, machine as aMachine, tokenOf } from './lib/machine.js';

let drover, link, sam, olga, vera;

before(async () => {
  drover = await startDrover({ config: { hub: { name: 'home', heartbeat: '5s' } }, listen: [{ address: '127.0.0.1:0', tls: 'ca', client_cert: 'optional', roles: ['link'] }],
    prepare: (dir) => addPeople(dir, { sam: 'admin', olga: 'operator', vera: 'viewer' }) });
  link = await linkOf(drover);
  [sam, olga, vera] = await Promise.all(['sam', 'olga', 'vera'].map((name) => person(drover, name)));
});
after(() => drover?.stop());

const machine = () => aMachine(drover.dir);
const ask = (method, route, body, options) => call(link, method, route, body, options);
const enrol = (m, more, options) => enrolAt(link, m, more, options);
const invite = async (body = {}) => {
  const { status, json } = await sam.ask('POST', 'invites', body);
  assert.equal(status, 201, JSON.stringify(json));
  return json;
};
const node = async (id) => (await sam.ask('GET', `nodes/${id}`)).json;
const history = async (id) => (await sam.ask('GET', `nodes/${id}/history`)).json.events.map((e) => e.what);

/** A machine that has become a node by an invitation. */
async function member(body) {
  const m = machine(), { status, json } = await enrol(m, { token: tokenOf((await invite(body)).line) });
  assert.equal(status, 200, JSON.stringify(json));
  return { ...m, ...json };
}

test('an invitation makes one machine a node, once', async () => {
  const made = await invite({ name: 'attic', ttl: '10m' }), m = machine();
  assert.match(made.line, /^drover:\/\/join\/1\/[\w-]+$/);
  assert.ok(Math.abs(made.expires_ms - made.created_ms - 600_000) < 1000);
  const open = (await sam.ask('GET', 'invites')).json.invites.find((i) => i.id === made.id);
  assert.deepEqual([open.name, open.used, open.line, open.fingerprint], ['attic', false, undefined, undefined], 'the line is told once');

  const { status, json, headers } = await enrol(m, { name: 'calls-itself-so', token: tokenOf(made.line), later: { members: ['are', 'ignored'] } });
  assert.equal(status, 200);
  assert.deepEqual([json.state, json.fleet, json.name, json.trust_sequence, json.renew_grace_s], ['approved', 'home', 'attic', 1, 30 * 86400]);
  assert.match(json.node_id, /^attic-[0-9a-z]{6}$/);
  assert.match(json.token, /^drst_[0-9a-f]{64}$/);
  assert.deepEqual(json.urls, [link]);
  assert.equal(headers['cache-control'], 'no-store');
  const [leaf, root] = json.chain.match(/-----BEGIN[^]*?-----END CERTIFICATE-----/g).map((c) => new X509Certificate(c));
  assert.ok(leaf.verify(root.publicKey));
  assert.match(leaf.subjectAltName, new RegExp(`drover://home/node/${json.node_id}`));
  assert.deepEqual(leaf.keyUsage, ['1.3.6.1.5.5.7.3.2'], 'of a client alone: no node can stand in for the hub');
  assert.equal(new X509Certificate(json.trust).fingerprint256, root.fingerprint256);

  const now = await node('attic');
  assert.deepEqual([now.id, now.state, now.linked, now.mode, now.fingerprint, now.decided_by], [json.node_id, 'approved', false, 'reverse', m.fingerprint, 'invite']);
  assert.deepEqual([now.told.hostname, now.told.arch, now.told.address.split(':')[0]], ['attic.lan', 'x86_64', '127.0.0.1']);
  await until('its history', async () => (await history('attic')).join() === 'joined');
  const used = (await sam.ask('GET', 'invites')).json.invites.find((i) => i.id === made.id);
  assert.deepEqual([used.used, used.fingerprint], [true, m.fingerprint]);

  const again = await enrol(m, { token: tokenOf(made.line) });
  assert.deepEqual([again.status, again.json.node_id], [200, json.node_id], 'an answer that got lost can be asked for again');
  assert.notEqual(again.json.token, json.token);
  assert.equal((await sam.ask('GET', 'nodes')).json.nodes.filter((n) => n.fingerprint === m.fingerprint).length, 1);
});

test('a token that is used, unknown or void is refused in the same words', async () => {
  const made = await invite(), gone = await invite();
  assert.equal((await enrol(machine(), { token: tokenOf(made.line) })).status, 200);
  assert.equal((await sam.ask('DELETE', `invites/${gone.id}`)).status, 200);
  assert.equal((await sam.ask('DELETE', `invites/${gone.id}`)).status, 404);
  const answers = [];
  for (const token of [tokenOf(made.line), `drjt_${'0'.repeat(64)}`, tokenOf(gone.line)]) answers.push(await enrol(machine(), { token }));
  assert.deepEqual(answers.map((a) => a.status), [401, 401, 401]);
  assert.equal(new Set(answers.map((a) => a.text)).size, 1);
  assert.equal(answers[0].json.error.code, 'unauthenticated');
  const why = (await sam.ask('GET', 'audit?limit=20')).json.acts.filter((a) => a.action === 'node.enrol_refused').map((a) => a.detail);
  assert.deepEqual(new Set(why), new Set(['token used by another key', 'unknown token']), 'the audit log knows the difference');
});

test('who tries tokens on and on is slowed down, and does not fill the audit log', async () => {
  const plain = await startDrover({ config: { hub: { name: 'home' } }, listen: [{ address: '127.0.0.1:0', tls: 'ca', client_cert: 'optional', roles: ['link'] }] });
  try {
    const at = await linkOf(plain), m = machine(), seen = [];
    for (let i = 0; i < 30; i++) seen.push(await enrolAt(at, m, { token: `drjt_${String(i).padStart(64, '0')}` }));
    assert.deepEqual([...new Set(seen.map((a) => a.status))], [401, 429]);
    const last = seen.at(-1);
    assert.deepEqual([last.json.error.code, Number(last.headers['retry-after']) > 0], ['rate_limited', true]);
    const rows = (await plain.cliJson('audit', 'list')).acts.filter((a) => a.action === 'node.enrol_refused').length;
    assert.equal(rows, seen.filter((a) => a.status === 401).length);
    assert.equal((await enrolAt(at, m, { token: tokenOf((await plain.cliJson('hub', 'invite')).line) })).status, 200, 'a good one is heard');
  } finally {
    await plain.stop();
  }
});

test('two machines with one token: one of them gets in', async () => {
  const token = tokenOf((await invite()).line), both = await Promise.all([enrol(machine(), { token }), enrol(machine(), { token })]);
  assert.deepEqual(both.map((b) => b.status).sort(), [200, 401]);
});

test('without a token a machine waits for a yes', async () => {
  const m = machine(), first = await enrol(m, { name: 'cellar' });
  assert.equal(first.status, 202);
  assert.deepEqual(first.json, { state: 'waiting', fingerprint: `sha256:${m.fingerprint}`, retry_s: 5 });
  assert.equal(first.headers['retry-after'], '5');
  assert.deepEqual((await enrol(m, { name: 'cellar' })).json, first.json, 'asking again makes no second one');
  const waiting = await node('cellar');
  assert.deepEqual([waiting.state, waiting.fingerprint], ['waiting', m.fingerprint]);
  const found = (await vera.ask('GET', 'nodes/cellar/doctor')).json.findings;
  assert.deepEqual(found.map((f) => [f.code, f.severity, f.node]), [['node_waiting', 'warning', 'cellar']]);
  assert.match(found[0].cure, new RegExp(m.fingerprint));
  for (const who of [olga, vera]) assert.equal((await who.ask('POST', 'nodes/cellar/approve')).status, 403);
  const let_in = await sam.ask('POST', 'nodes/cellar/approve');
  assert.deepEqual([let_in.status, let_in.json.state, let_in.json.decided_by], [200, 'approved', 'sam']);
  assert.equal((await sam.ask('POST', 'nodes/cellar/approve')).status, 409);
  const now = await enrol(m, { name: 'cellar' });
  assert.deepEqual([now.status, now.json.node_id, now.json.name], [200, waiting.id, 'cellar']);
  await until('its history', async () => (await history('cellar')).join() === 'joined,approved,waiting');
});

test('a machine that waits may come back with an invitation, and one that was refused may not', async () => {
  const m = machine();
  assert.equal((await enrol(m, { name: 'barn' })).status, 202);
  const taken = await enrol(m, { name: 'barn', token: tokenOf((await invite()).line) });
  assert.deepEqual([taken.status, taken.json.name], [200, 'barn']);
  assert.equal((await sam.ask('GET', 'nodes')).json.nodes.filter((n) => n.fingerprint === m.fingerprint).length, 1);

  const other = machine();
  assert.equal((await enrol(other, { name: 'stranger' })).status, 202);
  assert.equal((await sam.ask('POST', 'nodes/stranger/refuse')).json.state, 'refused');
  const refused = await enrol(other, { name: 'stranger' });
  assert.deepEqual([refused.status, refused.json.error.code], [403, 'denied']);
  const id = (await sam.ask('GET', 'nodes')).json.nodes.find((n) => n.fingerprint === other.fingerprint).id;
  assert.equal((await sam.ask('DELETE', `nodes/${id}`)).status, 200);
  assert.equal((await enrol(other, { name: 'stranger' })).status, 202, 'forgotten, it may ask again');
  assert.equal((await sam.ask('DELETE', 'nodes/stranger')).status, 200);
});

test('a certificate is renewed with the one before and the token; the old token stays good until the next time', async () => {
  const m = await member({ name: 'loft' }), next = machine(), third = machine();
  const renew = (csr, { token = m.token, key = m.key, cert = m.chain, id = m.node_id } = {}) =>
    ask('POST', '/drover/v1/enrol/renew', { csr }, { headers: { authorization: `Bearer ${token}`, 'drover-node': id }, ...(key && { key, cert }) });
  assert.equal((await renew(next.csr, { key: null })).status, 401, 'while the certificate is good it has to be there');
  assert.equal((await renew(next.csr, { token: `drst_${'0'.repeat(64)}` })).status, 401);
  assert.equal((await renew(next.csr, { id: 'nobody' })).status, 401);
  assert.equal((await renew(m.csr)).status, 409, 'a new certificate takes a new key');
  const forged = await ask('POST', '/drover/v1/enrol/renew', { csr: next.csr },
    { headers: { authorization: `Bearer ${m.token}`, 'drover-node': m.node_id, 'drover-spki': m.fingerprint } });
  assert.equal(forged.status, 401, 'whose certificate it is, is not for the client to say');

  const now = await renew(next.csr);
  assert.equal(now.status, 200, now.text);
  assert.notEqual(now.json.token, m.token);
  assert.equal((await node('loft')).fingerprint, next.fingerprint);
  const late = await renew(third.csr, { key: next.key, cert: now.json.chain });
  assert.equal(late.status, 200, 'with the token before');
  assert.equal((await renew(machine().csr, { key: next.key, cert: now.json.chain })).status, 401, 'but not a second time');
  await until('its history', async () => (await history('loft')).join() === 'renewed,renewed,joined');
});

test('a renewal whose answer is lost can be asked for again and again', async () => {
  const m = await member({ name: 'cabin' });
  const renew = (who) => ask('POST', '/drover/v1/enrol/renew', { csr: machine().csr }, { headers: { authorization: `Bearer ${who.token}`, 'drover-node': m.node_id }, key: who.key, cert: who.chain });
  for (let i = 0; i < 4; i++) assert.equal((await renew(m)).status, 200, `time ${i + 1}: the answers before came nowhere`);
});

test('who is put out stays out', async () => {
  const m = await member({ name: 'shed' });
  for (const who of [olga, vera]) assert.equal((await who.ask('POST', 'nodes/shed/revoke')).status, 403);
  assert.equal((await sam.ask('POST', 'nodes/shed/revoke')).json.state, 'revoked');
  const renewed = await ask('POST', '/drover/v1/enrol/renew', { csr: machine().csr },
    { headers: { authorization: `Bearer ${m.token}`, 'drover-node': m.node_id }, key: m.key, cert: m.chain });
  assert.equal(renewed.status, 401);
  assert.equal((await enrol(m)).status, 403);
  assert.equal((await node('shed')).state, 'revoked', 'it is still found by its name');
  const heir = await member({ name: 'shed' });
  assert.deepEqual([heir.name, (await node('shed')).id, (await node(m.node_id)).state], ['shed', heir.node_id, 'revoked'], 'until another has it');
});

test('names, labels, draining', async () => {
  const m = await member({ name: 'porch' });
  const labels = { 'gpu/vendor': 'nvidia', site: 'Straße "7"' };
  const both = await sam.ask('PUT', 'nodes/porch', { name: 'veranda', labels });
  assert.deepEqual([both.status, both.json.name, both.json.labels, both.json.id], [200, 'veranda', labels, m.node_id]);
  assert.equal((await sam.ask('PUT', 'nodes/veranda', { name: 'attic' })).status, 409);
  assert.equal((await olga.ask('PUT', 'nodes/veranda', { labels: {} })).status, 403);
  assert.equal((await vera.ask('POST', 'nodes/veranda/drain')).status, 403);
  assert.equal((await olga.ask('POST', 'nodes/veranda/drain')).json.drained, true);
  assert.equal((await olga.ask('POST', `nodes/${m.node_id}/resume`, {})).json.drained, false);
  await until('its history', async () => (await history('veranda')).join() === 'resumed,draining,labelled,renamed,joined');
  const cli = async (...verb) => (await drover.cli('node', ...verb));
  assert.equal((await cli('label', 'veranda', 'site-', 'rack=4')).code, 0);
  assert.deepEqual((await node('veranda')).labels, { 'gpu/vendor': 'nvidia', rack: '4' });
  assert.equal((await cli('rename', 'veranda', 'porch')).code, 0);
  assert.equal((await cli('drain', 'porch')).code, 0);
  assert.match((await cli('ls')).stdout, /^porch +drained/m);
  assert.match((await cli('show', 'porch')).stdout, new RegExp(`fingerprint +sha256:${m.fingerprint}`));
  assert.match((await cli('history', 'porch')).stdout, /labelled/);
  assert.deepEqual([(await cli('rm', 'porch')).code, (await node('porch')).name], [4, 'porch'], 'without a terminal it takes --yes');
  assert.equal((await cli('rm', 'porch', '--yes')).code, 0);
  assert.equal((await cli('show', 'porch')).code, 5);
  assert.equal((await cli('label', 'attic', 'nonsense')).code, 2);
  assert.equal((await cli('fly', 'attic')).code, 2);
});

test('drover hub invite prints the one line', async () => {
  const { code, stdout, stderr } = await drover.cli('hub', 'invite', '--name', 'tower', '--ttl', '2h');
  assert.equal(code, 0, stderr);
  const line = /^drover join '(drover:\/\/join\/1\/[\w-]+)'\n$/.exec(stdout)[1];
  assert.match(stderr, /one machine, until 2\d{3}-/);
  const { status, json } = await enrol(machine(), { token: tokenOf(line) });
  assert.deepEqual([status, json.name], [200, 'tower']);
  assert.match((await drover.cli('hub', 'status')).stdout, /^fleet home\n +nodes +\d+, 0 of them linked/);
  const made = await drover.cliJson('hub', 'invite');
  assert.match((await drover.cli('hub', 'invites')).stdout, new RegExp(`${made.id} +open`));
  assert.equal((await drover.cli('hub', 'void', made.id)).code, 0);
  assert.equal((await drover.cli('hub', 'invite', '--ttl', '1s')).code, 1);
});

test('the doctor tells what is not as it should be', async () => {
  await invite();
  const { status, json } = await vera.ask('GET', 'doctor');
  assert.equal(status, 200);
  const here = json.findings.find((f) => f.code === 'link_on_loopback');
  assert.deepEqual([here.severity, here.node], ['warning', '']);
  for (const f of json.findings) assert.ok(f.what && f.where && f.cure && ['error', 'warning', 'info'].includes(f.severity), JSON.stringify(f));
  assert.doesNotMatch(JSON.stringify(json), /drst_|drjt_|BEGIN/);
  const { code, stdout } = await drover.cli('doctor');
  assert.deepEqual([code, /cure: let the listener/.test(stdout)], [json.findings.some((f) => f.severity === 'error') ? 1 : 0, true]);
  assert.equal((await drover.cli('node', 'doctor', 'attic')).code, 0);
});

test('a real node is renamed, drained, judged and put out while it is linked', async () => {
  const fake = await startFake('openai', { models: ['coder'] });
  fake.name = 'box';
  const it = await startDrover({ endpoints: [fake], models: ['coder'] });
  try {
    const before = await member({ name: 'mill' });
    assert.equal((await sam.ask('POST', 'nodes/mill/revoke')).status, 200);
    assert.equal((await it.cli('join', (await invite({ name: 'mill' })).line)).code, 0);
    const ask = () => drover.post('/v1/chat/completions', { model: 'coder', messages: [{ role: 'user', content: 'hi' }] });
    await until('its model', async () => (await ask()).status === 200);
    const place = async (name) => (await vera.ask('GET', 'endpoints')).json.endpoints.find((e) => e.name === name);
    assert.deepEqual([(await place('mill')).url, (await place('mill')).kind, (await place('mill')).state], [`link:${(await node('mill')).id}`, 'drover', 'up']);
    assert.equal((await sam.ask('DELETE', `nodes/${before.node_id}`)).status, 200);
    assert.equal((await place('mill'))?.state, 'up', 'the one that had the name before takes nothing along');
    const { link: facts, models, health } = await node('mill');
    assert.deepEqual([models, health, facts.lanes], [1, 'up', 1]);
    assert.ok(facts.up_ms > 0 && Math.abs(facts.clock_off_ms) < 5000 && typeof facts.post_quantum === 'boolean', JSON.stringify(facts));

    assert.equal((await sam.ask('PUT', 'nodes/mill', { name: 'wheel' })).status, 200);
    await until('the place under its new name', async () => (await place('wheel'))?.state === 'up' && !(await place('mill')));
    assert.equal((await ask()).status, 200);
    assert.equal((await olga.ask('POST', 'nodes/wheel/drain')).status, 200);
    await until('no more work', async () => (await ask()).status !== 200);
    assert.match((await place('wheel')).reason, /drain/);
    assert.equal((await olga.ask('POST', 'nodes/wheel/resume')).status, 200);
    await until('work again', async () => (await ask()).status === 200);

    const codes = async () => (await sam.ask('GET', 'nodes/wheel/doctor')).json.findings.filter((f) => f.severity !== 'info').map((f) => f.code);
    assert.deepEqual(await codes(), []);
    it.process.kill('SIGSTOP');
    await until('it to be missed', async () => (await codes()).includes('heartbeats_missing') || (await codes()).includes('link_down'), 40000, 500);
    it.process.kill('SIGCONT');
    await until('it to be well again', async () => (await codes()).length === 0, 40000, 500);
    const began = performance.now();
    assert.equal((await sam.ask('POST', 'nodes/wheel/revoke')).status, 200);
    await until('its place to go', async () => !(await place('wheel')), 1000);
    assert.ok(performance.now() - began < 1000, 'within a second');
    await until('the machine itself to know', async () => (await it.cliJson('doctor').catch((e) => JSON.parse(/\{.*\}/.exec(e.message)[0]))).findings
      .some((f) => ['hub_away', 'join_denied'].includes(f.code) && f.severity === 'error'));
    assert.equal((await it.cli('doctor')).code, 1);
  } finally {
    await it.stop();
    await fake.close();
  }
});

test('what happens to nodes is told to pages that follow', async () => {
  const ws = new WebSocket(`${drover.url.replace('http', 'ws')}/drover/v1/events`, { headers: { cookie: sam.cookie, origin: drover.url } });
  const seen = [];
  ws.addEventListener('message', (m) => { const { event } = JSON.parse(m.data); if (event?.topic === 'node') seen.push(event.data); });
  await new Promise((go, fail) => { ws.addEventListener('open', go); ws.addEventListener('error', fail); });
  ws.send(JSON.stringify({ subscribe: ['events'] }));
  const m = await member({ name: 'gate' });
  await until('the event', () => seen.some((e) => e.what === 'joined' && e.node === m.node_id && e.name === 'gate'));
  ws.close();
});

test('a machine that says odd things is told what is wrong, and pages are not heard', async () => {
  const m = machine(), long = (n) => 'x'.repeat(n);
  const ed25519 = execFileSync('openssl', ['req', '-new', '-newkey', 'ed25519', '-nodes', '-keyout', '/dev/null', '-subj', '/'], { encoding: 'utf8', stdio: 'pipe' });
  const bad = [[], null, 'x', '{"v":1', '{"v":1,"v":1}', { csr: m.csr }, { v: 2, csr: m.csr }, { v: '1', csr: m.csr }, { v: 1 }, { v: 1, csr: 7 }, { v: 1, csr: '' },
    { v: 1, csr: 'x' }, { v: 1, csr: `${m.csr}\u0000` }, { v: 1, csr: long(16385) }, { v: 1, csr: m.csr.replace(/[A-Z]{4}/, 'AAAA') }];
  for (const [member, value] of [['name', long(65)], ['name', '../x'], ['name', 'a b'], ['name', 7], ['token', long(129)], ['token', {}], ['version', long(65)],
    ['hostname', 'a\u001bb'], ['os', ['linux']], ['arch', long(65)], ['mode', 'sideways'], ['mode', 'direct'], ['url', long(256)]]) bad.push({ v: 1, csr: m.csr, [member]: value });
  bad.push({ v: 1, csr: m.csr, mode: 'direct', url: 'http://192.0.2.1' });
  for (const body of bad) {
    const { status, json } = await ask('POST', '/drover/v1/enrol', body);
    assert.deepEqual([status, json?.error?.code], [400, 'bad_request'], JSON.stringify(body)?.slice(0, 200));
  }
  assert.equal((await ask('POST', '/drover/v1/enrol', { v: 1, csr: m.csr, more: long(33000) })).status, 413);
  assert.ok([200, 202, 400].includes((await ask('POST', '/drover/v1/enrol', { v: 1, csr: ed25519, name: 'odd' })).status));
  assert.equal((await enrol(m, {}, { headers: { origin: link } })).status, 403);
  assert.equal((await enrol(m, {}, { headers: { 'sec-fetch-site': 'same-origin' } })).status, 403);
  assert.equal((await ask('GET', '/drover/v1/enrol')).status, 405);
  for (const body of [[], {}, { csr: 7 }, { csr: 'x' }])
    assert.ok([400, 401].includes((await ask('POST', '/drover/v1/enrol/renew', body)).status), JSON.stringify(body));
  assert.notEqual((await ask('GET', '/drover/v1/nodes')).status, 200, 'the admin API is not on the listener for nodes');
});

test('wrong requests of people', async () => {
  const wrong = [
    ['POST', 'invites', []], ['POST', 'invites', { name: 7 }], ['POST', 'invites', { name: '' }], ['POST', 'invites', { name: 'a/b' }], ['POST', 'invites', { ttl: 60 }],
    ['POST', 'invites', { ttl: '31d' }], ['POST', 'invites', { ttl: '59s' }], ['POST', 'invites', { ttl: 'soon' }], ['POST', 'invites', { more: 1 }],
    ['PUT', 'nodes/attic', {}], ['PUT', 'nodes/attic', []], ['PUT', 'nodes/attic', { name: null }], ['PUT', 'nodes/attic', { name: 'x'.repeat(65) }],
    ['PUT', 'nodes/attic', { state: 'approved' }], ['PUT', 'nodes/attic', { labels: [] }], ['PUT', 'nodes/attic', { labels: { a: 1 } }],
    ['PUT', 'nodes/attic', { labels: { '': 'x' } }], ['PUT', 'nodes/attic', { labels: { 'a b': 'x' } }], ['PUT', 'nodes/attic', { labels: { a: 'x'.repeat(256) } }],
    ['PUT', 'nodes/attic', { labels: { a: 'x\ny' } }], ['PUT', 'nodes/attic', { labels: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, 'v'])) }],
    ['PUT', 'nodes/attic', { labels: Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`k${i}`, 'v'.repeat(250)])) }],
    ['POST', 'nodes/attic/drain', { reason: 'x' }], ['POST', 'nodes/attic/drain', []],
  ];
  for (const [method, route, body] of wrong) {
    const { status, json } = await sam.ask(method, route, body);
    assert.deepEqual([status, json.error?.code], [400, 'bad_request'], `${method} ${route} ${JSON.stringify(body).slice(0, 80)}`);
  }
  assert.equal((await sam.ask('PUT', 'nodes/attic', { labels: { a: 'x'.repeat(20000) } })).status, 413);
  for (const [method, route] of [['GET', 'nodes/nobody'], ['GET', 'nodes/nobody/history'], ['GET', 'nodes/nobody/doctor'], ['PUT', 'nodes/nobody'], ['DELETE', 'nodes/nobody'],
    ['POST', 'nodes/nobody/approve'], ['POST', 'nodes/nobody/refuse'], ['POST', 'nodes/nobody/revoke'], ['POST', 'nodes/nobody/drain'], ['POST', 'nodes/nobody/resume'],
    ['DELETE', 'invites/nobody'], ['GET', `nodes/${'x'.repeat(3000)}`]])
    assert.equal((await sam.ask(method, route, method === 'PUT' ? { name: 'x' } : undefined)).status, 404, `${method} ${route}`);
  assert.equal((await sam.ask('POST', 'nodes/attic/fly')).status, 404);
  assert.equal((await sam.ask('DELETE', 'nodes')).status, 405);
});

test('each route asks for its role', async () => {
  const stranger = { ask: async (method, route, body) => drover.get(`/drover/v1/${route}`, { method, headers: { 'drover-console': '1', ...(body && { 'content-type': 'application/json' }) }, body: body && JSON.stringify(body) }) };
  const least = { viewer: [['GET', 'hub'], ['GET', 'nodes'], ['GET', 'nodes/attic'], ['GET', 'nodes/attic/history'], ['GET', 'nodes/attic/doctor'], ['GET', 'doctor']],
    operator: [['POST', 'nodes/attic/drain'], ['POST', 'nodes/attic/resume']],
    admin: [['GET', 'invites'], ['POST', 'invites', {}], ['DELETE', 'invites/x'], ['PUT', 'nodes/attic', { name: 'attic' }], ['POST', 'nodes/attic/approve'], ['POST', 'nodes/attic/refuse'], ['POST', 'nodes/x/revoke'], ['DELETE', 'nodes/x']] };
  const rank = { viewer: 0, operator: 1, admin: 2 };
  for (const [role, routes] of Object.entries(least))
    for (const [method, route, body] of routes) {
      assert.equal((await stranger.ask(method, route, body)).status, 401, `${method} ${route} by nobody`);
      for (const [name, who] of [['viewer', vera], ['operator', olga], ['admin', sam]]) {
        const { status } = await who.ask(method, route, body);
        if (rank[name] < rank[role]) assert.equal(status, 403, `${method} ${route} by ${name}`);
        else assert.ok(![401, 403].includes(status), `${method} ${route} by ${name}: ${status}`);
      }
    }
});

test('in Live what lets in or puts out takes the permission key, and a node can still be drained', async () => {
  const key = 'the key of the fleet';
  const m = await member({ name: 'silo' });
  const other = machine();
  assert.equal((await enrol(other, { name: 'byre' })).status, 202);
  assert.equal((await sam.ask('PUT', 'mode/key', { permission_key: key })).status, 200);
  assert.equal((await sam.ask('PUT', 'mode', { mode: 'live' })).status, 200);
  try {
    for (const [method, route, body] of [['POST', 'invites', {}], ['POST', 'nodes/byre/approve'], ['POST', 'nodes/byre/refuse'], ['POST', 'nodes/silo/revoke'], ['DELETE', 'nodes/silo']]) {
      const { status, json } = await sam.ask(method, route, body);
      assert.deepEqual([status, json.error.code], [403, 'locked'], `${method} ${route}`);
    }
    assert.equal((await olga.ask('POST', 'nodes/silo/drain')).status, 200);
    assert.equal((await olga.ask('POST', 'nodes/silo/resume')).status, 200);
    assert.equal((await sam.ask('POST', 'nodes/byre/refuse', undefined, { 'drover-permission-key': key })).status, 200);
    const next = machine();
    const renewed = await ask('POST', '/drover/v1/enrol/renew', { csr: next.csr },
      { headers: { authorization: `Bearer ${m.token}`, 'drover-node': m.node_id }, key: m.key, cert: m.chain });
    assert.equal(renewed.status, 200, 'machines do their own');
  } finally {
    assert.equal((await drover.cli('mode', 'dev')).code, 0);
  }
});

test('nodes and invitations outlive the process; an invitation that has ended opens nothing, in the same words as an unknown one', async () => {
  const place = home(await freePort(), { hub: { name: 'home' } });
  const config = { listen: [{ address: `127.0.0.1:${place.port}`, auth: 'none' }, { address: `127.0.0.1:${await freePort()}`, tls: 'ca', client_cert: 'optional', roles: ['link'] }] };
  place.write(config);
  const cli = async (...verb) => {
    const { code, stdout, stderr } = await command(DROVER, [...verb, '--config', place.file, '--json']);
    assert.equal(code, 0, stderr);
    return JSON.parse(stdout);
  };
  const up = async () => {
    const process = serve(place);
    await until('it to answer', async () => (await fetch(`${place.url}/healthz`)).status === 200);
    return { process, down: async () => { process.kill('SIGTERM'); assert.equal((await process.ended).code, 0, process.log); } };
  };
  try {
    let hub = await up();
    const at = `https://${config.listen[1].address}`, late = await cli('hub', 'invite'), good = await cli('hub', 'invite', '--name', 'attic'), m = machine();
    assert.equal((await enrolAt(at, m, { name: 'cellar' })).status, 202);
    await cli('node', 'approve', 'cellar');
    await cli('node', 'label', 'cellar', 'site=home');
    const was = await cli('node', 'drain', 'cellar');
    await hub.down();
    const db = new DatabaseSync(path.join(place.dir, 'data/drover.db'));
    db.prepare('UPDATE invite SET expires_ms = ? WHERE id = ?').run(Date.now() - 1000, late.id);
    db.close();

    hub = await up();
    const now = await cli('node', 'show', 'cellar');
    for (const member of ['id', 'state', 'drained', 'labels', 'fingerprint', 'decided_ms', 'decided_by', 'told']) assert.deepEqual(now[member], was[member], member);
    const answers = [];
    for (const token of [tokenOf(late.line), `drjt_${'0'.repeat(64)}`]) answers.push(await enrolAt(at, machine(), { token }));
    assert.deepEqual(answers.map((a) => a.status), [401, 401]);
    assert.equal(answers[0].text, answers[1].text);
    assert.equal((await enrolAt(at, machine(), { token: tokenOf(good.line) })).json.name, 'attic');
    assert.equal((await enrolAt(at, m, { name: 'cellar' })).status, 200);
    await hub.down();
  } finally {
    place.remove();
  }
});

test('where hub.name is not set there are no nodes, and it is said how there could be', async () => {
  const plain = await startDrover();
  try {
    const { code, stderr } = await plain.cli('node', 'ls');
    assert.deepEqual([code, /hub\.name/.test(stderr)], [5, true]);
    for (const [method, route] of [['GET', 'hub'], ['GET', 'nodes'], ['GET', 'invites'], ['POST', 'invites'], ['POST', 'enrol'], ['POST', 'enrol/renew']]) {
      const status = await new Promise((go, fail) => {
        const request = http.request({ socketPath: path.join(plain.dir, 'run/drover.sock'), path: `/drover/v1/${route}`, method }, (r) => { r.resume(); go(r.statusCode); });
        request.on('error', fail).end();
      });
      assert.equal(status, 404, route);
    }
    assert.equal((await plain.cli('doctor')).code, 0);
  } finally {
    await plain.stop();
  }
});
