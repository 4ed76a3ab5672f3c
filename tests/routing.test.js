// Names and choices: which target a request reaches by which name, who waits, who takes over, and how that is explained.
import test, { after, before, beforeEach } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFake } from './fakes/index.js';
import { startDrover, until } from './lib/drover.js';
import { allSse, chatText } from './lib/http.js';

const CHAT = '/v1/chat/completions';
const fakes = {};
let drover;

before(async () => {
  fakes.north = await startFake('vllm', { models: ['shared', 'Qwen/Qwen3-8B'] });
  fakes.south = await startFake('vllm', { models: ['shared', 'south-only'] });
  fakes.ollama = await startFake('ollama', { models: ['llama3:latest', 'shared'] });
  fakes.narrow = await startFake('openai', { models: ['narrow'] });
  fakes.lmstudio = await startFake('lmstudio', { models: ['lm-model'] });
  for (const [name, fake] of Object.entries(fakes)) fake.name = name;
  drover = await startDrover({
    endpoints: Object.values(fakes).map((f) => ({ name: f.name, url: f.url, ...(f === fakes.narrow ? { max_concurrent: 1 } : {}) })),
    config: { gateway: { park_max: 2, park_timeout: '20s' }, models: [
      { slug: 'coder', targets: ['north/Qwen/Qwen3-8B'], aliases: ['gpt-4o'] },
      { slug: 'claude-*', targets: ['south/south-only'] },
      { slug: 'brave', targets: ['nobody/none'], fallback: ['coder'] },
      { slug: 'any', targets: ['shared'] },
      { slug: 'cool', targets: ['north/shared'], strict: true, defaults: { temperature: 0.5, seed: 3 }, force: { max_tokens: 7 } },
      { slug: 'cool-llama', targets: ['ollama/shared'], force: { max_tokens: 7, options: { num_ctx: 4096 } } },
      { slug: 'bold', targets: ['nobody/none'], fallback: ['lost', 'any'] },
      { slug: 'lost', targets: ['nobody/none'], fallback: ['bold', 'gone'] },
      { slug: 'gone', targets: ['nobody/none'] },
      { slug: 'hopeless', targets: ['nobody/none'], fallback: ['lost-too'] },
      { slug: 'lost-too', targets: ['nobody/none'], fallback: ['hopeless'] },
    ] },
    models: ['shared', 'Qwen/Qwen3-8B', 'south-only', 'llama3:latest', 'narrow', 'coder', 'lm-model'],
  });
});
after(async () => {
  await drover?.stop();
  for (const fake of Object.values(fakes)) await fake.close();
});
beforeEach(() => { for (const fake of Object.values(fakes)) for (const o of ['delayMs', 'firstDelayMs', 'failWith', 'answer']) delete fake.options[o]; });

const chat = (model, more) => drover.post(CHAT, { model, messages: [{ role: 'user', content: 'hi' }], ...more });
const reached = async (response) => {
  assert.equal(response.status, 200, await response.clone().text());
  await response.text();
  return response.headers.get('drover-target');
};

test('what a slug sets is put into the body, and the rest goes as it came', async () => {
  const sent = async (path, members, fake = fakes.north) => {
    const response = await drover.post(path, `{${members}}`), text = await response.text();
    assert.deepEqual([response.status, response.headers.get('drover-degraded')], [200, null], text);
    return String(fake.inferences.at(-1).body);
  };
  const more = '"messages" : [{"role":"user","name":"bob","content":[{"type":"video_url","video_url":{"url":"https://example.com/a.mp4"}}]}], "n":2,"user":"u","big":1.50';
  assert.equal(await sent(CHAT, `"model":"cool",${more}`), `{"model":"shared",${more},"temperature":0.5,"seed":3,"max_tokens":7}`);
  assert.equal(await sent(CHAT, `"max_completion_tokens":99,${more},"temperature": 2,"model":"cool"`), `{"max_completion_tokens":7,${more},"temperature": 2,"model":"shared","seed":3}`);
  assert.equal(await sent('/v1/responses', '"model":"cool","input":"x","max_output_tokens":9e3'), '{"model":"shared","input":"x","max_output_tokens":7,"temperature":0.5}');
  assert.equal(await sent('/api/chat', '"model":"cool-llama","messages":[],"options":{"num_predict":99,"mirostat":1}', fakes.ollama),
    '{"model":"shared","messages":[],"options":{"num_predict":7,"mirostat":1,"num_ctx":4096}}');
  const { max_tokens, temperature, seed } = JSON.parse(await sent('/api/chat', '"model":"cool","messages":[{"role":"user","content":"hi"}],"options":{"num_predict":9999,"seed":8}'));
  assert.deepEqual([max_tokens, temperature, seed], [7, 0.5, 8]);
});

test('an error in a stream of the Responses API goes on with its numbers', async () => {
  fakes.north.options.answer = (request, response) => response.whole(200, 'text/event-stream',
    ['created', 'in_progress', 'output_item.added'].map((type, i) => `event: response.${type}\ndata: {"type":"response.${type}","sequence_number":${i}}\n\n`).join(''));
  const events = await allSse(await drover.post('/v1/responses', { model: 'coder', input: 'x', stream: true }));
  const last = JSON.parse(events.at(-1).data);
  assert.deepEqual([last.type, last.sequence_number], ['error', 3]);
});

test("Ollama's older member for the model's name is taken, too", async () => {
  assert.equal((await drover.post('/api/show', { name: 'llama3:latest' })).status, 200);
  assert.equal((await drover.post('/api/show', { name: 'nobody' })).status, 404);
  assert.equal((await drover.post('/api/show', { x: 'llama3:latest' })).status, 400);
});

test('a name reaches its model', async () => {
  assert.equal(await reached(await chat('south-only')), 'south/south-only');
  assert.equal(await reached(await chat('Qwen/Qwen3-8B')), 'north/Qwen/Qwen3-8B');
});

test('an alias, a pattern and a name of the operator reach what they stand for, under the model\'s own id', async () => {
  assert.equal(await reached(await chat('coder')), 'north/Qwen/Qwen3-8B');
  assert.equal(await reached(await chat('gpt-4o')), 'north/Qwen/Qwen3-8B');
  assert.equal(JSON.parse(fakes.north.inferences.at(-1).body).model, 'Qwen/Qwen3-8B');
  assert.equal(await reached(await chat('claude-sonnet-9')), 'south/south-only');
  assert.equal(JSON.parse(fakes.south.inferences.at(-1).body).model, 'south-only');
});

test('name@endpoint picks the endpoint', async () => {
  for (const name of ['north', 'south', 'ollama']) assert.equal(await reached(await chat(`shared@${name}`)), `${name}/shared`);
  const wrong = await chat('shared@narrow');
  assert.equal(wrong.status, 404);
  assert.match((await wrong.json()).error.message, /not served by "narrow"/);
  assert.equal((await chat('shared@nowhere')).status, 404);
  assert.equal((await drover.post('/api/show', { model: 'shared@nowhere' })).status, 404);
  assert.equal((await drover.post('/api/show', { model: 'shared@ollama' })).status, 200);
});

test("Ollama's `name` is `name:latest`, and the other way round", async () => {
  for (const name of ['llama3', 'llama3:latest'])
    assert.match(await reached(await drover.post('/api/chat', { model: name, messages: [], stream: false })), /^ollama\/llama3:latest$/);
});

test('a slug without a target falls back', async () => {
  assert.equal(await reached(await chat('brave')), 'north/Qwen/Qwen3-8B');
});

test('fallbacks of fallbacks come first, then the rest; a circle ends', async () => {
  assert.match(await reached(await chat('bold')), /\/shared$/);
  const failed = await chat('hopeless');
  assert.equal(failed.status, 503);
  assert.match((await failed.json()).error.message, /hopeless/);
});

test('an unknown model is a 404 that names near ones', async () => {
  const response = await chat('shaerd');
  assert.equal(response.status, 404);
  const { error } = await response.json();
  assert.equal(error.code, 'model_not_found');
  assert.match(error.message, /near: shared/);
});

test('a conversation returns to the same endpoint, different ones spread', async () => {
  const talk = (first, turns) => chat('any', { messages: [{ role: 'user', content: first }, ...Array.from({ length: turns }, (_, i) => ({ role: 'assistant', content: `${i}` }))] });
  const seen = new Set();
  for (let c = 0; c < 12; c++) {
    const places = new Set();
    for (let turn = 0; turn < 4; turn++) places.add(await reached(await talk(`conversation ${c}`, turn)));
    assert.equal(places.size, 1, `conversation ${c} went to ${[...places]}`);
    seen.add([...places][0]);
  }
  assert.ok(seen.size > 1, 'all conversations went to one endpoint');
});

test('a full endpoint makes requests wait in order, and turns away those past the limit', async () => {
  fakes.narrow.options.firstDelayMs = 700;
  const answers = [];
  const ask = (i) => chat('narrow').then(async (r) => { answers.push([i, r.status, Number(r.headers.get('drover-queue-ms'))]); await r.text(); });
  const first = ask(0);
  await until('the first to be there', () => fakes.narrow.inferences.length > 0);
  const others = [];
  for (let i = 1; i <= 6; i++) others.push(ask(i));
  await Promise.all([first, ...others]);
  assert.equal(answers.filter(([, status]) => status === 503).length >= 2, true, JSON.stringify(answers));
  const served = answers.filter(([, status]) => status === 200);
  assert.ok(served.length >= 3, JSON.stringify(answers));
  assert.ok(served.some(([, , queued]) => queued > 300), JSON.stringify(answers));
  assert.equal(Math.max(...fakes.narrow.inferences.map((r) => r.concurrent ?? 1)), 1);
});

test('as many wait as gateway.park_max says, for each target apart and over all workers', async () => {
  const mine = { one: await startFake('openai', { models: ['one'] }), two: await startFake('openai', { models: ['two'] }) };
  const other = await startDrover({ endpoints: Object.entries(mine).map(([name, f]) => ({ name, url: f.url, max_concurrent: 1 })),
    config: { workers: 4, gateway: { park_max: 3, park_timeout: '20s' }, models: [{ slug: 'nick', targets: ['one/one'] }] }, models: ['one', 'two', 'nick'] });
  try {
    for (const fake of Object.values(mine)) fake.options.firstDelayMs = 1500;
    const ask = async (model) => { const r = await other.post(CHAT, { model, messages: [] }); await r.text(); return [model, r.status]; };
    const first = [ask('one'), ask('two')];
    await until('both to be busy', () => mine.one.inferences.length && mine.two.inferences.length);
    const rest = ['one', 'nick', 'two'].flatMap((model) => Array.from({ length: 8 }, () => ask(model)));
    const refused = (await Promise.all(rest.map((p) => Promise.race([p, sleep(1000)])))).filter((a) => a?.[1] === 503);
    assert.equal(refused.filter(([m]) => m !== 'two').length, 16 - 3, 'a target\'s other name is the same waiting room');
    assert.equal(refused.filter(([m]) => m === 'two').length, 8 - 3);
    assert.equal((await other.cliJson('status')).queued, 6);
    for (const fake of Object.values(mine)) fake.options.firstDelayMs = 0;
    const all = await Promise.all([...first, ...rest]);
    assert.equal(all.filter(([, status]) => status === 200).length, 2 + 6);
    assert.match(await (await other.get('/metrics')).text(), /drover_limit_hits_total\{limit="gateway.park_max"\} 18\n/);
    assert.deepEqual(await Promise.all(Array.from({ length: 4 }, () => ask('one'))), Array(4).fill(['one', 200]), 'the places are free again');
  } finally {
    await other.stop();
    for (const fake of Object.values(mine)) await fake.close();
  }
});

test('a runtime\'s own figure is a preference: full ones come last, and still serve everybody', async () => {
  const mine = { one: await startFake('llamacpp', { models: ['both'], slots: 1 }), four: await startFake('llamacpp', { models: ['both'], slots: 4 }) };
  const other = await startDrover({ endpoints: Object.entries(mine).map(([name, f]) => ({ name, url: f.url, weight: name === 'one' ? 10000 : 1 })),
    config: { workers: 2, gateway: { park_max: 1 } }, models: ['both'] });
  try {
    await until('the figures', async () => (await other.cliJson('endpoints')).endpoints.every((e) => e.models[0]?.slots === mine[e.name].options.slots));
    for (const fake of Object.values(mine)) fake.options.firstDelayMs = 1500;
    const ask = async (model) => { const r = await other.post(CHAT, { model, messages: [] }); await r.text(); return [r.status, r.headers.get('drover-target')]; };
    const five = [];
    for (let i = 0; i < 5; i++) {
      five.push(ask('both'));
      await until('it to be sent', () => mine.one.inferences.length + mine.four.inferences.length === i + 1);
    }
    assert.deepEqual([mine.one.inferences.length, mine.four.inferences.length], [1, 4]);
    assert.equal((await other.cliJson('explain', 'both')).candidates.find((c) => c.endpoint === 'one').slots, 1);
    for (const fake of Object.values(mine)) fake.options.firstDelayMs = 100;
    const ten = await Promise.all(Array.from({ length: 10 }, () => ask('both@one')));
    assert.deepEqual(ten, Array(10).fill([200, 'one/both']));
    assert.deepEqual((await Promise.all(five)).map(([status]) => status), Array(5).fill(200));
  } finally {
    await other.stop();
    for (const fake of Object.values(mine)) await fake.close();
  }
});

test('a client that leaves while it waits frees its place', async () => {
  fakes.narrow.options.firstDelayMs = 1500;
  const first = chat('narrow');
  await sleep(200);
  const gone = new AbortController();
  const waiting = Promise.allSettled([1, 2].map(() => drover.post(CHAT, { model: 'narrow', messages: [] }, { signal: gone.signal })));
  await until('two to wait', async () => (await drover.cliJson('status')).queued > 0);
  gone.abort();
  await waiting;
  await until('nobody to wait', async () => (await drover.cliJson('status')).queued === 0);
  await (await first).text();
});

test('explain tells who would serve and why not the others', async () => {
  const told = await drover.cliJson('explain', 'shared');
  assert.deepEqual(told.candidates.map((c) => c.endpoint).sort(), ['north', 'ollama', 'south']);
  assert.equal(told.candidates.filter((c) => c.taken).length, 1);
  const only = await drover.cliJson('explain', 'shared@south');
  assert.equal(only.candidates.find((c) => c.taken).endpoint, 'south');
  assert.match(only.candidates.find((c) => c.endpoint === 'north').verdict, /another endpoint/);
  const lost = await drover.cli('explain', 'nothing-like-it');
  assert.equal(lost.code, 5);
  assert.equal((await drover.cli('explain', 'shared@nowhere')).code, 5);
  const alias = await drover.cliJson('explain', 'gpt-4o');
  assert.deepEqual([alias.asked, alias.slug, alias.alias], ['gpt-4o', 'coder', true]);
});

test('what the admin API is asked must make sense', async () => {
  const ask = (target) => new Promise((go, fail) => http.get({ socketPath: path.join(drover.dir, 'run', 'drover.sock'), path: `/drover/v1/${target}` },
    (response) => response.resume().on('end', () => go(response.statusCode))).on('error', fail));
  for (const target of ['explain', 'explain?model=', 'logs?lines=5000', 'logs?lines=-1', 'logs?lines=x', 'logs?follow=9']) assert.equal(await ask(target), 400, target);
  for (const target of ['explain?model=shared', 'logs?lines=0', 'logs?lines=4096&follow=0', 'logs']) assert.equal(await ask(target), 200, target);
  assert.equal(await ask('explain?model=nothing-like-it'), 404);
});

test('the lists of every dialect hold the same models, merged', async () => {
  const openai = (await (await drover.get('/v1/models')).json()).data.map((m) => m.id);
  assert.equal(openai.filter((id) => id === 'shared').length, 1);
  assert.ok(!openai.includes('gpt-4o') && !openai.includes('claude-*'), 'aliases and patterns are not listed');
  const anthropic = await (await drover.get('/v1/models', { headers: { 'anthropic-version': '2023-06-01' } })).json();
  assert.deepEqual(anthropic.data.map((m) => m.id).sort(), [...openai].sort());
  const tags = await (await drover.get('/api/tags')).json();
  assert.equal(tags.models.length, openai.length);
  const v0 = await (await drover.get('/api/v0/models')).json();
  assert.deepEqual(v0.data.map((m) => m.id).sort(), [...openai].sort());
  assert.ok(Array.isArray((await (await drover.get('/api/v1/models')).json()).models));
  assert.ok(Array.isArray((await (await drover.get('/api/ps')).json()).models));
  const one = await drover.get(`/v1/models/${encodeURIComponent('Qwen/Qwen3-8B')}`);
  assert.equal((await one.json()).id, 'Qwen/Qwen3-8B');
  assert.equal((await (await drover.get('/v1/models/Qwen/Qwen3-8B')).json()).id, 'Qwen/Qwen3-8B');
  const show = await drover.post('/api/show', { model: 'south-only' });
  assert.equal(show.status, 200);
});

test('what Drover answers itself has an id, lists and pages too', async () => {
  const seen = new Set();
  for (const route of ['/healthz', '/readyz', '/version', '/metrics', '/v1/models', '/v1/models/narrow', '/api/tags', '/api/ps', '/api/version', '/', '/api/v0/models', '/api/v0/models/narrow',
    '/api/v1/models', '/lmstudio-greeting', '/v1/models/nobody', '/nothing']) {
    const response = await drover.get(route);
    await response.arrayBuffer();
    assert.match(response.headers.get('x-request-id') ?? 'none', /^[0-9a-f]{32}$/, route);
    seen.add(response.headers.get('x-request-id'));
  }
  const show = await drover.post('/api/show', { model: 'south-only' });
  await show.arrayBuffer();
  assert.match(show.headers.get('x-request-id') ?? 'none', /^[0-9a-f]{32}$/);
  assert.equal(seen.size, 16);
});

test('an error names the target that was tried, when there was one', async () => {
  fakes.lmstudio.options.answer = (request, response) => response.socket.destroy();
  const failed = await chat('lm-model');
  assert.equal(failed.status, 502);
  assert.equal(failed.headers.get('drover-target'), 'lmstudio/lm-model');
  const link = await chat('coder', { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'http://127.0.0.1/x.png' } }] }] });
  assert.equal(link.status, 400, await link.text());
  assert.equal(link.headers.get('drover-target'), 'north/Qwen/Qwen3-8B');
  for (const unknown of [await chat('nobody'), await drover.post(CHAT, '{')]) {
    assert.ok(unknown.status >= 400);
    assert.equal(unknown.headers.get('drover-target'), null);
  }
});

test('a multipart body is routed by its field, wherever it stands', async () => {
  const before = fakes.narrow.requests.length;
  const form = new FormData();
  form.append('file', new Blob([new Uint8Array(300000).fill(7)]), 'a.wav');
  form.append('model', 'narrow');
  const response = await drover.get('/v1/audio/transcriptions', { method: 'POST', body: form });
  await response.text();
  const got = fakes.narrow.requests.slice(before).find((r) => r.path === '/v1/audio/transcriptions');
  assert.ok(got, `the runtime was asked; Drover answered ${response.status}`);
  assert.ok(got.body.length > 300000);
});

test('a pull goes to the only Ollama, or to the endpoint that is named', async () => {
  const before = fakes.ollama.requests.length;
  const response = await drover.post('/api/pull', { model: 'new-model', stream: false });
  await response.text();
  const pull = fakes.ollama.requests.slice(before).find((r) => r.path === '/api/pull');
  assert.ok(pull, 'the runtime was asked');
  assert.equal(JSON.parse(pull.body).model, 'new-model');
  const named = await drover.post('/api/pull', { model: 'new-model', stream: false }, { headers: { 'drover-endpoint': 'nobody' } });
  assert.equal(named.status, 404);
});

test('a new endpoint in a changed file serves without a restart, a removed one stops', async () => {
  const late = await startFake('openai', { models: ['late'] });
  try {
    drover.configure({ endpoints: [...Object.values(fakes).map((f) => ({ name: f.name, url: f.url })), { name: 'late', url: late.url }] });
    drover.process.kill('SIGHUP');
    await until('the late model', async () => (await drover.modelIds()).includes('late'));
    assert.equal(await reached(await chat('late')), 'late/late');
    drover.configure();
    drover.process.kill('SIGHUP');
    await until('the late model to go', async () => !(await drover.modelIds()).includes('late'));
    assert.equal((await chat('late')).status, 404);
  } finally {
    await late.close();
  }
});

test('opaque names hide the models\' own, and last over a restart', async () => {
  const start = (dir) => startDrover({ endpoints: [{ name: 'north', url: fakes.north.url }], config: { slugs: 'opaque', ...dir } });
  let mine = await start({});
  try {
    await until('two models', async () => (await mine.modelIds()).length === 2);
    const ids = await mine.modelIds();
    for (const id of ids) assert.match(id, /^[0-9A-Za-z]{11}$/);
    const response = await mine.post(CHAT, { model: ids[0], messages: [], stream: true });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get('drover-target'), ids[0]);
    assert.ok(chatText(await allSse(response)).length > 0);
    assert.ok(!JSON.stringify(await (await mine.get('/v1/models')).json()).includes('Qwen'));
    mine.process.kill('SIGHUP');
    await sleep(300);
    assert.deepEqual(await mine.modelIds(), ids);
  } finally {
    await mine.stop();
  }
});

test('metrics count what was asked, by known names only', async () => {
  for (let i = 0; i < 5; i++) await (await chat(`invented-${i}`)).text();
  const text = await (await drover.get('/metrics')).text();
  assert.ok(!text.includes('invented-'), 'names of requests are no labels');
  assert.match(text, /drover_requests_total\{model="other".*outcome="rejected",code="404"\} \d+/);
  assert.match(text, /drover_output_tokens_total\{model="shared",runtime="vllm",source="reported"\} \d+/);
  assert.match(text, /drover_node_up\{node="north",runtime="vllm"\} 1/);
});
