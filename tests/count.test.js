// models[].context_guard with the runtime's own tokenizer: a prompt near the limit is counted by the target before it is sent there.
// Each case is a client that is served as it speaks or translated; whatever goes wrong with the count, the request goes on.
import test, { after, afterEach, before } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFake } from './fakes/index.js';
import { startDrover, startLlama, until } from './lib/drover.js';
import { rawPost } from './lib/http.js';

const ROOM = 1000; // tokens
const KEY = 'sk-runtime', dir = mkdtempSync(path.join(tmpdir(), 'count-')), KEY_FILE = path.join(dir, 'key');
const fakes = {}, asStarted = {};
let drover, llama;

/** Endpoint -> the fake behind it and more of its settings. Each has a slug g-NAME, with a guard. */
const endpoints = {
  vllm: { kind: 'vllm', options: { requireKey: KEY }, more: { key_file: KEY_FILE } },
  llamacpp: { kind: 'llamacpp', more: { priority: 1 } },
  chatonly: { kind: 'vllm', more: { dialects: ['openai-chat', 'openai-completions'] } },
  sglang: { kind: 'sglang' },
  koboldcpp: { kind: 'koboldcpp' },
  lmstudio: { kind: 'lmstudio' }, // counts nothing
  absent: { kind: 'llamacpp' },   // has no such path
  hangs: { kind: 'llamacpp' },
  roomy: { kind: 'llamacpp', context: 4000000 },
  twin: { kind: 'llamacpp', context: 1500 },
};

before(async () => {
  writeFileSync(KEY_FILE, KEY, { mode: 0o600 });
  for (const [name, e] of Object.entries(endpoints)) {
    fakes[name] = await startFake(e.kind, { models: [{ id: `m-${name}`, context: e.context ?? ROOM }], ...e.options });
    asStarted[name] = { ...fakes[name].options };
  }
  // A place of its own under a path, as behind a proxy.
  fakes.far = await startFake('llamacpp', { models: [{ id: 'm-far', context: ROOM }] });
  asStarted.far = { ...fakes.far.options };
  fakes.far.on('request', (r) => { r.path = r.path.replace(/^\/deep\/down/, ''); r.was = r.url; });
  llama = await startLlama({ context: 2048, parallel: 1 });
  const names = [...Object.keys(endpoints), 'far'];
  drover = await startDrover({
    endpoints: [...Object.entries(endpoints).map(([name, e]) => ({ name, url: fakes[name].url, kind: 'auto', ...e.more })),
      { name: 'far', url: `${fakes.far.url}/deep/down`, kind: 'llamacpp' }, { name: 'llama', url: llama.url, kind: 'auto' }],
    config: { limits: { stream: { heartbeat: '1s' } }, models: [
      ...names.map((n) => ({ slug: `g-${n}`, targets: [`${n}/m-${n}`], context_guard: true })),
      { slug: 'g-llama', targets: ['llama/tiny'], context_guard: true },
      { slug: 'free', targets: ['vllm/m-vllm'] },
      { slug: 'amended', targets: ['vllm/m-vllm'], system: 'Be brief.', context_guard: true },
      { slug: 'falls', targets: ['llamacpp/m-llamacpp'], fallback: ['g-roomy'], context_guard: true },
      { slug: 'either', targets: ['llamacpp/m-llamacpp', 'twin/m-twin'], context_guard: true },
    ] },
    models: [...names.map((n) => `g-${n}`), 'g-llama'],
  });
});
after(async () => {
  await drover?.stop();
  await llama?.stop();
  rmSync(dir, { recursive: true, force: true });
  for (const fake of Object.values(fakes)) await fake.close();
});
afterEach(() => { for (const name of Object.keys(fakes)) fakes[name].options = { ...asStarted[name] }; });

/** A text of about so many tokens by Drover's estimate. */
const text = (tokens) => 'word '.repeat(tokens * 4 / 5);
const DOUBTFUL = text(800), TOO_LONG = text(1600), SHORT = text(100);

/** API -> its path and its body. */
const apis = {
  chat: (content) => ['/v1/chat/completions', { messages: [{ role: 'user', content }] }],
  messages: (content) => ['/v1/messages', { max_tokens: 9, messages: [{ role: 'user', content }] }],
  responses: (content) => ['/v1/responses', { input: content }],
  ollama: (content) => ['/api/chat', { stream: false, messages: [{ role: 'user', content }] }],
  generate: (prompt) => ['/api/generate', { stream: false, prompt }],
  lmstudio: (input) => ['/api/v1/chat', { input }],
};
const completions = (prompt) => ['/v1/completions', { prompt }];

async function ask(model, [route, body], more = {}, options) {
  const response = await drover.post(route, { model, ...body, ...more }, options);
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** What it asked its runtime meanwhile: paths of counts and of the rest. */
async function heard(name, run) {
  const fake = fakes[name], counts = fake.counts.length, answered = fake.answered.length;
  const got = await run();
  return { ...got, counts: fake.counts.slice(counts).map((r) => r.path), answered: fake.answered.slice(answered).map((r) => r.path) };
}

const metrics = async () => (await drover.get('/metrics')).text();
const metric = async (pattern) => (await metrics()).split('\n').filter((l) => pattern.test(l)).reduce((n, l) => n + Number(l.split(' ').at(-1)), 0);

/** The refusal in each API's own envelope. */
function refused(api, got, message) {
  assert.equal(got.status, 400, `${api}: ${got.text}`);
  const body = JSON.parse(got.text), error = body.error.message ?? body.error;
  if (message instanceof RegExp) assert.match(error, message, api);
  else assert.equal(error, message, api);
  if (api === 'messages') assert.equal(body.error.type, 'invalid_request_error');
  if (api === 'chat' || api === 'responses') assert.equal(body.error.code, 'context_length_exceeded');
}

// --- the number ------------------------------------------------------------------------------------------------------

for (const name of ['vllm', 'llamacpp']) {
  for (const [api, make] of Object.entries(apis)) {
    test(`${name}, ${api}: what fits exactly is sent, and one token more is refused`, async () => {
      fakes[name].options.counted = ROOM;
      let got = await heard(name, () => ask(`g-${name}`, make(DOUBTFUL)));
      assert.equal(got.status, 200, got.text);
      assert.deepEqual(got.counts, ['/v1/messages/count_tokens']);
      assert.equal(got.answered.length, 1);
      fakes[name].options.counted = ROOM + 1;
      got = await heard(name, () => ask(`g-${name}`, make(DOUBTFUL)));
      refused(api, got, `prompt is too long: ${ROOM + 1} tokens, limit ${ROOM}`);
      assert.deepEqual([got.counts.length, got.answered.length], [1, 0]);
      assert.match(got.headers.get('drover-target'), new RegExp(`^${name}/`));
    });
  }
}

test('an estimate that is far too high does not refuse what the tokenizer says fits', async () => {
  fakes.vllm.options.counted = 900;
  const got = await heard('vllm', () => ask('g-vllm', apis.chat(TOO_LONG)));
  assert.equal(got.status, 200, got.text);
  assert.equal(got.counts.length, 1);
});

test('what surely fits, and what no slug guards, is not counted', async () => {
  for (const [model, content] of [['g-vllm', SHORT], ['free', DOUBTFUL], ['free', TOO_LONG]]) {
    const got = await heard('vllm', () => ask(model, apis.chat(content)));
    assert.deepEqual([got.status, got.counts.length, got.answered.length], [200, 0, 1], model);
  }
});

test('embeddings have no counter and go by the estimate', async () => {
  let got = await heard('vllm', () => ask('g-vllm', ['/v1/embeddings', { input: DOUBTFUL }]));
  assert.deepEqual([got.status, got.counts.length], [200, 0]);
  got = await heard('vllm', () => ask('g-vllm', ['/v1/embeddings', { input: TOO_LONG }]));
  assert.deepEqual([got.status, got.counts.length, got.answered.length], [400, 0, 0]);
});

// --- what the runtime is asked -----------------------------------------------------------------------------------------

test('the count holds the prompt as it will be sent, and nothing that does not add to it', async () => {
  fakes.vllm.options.counted = 900;
  const tools = [{ type: 'function', function: { name: 'paint', description: 'Paints', parameters: { type: 'object', properties: {} } } }];
  const body = { messages: [{ role: 'system', content: 'You paint.' }, { role: 'user', content: DOUBTFUL }], tools, max_tokens: 7, temperature: 1.5,
    stop: ['x'], seed: 4, logit_bias: { 5: 1 }, stream: true, user: 'u' };
  const got = await heard('vllm', () => ask('amended', ['/v1/chat/completions', body], {}, { headers: { authorization: 'Bearer of-the-client', 'x-mine': 'y' } }));
  assert.equal(got.status, 200, got.text);
  const count = fakes.vllm.counts.at(-1), sent = JSON.parse(count.body);
  assert.deepEqual(Object.keys(sent).sort(), ['messages', 'model', 'system', 'tools']);
  assert.equal(sent.model, 'm-vllm');
  assert.equal(sent.system, 'Be brief.\n\nYou paint.');
  assert.equal(sent.tools[0].name, 'paint');
  assert.deepEqual([sent.messages[0].content].flat().map((c) => c.text ?? c).join(''), DOUBTFUL);
  assert.equal(count.headers.authorization, `Bearer ${KEY}`);
  assert.equal(count.headers.host, new URL(fakes.vllm.url).host);
  assert.equal(count.headers['content-type'], 'application/json');
  assert.equal(count.headers['x-mine'], undefined);
  assert.equal(Number(count.headers['content-length']), count.body.length);
});

test("the endpoint's base path stands in front", async () => {
  fakes.far.options.counted = ROOM + 5;
  const got = await heard('far', () => ask('g-far', apis.chat(DOUBTFUL)));
  refused('chat', got, `prompt is too long: ${ROOM + 5} tokens, limit ${ROOM}`);
  assert.equal(fakes.far.counts.at(-1).was, '/deep/down/v1/messages/count_tokens');
});

for (const [name, make, way] of [['chatonly', apis.chat, '/tokenize'], ['chatonly', apis.messages, '/tokenize'], ['chatonly', completions, '/tokenize'], ['vllm', completions, '/tokenize'],
  ['sglang', completions, '/tokenize'], ['sglang', apis.chat, '/v1/messages/count_tokens'], ['koboldcpp', completions, '/api/extra/tokencount']]) {
  test(`${name}, ${make('')[0]}: counted by ${way}`, async () => {
    fakes[name].options.counted = ROOM;
    let got = await heard(name, () => ask(`g-${name}`, make(DOUBTFUL)));
    assert.deepEqual([got.status, got.counts, got.answered.length], [200, [way], 1], got.text);
    const sent = JSON.parse(fakes[name].counts.at(-1).body);
    assert.ok(make === completions ? sent.prompt === DOUBTFUL : sent.messages);
    fakes[name].options.counted = ROOM + 1;
    got = await heard(name, () => ask(`g-${name}`, make(DOUBTFUL)));
    refused('', got, `prompt is too long: ${ROOM + 1} tokens, limit ${ROOM}`);
    assert.equal(got.answered.length, 0);
  });
}

test('a runtime without a tokenizer path is not asked', async () => {
  let got = await heard('lmstudio', () => ask('g-lmstudio', apis.chat(DOUBTFUL)));
  assert.deepEqual([got.status, got.counts.length, got.answered.length], [200, 0, 1]);
  got = await heard('lmstudio', () => ask('g-lmstudio', apis.chat(TOO_LONG)));
  refused('chat', got, /^prompt is too long: about \d+ tokens \(estimated\), limit 1000$/);
  got = await heard('koboldcpp', () => ask('g-koboldcpp', apis.chat(DOUBTFUL))); // counts bare prompts only
  assert.deepEqual([got.status, got.counts.length, got.answered.length], [200, 0, 1]);
});

test('a real llama-server says how long a prompt is', async () => {
  const content = 'Say something. '.repeat(400), LIMIT = 2048;
  const messages = [{ role: 'user', content }];
  const own = await (await fetch(`${llama.url}/v1/messages/count_tokens`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ model: 'tiny', messages }) })).json();
  assert.ok(own.input_tokens > LIMIT, `${own.input_tokens}`);
  for (const api of ['chat', 'messages', 'ollama']) refused(api, await ask('g-llama', apis[api](content)), `prompt is too long: ${own.input_tokens} tokens, limit ${LIMIT}`);
});

test('a link to what only the runtime can reach does not go there with a count either', async () => {
  const content = [{ type: 'text', text: text(300) }, { type: 'image_url', image_url: { url: 'http://192.168.0.1/x.png' } }]; // a picture is 600 tokens by the estimate
  const got = await heard('vllm', () => ask('g-vllm', apis.chat(content)));
  assert.deepEqual([got.status, got.counts.length, got.answered.length], [400, 0, 0], got.text);
  assert.match(got.text, /private or local host/);
});

// --- trouble ------------------------------------------------------------------------------------------------------------

const say = (body) => (request, response) => response.whole(200, 'application/json', body);
const troubles = {
  'an error status': (request, response) => response.json(500, { error: { message: 'no' } }),
  'a refusal': (request, response) => response.json(400, { error: { message: 'no' } }),
  'being asked to wait': (request, response) => response.json(429, { error: { message: 'later' } }, { 'Retry-After': '30' }),
  'a redirect': (request, response) => response.json(302, {}, { Location: '/elsewhere' }),
  'no JSON': say('twelve'),
  'half a JSON': say('{"input_tokens":12'),
  'nothing': say(''),
  'another member': say('{"tokens":12}'),
  'an array': say('[12]'),
  'text': say('{"input_tokens":"12"}'),
  'a fraction': say('{"input_tokens":12.5}'),
  'zero': say('{"input_tokens":0}'),
  'a negative number': say('{"input_tokens":-12}'),
  'a huge number': say('{"input_tokens":9007199254740991}'),
  'one that no machine can hold': say('{"input_tokens":1e400}'),
  'more tokens than bytes': say('{"input_tokens":100000}'),
  'a closed connection': (request, response) => response.socket.destroy(),
  'a reset in its reply': async (request, response) => { await response.head(200, {}, 100); await response.raw('{"input'); response.socket.resetAndDestroy(); },
};
for (const [what, count] of Object.entries(troubles)) {
  test(`${what} instead of a count: the estimate decides`, async () => {
    const failed = await metric(/^drover_upstream_attempts_total\{.*node="llamacpp".*reason="(?!ok)/);
    fakes.llamacpp.options.count = count;
    let got = await heard('llamacpp', () => ask('g-llamacpp', apis.messages(DOUBTFUL)));
    assert.deepEqual([got.status, got.counts.length, got.answered.length], [200, 1, 1], got.text);
    got = await heard('llamacpp', () => ask('g-llamacpp', apis.messages(TOO_LONG)));
    refused('messages', got, /^prompt is too long: about \d+ tokens \(estimated\), limit 1000$/);
    assert.deepEqual([got.counts.length, got.answered.length], [1, 0]);
    assert.equal(await metric(/^drover_upstream_attempts_total\{.*node="llamacpp".*reason="(?!ok)/), failed, 'it spoke against the place');
    assert.equal((await ask('g-llamacpp', apis.chat(SHORT))).status, 200);
  });
}

test('a runtime that has no such path is not asked again for a while', async () => {
  fakes.absent.options.count = (request, response) => response.json(404, { error: { message: 'File Not Found' } });
  let got = await heard('absent', () => ask('g-absent', apis.chat(DOUBTFUL)));
  assert.deepEqual([got.status, got.counts.length, got.answered.length], [200, 1, 1]);
  got = await heard('absent', () => ask('g-absent', apis.chat(DOUBTFUL)));
  assert.deepEqual([got.status, got.counts.length, got.answered.length], [200, 0, 1]);
});

test('a runtime that does not answer is not waited for, and then not asked for a while', async () => {
  fakes.hangs.options.count = () => {};
  const began = performance.now();
  let got = await heard('hangs', () => ask('g-hangs', apis.chat(DOUBTFUL)));
  const took = performance.now() - began;
  assert.deepEqual([got.status, got.counts.length, got.answered.length], [200, 1, 1], got.text);
  assert.ok(took > 3000 && took < 7000, `${took} ms`);
  await fakes.hangs.closed(fakes.hangs.counts.at(-1));
  got = await heard('hangs', () => ask('g-hangs', apis.chat(TOO_LONG)));
  refused('chat', got, /about \d+ tokens \(estimated\)/);
  assert.equal(got.counts.length, 0);
});

test('gateway.deadline ends a request that is still being counted', async () => {
  const slow = await startFake('llamacpp', { models: [{ id: 'm', context: ROOM }], count: () => {} });
  const hasty = await startDrover({ endpoints: [{ name: 'slow', url: slow.url, kind: 'auto' }], models: ['guarded'],
    config: { gateway: { deadline: '1s' }, models: [{ slug: 'guarded', targets: ['slow/m'], context_guard: true }] } });
  try {
    const [route, body] = apis.chat(DOUBTFUL), response = await hasty.post(route, { model: 'guarded', ...body });
    assert.equal(response.status, 504);
    assert.match(await response.text(), /no answer within gateway\.deadline/);
    await slow.closed(slow.counts.at(-1));
    assert.equal(slow.answered.length, 0);
    const left = rawPost(hasty.port, route, JSON.stringify({ model: 'guarded', ...body })); // and it can be stopped meanwhile
    await until('the second count', () => slow.counts.length === 2);
    left.on('error', () => {});
  } finally {
    await hasty.stop();
    await slow.close();
  }
});

// --- clients ------------------------------------------------------------------------------------------------------------

test('a client that leaves takes the count with it', async () => {
  const fake = fakes.llamacpp, answered = fake.answered.length, counts = fake.counts.length;
  fake.options.count = () => {};
  const [route, body] = apis.chat(DOUBTFUL);
  const socket = rawPost(drover.port, route, JSON.stringify({ model: 'g-llamacpp', ...body }));
  await until('the count', () => fake.counts.length > counts);
  const count = fake.counts.at(-1), left = performance.now();
  socket.destroy();
  assert.ok(await fake.closed(count) - left < 1000);
  await until('nothing under way', async () => await metric(/^drover_requests_in_flight/) === 0);
  await sleep(100);
  assert.equal(fake.answered.length, answered);
  fake.options = { ...asStarted.llamacpp };
  const got = await heard('llamacpp', () => ask('g-llamacpp', apis.chat(DOUBTFUL)));
  assert.deepEqual([got.status, got.counts.length], [200, 1], 'it was not the fault of the place');
  assert.ok(await metric(/^drover_upstream_attempts_total\{.*node="llamacpp".*reason="ok/) > 0);
});

for (const [api, pings] of [['chat', /^: /m], ['messages', /^event: ping$/m]]) {
  test(`${api}: a stream is kept alive while its prompt is counted`, async () => {
    const later = (n) => async (request, response) => { await sleep(2500); return response.json(200, { input_tokens: n }); };
    fakes.llamacpp.options.count = later(ROOM);
    let got = await heard('llamacpp', () => ask('g-llamacpp', apis[api](DOUBTFUL), { stream: true }));
    assert.equal(got.status, 200);
    assert.match(got.text, pings);
    assert.match(got.text, api === 'chat' ? /\[DONE\]/ : /message_stop/);
    fakes.llamacpp.options.count = later(ROOM + 1);
    got = await heard('llamacpp', () => ask('g-llamacpp', apis[api](DOUBTFUL), { stream: true }));
    assert.equal(got.status, 200);
    assert.match(got.text, pings);
    assert.match(got.text, new RegExp(`"message":"prompt is too long: ${ROOM + 1} tokens, limit ${ROOM}"`));
    assert.doesNotMatch(got.text, /message_stop|"finish_reason":"stop"/);
    assert.equal(got.answered.length, 0);
  });
}

test('a prompt that is too long is the client\'s mistake: no fallback is tried', async () => {
  fakes.llamacpp.options.counted = ROOM + 1;
  const roomy = fakes.roomy.inferences.length;
  refused('chat', await ask('falls', apis.chat(DOUBTFUL)), `prompt is too long: ${ROOM + 1} tokens, limit ${ROOM}`);
  assert.equal(fakes.roomy.inferences.length, roomy);
});

test('another target is asked for its own count', async () => {
  fakes.llamacpp.options.counted = 900; // and then it fails
  fakes.twin.options.counted = 1501;
  fakes.llamacpp.options.answer = (request, response) => (/count/.test(request.path) ? response.json(200, { input_tokens: 900 }) : response.json(503, {}));
  const twin = fakes.twin.counts.length, got = await heard('llamacpp', () => ask('either', apis.chat(DOUBTFUL)));
  assert.deepEqual([got.counts.length, got.answered.length], [1, 1]);
  refused('chat', got, 'prompt is too long: 1501 tokens, limit 1500');
  assert.equal(fakes.twin.counts.length - twin, 1);
});

test('a prompt of many megabytes is counted and sent whole', async () => {
  const content = text(2400000), of = (r) => [JSON.parse(r.body).messages[0].content].flat().map((c) => c.text ?? c).join('').length;
  fakes.roomy.options.counted = 2000000;
  const got = await heard('roomy', () => ask('g-roomy', apis.responses(content)));
  assert.deepEqual([got.status, got.counts.length, got.answered.length], [200, 1, 1], got.text);
  assert.deepEqual([of(fakes.roomy.counts.at(-1)), of(fakes.roomy.answered.at(-1))], [content.length, content.length]);
});

test('where the runtime reports nothing, the count is what is metered', async () => {
  fakes.llamacpp.options.counted = 777;
  const counted = () => metric(/^drover_input_tokens_total\{.*model="g-llamacpp".*source="counted"/);
  const was = await counted();
  fakes.llamacpp.options.endAfter = 2; // its usage never comes
  await ask('g-llamacpp', apis.chat(DOUBTFUL), { stream: true });
  await until('the record', async () => await counted() === was + 777, 5000);
});
