// What a client sends to a runtime that speaks its dialect arrives as it was sent, and what the runtime answers comes
// back as it came, at once; failures are said out loud.
import test, { after, before, beforeEach } from 'node:test';
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFake } from './fakes/index.js';
import { freePort, startDrover, until } from './lib/drover.js';
import { allSse, chatText, rawPost, sse } from './lib/http.js';

const MODEL = 'Qwen/Qwen3-8B', CHAT = '/v1/chat/completions', STALL_MS = 1000;
const fakes = {};
let drover;

before(async () => {
  fakes.vllm = await startFake('vllm', { models: [MODEL] });
  fakes.ollama = await startFake('ollama', { models: ['qwen3:latest'] });
  fakes.kobold = await startFake('koboldcpp', { models: ['koboldcpp/old'] });
  fakes.plain = await startFake('openai', { models: ['plain'] });
  fakes.first = await startFake('openai', { models: ['twice'] });
  fakes.second = await startFake('openai', { models: ['twice'] });
  fakes.strictly = await startFake('openai', { models: ['strictly'] });
  fakes.keyed = await startFake('vllm', { models: ['keyed'], requireKey: 'sk-upstream' });
  for (const [name, fake] of Object.entries(fakes)) fake.name = name;
  drover = await startDrover({
    endpoints: Object.values(fakes).filter((f) => f !== fakes.keyed),
    config: { gateway: { stall_timeout: `${STALL_MS}ms`, retry_max: 2 }, models: [{ slug: 'coder', targets: [`vllm/${MODEL}`] }] },
    models: [MODEL, 'coder', 'plain', 'twice', 'koboldcpp/old', 'strictly'],
  });
});
after(async () => {
  await drover?.stop();
  for (const fake of Object.values(fakes)) await fake.close();
});

// Each test starts from well-behaved fakes.
const FAULTS = ['delayMs', 'firstDelayMs', 'chunkSize', 'burst', 'noDone', 'resetAfter', 'stallAfter', 'endAfter', 'errorAfter', 'failWith', 'failTimes',
  'contentLengthLie', 'preface', 'answer', 'keepAliveComments'];
beforeEach(() => { for (const fake of Object.values(fakes)) for (const fault of FAULTS) delete fake.options[fault]; });

const ask = (more) => ({ model: MODEL, messages: [{ role: 'user', content: 'hi' }], ...more });
const lastBody = (fake) => fake.inferences.at(-1).body.toString();

// --- requests -------------------------------------------------------------------------------------------------------

test('a body is passed on byte for byte, whatever it looks like', async () => {
  const bodies = [
    `{ "messages" : [{"role":"user","content":"\\u00e9\\ud83d\\ude00 \\/ é😀"}],\n\t"model":"${MODEL}" , "temperature":1e-1,"seed":12345678901234567890, "x_unknown":{"a":[1,2,{"model":"inner"}]} }`,
    `\r\n{"model":"${MODEL.replace('/', '\\/')}","messages":[],"stop":["\\"model\\":\\"x\\""]}`,
    JSON.stringify({ messages: [{ role: 'user', content: 'x'.repeat(256 * 1024) }], model: MODEL }),
    JSON.stringify({ model: MODEL, messages: [{ role: 'user', content: '"model":"no" \\ '.repeat(20000) }] }),
  ];
  for (const body of bodies) {
    const response = await drover.post(CHAT, body);
    assert.equal(response.status, 200, await response.clone().text());
    assert.equal(lastBody(fakes.vllm), body);
  }
});

test('only the model id is patched for an alias', async () => {
  for (const body of [`{"messages":[{"role":"user","content":"coder"}],  "model" : "coder", "n":1}`, `{"model":"coder","messages":[]}`]) {
    const response = await drover.post(CHAT, body);
    assert.equal(response.status, 200);
    assert.equal(lastBody(fakes.vllm), body.replace(/("model" ?: ?)"coder"/, `$1"${MODEL}"`));
  }
});

test('a chunked request body arrives whole', async () => {
  const body = JSON.stringify(ask({ messages: [{ role: 'user', content: 'y'.repeat(100000) }] }));
  const status = await new Promise((go, fail) => {
    const request = http.request(drover.url + CHAT, { method: 'POST', headers: { 'Content-Type': 'application/json' } }, (r) => {
      r.resume();
      r.on('end', () => go(r.statusCode));
    });
    request.on('error', fail);
    for (let i = 0; i < body.length; i += 7777) request.write(body.slice(i, i + 7777));
    request.end();
  });
  assert.equal(status, 200);
  assert.equal(lastBody(fakes.vllm), body);
});

test('the usage switch is added to a stream, and nothing else', async () => {
  const { stream_options, ...rest } = (await drover.post(CHAT, ask({ stream: true, top_k: 3 })).then((r) => r.text()), JSON.parse(lastBody(fakes.vllm)));
  assert.equal(stream_options.include_usage, true);
  assert.deepEqual(rest, ask({ stream: true, top_k: 3 }));
  await drover.post(CHAT, ask({ stream: true, stream_options: { include_usage: false, x: 1 } })).then((r) => r.text());
  assert.deepEqual(JSON.parse(lastBody(fakes.vllm)).stream_options, { include_usage: true, x: 1 });
  const asked = JSON.stringify(ask({ stream: true, stream_options: { include_usage: true } }));
  await drover.post(CHAT, asked).then((r) => r.text());
  assert.equal(lastBody(fakes.vllm), asked);
});

test('headers that matter go along, those of the hop do not', async () => {
  await drover.post(CHAT, ask(), { headers: { 'X-Session-Id': 'abc', traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    Origin: drover.url } }).then((r) => r.text());
  const { headers } = fakes.vllm.inferences.at(-1);
  assert.equal(headers.host, `127.0.0.1:${fakes.vllm.port}`);
  assert.match(headers.traceparent, /^00-0af7651916cd43dd8448eb211c80319c-/);
  assert.equal(headers.origin, undefined);
  assert.match(headers['accept-encoding'] ?? 'identity', /^identity$/);
});

test("an endpoint's key is sent to it, and shown to nobody", async () => {
  const mine = await startDrover({ endpoints: [] });
  try {
    writeFileSync(path.join(mine.dir, 'keyed.key'), 'sk-upstream\n', { mode: 0o600 });
    mine.configure({ log: { level: 'debug' }, endpoints: [{ name: 'keyed', url: fakes.keyed.url, kind: 'auto', key_file: 'keyed.key' }] });
    mine.process.kill('SIGHUP');
    await until('the model', async () => (await mine.modelIds()).includes('keyed'), 30000);
    const response = await mine.post(CHAT, { model: 'keyed', messages: [] }, { headers: { Authorization: 'Bearer sk-client' } });
    assert.equal(response.status, 200);
    assert.equal(fakes.keyed.inferences.at(-1).headers.authorization, 'Bearer sk-upstream');
    assert.ok(!(await mine.cli('endpoints', '--json')).stdout.includes('sk-upstream'));
    assert.ok(!(await mine.cli('config', 'show')).stdout.includes('sk-upstream'));
    assert.ok(!mine.log.includes('sk-upstream'));
  } finally {
    await mine.stop();
  }
});

// --- answers --------------------------------------------------------------------------------------------------------

/** The faults that tests provoke open the breaker of a fake: waits until it is trusted again. */
const trusted = (model = MODEL) => until(`${model} to be trusted again`, async () => {
  const response = await drover.post(CHAT, { model, messages: [] });
  await response.text();
  return response.status === 200;
}, 90000, 200);

const straight = (fake, route, body) => fetch(fake.url + route, { method: 'POST', body: JSON.stringify(body) }).then((r) => r.text());

const natives = [
  ['chat', 'vllm', CHAT, ask()],
  ['chat stream', 'vllm', CHAT, ask({ stream: true, stream_options: { include_usage: true } })],
  ['completions stream', 'vllm', '/v1/completions', { model: MODEL, prompt: 'x', stream: true, stream_options: { include_usage: true } }],
  ['responses', 'vllm', '/v1/responses', { model: MODEL, input: 'x' }],
  ['responses stream', 'vllm', '/v1/responses', { model: MODEL, input: 'x', stream: true }],
  ['embeddings', 'vllm', '/v1/embeddings', { model: MODEL, input: ['a', 'b'] }],
  ['messages', 'vllm', '/v1/messages', { model: MODEL, max_tokens: 9, messages: [] }],
  ['messages stream', 'vllm', '/v1/messages', { model: MODEL, max_tokens: 9, messages: [], stream: true }],
  ['count_tokens', 'vllm', '/v1/messages/count_tokens', { model: MODEL, messages: [] }],
  ['ollama chat', 'ollama', '/api/chat', { model: 'qwen3:latest', messages: [], stream: false }],
  ['ollama chat stream', 'ollama', '/api/chat', { model: 'qwen3:latest', messages: [] }],
  ['ollama generate stream', 'ollama', '/api/generate', { model: 'qwen3:latest', prompt: 'x' }],
  ['ollama embed', 'ollama', '/api/embed', { model: 'qwen3:latest', input: 'x' }],
  ['chat stream over HTTP/1.0', 'kobold', CHAT, { model: 'koboldcpp/old', messages: [], stream: true, stream_options: { include_usage: true } }],
];
for (const [label, name, route, body] of natives)
  test(`${label}: the answer is the runtime's own, in pieces of any size`, async () => {
    const wanted = await straight(fakes[name], route, body);
    for (const fault of [{}, { chunkSize: 1 }, { burst: true }]) {
      Object.assign(fakes[name].options, { chunkSize: undefined, burst: undefined }, fault);
      const response = await drover.post(route, body);
      assert.equal(response.status, 200);
      assert.equal(await response.text(), wanted, JSON.stringify(fault));
    }
  });

test("Ollama's `name` is `name:latest`", async () => {
  const response = await drover.post('/api/chat', { model: 'qwen3', messages: [], stream: false });
  assert.equal(response.status, 200);
});

test('the usage chunk that nobody asked for is taken out again', async () => {
  for (const fault of [{}, { chunkSize: 1 }, { burst: true }]) {
    Object.assign(fakes.vllm.options, { chunkSize: undefined, burst: undefined }, fault);
    const events = await allSse(await drover.post(CHAT, ask({ stream: true })));
    assert.equal(chatText(events), 'Hello, world.');
    assert.deepEqual(events.filter((e) => e.data !== '[DONE]' && JSON.parse(e.data).choices.length === 0), []);
    assert.equal(events.at(-1).data, '[DONE]');
    assert.deepEqual(events.filter((e) => e.rest), []);
  }
});

test('a runtime that refuses the usage switch is asked once more without it, and from then on without', async () => {
  const seen = [];
  fakes.strictly.options.answer = (request, response) => {
    const body = JSON.parse(request.body);
    seen.push('stream_options' in body);
    if (seen.at(-1)) return response.json(422, { detail: [{ loc: ['body', 'stream_options'], msg: 'extra fields not permitted' }] });
    return response.text(200, 'data: {"choices":[{"index":0,"delta":{"content":"well"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
      { 'Content-Type': 'text/event-stream' });
  };
  const talk = () => drover.post(CHAT, { model: 'strictly', messages: [{ role: 'user', content: 'hi' }], stream: true });
  assert.equal(chatText(await allSse(await talk())), 'well');
  assert.equal(chatText(await allSse(await talk())), 'well');
  assert.deepEqual(seen, [true, false, false]);
  const asked = await drover.post(CHAT, { model: 'strictly', messages: [], stream: true, stream_options: { include_usage: true } });
  assert.equal(asked.status, 422, 'what the client itself asks for is the client\'s to hear of');
  const messages = await drover.post('/v1/messages', { model: 'strictly', max_tokens: 9, messages: [{ role: 'user', content: 'hi' }], stream: true });
  assert.equal(messages.status, 200, 'translated, too');
  assert.match(await messages.text(), /well/);
});

test('another refusal of a stream comes back as it was, long or short', async () => {
  for (const message of ['no', 'x'.repeat(40000)]) {
    fakes.vllm.options.failWith = { status: 400, body: { error: { message } } };
    const response = await drover.post(CHAT, ask({ stream: true }));
    assert.equal(response.status, 400);
    assert.deepEqual(await response.json(), { error: { message } });
  }
});

test('deltas are not held back', async () => {
  fakes.vllm.options.delayMs = 80;
  const events = [];
  for await (const e of sse(await drover.post(CHAT, ask({ stream: true })))) if (e.data !== '[DONE]' && JSON.parse(e.data).choices[0]?.delta.content) events.push(e);
  assert.equal(events.length, 5);
  for (let i = 1; i < events.length; i++) assert.ok(events[i].at - events[i - 1].at > 40, `delta ${i} came with the one before`);
});

test('comments of the runtime come through, and the stream after them', async () => {
  fakes.vllm.options.keepAliveComments = 3;
  const events = await allSse(await drover.post(CHAT, ask({ stream: true })));
  assert.equal(chatText(events), 'Hello, world.');
});

test('a stream that lacks [DONE] after its finish reason gets exactly one', async () => {
  fakes.vllm.options.noDone = true;
  const events = await allSse(await drover.post(CHAT, ask({ stream: true })));
  assert.equal(events.filter((e) => e.data === '[DONE]').length, 1);
  assert.equal(chatText(events), 'Hello, world.');
});

test('a stream is complete with its last event, whatever the runtime does with its connection then', async () => {
  const chat = (await straight(fakes.vllm, CHAT, ask({ stream: true }))), lines = await straight(fakes.ollama, '/api/chat', { model: 'qwen3:latest', messages: [] });
  const messages = await straight(fakes.vllm, '/v1/messages', { model: MODEL, max_tokens: 9, messages: [], stream: true });
  const responses = await straight(fakes.vllm, '/v1/responses', { model: MODEL, input: 'x', stream: true });
  const metric = async () => Number((await (await drover.get('/metrics')).text()).match(/^drover_requests_total\{.*outcome="upstream_error".*\} (\d+)$/gm)?.reduce((sum, row) => sum + Number(row.split(' ').pop()), 0) ?? 0);
  const failed = await metric();
  const ends = { 'leaves it open': () => {}, 'resets it': (response) => response.socket.resetAndDestroy(), 'talks on': async (response) => { await sleep(30); await response.piece('data: {"more":1}\n\n'); } };
  for (const [how, end] of Object.entries(ends))
    for (const [name, type, text, route, body] of [['vllm', 'text/event-stream', chat, CHAT, ask({ stream: true })], ['ollama', 'application/x-ndjson', lines, '/api/chat', { model: 'qwen3:latest', messages: [] }],
      ['vllm', 'text/event-stream', messages, '/v1/messages', { model: MODEL, max_tokens: 9, messages: [], stream: true }], ['vllm', 'text/event-stream', responses, '/v1/responses', { model: MODEL, input: 'x', stream: true }],
      ['plain', 'text/event-stream', chat, '/v1/messages', { model: 'plain', max_tokens: 9, messages: [{ role: 'user', content: 'x' }], stream: true }]]) {
      fakes[name].options.answer = async (request, response) => {
        await response.head(200, { 'Content-Type': type });
        await response.piece(text);
        await sleep(30);
        await end(response);
      };
      const at = performance.now(), got = await (await drover.post(route, body)).text();
      if (name === 'plain') assert.match(got, /event: message_stop\n.*\n\n$/, how);
      else assert.equal(got, text, `${how}: ${route}`);
      assert.ok(performance.now() - at < STALL_MS - 200, `${how}: ${route} took ${performance.now() - at} ms`);
    }
  assert.equal(await metric(), failed);
});

for (const [label, fault] of [['is reset', { resetAfter: 2 }], ['ends early', { endAfter: 2 }], ['stalls', { stallAfter: 2 }]]) {
  test(`a chat stream that ${label} ends with an error, never as if complete`, async () => {
    Object.assign(fakes.vllm.options, fault);
    const events = await allSse(await drover.post(CHAT, ask({ stream: true })));
    assert.equal(chatText(events), 'Hello');
    assert.ok(events.some((e) => e.data && e.data !== '[DONE]' && JSON.parse(e.data).error?.message), JSON.stringify(events));
    if (fault.stallAfter) await fakes.vllm.closed(fakes.vllm.inferences.at(-1), 2000);
  });

  test(`a messages stream that ${label} ends with an error event`, async () => {
    assert.equal((await drover.post(CHAT, ask())).status, 200); // or five failures in a row would open the breaker
    Object.assign(fakes.vllm.options, fault);
    const events = await allSse(await drover.post('/v1/messages', { model: MODEL, max_tokens: 9, messages: [], stream: true }));
    assert.equal(events.at(-1).event, 'error', JSON.stringify(events));
    assert.ok(!events.some((e) => e.event === 'message_stop'));
  });

  test(`an Ollama stream that ${label} ends with an error line`, async () => {
    Object.assign(fakes.ollama.options, fault);
    const lines = (await (await drover.post('/api/chat', { model: 'qwen3:latest', messages: [] })).text()).trim().split('\n').map((l) => JSON.parse(l));
    assert.equal(typeof lines.at(-1).error, 'string');
    assert.ok(!lines.some((l) => l.done));
  });
}

test('after keep-alives a refusal is told in the stream, and a whole answer becomes one where it is translated', async () => {
  const slow = await startFake('openai', { models: ['slow'] });
  const mine = await startDrover({ endpoints: [{ name: 'slow', url: slow.url, dialects: ['openai-chat'] }], config: { limits: { stream: { heartbeat: '1s' } } }, models: ['slow'] });
  const messages = [{ role: 'user', content: 'x' }];
  const bodies = { '/v1/messages': { model: 'slow', max_tokens: 4, messages, stream: true }, [CHAT]: { model: 'slow', messages, stream: true }, '/v1/responses': { model: 'slow', input: 'x', stream: true } };
  const both = (answer) => {
    slow.options.answer = async (request, response) => { await sleep(1300); await answer(response); };
    return Promise.all(Object.entries(bodies).map(async ([route, body]) => {
      const response = await mine.post(route, body);
      return [route, response.status, await response.text()];
    }));
  };
  try {
    const words = "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.";
    for (const [route, status, text] of await both((r) => r.json(400, { error: { message: words, type: 'invalid_request_error', code: 'context_length_exceeded' } }))) {
      assert.equal(status, 200, route);
      assert.match(text, /^(: |event: ping)/, route); // keep-alives
      assert.ok(text.includes(`prompt is too long: ${words}`), text);
      assert.match(text, route === '/v1/messages' ? /invalid_request_error/ : /context_length_exceeded/);
    }
    const whole = { id: 'c', object: 'chat.completion', created: 1, model: 'slow', choices: [{ index: 0, message: { role: 'assistant', content: 'the whole' }, finish_reason: 'stop' }], usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 } };
    for (const [route, status, text] of await both((r) => r.json(200, whole))) {
      assert.equal(status, 200, route);
      if (route === CHAT) assert.match(text, /answered 200 instead of a stream/);
      else assert.match(text, /the whole[^]*(message_stop|response\.completed)/, route);
    }
    const metrics = await (await mine.get('/metrics')).text();
    assert.equal([...metrics.matchAll(/^drover_requests_total\{.*outcome="(\w+)".*\} (\d+)$/gm)].map(([, outcome, n]) => `${outcome} ${n}`).sort().join(), 'client_error 1,client_error 2,ok 1,ok 1,upstream_error 1');
  } finally {
    await mine.stop();
    await slow.close();
  }
});

test("a runtime's 4xx is a client_error, translated or not, and no failure of its own", async () => {
  const count = async () => [...(await (await drover.get('/metrics')).text()).matchAll(/^drover_requests_total\{.*outcome="client_error".*\} (\d+)$/gm)].reduce((sum, row) => sum + Number(row[1]), 0);
  for (const status of [400, 404, 413, 422])
    for (const [route, body] of [[CHAT, { model: 'plain', messages: [] }], ['/v1/messages', { model: 'plain', max_tokens: 4, messages: [{ role: 'user', content: 'x' }] }]]) {
      const before = await count();
      fakes.plain.options.failWith = { status, body: { error: { message: 'yours' } } };
      await (await drover.post(route, body)).text();
      assert.equal(await count(), before + 1, `${route} ${status}`);
    }
});

// --- failures -------------------------------------------------------------------------------------------------------

test("a runtime's refusal comes back as it was", async () => {
  await trusted();
  const body = { error: { message: 'too long: maximum context length', type: 'BadRequestError', param: null, code: 400 } };
  fakes.vllm.options.failWith = { status: 400, body };
  const before = fakes.vllm.inferences.length;
  const response = await drover.post(CHAT, ask({ stream: true }));
  assert.equal(response.status, 400);
  assert.deepEqual(await response.json(), body);
  assert.equal(fakes.vllm.inferences.length, before + 1, 'a 400 is not retried');
});

test('refusals are no failures: after any number of them the endpoint is trusted', async () => {
  fakes.plain.options.failWith = 400;
  for (const end = performance.now() + 1500; performance.now() < end; await sleep(50)) // until the breaker has looked, too
    assert.equal((await drover.post(CHAT, { model: 'plain', messages: [] })).status, 400);
  delete fakes.plain.options.failWith;
  assert.equal((await drover.post(CHAT, { model: 'plain', messages: [] })).status, 200);
  assert.match(await (await drover.get('/metrics')).text(), /drover_node_breaker\{node="plain"[^}]*\} 0/);
});

test('the next candidate is tried while the client has seen nothing', async () => {
  for (const status of [502, 503, 504]) {
    fakes.first.options.failWith = status;
    for (let i = 0; i < 4; i++) {
      const response = await drover.post(CHAT, { model: 'twice', messages: [], stream: i % 2 === 0 });
      assert.equal(response.status, 200, `after ${status}`);
      assert.match(response.headers.get('drover-target'), /second/);
      await response.text();
    }
  }
});

test('a reset before the first byte is tried elsewhere', async () => {
  await until('the first to be tried again', async () => { // its breaker may be open from the failures above
    fakes.first.options.answer = (request, response) => response.socket.resetAndDestroy();
    const count = fakes.first.inferences.length;
    const response = await drover.post(CHAT, { model: 'twice', messages: [] });
    assert.equal(response.status, 200);
    await response.text();
    return fakes.first.inferences.length > count;
  }, 60000, 100);
});

test('when every candidate fails, the client is told', async () => {
  fakes.plain.options.failWith = 503;
  const response = await drover.post(CHAT, { model: 'plain', messages: [] });
  assert.ok([502, 503].includes(response.status), String(response.status));
  assert.equal(typeof (await response.json()).error.message, 'string');
});

test('what no target can be translated to is refused by name, in that dialect', async () => {
  const mine = await startFake('tei', { models: ['vectors-only'] });
  const other = await startDrover({ endpoints: [mine], models: ['vectors-only'] });
  try {
    const messages = await other.post('/v1/messages', { model: 'vectors-only', max_tokens: 1, messages: [{ role: 'user', content: 'x' }] });
    assert.equal(messages.status, 501);
    assert.equal((await messages.json()).type, 'error');
    const ollama = await other.post('/api/chat', { model: 'vectors-only', messages: [{ role: 'user', content: 'x' }] });
    assert.equal(ollama.status, 501);
    assert.equal(typeof (await ollama.json()).error, 'string');
    assert.equal(mine.inferences.length, 0);
  } finally {
    await other.stop();
    await mine.close();
  }
});

test('an endpoint that is not there is down, and its models are not offered', async () => {
  const mine = await startDrover({ endpoints: [{ name: 'nobody', url: `http://127.0.0.1:${await freePort()}`, kind: 'vllm' }] });
  try {
    await until('the state down', async () => (await mine.cliJson('endpoints')).endpoints[0].state === 'down', 30000);
    assert.equal((await mine.get('/readyz')).status, 503);
    assert.deepEqual(await mine.modelIds(), []);
  } finally {
    await mine.stop();
  }
});

// --- leaving --------------------------------------------------------------------------------------------------------

for (const [label, faults, body] of [
  ['in mid-stream', { delayMs: 200 }, ask({ stream: true })],
  ['before the first byte', { firstDelayMs: 3000 }, ask({ stream: true })],
  ['while a whole answer is made', { firstDelayMs: 3000 }, ask()],
])
  test(`a client that leaves ${label} takes its request away from the runtime at once`, async () => {
    await trusted();
    Object.assign(fakes.vllm.options, faults);
    const count = fakes.vllm.inferences.length;
    const socket = rawPost(drover.port, CHAT, JSON.stringify(body));
    await until('the request', () => fakes.vllm.inferences.length > count);
    await sleep(300);
    const left = performance.now();
    socket.destroy();
    const took = (await fakes.vllm.closed(fakes.vllm.inferences.at(-1))) - left;
    assert.ok(took < 100, `the runtime heard of it after ${took.toFixed(0)} ms`);
  });

test('a client that does not read holds its own stream only, and little memory', async () => {
  fakes.plain.options.reply = Array.from({ length: 4000 }, () => 'z'.repeat(4096)); // 16 MiB
  const lazy = rawPost(drover.port, CHAT, JSON.stringify({ model: 'plain', messages: [], stream: true }));
  lazy.pause();
  const request = await fakes.plain.saw((r) => r.path === CHAT && r.body.includes('"stream"'));
  await sleep(500);
  const sent = request.sent;
  await sleep(500);
  assert.equal(request.sent, sent, 'the runtime is held back');
  assert.ok(sent < 4000);
  assert.equal((await drover.post(CHAT, ask())).status, 200);
  lazy.destroy();
  await fakes.plain.closed(request);
});

test('a page that a runtime makes runs nothing where the console stands', async () => {
  const fake = await startFake('openai', { models: ['m'], answer: (request, response) => response.whole(200, 'text/html; charset=utf-8', '<script>alert(1)</script>',
    { Refresh: '0; url=/console/', 'Content-Security-Policy': "script-src 'unsafe-inline'", 'Clear-Site-Data': '"*"', 'Service-Worker-Allowed': '/', Link: '</x.js>; rel=preload', 'X-Own': 'kept' }) });
  fake.name = 'pages';
  const mine = await startDrover({ endpoints: [fake], models: ['m'] });
  try {
    const answer = await mine.post(CHAT, { model: 'm', messages: [{ role: 'user', content: 'x' }] });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-security-policy'), "sandbox; default-src 'none'; frame-ancestors 'none'");
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
    for (const name of ['refresh', 'clear-site-data', 'service-worker-allowed', 'link']) assert.equal(answer.headers.get(name), null, name);
    assert.equal(answer.headers.get('x-own'), 'kept');
    await answer.text();
  } finally {
    await mine.stop();
    await fake.close();
  }
});
