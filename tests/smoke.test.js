// The least that must work in every build: start, answer, stream, explain itself, stop. Also run under TSan.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { startFake } from './fakes/index.js';
import { DROVER, command, startDrover, until } from './lib/drover.js';
import { allSse, chatText } from './lib/http.js';

const MODEL = 'Qwen/Qwen3-8B';
let fake, drover;
before(async () => {
  fake = await startFake('vllm', { models: [MODEL] });
  drover = await startDrover({ endpoints: [fake], models: [MODEL] });
});
after(async () => {
  await drover?.stop(); // fails on a sanitizer's report
  await fake?.close();
});

const ask = (more) => ({ model: MODEL, messages: [{ role: 'user', content: 'hi' }], ...more });

test('says that it is alive, ready, and which version it is', async () => {
  assert.equal((await drover.get('/healthz')).status, 200);
  assert.equal((await drover.get('/readyz')).status, 200);
  const version = await (await drover.get('/version')).json();
  assert.match(version.version, /^\d+\.\d+/);
  assert.equal((await command(DROVER, ['version'])).code, 0);
});

test('answers a chat and names the target', async () => {
  const response = await drover.post('/v1/chat/completions', ask());
  assert.equal(response.status, 200);
  assert.ok(response.headers.get('drover-target'));
  assert.ok(response.headers.get('x-request-id'));
  assert.equal((await response.json()).choices[0].message.content, 'Hello, world.');
});

test('streams a chat', async () => {
  const response = await drover.post('/v1/chat/completions', ask({ stream: true }));
  assert.match(response.headers.get('content-type'), /^text\/event-stream/);
  assert.equal(response.headers.get('x-accel-buffering'), 'no');
  const events = await allSse(response);
  assert.equal(chatText(events), 'Hello, world.');
  assert.equal(events.at(-1).data, '[DONE]');
});

test('answers many at a time', async () => {
  const answers = await Promise.all(Array.from({ length: 60 }, async (_, i) => {
    const response = await drover.post('/v1/chat/completions', ask({ stream: i % 2 === 0 }));
    return [response.status, (await response.text()).length > 0];
  }));
  assert.deepEqual(answers.filter(([status, some]) => status !== 200 || !some), []);
});

test('refuses what it cannot serve, in the words of the dialect', async () => {
  const unknown = await drover.post('/v1/chat/completions', ask({ model: 'no-such-model' }));
  assert.equal(unknown.status, 404);
  assert.equal(typeof (await unknown.json()).error.message, 'string');
  const broken = await drover.post('/v1/chat/completions', '{"model":');
  assert.equal(broken.status, 400);
  assert.equal(typeof (await broken.json()).error.message, 'string');
  const anthropic = await drover.post('/v1/messages', { model: 'no-such-model', max_tokens: 1, messages: [] });
  assert.equal(anthropic.status, 404);
  assert.equal((await anthropic.json()).type, 'error');
});

test('shows metrics', async () => {
  const response = await drover.get('/metrics');
  assert.equal(response.status, 200);
  assert.match(await response.text(), /^# TYPE \w+ (counter|gauge|histogram)$/m);
});

test('tells its state on the command line', async () => {
  assert.equal(typeof await drover.cliJson('status'), 'object');
  const { models } = await drover.cliJson('models');
  assert.ok(models.some((m) => m.slug === MODEL));
  const { endpoints } = await drover.cliJson('endpoints');
  assert.equal(endpoints[0].name, fake.name);
});

test('arguments that mean nothing are usage errors', async () => {
  assert.equal((await drover.cli('config', 'show', 'extra')).code, 2);
  for (const model of [MODEL, 'no-such-model']) {
    const { code, stderr } = await drover.cli('explain', model, '--api', 'nonsense');
    assert.equal(code, 2);
    assert.match(stderr, /--api.*openai-chat.*anthropic/s);
  }
  assert.equal((await drover.cli('explain', MODEL, '--api', 'anthropic')).code, 0);
});

test('tells of names that lead nowhere: on the command line, and in the log after a reload', async () => {
  drover.configure({ models: [{ slug: 'lost', targets: [`old-box/${MODEL}`], fallback: ['lots'] }, { slug: 'lots-of', targets: [MODEL] }] });
  const { code, stdout, stderr } = await drover.cli('config', 'check');
  assert.equal(code, 0, stderr);
  assert.match(stdout, /: good/);
  assert.match(stderr, /drover\.yaml:\d+:\d+: warning: models\[0\]\.targets\[0\]: "old-box" is no endpoint of this file/);
  assert.match(stderr, /drover\.yaml:\d+:\d+: warning: models\[0\]\.fallback\[0\]: "lots" is no slug or alias/);
  assert.equal((await drover.cli('reload')).code, 0);
  await until('the warnings in the log', () => /"level":"warn".*"line":\d+.*old-box/.test(drover.log) && /"level":"warn".*fallback\[0\]/.test(drover.log));
  drover.configure();
  assert.equal((await drover.cli('reload')).code, 0);
});

test('a change of the file is applied once, though the watch and a reload both see it; an endpoint of another kind has changed, not gone', async () => {
  const times = (what) => drover.log.split(what).length - 1;
  const before = [times('"configuration reloaded"'), times('nothing in it has changed'), times('"endpoint changed"')];
  drover.configure({ endpoints: [{ name: fake.name, url: fake.url, kind: 'vllm' }] });
  assert.equal((await drover.cli('reload')).code, 0);
  await until('the file watch', () => times('nothing in it has changed') > before[1], 10000);
  assert.equal(times('"configuration reloaded"'), before[0] + 1);
  assert.equal(times('"endpoint changed"'), before[2] + 1);
  assert.equal(times('"endpoint removed"'), 0);
  drover.configure();
  assert.equal((await drover.cli('reload')).code, 0);
  await until('the model', async () => (await drover.post('/v1/chat/completions', ask())).status === 200);
});

test('keeps the running settings when a changed file is bad, and takes a good one', async () => {
  drover.configure({ listen: 'nonsense' });
  drover.process.kill('SIGHUP');
  await until('a complaint in the log', () => /listen/.test(drover.log.slice(-2000)));
  assert.equal((await drover.post('/v1/chat/completions', ask())).status, 200);
  drover.configure({ models: [{ slug: 'alias', targets: [`${fake.name}/${MODEL}`] }] });
  drover.process.kill('SIGHUP');
  await until('the alias', async () => (await drover.modelIds()).includes('alias'));
  assert.equal((await drover.post('/v1/chat/completions', ask({ model: 'alias' }))).status, 200);
});
