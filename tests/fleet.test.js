// Several machines on a small internet of the test's own: a hub, two nodes behind NAT that no packet from outside reaches, and what
// happens to them. The requests of clients go to the hub's UNIX socket, so that they need no place of their own on that internet.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import path from 'node:path';
import { DROVER, command, until } from './lib/drover.js';
import { home, serve } from './lib/daemon.js';
import { startInternet } from './lib/inet.js';

let net, hub, hubPlace;
const nodes = {};

/** A request to the hub over its UNIX socket: {status, headers, text, at: when each piece came}. `onPiece` sees the text so far. */
const ask = (method, target, body, { onPiece, signal } = {}) => new Promise((go, fail) => {
  const request = http.request({ socketPath: path.join(hubPlace.dir, 'hub.sock'), method, path: target, signal, headers: { host: 'localhost', ...(body ? { 'content-type': 'application/json' } : {}) } },
    (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (piece) => { text += piece; onPiece?.(text); });
      response.on('end', () => go({ status: response.statusCode, headers: response.headers, text }));
      response.on('error', fail);
      response.on('close', () => { if (!response.complete) fail(new Error('cut off')); });
    });
  request.on('error', fail);
  request.end(body && JSON.stringify(body));
});
const chat = (model, more = {}, options) => ask('POST', '/v1/chat/completions', { model, messages: [{ role: 'user', content: 'Hello' }], ...more }, options);
const served = async (model) => {
  const answer = await chat(model);
  assert.equal(answer.status, 200, answer.text);
  return answer.headers['drover-target'].split('/')[0];
};
const models = async () => JSON.parse((await ask('GET', '/v1/models')).text).data.map((m) => m.id).sort();
/** Waits until the assertions of `probe` hold. */
const holds = (what, probe, ...times) => until(what, async () => { await probe(); return true; }, ...times);
const cli = async (place, ...verb) => {
  const { code, stdout, stderr } = await command(DROVER, [...verb, '--config', place.file]);
  assert.equal(code, 0, `drover ${verb.join(' ')}: ${stderr}${stdout}`);
  return stdout;
};
const node = async (name) => JSON.parse(await cli(hubPlace, 'node', 'show', name, '--json'));

const startHub = () => { hub = serve(hubPlace, { within: nodes.hubMachine.within }); };
const isUp = (daemon, place) => until('the daemon', async () => JSON.parse(await cli(place, 'status', '--json')), 20000, 100).catch((e) => { throw new Error(`${e.message}\n${daemon.log}`); });

/** A machine at a site with a fake runtime and a daemon that has joined nobody yet. */
async function startNode(name, fake) {
  const site = await net.site(), neighbour = await site.neighbour();
  const runtime = await neighbour.ask('fake', { host: '127.0.0.1', ...fake });
  const place = home(11430, { name, endpoints: [{ name: 'runtime', url: `http://127.0.0.1:${runtime.port}`, kind: 'auto' }] });
  const it = nodes[name] = { site, neighbour, runtime, place, start() { it.daemon = serve(place, { within: site.within }); return isUp(it.daemon, place); } };
  await it.start();
  return it;
}

before(async () => {
  net = await startInternet();
  nodes.hubMachine = await net.host();
  hubPlace = home(11430, { hub: { name: 'home', heartbeat: '5s' }, workers: 2 });
  hubPlace.write({ listen: [{ address: `unix:${path.join(hubPlace.dir, 'hub.sock')}` },
    { address: `${nodes.hubMachine.address}:7443`, tls: 'ca', client_cert: 'optional', roles: ['link'] }] });
  startHub();
  await isUp(hub, hubPlace);
  await startNode('attic', { kind: 'vllm', models: ['shared', 'only-attic'] });
  await startNode('cellar', { kind: 'vllm', models: ['shared', 'only-cellar'] });
}, { timeout: 120000 });
after(() => {
  for (const it of [hub, nodes.attic?.daemon, nodes.cellar?.daemon]) it?.kill('SIGKILL');
  net?.close();
  for (const place of [hubPlace, nodes.attic?.place, nodes.cellar?.place]) place?.remove();
});

test('the printed line makes the models behind a NAT appear at the hub', async () => {
  for (const name of ['attic', 'cellar']) {
    const line = (await cli(hubPlace, 'hub', 'invite')).trim();
    const [program, verb, invitation] = line.match(/^(drover) (join) '(.*)'$/).slice(1);
    assert.equal(`${program} ${verb}`, 'drover join');
    await cli(nodes[name].place, 'join', invitation);
  }
  await holds('all models', async () => assert.deepEqual(await models(), ['only-attic', 'only-cellar', 'shared']));
  const answer = await chat('only-attic');
  assert.equal(answer.status, 200, answer.text);
  assert.match(JSON.parse(answer.text).choices[0].message.content, /\w/);
});

test('nobody gets in from outside', async () => {
  const { code } = await command(nodes.hubMachine.within[0], [...nodes.hubMachine.within.slice(1), 'curl', '-s', '-m', '2', 'http://192.168.1.2:11430/healthz']);
  assert.notEqual(code, 0);
});

test('a stream comes as it is made, and ends at the runtime when the client leaves', async () => {
  const seen = [];
  const whole = await chat('only-attic', { stream: true }, { onPiece: () => seen.push(performance.now()) });
  assert.match(whole.text, /\[DONE\]/);
  assert.ok(seen.length > 1, 'in more than one piece');
});

test('one that is drained gets no new work, and gets it again', async () => {
  await cli(hubPlace, 'node', 'drain', 'cellar');
  await holds('no way to it', async () => assert.equal((await chat('only-cellar')).status, 503));
  for (let i = 0; i < 6; i++) assert.equal(await served('shared'), 'attic');
  await cli(hubPlace, 'node', 'resume', 'cellar');
  await holds('it serves again', async () => assert.equal((await chat('only-cellar')).status, 200));
});

test('a node that dies is left out at once, and comes back by itself', async () => {
  nodes.cellar.daemon.kill('SIGKILL');
  for (let i = 0; i < 8; i++) assert.equal((await chat('shared')).status, 200);
  await holds('the hub to know', async () => assert.equal((await node('cellar')).linked, false), 5000);
  await nodes.cellar.start();
  await holds('its models', async () => assert.equal((await chat('only-cellar')).status, 200), 30000);
  assert.equal((await node('cellar')).epoch, 2);
});

test('a hub that is killed finds its nodes again, and they it', async () => {
  hub.kill('SIGKILL');
  await hub.ended;
  startHub();
  await isUp(hub, hubPlace);
  await holds('both nodes', async () => assert.deepEqual(await models(), ['only-attic', 'only-cellar', 'shared']), 60000, 200);
  assert.equal((await chat('only-attic')).status, 200);
});

test('a bad line: small packets, every thirtieth lost', async () => {
  await nodes.attic.site.mtu(1280);
  await nodes.attic.site.lose(3);
  const prompt = 'x'.repeat(512 << 10);
  for (let i = 0; i < 3; i++) {
    const answer = await chat('only-attic', { stream: true, messages: [{ role: 'user', content: prompt }] });
    assert.equal(answer.status, 200, answer.text.slice(0, 300));
    assert.match(answer.text, /\[DONE\]/);
  }
  await nodes.attic.site.loseNone();
});

test('a cable that is pulled: no new work after three heartbeats, and all is well when it is back', { timeout: 120000 }, async () => {
  await nodes.cellar.site.pull();
  const pulled = performance.now();
  await holds('the hub to doubt it', async () => { const n = await node('cellar'); assert.ok(!n.linked || n.health === 'down', JSON.stringify(n)); }, 40000, 500);
  assert.ok(performance.now() - pulled < 30000, 'within three heartbeats and a little');
  for (let i = 0; i < 4; i++) assert.equal(await served('shared'), 'attic');
  await nodes.cellar.site.plug();
  await holds('it serves again', async () => assert.equal((await chat('only-cellar')).status, 200), 75000, 250);
});

test('one that is revoked is cut off within a second, and stays out', { timeout: 60000 }, async () => {
  let first;
  const begun = new Promise((go) => { first = go; });
  const running = chat('only-attic', { stream: true, max_tokens: 100000 }, { onPiece: first }).then((a) => a, (e) => e);
  await begun;
  const at = performance.now();
  await cli(hubPlace, 'node', 'revoke', 'attic', '--yes');
  await running;
  assert.ok(performance.now() - at < 3000);
  assert.equal((await node('attic')).state, 'revoked');
  assert.deepEqual(await models(), ['only-cellar', 'shared']);
  await holds('it to be told', () => assert.match(nodes.attic.daemon.log, /refused|revoked|401/i), 20000, 200);
  assert.equal((await node('attic')).linked, false);
});
