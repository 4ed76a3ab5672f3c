// The mode direct: the hub dials the node, and everything above the connection is as ever. Real daemons on both sides; strangers, and hubs that are
// not this node's, come to its port in between.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import tls from 'node:tls';
import { startFake } from './fakes/index.js';
import { serve } from './lib/daemon.js';
import { freePort, startDrover, until } from './lib/drover.js';
import { allSse, chatText } from './lib/http.js';
import { enrol, linkOf, machine, tokenOf } from './lib/machine.js';
import { authority, newKey } from './lib/pki.js';

const open = [];
const dir = mkdtempSync(path.join(tmpdir(), 'direct-'));
let hub, node, fake, port;

async function hubOf(name) {
  const it = await startDrover({ config: { name, workers: 2, hub: { name: `${name}-fleet`, heartbeat: '5s' } },
    listen: [{ address: `127.0.0.1:${await freePort()}`, tls: 'ca', client_cert: 'optional', roles: ['link'] }] });
  open.push(() => it.stop());
  return it;
}
async function nodeOf(name, at, join = {}, endpoints = []) {
  const it = await startDrover({ endpoints, config: { name, workers: 2, join: { listen: `127.0.0.1:${at}`, ...join } } });
  open.push(() => it.stop());
  return it;
}
const invite = async (to, name) => /'(.*)'/.exec((await to.cli('hub', 'invite', '--name', name)).stdout)[1];
async function join(it, to, name, ...more) {
  const { code, stdout, stderr } = await it.cli('join', await invite(to, name), ...more);
  assert.equal(code, 0, stderr + stdout);
}
const show = (name, at = hub) => at.cliJson('node', 'show', name);
const linked = (name, at = hub, ms = 20000) => until(`${name}'s link`, async () => {
  const n = await show(name, at);
  if (n.linked && n.health) return n;
  throw new Error(JSON.stringify(n));
}, ms);

/** Ends it as a power cut does, and starts it again on the same directory. */
async function again(it, between = async () => {}) {
  it.process.kill('SIGKILL');
  await it.process.ended;
  await between();
  it.process = serve({ file: it.file });
}
const chat = (stream) => ({ model: 'qwen3', messages: [{ role: 'user', content: 'hi' }], stream });

before(async () => {
  fake = await startFake('vllm', { models: ['qwen3'], reply: ['Hel', 'lo'], delayMs: 5 });
  port = await freePort();
  hub = await hubOf('house');
  node = await nodeOf('attic', port, {}, [fake]);
});
after(async () => {
  for (const one of open.reverse()) await one();
  await fake.close();
  rmSync(dir, { recursive: true, force: true });
});

test('a node that joins with --mode direct is dialled, and serves whole answers and streams', async () => {
  await join(node, hub, 'attic', '--mode', 'direct');
  const n = await linked('attic');
  assert.equal(n.mode, 'direct');
  assert.equal(n.url, `https://127.0.0.1:${port}`);
  assert.equal(n.link.lanes, 1);
  assert.match((await hub.cli('node', 'show', 'attic')).stdout, new RegExp(`address +https://127.0.0.1:${port}`));
  const status = await node.cliJson('join', '--status');
  assert.equal(status.state, 'linked');
  assert.equal(status.called_at, `https://127.0.0.1:${port}`);
  await until('the model at the hub', async () => (await hub.modelIds()).includes('qwen3'));
  const whole = await (await hub.post('/v1/chat/completions', chat(false))).json();
  assert.equal(whole.choices[0].message.content, 'Hello');
  assert.equal(chatText(await allSse(await hub.post('/v1/chat/completions', chat(true)))), 'Hello');
  await Promise.all(Array.from({ length: 20 }, async () => assert.equal(chatText(await allSse(await hub.post('/v1/chat/completions', chat(true)))), 'Hello')));
  assert.equal((await show('attic')).link.lanes, 1, 'one connection carries all');
});

test('a hub that is gone comes again, and so does a node', async () => {
  const first = (await show('attic')).epoch;
  await again(hub, () => until('the node to notice', async () => (await node.cliJson('join', '--status')).state === 'awaiting'));
  await until('the hub', async () => (await hub.get('/healthz')).status === 200);
  const second = (await linked('attic')).epoch;
  assert.ok(second > first);
  await again(node, () => until('the hub to notice', async () => {
    const n = await show('attic');
    return !n.linked && /called at https:\/\/127\.0\.0\.1:\d+: .*refused/.test(n.last_error);
  }));
  const n = await linked('attic', hub, 30000);
  assert.ok(n.epoch > second);
  await until('the model at the hub', async () => (await hub.modelIds()).includes('qwen3'));
  assert.equal((await (await hub.post('/v1/chat/completions', chat(false))).json()).choices[0].message.content, 'Hello');
});

test('join.mode alone turns a node to reverse and back', async () => {
  const turn = async (mode) => {
    node.configure({ join: { listen: `127.0.0.1:${port}`, mode } });
    await again(node);
    return until(`the mode ${mode} at the hub`, async () => {
      const n = await show('attic');
      return n.mode === mode && n.linked && n.health && n;
    }, 40000);
  };
  assert.equal((await turn('reverse')).url, undefined);
  await assert.rejects(connect(), /ECONNREFUSED/, 'nothing listens');
  assert.equal((await turn('direct')).url, `https://127.0.0.1:${port}`);
  const refused = await node.cli('join', 'drover://join/1/x', '--mode', 'reverse');
  assert.notEqual(refused.code, 0);
});

test('a node that does not know what its hub was told tells it again', async () => {
  const was = await linked('attic'), file = path.join(node.dir, 'data/join/member.json');
  await again(node, () => { /* as a power cut leaves it between the telling and the answer */
    const state = JSON.parse(readFileSync(file, 'utf8'));
    assert.equal(state.called_at, `https://127.0.0.1:${port}`);
    writeFileSync(file, JSON.stringify({ ...state, called_at: '?' }));
  });
  await until('another certificate, and a link with it', async () => {
    const n = await show('attic');
    return n.fingerprint !== was.fingerprint && n.linked && n.health;
  }, 40000);
  assert.equal(JSON.parse(readFileSync(file, 'utf8')).called_at, `https://127.0.0.1:${port}`);
});

test('another certificate is a link of its own', async () => {
  const was = await show('attic');
  const { code, stderr, stdout } = await hub.cli('node', 'order', 'attic', 'rotate_certs', '--wait');
  assert.equal(code, 0, stderr + stdout);
  await until('the next link', async () => {
    const n = await show('attic');
    return n.epoch > was.epoch && n.linked && n.fingerprint !== was.fingerprint;
  });
});

// --- who else comes to the port --------------------------------------------------------------------------------------------------

function connect(at = port) {
  return new Promise((go, fail) => {
    const socket = net.connect(at, '127.0.0.1', () => {
      socket.got = Buffer.alloc(0);
      socket.on('data', (d) => { socket.got = Buffer.concat([socket.got, d]); });
      socket.since = performance.now();
      socket.over = new Promise((end) => socket.on('close', () => end(performance.now() - socket.since)));
      socket.off('error', fail).on('error', () => {});
      go(socket);
    });
    socket.on('error', fail);
  });
}

/** The node's link stays what it was meanwhile. */
async function undisturbed(what) {
  const before_ = await linked('attic');
  await what();
  const n = await linked('attic');
  assert.equal(n.epoch, before_.epoch);
  assert.equal(n.link.peer, '127.0.0.1');
}

test('a stranger is sent a hello that names nobody, and is cut', () => undisturbed(async () => {
  const silent = await connect(), garbage = await connect(), http = await connect();
  garbage.write(Buffer.alloc(4096, 0x41));
  http.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  assert.ok(await garbage.over < 3000);
  assert.ok(await http.over < 3000);
  const ms = await silent.over;
  assert.ok(ms > 9000 && ms < 12000, `a silent one has ten seconds, not ${ms} ms`);
  for (const one of [silent, garbage, http]) {
    assert.equal(one.got[0], 0x16, 'a TLS handshake record');
    for (const word of ['drover', 'house', 'attic', 'HTTP']) assert.ok(!one.got.includes(word), word);
  }
}));

/** Takes the part of the hub in TLS over a connection to the node: what came of it, and what the node sent. */
async function asHub(chain, key) {
  const socket = await connect();
  socket.removeAllListeners('data');
  const secure = new tls.TLSSocket(socket, { isServer: true, key, cert: chain, requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.3' });
  const seen = { text: '', cert: undefined };
  secure.on('data', (d) => { seen.text += d; });
  secure.on('secure', () => { seen.cert = secure.getPeerCertificate()?.raw; });
  seen.error = await new Promise((go) => {
    secure.on('error', go);
    socket.on('close', () => go(new Error('closed')));
  });
  secure.destroy();
  return seen;
}

test('a TLS server of another authority, with all the right names, learns nothing', () => undisturbed(async () => {
  const ca = authority('house-fleet'), key = newKey();
  const { hub_id: id } = await node.cliJson('join', '--status');
  const chain = ca.issue({ spki: key.spki, uri: `drover://house-fleet/hub/${id}`, dns: [`${id}.house-fleet.drover.internal`] });
  const seen = await asHub(chain, key.pem);
  assert.equal(seen.text, '');
  assert.equal(seen.cert, undefined, 'the node\'s certificate is for its hub alone');
  assert.match(`${seen.error.code} ${seen.error.message}`, /unknown.ca|alert|closed/i);
}));

test('many who hold the port do not keep the hub out', async () => {
  const epoch = (await linked('attic')).epoch;
  const crowd = await Promise.all(Array.from({ length: 40 }, () => connect()));
  await again(hub);
  const end = performance.now() + 4000;
  const press = (async () => { while (performance.now() < end) { crowd.push(await connect()); await sleep(100); } })();
  assert.ok((await linked('attic', hub, 30000)).epoch > epoch);
  await press;
  await sleep(1500);
  const held = crowd.filter((s) => !s.closed).length;
  assert.ok(held <= 4 + 16, `four are heard, the rest waits or is cut; ${held} are held`);
  for (const one of crowd) one.destroy();
});

test('another hub that was given the address gets nowhere, and says so', () => undisturbed(async () => {
  const other = await hubOf('other'), m = machine(dir);
  const line = await invite(other, 'decoy');
  const answer = await enrol(await linkOf(other), m, { name: 'decoy', token: tokenOf(line), mode: 'direct', url: `https://127.0.0.1:${port}` });
  assert.equal(answer.status, 200, answer.text);
  const n = await until('its call', async () => {
    const it = await show('decoy', other);
    return it.last_error && it;
  });
  assert.match(n.last_error, /called at https:\/\/127\.0\.0\.1/);
  assert.equal(n.linked, false);
}));

test('an address that is another node\'s of the fleet does not disturb that one', () => undisturbed(async () => {
  const m = machine(dir);
  const answer = await enrol(await linkOf(hub), m, { name: 'twin', token: tokenOf(await invite(hub, 'twin')), mode: 'direct', url: `https://127.0.0.1:${port}` });
  assert.equal(answer.status, 200, answer.text);
  const n = await until('its call', async () => {
    const it = await show('twin');
    return it.last_error && it;
  });
  assert.match(n.last_error, /another machine answers there/);
  await hub.cli('node', 'rm', 'twin', '--yes');
}));

test('what is no address of a direct node is refused; 0.0.0.0 stands for where it comes from', async () => {
  const link = await linkOf(hub);
  for (const url of [undefined, '', 'http://127.0.0.1:7444', 'https://', 'https://127.0.0.1:7444/x', 'https://a b:1', `https://${'a'.repeat(400)}:1`, 'https://u:p@h:1'])
    assert.equal((await enrol(link, machine(dir), { mode: 'direct', url })).status, 400, url);
  const answer = await enrol(link, machine(dir), { name: 'anywhere', token: tokenOf(await invite(hub, 'anywhere')), mode: 'direct', url: 'https://0.0.0.0:9' });
  assert.equal(answer.status, 200, answer.text);
  const n = await until('it to be called in vain', async () => {
    const it = await show('anywhere');
    return it.last_error && it;
  });
  assert.equal(n.url, 'https://127.0.0.1:9');
  assert.match(n.last_error, /refused/);
  await hub.cli('node', 'rm', 'anywhere', '--yes');
});

test('nobody is dialled before somebody has said yes, and nobody who was put out', async () => {
  const came = { stranger: 0, control: 0 }, bytes = { stranger: '', control: '' };
  for (const name of ['stranger', 'control']) {
    const server = net.createServer((s) => {
      came[name]++;
      s.on('error', () => {}).on('data', (d) => { bytes[name] += d; });
      setTimeout(() => s.end('SSH-2.0-x\r\n'), 200);
    });
    await new Promise((go) => server.listen(0, '127.0.0.1', go));
    open.push(() => new Promise((go) => server.close(go)));
    const waiting = await enrol(await linkOf(hub), machine(dir), { name, mode: 'direct', url: `https://127.0.0.1:${server.address().port}` });
    assert.equal(waiting.status, 202, waiting.text);
  }
  await sleep(2500);
  assert.deepEqual(came, { stranger: 0, control: 0 });
  for (const name of ['stranger', 'control']) await hub.cli('node', 'approve', name);
  await until('calls of both', () => came.stranger && came.control);
  const n = await until('its end', async () => {
    const it = await show('stranger');
    return it.last_error && it;
  });
  assert.match(n.last_error, /called at/);
  assert.equal((await hub.cli('node', 'revoke', 'stranger', '--yes')).code, 0);
  const then = { ...came };
  await until('more calls of the other', () => came.control >= then.control + 3, 40000);
  assert.equal(came.stranger, then.stranger);
  assert.ok(bytes.stranger.length < 64 && !/HTTP|house/.test(bytes.stranger), 'what speaks no TLS got an alert at most');
  await hub.cli('node', 'rm', 'control', '--yes');
});

test('a node that is put out loses its link within a second, and is dialled no more', async () => {
  await linked('attic');
  assert.equal((await hub.cli('node', 'revoke', 'attic', '--yes')).code, 0);
  await until('the cut', async () => (await node.cliJson('join', '--status')).state === 'awaiting', 1000);
  const calls = () => (node.process.log.match(/port for the hub/g) ?? []).length;
  await sleep(1000);
  const then = calls();
  await sleep(4000);
  assert.equal(calls(), then);
  assert.equal((await show('attic')).linked, false);
});
