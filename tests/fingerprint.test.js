// Every runtime is recognised by what it says, not by its port, and its models are listed.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { runtimeNames, startFake } from './fakes/index.js';
import { startDrover, until } from './lib/drover.js';

const fakes = [];
let drover;
const extra = [
  ['llamacpp', { loading: true }, 'loading-llamacpp'],
  ['localai', { loading: true }, 'starting-localai'],
  ['ollama', { models: [] }, 'empty-ollama'],
  // A name cut in the middle of a character: JSON.stringify writes it as an escape that stands alone.
  ['ollama', { models: ['good:latest', 'half\ud800:latest'] }, 'half-ollama'],
  ['vllm', { models: ['half\udc00', 'good'] }, 'half-vllm'],
  // Locked: a key is needed and Drover has none; the runtime is recognised all the same.
  ...['lmstudio', 'llamacpp', 'vllm', 'koboldcpp', 'tabbyapi', 'jan', 'lemonade', 'localai']
    .map((name) => [name, { requireKey: 'sk-test' }, `locked-${name}`]),
];

before(async () => {
  for (const [name, options, label] of [...runtimeNames.map((n) => [n, {}, n]), ...extra]) {
    const fake = await startFake(name, options);
    fake.name = label;
    fakes.push(fake);
  }
  drover = await startDrover({ endpoints: fakes });
});
after(async () => {
  await drover?.stop();
  for (const fake of fakes) await fake.close();
});

const fakeCalled = (name) => fakes.find((f) => f.name === name);
const seen = async (name) => (await drover.cliJson('endpoints')).endpoints.find((e) => e.name === name);
const settled = (name) => until(`a verdict on ${name}`, async () => {
  const endpoint = await seen(name);
  if (endpoint?.kind && !['auto', 'unknown'].includes(endpoint.kind)) return endpoint;
  throw new Error(JSON.stringify(endpoint));
});

for (const name of runtimeNames)
  test(`${name} is recognised and its models are listed`, async () => {
    const fake = fakeCalled(name);
    const endpoint = await until(`${name} to be up`, async () => {
      const e = await seen(name);
      if (e?.state === 'up' && e.kind === fake.kind) return e;
      throw new Error(JSON.stringify(e));
    });
    const ids = endpoint.models.map((m) => m.id);
    for (const m of fake.options.models) assert.ok(ids.includes(m.id), `${m.id} is not among ${ids}`);
    for (const m of endpoint.models) assert.equal(typeof m.slug, 'string');
    assert.equal(typeof endpoint.since_ms, 'number');
  });

for (const name of ['ollama', 'lmstudio', 'llamacpp', 'vllm', 'sglang', 'tgi', 'koboldcpp', 'tabbyapi', 'lemonade', 'docker-model-runner'])
  test(`${name}'s context length is known`, async () => {
    await until('the context length', async () => {
      const model = (await seen(name)).models[0];
      if (model.context === 8192) return true;
      throw new Error(JSON.stringify(model));
    });
  });

test("which of a llama.cpp router's models are loaded is known", async () => {
  const { models } = await settled('llamacpp-router');
  assert.deepEqual(Object.fromEntries(models.map((m) => [m.id, m.loaded])), { 'qwen3-8b': true, gemma3: false });
});

test('a llama-server that loads its model is loading, then up', async () => {
  const loading = await until('the state loading', async () => {
    const e = await seen('loading-llamacpp');
    if (e?.state === 'loading') return e;
    throw new Error(JSON.stringify(e));
  });
  assert.equal(loading.kind, 'llamacpp');
  fakeCalled('loading-llamacpp').options.loading = false;
  await until('the state up', async () => (await seen('loading-llamacpp')).state === 'up', 30000);
});

for (const name of ['half-ollama', 'half-vllm'])
  test(`${name}: a name that is no text costs its own model only, and the reason says so`, async () => {
    const endpoint = await until('the good model', async () => {
      const e = await seen(name);
      if (e?.models.length) return e;
      throw new Error(JSON.stringify(e));
    });
    assert.deepEqual([endpoint.state, endpoint.models.length], ['up', 1]);
    assert.match(endpoint.models[0].id, /^good/);
    assert.match(endpoint.reason, /1 of its models/);
  });

test('an Ollama without models is Ollama', async () => {
  assert.equal((await settled('empty-ollama')).kind, 'ollama');
});

for (const [, , label] of extra.filter(([, o]) => o.requireKey))
  test(`${label} is recognised without its key`, async () => {
    const endpoint = await settled(label);
    assert.equal(endpoint.kind, fakeCalled(label).kind);
    assert.equal(typeof endpoint.reason, 'string');
  });

test('probes are polite: no POST that could load a model, the right Host, no costly health check', async () => {
  for (const fake of fakes) {
    const posts = fake.requests.filter((r) => r.method !== 'GET' && r.method !== 'HEAD' && r.path !== '/api/show');
    assert.deepEqual(posts.map((r) => `${r.method} ${r.path}`), [], fake.name);
    for (const r of fake.requests) assert.equal(r.headers.host, `127.0.0.1:${fake.port}`, fake.name);
  }
  assert.deepEqual(fakeCalled('sglang').requests.filter((r) => r.path.startsWith('/health')).map((r) => r.path), []);
});

test('a vanished endpoint goes down with a reason, and comes back', async () => {
  const gone = fakeCalled('openai');
  const { port, options } = gone;
  await gone.close();
  const down = await until('the state down', async () => {
    const e = await seen('openai');
    return e.state === 'down' && e;
  }, 60000, 250);
  assert.ok(down.reason);
  const back = await startFake('openai', { ...options, port });
  back.name = 'openai';
  fakes[fakes.indexOf(gone)] = back;
  await until('the state up', async () => (await seen('openai')).state === 'up', 60000, 250);
});
