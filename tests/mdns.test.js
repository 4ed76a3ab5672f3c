// Multicast DNS over a LAN of this test's own: what neighbours announce is found, and nothing that a forged answer names.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { DROVER, command, until } from './lib/drover.js';
import { home, serve } from './lib/daemon.js';
import { startLan } from './lib/lan.js';

const SERVICES = ['_drover', '_ollama', '_openai', '_llm', '_saturn', '_lmstudio'].map((s) => `${s}._tcp.local`);
const discovery = { local: false, containers: false, mdns: true, interval: '5s' };
let lan, neighbour, here, place, drover;
const fakes = {};

const fake = async (owner, name, values) => { fakes[name] = { owner, ...await owner.ask('fake', values) }; };
const requests = ({ owner, index }) => owner.ask('requests', { index });
const cli = (...verb) => command(DROVER, [...verb, '--config', place.file]);
const endpoints = async () => {
  const { code, stdout, stderr } = await cli('endpoints', '--json');
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout).endpoints;
};
const found = (name, ms = 30000) => until(`${name} to be found`, async () => {
  const all = await endpoints();
  const endpoint = all.find((e) => e.name === name && e.state === 'up');
  if (endpoint) return endpoint;
  throw new Error(`there are: ${JSON.stringify(all.map((e) => [e.name, e.state]))}\n${drover.log}`);
}, ms, 100);
const rounds = async () => (await neighbour.ask('questions')).filter((q) => q.from === '10.77.0.1' && q.asked[0].type === 12);
const moreRounds = async (n) => {
  const before = (await rounds()).length;
  await until(`${n} rounds`, async () => (await rounds()).length >= before + n, 60000, 100);
};
let twice; // whatever was going to be looked at has been
const allTried = () => twice ??= moreRounds(2);

before(async () => {
  lan = await startLan();
  neighbour = lan.neighbour;
  here = await lan.startHere();
  await neighbour.ask('listen', { link: 'theirs', address: '10.77.0.2' });
  await here.ask('listen', { link: 'ours', address: '10.77.0.1' });
  for (const [name, kind, host] of [
    ['whole', 'ollama', '10.77.0.2'], ['pieces', 'vllm', '10.77.0.2'], ['v6', 'openai', 'fd77::2'], ['public', 'ollama', '203.0.113.5'],
    ['offLink', 'ollama', '10.77.0.2'], ['drover', 'ollama', '10.77.0.2'], ['late', 'llamacpp', '10.77.0.2'],
  ]) await fake(neighbour, name, { kind, host });
  await fake(here, 'mine', { kind: 'ollama', host: '0.0.0.0' });
  await fake(here, 'ours', { kind: 'vllm', host: '10.77.0.1' });
  for (const [owner, name, service, addresses, more] of [
    [neighbour, 'whole', '_ollama._tcp', ['203.0.113.5', 'fd77::2', '10.77.0.2']],
    [neighbour, 'pieces', '_openai._tcp', ['10.77.0.2'], { pieces: true }],
    [neighbour, 'v6', '_llm._tcp', ['fd77::2']],
    [neighbour, 'public', '_ollama._tcp', ['203.0.113.5']],
    [neighbour, 'offLink', '_ollama._tcp', ['10.77.0.2'], { from: '203.0.113.5' }],
    [neighbour, 'drover', '_drover._tcp', ['10.77.0.2']],
    [here, 'mine', '_ollama._tcp', ['10.77.0.1']],
    [here, 'ours', '_openai._tcp', ['10.77.0.1']],
  ]) await owner.ask('announce', { name, service, addresses, port: fakes[name].port, ...more });
  place = home(11430, { discovery, endpoints: [{ name: 'mine', url: `http://127.0.0.1:${fakes.mine.port}`, kind: 'auto' }] });
  drover = serve(place, { within: lan.within });
});
after(async () => {
  try {
    if (drover && !drover.result) drover.kill('SIGTERM');
    const result = await drover?.ended;
    if (result) assert.equal(result.code, 0, drover.log);
    if (result) assert.doesNotMatch(drover.log, /Sanitizer|runtime error/);
  } finally {
    place?.remove();
    lan?.close();
  }
});

test('a neighbour that announces itself becomes an endpoint, at its nearest address', async () => {
  const endpoint = await found('ollama-10-77-0-2');
  assert.equal(endpoint.url, `http://10.77.0.2:${fakes.whole.port}`);
  assert.deepEqual(endpoint.models.map((m) => m.id), ['qwen3:8b']);
});

test('one whose records come in pieces is asked for the rest', async () => {
  assert.equal((await found('vllm-10-77-0-2')).url, `http://10.77.0.2:${fakes.pieces.port}`);
});

test('one that has only an IPv6 address is found there', async () => {
  assert.equal((await found('openai-fd77--2')).url, `http://[fd77::2]:${fakes.v6.port}`);
});

test("this machine's own announcements are found, but not a second time", async () => {
  assert.equal((await found('vllm-10-77-0-1')).url, `http://10.77.0.1:${fakes.ours.port}`);
  await allTried();
  const { hosts } = await requests(fakes.mine);
  assert.deepEqual([...new Set(hosts)], [`127.0.0.1:${fakes.mine.port}`]);
});

test('nothing is asked of a public address, of what a stranger names, or of another Drover', async () => {
  await allTried();
  for (const name of ['public', 'offLink', 'drover']) assert.equal((await requests(fakes[name])).connections, 0, name);
  const told = drover.log.split('\n').filter((line) => line.includes('another Drover announces itself'));
  assert.equal(told.length, 1, drover.log);
  assert.ok(told[0].includes(`${fakes.drover.port}`), told[0]);
  assert.deepEqual((await endpoints()).map((e) => e.name).sort(), ['mine', 'ollama-10-77-0-2', 'openai-fd77--2', 'vllm-10-77-0-1', 'vllm-10-77-0-2']);
});

test('a round is one question for all services, from a port of its own, by IPv4 and IPv6', async () => {
  const questions = await neighbour.ask('questions');
  for (const q of questions) {
    assert.notEqual(q.port, 5353);
    for (const a of q.asked) assert.equal(a.class, 1);
  }
  for (const q of questions.filter((one) => one.asked[0].type === 12)) assert.deepEqual(q.asked.map((a) => a.name), SERVICES);
  assert.ok(questions.some((q) => q.from.includes(':')), 'none came by IPv6');
});

test('new settings in the middle of a round begin another', async () => {
  await moreRounds(1); // it listens now
  await neighbour.ask('announce', { name: 'late', service: '_saturn._tcp', addresses: ['10.77.0.2'], port: fakes.late.port });
  place.write({ discovery: { ...discovery, interval: '1h' } }); // only a round that begins now can find it in time
  const { code, stderr } = await cli('reload');
  assert.equal(code, 0, stderr);
  await found('llamacpp-10-77-0-2');
});

test('without the setting nothing is asked', async () => {
  await fake(neighbour, 'listed', { kind: 'koboldcpp', host: '10.77.0.2', port: 5001 });
  place.write({ discovery: { ...discovery, mdns: false, lan: ['10.77.0.2'] } });
  const { code, stderr } = await cli('reload');
  assert.equal(code, 0, stderr);
  const before = (await rounds()).length;
  await found('koboldcpp-10-77-0-2'); // so there was a round
  assert.equal((await rounds()).length, before);
});
