// The fleet's root is replaced while the fleet works: planned, with nodes that are away, given up, in an emergency, and over crashes at every
// stage. Hub and nodes are real daemons; what the nodes serve comes from a fake runtime.
import test, { afterEach } from 'node:test';
import assert from 'node:assert/strict';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { X509Certificate } from 'node:crypto';
import { startFake } from './fakes/index.js';
import { addPeople, person } from './lib/browser.js';
import { serve } from './lib/daemon.js';
import { command, DROVER, freePort, startDrover, until } from './lib/drover.js';
import { call } from './lib/machine.js';
import { authority, newKey } from './lib/pki.js';

const open = [];
afterEach(async () => { for (const one of open.splice(0).reverse()) await one(); });

/** Signs with a terminal on which somebody types yes. */
async function tty(signer, hub) {
  const program = `import os, pty, sys
pid, fd = pty.fork()
if pid == 0: os.execvp(sys.argv[1], sys.argv[1:])
os.write(fd, b"yes\\n" * 4)
out = b""
while True:
  try: data = os.read(fd, 65536)
  except OSError: break
  if not data: break
  out += data
sys.stdout.buffer.write(out)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))`;
  return command('python3', ['-c', program, DROVER, 'cert', 'serve', '--dir', signer, '--once', '--config', hub.file]);
}

/** Ends it as a power cut does. */
async function kill(drover) {
  const child = drover.child ?? drover.process;
  child.kill('SIGKILL');
  await child.ended;
  drover.process.result = { code: 0 };
  drover.process.ended = Promise.resolve({ code: 0 });
  drover.child = undefined;
}
/** The daemon once more, on the same directory and port. */
async function again(drover) {
  const child = serve({ file: drover.file });
  drover.child = child;
  open.push(async () => {
    if (drover.child !== child) return;
    child.kill('SIGTERM');
    const { code } = await child.ended;
    assert.equal(code, 0, child.log);
    assert.doesNotMatch(child.log, /ERROR: (Address|Leak)Sanitizer|runtime error: /);
  });
  await until('it to answer again', async () => (await drover.get('/healthz')).status === 200);
}

async function hubOf({ people, config = {}, ...more } = {}) {
  const port = await freePort();
  const hub = await startDrover({ config: { hub: { name: 'home', heartbeat: '5s', urls: [`https://127.0.0.1:${port}`], ...config } },
    listen: [{ address: `127.0.0.1:${port}`, tls: 'ca', client_cert: 'optional', roles: ['link'] }],
    prepare: people && ((dir) => addPeople(dir, people)), ...more });
  open.push(() => hub.stop());
  return hub;
}
const lineOf = async (hub, ...more) => (await hub.cliJson('hub', 'invite', ...more)).line;
async function nodeOf(hub, name, endpoints = []) {
  const node = await startDrover({ endpoints, config: { name, workers: 1, join: { token: await lineOf(hub, '--name', name) } },
    prepare: (dir) => chmodSync(path.join(dir, 'drover.yaml'), 0o600) });
  open.push(() => node.stop());
  return node;
}
const certs = (hub) => hub.cliJson('cert', 'show');
const linked = (hub, n) => until(`${n} linked nodes`, async () => (await hub.cliJson('hub', 'status')).nodes.linked === n, 30000);
const stageIs = (hub, stage, ms = 30000) => until(`the stage ${stage ?? 'none'}`, async () => {
  const c = await certs(hub);
  if (c.rotation?.stage === stage) return c;
  throw new Error(JSON.stringify({ ...c.rotation, nodes: c.nodes }));
}, ms, 100);
const rotates = (hub, ...more) => hub.cliJson('cert', 'rotate-ca', ...more);
const keys = (hub) => readdirSync(path.join(hub.dir, 'data/pki/fleet')).filter((f) => f.endsWith('.key'));
const trustOf = (node) => readFileSync(path.join(node.dir, 'data/join/fleet/trust.pem'), 'utf8');
const roots = (node) => trustOf(node).match(/BEGIN CERT/g).length;
const rootOf = (pem) => new X509Certificate(pem.match(/-----BEGIN[^]*?-----END CERTIFICATE-----/)[0]);

test('the root is replaced while requests run over both nodes, and none of them fails', async () => {
  const fakes = [await startFake('vllm', { models: ['one'] }), await startFake('vllm', { models: ['two'] })];
  for (const f of fakes) open.push(() => f.close());
  const hub = await hubOf({ people: { sam: 'admin' } });
  const nodes = [await nodeOf(hub, 'attic', [fakes[0]]), await nodeOf(hub, 'barn', [fakes[1]])];
  await linked(hub, 2);
  await until('both models', async () => (await hub.modelIds()).length === 2);
  const before = await certs(hub);
  assert.deepEqual(before.roots.map((r) => [r.issues, r.trusted]), [[true, true]]);
  assert.deepEqual(before.nodes.map((n) => [n.name, n.ca, n.shown]), [['attic', before.roots[0].name, true], ['barn', before.roots[0].name, true]]);

  let goesOn = true, asked = 0;
  const failed = [];
  const load = ['one', 'two'].map(async (model) => {
    for (; goesOn; await sleep(20)) {
      const r = await hub.post('/v1/chat/completions', { model, messages: [{ role: 'user', content: 'hi' }] });
      asked++;
      if (r.status !== 200) failed.push(`${model} ${r.status} ${await r.text()}`);
      else await r.json();
    }
  });
  const began = await rotates(hub);
  assert.equal(began.rotation.old, before.roots[0].name);
  const twice = await hub.cli('cert', 'rotate-ca');
  assert.notEqual(twice.code, 0);
  assert.match(twice.stderr, /being replaced already/);
  await stageIs(hub, undefined, 60000);
  await until('what the nodes hold', () => nodes.every((n) => roots(n) === 1), 30000);
  goesOn = false;
  await Promise.all(load);
  assert.deepEqual(failed, []);
  assert.ok(asked > 50, `${asked} requests ran meanwhile`);

  const now = await certs(hub);
  assert.deepEqual([now.roots.length, now.roots[0].name, now.hub.ca], [1, began.rotation.new, began.rotation.new]);
  assert.notEqual(now.roots[0].pin, before.roots[0].pin);
  assert.deepEqual(now.nodes.map((n) => [n.name, n.ca, n.shown]), [['attic', began.rotation.new, true], ['barn', began.rotation.new, true]]);
  assert.deepEqual(now.not_back, []);
  assert.deepEqual(keys(hub), [`${began.rotation.new}.key`], 'the old key is gone');
  for (const n of nodes) assert.ok(rootOf(trustOf(n)).fingerprint256 !== undefined && trustOf(n).startsWith(`Drover trust bundle ${now.trust_sequence}\n`));
  // the log of those issued is the audit log's, and whole
  const { issued } = await hub.cliJson('cert', 'show', '--issued');
  assert.ok(issued.filter((i) => i.uri.includes('/node/')).length >= 6, 'three of each node');
  assert.ok(issued.every((i) => /^[0-9a-f]+$/.test(i.certificate.serial) && i.certificate.to_s > i.certificate.from_s));
  assert.ok(issued.some((i) => i.certificate.serial === now.hub.serial), 'the hub\'s own, too');
  assert.equal(new Set(issued.map((i) => i.certificate.serial)).size, issued.length, 'each once');
  assert.equal((await hub.cli('audit', 'verify')).code, 0);
  const acts = (await hub.cliJson('audit', 'list')).acts.filter((a) => a.action === 'cert.rotation').map((a) => a.detail.split(' ')[0]).reverse();
  assert.deepEqual(acts, ['begin', 'trust_both', 'issue', 'prove', 'trust_new', 'retire', 'done']);
});

test('a node that is away is waited for, an invitation made meanwhile works at each stage, and one from before is waited for, too', async () => {
  const hub = await hubOf(), attic = await nodeOf(hub, 'attic'), barn = await nodeOf(hub, 'barn');
  await linked(hub, 2);
  const old = await hub.cliJson('hub', 'invite', '--name', 'early');
  await kill(barn);
  await rotates(hub);
  let c = await stageIs(hub, 'trust_both');
  await until('only what is away is missing', async () => {
    c = await certs(hub);
    return c.rotation.missing === 2;
  });
  assert.deepEqual(c.rotation.waits_for.map((w) => w.name).sort(), ['barn', 'early']);
  assert.equal(roots(attic), 2);
  // one that was made now pins the hub's key, one from before the old root: both work
  const during = await nodeOf(hub, 'cellar'), early = await startDrover({ config: { name: 'x', workers: 1, join: { token: old.line } },
    prepare: (dir) => chmodSync(path.join(dir, 'drover.yaml'), 0o600) });
  open.push(() => early.stop());
  await linked(hub, 3);
  assert.deepEqual((await certs(hub)).rotation.waits_for.map((w) => w.name), ['barn']);
  const late = await lineOf(hub, '--name', 'late'); // its key must outlive the change of the hub's certificate
  await again(barn);
  await kill(attic); // holds it at the next gate
  await stageIs(hub, 'prove', 60000);
  const node = await startDrover({ config: { name: 'x', workers: 1, join: { token: late } }, prepare: (dir) => chmodSync(path.join(dir, 'drover.yaml'), 0o600) });
  open.push(() => node.stop());
  await until('late to be there', async () => (await certs(hub)).nodes.find((n) => n.name === 'late')?.shown, 30000);
  assert.equal((await certs(hub)).nodes.find((n) => n.name === 'late').ca, (await certs(hub)).hub.ca);
  assert.ok(during);
  await again(attic);
  await stageIs(hub, undefined, 60000);
  await linked(hub, 5);
  assert.equal((await certs(hub)).nodes.every((n) => n.shown && n.ca === (n.ca)), true);
});

test('the hub may be killed at each stage: the next start goes on', async () => {
  const hub = await hubOf(), attic = await nodeOf(hub, 'attic');
  await linked(hub, 1);
  const file = path.join(hub.dir, 'data/pki/rotation.json'), seen = new Set();
  await rotates(hub);
  for (const end = Date.now() + 120000; existsSync(file) && Date.now() < end;) {
    let stage;
    try { ({ stage } = JSON.parse(readFileSync(file, 'utf8'))); } catch { break; }
    if (!seen.has(stage)) {
      seen.add(stage);
      await kill(hub);
      await again(hub);
    }
    await sleep(5);
  }
  assert.equal(existsSync(file), false, `it is done; seen: ${[...seen]}`);
  for (const s of ['trust_both', 'issue', 'prove', 'trust_new', 'retire']) assert.ok(seen.has(s), `killed at ${s}; seen: ${[...seen]}`);
  await until('the node to be linked again, however long it waits after so many tries', async () => (await hub.cliJson('hub', 'status')).nodes.linked === 1, 75000);
  const c = await certs(hub);
  assert.deepEqual([c.roots.length, keys(hub).length, c.nodes[0].ca], [1, 1, c.roots[0].name]);
  await until('the new root alone', () => roots(attic) === 1, 75000);
});

test('before the old root goes there is a way back', async () => {
  const hub = await hubOf(), attic = await nodeOf(hub, 'attic'), barn = await nodeOf(hub, 'barn');
  await linked(hub, 2);
  const was = (await certs(hub)).roots[0].name;
  const none = await hub.cli('cert', 'rotate-ca', '--back');
  assert.match(none.stderr, /not being replaced/);
  await kill(barn);
  await rotates(hub);
  await stageIs(hub, 'trust_both');
  await again(barn);
  await until('prove', async () => ['issue', 'prove'].includes((await certs(hub)).rotation?.stage), 30000, 50);
  await kill(barn);
  const held = await stageIs(hub, 'prove').catch(() => undefined);
  if (held) {
    await until('attic to have a certificate of the new root', async () => (await certs(hub)).nodes.find((n) => n.name === 'attic').ca === held.rotation.new, 30000);
    await rotates(hub, '--back');
    await again(barn);
    await stageIs(hub, undefined, 60000);
    const c = await certs(hub);
    assert.deepEqual([c.roots.map((r) => r.name), c.hub.ca, keys(hub)], [[was], was, [`${was}.key`]]);
    assert.ok(c.nodes.every((n) => n.ca === was && n.shown));
    await until('the old root alone again', () => roots(attic) === 1 && roots(barn) === 1, 30000);
    await linked(hub, 2);
  }
  assert.ok(held, 'it was held at prove');
});

test('who is skipped is out when the old root goes, keeps its record, and comes back with an invitation of its own', async () => {
  const hub = await hubOf(), attic = await nodeOf(hub, 'attic'), barn = await nodeOf(hub, 'barn');
  await linked(hub, 2);
  await hub.cli('node', 'label', 'barn', 'floor=ground');
  const id = (await certs(hub)).nodes.find((n) => n.name === 'barn').id;
  await kill(barn);
  await rotates(hub);
  await until('only barn is missing', async () => (await certs(hub)).rotation?.missing === 1);
  await rotates(hub, '--skip', 'barn');
  await stageIs(hub, undefined, 60000);
  const c = await certs(hub);
  assert.deepEqual(c.not_back, ['barn']);
  await again(barn);
  await sleep(1500);
  assert.equal((await hub.cliJson('hub', 'status')).nodes.linked, 1, 'its certificate opens nothing');
  await barn.cli('leave');
  const back = await barn.cli('join', await lineOf(hub, '--node', 'barn'));
  assert.equal(back.code, 0, back.stderr);
  await linked(hub, 2);
  const now = await certs(hub);
  assert.deepEqual([now.not_back, now.nodes.find((n) => n.name === 'barn').id], [[], id]);
  assert.deepEqual((await hub.cliJson('node', 'show', 'barn')).labels, { floor: 'ground' });
  assert.ok(attic);
});

test('in an emergency all is void at once, and each node comes back with its own invitation', async () => {
  const hub = await hubOf(), attic = await nodeOf(hub, 'attic'), barn = await nodeOf(hub, 'barn');
  await linked(hub, 2);
  const invite = await lineOf(hub);
  const before = await certs(hub);
  const refused = await hub.cli('cert', 'rotate-ca', '--emergency');
  assert.notEqual(refused.code, 0, 'it wants a word, or --yes');
  await rotates(hub, '--emergency', '--yes');
  await stageIs(hub, undefined, 30000);
  const c = await certs(hub);
  assert.deepEqual(c.not_back.toSorted(), ['attic', 'barn']);
  assert.notEqual(c.roots[0].pin, before.roots[0].pin);
  assert.equal(keys(hub).length, 1);
  assert.equal((await hub.cliJson('hub', 'status')).nodes.linked, 0, 'links are cut');
  assert.deepEqual((await hub.cliJson('hub', 'invites')).invites, [], 'open invitations name the old root');
  assert.ok(invite);
  await kill(hub);
  await again(hub);
  for (const [name, node] of [['attic', attic], ['barn', barn]]) {
    await node.cli('leave');
    const joined = await node.cli('join', await lineOf(hub, '--node', name));
    assert.equal(joined.code, 0, joined.stderr);
  }
  await linked(hub, 2);
  const now = await certs(hub);
  assert.deepEqual(now.nodes.map((n) => [n.id, n.ca, n.shown]), before.nodes.map((n) => [n.id, now.roots[0].name, true]));
  assert.deepEqual(now.not_back, []);
  assert.equal((await hub.cli('audit', 'verify')).code, 0);
});

test('an emergency takes the place of a planned rotation', async () => {
  const hub = await hubOf(), attic = await nodeOf(hub, 'attic');
  await linked(hub, 1);
  await kill(attic);
  await rotates(hub);
  const held = await stageIs(hub, 'trust_both');
  await rotates(hub, '--emergency', '--yes');
  await stageIs(hub, undefined, 30000);
  const c = await certs(hub);
  assert.ok(![held.rotation.old, held.rotation.new].includes(c.roots[0].name), c.roots[0].name);
  assert.deepEqual(keys(hub), [`${c.roots[0].name}.key`], 'neither of the two keys is left');
  assert.deepEqual(c.not_back, ['attic']);
});

test('one node, all of them, or the hub renew before their time', async () => {
  const hub = await hubOf();
  const nodes = [await nodeOf(hub, 'attic'), await nodeOf(hub, 'barn')];
  await linked(hub, 2);
  const serials = async () => { const c = await certs(hub); return [c.hub.serial, ...c.nodes.map((n) => n.serial)]; };
  const renewed = (what, at, was) => until(what, async () => {
    const now = await serials();
    return now.every((s, i) => (s !== was[i]) === at.includes(i)) && (await certs(hub)).nodes.every((n) => n.shown && !n.to_renew) && now;
  }, 30000);
  const first = await serials();
  await hub.cliJson('cert', 'rotate', '--node', 'barn');
  const second = await renewed('the certificate of barn', [2], first);
  await hub.cliJson('cert', 'rotate', '--all');
  const third = await renewed('those of both', [1, 2], second);
  await hub.cliJson('cert', 'rotate', '--own');
  await renewed('the hub\'s', [0], third);
  for (const args of [[], ['--node', 'nobody'], ['--all', '--own']]) assert.notEqual((await hub.cli('cert', 'rotate', ...args)).code, 0);
  const trust = (await hub.cli('cert', 'export', '--trust')).stdout, chain = (await hub.cli('cert', 'export', '--chain')).stdout;
  assert.ok(rootOf(chain).verify(rootOf(trust).publicKey));
  // what is good no more: the hub's and barn's that have been renewed; barn's last but one is still taken
  const ended = await hub.cliJson('cert', 'show', '--issued'), of = (uri) => ended.issued.filter((i) => i.uri.endsWith(uri) || i.uri.includes(uri)).map((i) => i.certificate.serial);
  const at = (name) => path.join(hub.dir, name);
  writeFileSync(at('trust.pem'), trust);
  const crl = async () => {
    writeFileSync(at('crl.pem'), (await hub.cli('cert', 'export', '--crl')).stdout);
    return command('openssl', ['crl', '-noout', '-text', '-verify', '-CAfile', at('trust.pem'), '-in', at('crl.pem')]);
  };
  const told = await crl(), serials2 = told.stdout.match(/Serial Number: ([0-9A-F]+)/g)?.map((s) => s.slice(15).toLowerCase().replace(/^0/, '')) ?? [];
  assert.match(told.stderr + told.stdout, /verify OK/);
  const barn = of('/node/barn-'), own = of('/hub/hub');
  for (const [serial, gone] of [[barn[0], false], [barn[1], false], [barn[2], true], [own[0], false], [own[1], true]])
    assert.equal(serials2.includes(serial.replace(/^0/, '')), gone, serial);
  await hub.cli('node', 'revoke', 'barn', '--yes');
  assert.ok((await crl()).stdout.toLowerCase().includes(barn[0].toLowerCase()), 'and all of a node that was put out');
  assert.ok(nodes);
});

test('certificates of some minutes are renewed in time, the hub\'s and a node\'s, and no request fails', async () => {
  const fake = await startFake('vllm', { models: ['one'] });
  open.push(() => fake.close());
  const hub = await hubOf({ config: { leaf_life: '3m' } }), attic = await nodeOf(hub, 'attic', [fake]);
  await until('the model', async () => (await hub.modelIds()).includes('one'));
  const was = await certs(hub), line = await lineOf(hub, '--name', 'late');
  assert.ok(was.hub.ends_ms - Date.now() < 181_000);
  const failed = [];
  let goesOn = true;
  const load = (async () => {
    for (; goesOn; await sleep(50)) {
      const r = await hub.post('/v1/chat/completions', { model: 'one', messages: [{ role: 'user', content: 'hi' }] });
      if (r.status !== 200) failed.push(r.status);
      await r.text();
    }
  })();
  const now = await until('both to be renewed', async () => {
    const c = await certs(hub);
    return c.hub.serial !== was.hub.serial && c.nodes[0].serial !== was.nodes[0].serial && c.nodes[0].shown && c;
  }, 90000, 500);
  goesOn = false;
  await load;
  assert.deepEqual(failed, []);
  assert.equal(now.roots[0].serial, was.roots[0].serial);
  const late = await startDrover({ config: { name: 'x', workers: 1, join: { token: line } }, prepare: (dir) => chmodSync(path.join(dir, 'drover.yaml'), 0o600) });
  open.push(() => late.stop());
  await linked(hub, 2);
  assert.ok(attic);
});

test('the authority on a machine of its own: hub and nodes wait until it has signed, and no key travels', async () => {
  const signer = mkdtempSync(path.join(tmpdir(), 'signer-'));
  open.push(() => rmSync(signer, { recursive: true, force: true }));
  const made = await command(DROVER, ['cert', 'init', '--fleet', 'home', '--dir', signer]);
  assert.equal(made.code, 0, made.stderr);
  assert.notEqual((await command(DROVER, ['cert', 'init', '--fleet', 'home', '--dir', signer])).code, 0, 'one is enough');
  const [crt] = readdirSync(path.join(signer, 'fleet')).filter((f) => f.endsWith('.crt'));
  const fake = await startFake('vllm', { models: ['one'] });
  open.push(() => fake.close());
  const hub = await hubOf({ config: { ca: 'apart', leaf_life: '3m' }, prepare: (dir) => {
    mkdirSync(path.join(dir, 'data/pki/fleet'), { recursive: true, mode: 0o700 });
    chmodSync(path.join(dir, 'data/pki'), 0o700);
    cpSync(path.join(signer, 'fleet', crt), path.join(dir, 'data/pki/fleet', crt));
    addPeople(dir, { olga: 'operator', vera: 'viewer' });
  } });
  const admin = (at, method, route, body) => new Promise((go, fail) => {
    const r = http.request({ socketPath: path.join(at.dir, 'run/drover.sock'), method, path: route, headers: { host: 'localhost', 'content-type': 'application/json' } }, (res) => {
      let text = '';
      res.on('data', (d) => { text += d; }).on('end', () => go({ status: res.statusCode, body: text }));
    });
    r.on('error', fail).end(body);
  });
  // nothing is signed yet: no certificate, and nothing in the clear instead
  const waits = await until('the hub to ask', async () => { const i = JSON.parse((await admin(hub, 'GET', '/drover/v1/certs/inbox')).body); return i.requests.length === 1 && i; });
  assert.deepEqual([waits.requests[0].node, waits.requests[0].names.includes('localhost')], ['', true]);
  assert.ok(JSON.parse((await hub.cli('doctor', '--json')).stdout).findings.some((f) => f.code === 'hub_unsigned'));
  const at = new URL((await hub.cliJson('status')).listen.find((l) => l.startsWith('https:')));
  await assert.rejects(call(at.origin, 'GET', '/healthz'), 'the listener has no certificate');
  await assert.rejects(fetch(`http://${at.host}/healthz`, { signal: AbortSignal.timeout(5000) }));

  // what does not fit is refused
  const id = waits.requests[0].id, other = authority('home', 7), key = newKey();
  for (const chain of ['nonsense', other.issue({ spki: key.spki, uri: 'drover://home/hub/hub', dns: ['hub.home.drover.internal'] })])
    assert.equal((await admin(hub, 'POST', `/drover/v1/certs/inbox/${id}`, JSON.stringify({ chain }))).status, 400);
  assert.equal((await admin(hub, 'POST', '/drover/v1/certs/inbox/nobody', JSON.stringify({ chain: 'x' }))).status, 404);
  const blind = await command(DROVER, ['cert', 'serve', '--dir', signer, '--once', '--yes', '--config', hub.file], { detached: true });
  assert.match(blind.stdout + blind.stderr, /FIRST certificate[^]*--yes is for renewals alone/);

  const first = await tty(signer, hub);
  assert.match(first.stdout, /drover:\/\/home\/hub\/hub[^]*signed/);
  await until('the listener to be there', async () => (await call(at.origin, 'GET', '/healthz')).status < 500);

  const attic = await startDrover({ endpoints: [fake], config: { name: 'attic', workers: 1, join: { token: await lineOf(hub, '--name', 'attic') } },
    prepare: (dir) => chmodSync(path.join(dir, 'drover.yaml'), 0o600) });
  open.push(() => attic.stop());
  await until('the node to wait', async () => (await attic.cliJson('join', '--status')).state === 'waiting');
  assert.match((await tty(signer, hub)).stdout, /node\/attic-[^]*signed/);
  await linked(hub, 1);
  await until('its model', async () => (await hub.modelIds()).includes('one'));
  const c = await certs(hub);
  assert.deepEqual([c.nodes[0].name, c.nodes[0].shown], ['attic', true]);

  // renewals wait, and --yes signs them; a restart of the hub changes nothing
  await kill(hub);
  await again(hub);
  const serve = async () => command(DROVER, ['cert', 'serve', '--dir', signer, '--once', '--yes', '--config', hub.file], { detached: true });
  const now = await until('both to be renewed', async () => {
    const did = await serve();
    assert.equal(did.code, 0, did.stderr);
    const x = await certs(hub);
    return x.hub.serial !== c.hub.serial && x.nodes[0].serial !== c.nodes[0].serial && x.nodes[0].shown && x;
  }, 120000, 2000);
  assert.ok(now);
  await linked(hub, 1);

  // no key of the authority on the hub, none of the hub or the node here
  assert.deepEqual(readdirSync(path.join(hub.dir, 'data/pki/fleet')).filter((f) => f.endsWith('.key')), []);
  assert.deepEqual(readdirSync(signer).sort(), ['fleet', 'signed']);
  assert.match((await hub.cli('cert', 'rotate-ca')).stderr, /another machine/);
  const { issued } = await hub.cliJson('cert', 'show', '--issued');
  assert.ok(issued.length >= 4 && issued.some((i) => i.certificate.serial === now.hub.serial));
  assert.equal((await hub.cli('audit', 'verify')).code, 0);
  const [olga, vera] = await Promise.all(['olga', 'vera'].map((name) => person(hub, name)));
  assert.equal((await olga.ask('GET', 'certs/inbox')).status, 200);
  assert.equal((await vera.ask('GET', 'certs/inbox')).status, 403);
});

test('who may do what, and what is no request', async () => {
  const hub = await hubOf({ people: { sam: 'admin', olga: 'operator', vera: 'viewer' } });
  const [sam, olga, vera] = await Promise.all(['sam', 'olga', 'vera'].map((name) => person(hub, name)));
  for (const who of [olga, vera]) {
    assert.equal((await who.ask('GET', 'certs')).status, 200);
    assert.equal((await who.ask('GET', 'certs/issued')).status, 403);
    for (const route of ['certs/renew', 'certs/rotation', 'certs/rotation/back', 'certs/rotation/skip']) assert.equal((await who.ask('POST', route, {})).status, 403, route);
  }
  for (const [route, body, status] of [['certs/renew', {}, 400], ['certs/renew', { node: 1 }, 400], ['certs/renew', { nodes: true, hub: true }, 400], ['certs/renew', { node: 'nobody' }, 404],
    ['certs/renew', { other: 1 }, 400], ['certs/rotation', { emergency: 'yes' }, 400], ['certs/rotation/back', {}, 409], ['certs/rotation/skip', { missing: true }, 409],
    ['certs/rotation/skip', {}, 400], ['invites', { node: 'nobody' }, 404], ['invites', { node: 'a', name: 'b' }, 400]])
    assert.equal((await sam.ask('POST', route, body)).status, status, `${route} ${JSON.stringify(body)}`);
  assert.equal((await sam.ask('GET', 'certs/export?what=key')).status, 400);
  assert.equal((await sam.ask('GET', 'certs/issued?limit=0')).status, 400);
  const all = JSON.stringify((await sam.ask('GET', 'certs')).json);
  assert.doesNotMatch(all, /PRIVATE/);
});
