// The vendors' own SDKs, unchanged, through Drover: OpenAI's and Anthropic's against a real llama-server, Ollama's
// against a fake Ollama (llama-server does not speak its dialect).
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import Anthropic from '@anthropic-ai/sdk';
import { Ollama } from 'ollama';
import OpenAI from 'openai';
import { startFake } from './fakes/index.js';
import { startDrover, startLlama, until } from './lib/drover.js';

const HELLO = [{ role: 'user', content: 'Say something.' }];
const LONG = 8000; // tokens: seconds, so that there is something to abort
let llama, fake, drover, openai, anthropic, ollama;

before(async () => {
  llama = await startLlama();
  fake = await startFake('ollama', { models: ['qwen3:latest'] });
  drover = await startDrover({ endpoints: [{ name: 'llama', url: llama.url, kind: 'auto' }, fake], models: ['tiny', 'qwen3:latest'] });
  openai = new OpenAI({ baseURL: `${drover.url}/v1`, apiKey: 'none', maxRetries: 0 });
  anthropic = new Anthropic({ baseURL: drover.url, apiKey: 'none', maxRetries: 0 });
  ollama = new Ollama({ host: drover.url });
});
after(async () => {
  await drover?.stop();
  await llama?.stop();
  await fake?.close();
});

test('the real llama-server is known for what it is', async () => {
  const endpoint = (await drover.cliJson('endpoints')).endpoints.find((e) => e.name === 'llama');
  assert.equal(endpoint.kind, 'llamacpp');
  assert.equal(endpoint.state, 'up');
  assert.equal(endpoint.models[0].id, 'tiny');
  assert.equal(endpoint.models[0].context, 16384); // per slot
});

test('OpenAI: models', async () => {
  const ids = [];
  for await (const model of openai.models.list()) ids.push(model.id);
  assert.ok(ids.includes('tiny'));
  assert.equal((await openai.models.retrieve('tiny')).id, 'tiny');
});

test('OpenAI: chat', async () => {
  const { data, response } = await openai.chat.completions.create({ model: 'tiny', messages: HELLO, max_tokens: 12 }).withResponse();
  assert.equal(data.usage.completion_tokens, 12);
  assert.ok(data.choices[0].message.content.length > 0);
  assert.match(response.headers.get('drover-target'), /llama/);
});

test('OpenAI: chat stream, without and with usage', async () => {
  for (const include_usage of [undefined, true]) {
    const stream = await openai.chat.completions.create({ model: 'tiny', messages: HELLO, max_tokens: 12, stream: true,
      ...(include_usage ? { stream_options: { include_usage } } : {}) });
    let text = '', usage = null, finish;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? '';
      finish = chunk.choices[0]?.finish_reason ?? finish;
      usage = chunk.usage ?? usage;
      if (!include_usage) assert.equal(chunk.choices.length, 1);
    }
    assert.ok(text.length > 0);
    assert.equal(finish, 'length');
    if (include_usage) assert.equal(usage.completion_tokens, 12);
  }
});

test('OpenAI: completions stream', async () => {
  let text = '';
  for await (const chunk of await openai.completions.create({ model: 'tiny', prompt: 'Once', max_tokens: 8, stream: true })) text += chunk.choices[0]?.text ?? '';
  assert.ok(text.length > 0);
});

test('OpenAI: an unknown model is a NotFoundError', async () => {
  await assert.rejects(openai.chat.completions.create({ model: 'no-such', messages: HELLO }), OpenAI.NotFoundError);
});

test("OpenAI: llama-server's own refusal is a BadRequestError", async () => {
  await assert.rejects(openai.chat.completions.create({ model: 'tiny', messages: [{ role: 'user', content: 'word '.repeat(20000) }] }), OpenAI.BadRequestError);
});

test('Anthropic: message', async () => {
  const message = await anthropic.messages.create({ model: 'tiny', max_tokens: 10, messages: HELLO });
  assert.equal(message.type, 'message');
  assert.equal(message.usage.output_tokens, 10);
  assert.equal(message.stop_reason, 'max_tokens');
});

test('Anthropic: stream', async () => {
  const stream = anthropic.messages.stream({ model: 'tiny', max_tokens: 10, messages: HELLO });
  let text = '';
  stream.on('text', (delta) => { text += delta; });
  const message = await stream.finalMessage();
  assert.equal(message.content[0].text, text);
  assert.equal(message.usage.output_tokens, 10);
});

test('Anthropic: count_tokens', async () => {
  assert.ok((await anthropic.messages.countTokens({ model: 'tiny', messages: HELLO })).input_tokens > 0);
});

test('Anthropic: an unknown model is a NotFoundError', async () => {
  await assert.rejects(anthropic.messages.create({ model: 'no-such', max_tokens: 1, messages: HELLO }), Anthropic.NotFoundError);
});

test('Ollama: list, chat, stream, generate, embed', async () => {
  assert.ok((await ollama.list()).models.some((m) => m.name === 'qwen3:latest'));
  assert.ok((await ollama.ps()).models.some((m) => m.name === 'qwen3:latest'));
  assert.equal((await ollama.chat({ model: 'qwen3', messages: HELLO })).message.content, 'Hello, world.');
  let text = '', last;
  for await (const part of await ollama.chat({ model: 'qwen3', messages: HELLO, stream: true })) {
    text += part.message.content;
    last = part;
  }
  assert.equal(text, 'Hello, world.');
  assert.equal(last.eval_count, 5);
  assert.equal((await ollama.generate({ model: 'qwen3', prompt: 'x' })).response, 'Hello, world.');
  assert.equal((await ollama.embed({ model: 'qwen3', input: 'x' })).embeddings.length, 1);
  assert.ok((await ollama.show({ model: 'qwen3:latest' })).model_info);
});

test('Ollama: abort', async () => {
  fake.options.delayMs = 300;
  const stream = await ollama.chat({ model: 'qwen3', messages: HELLO, stream: true });
  await assert.rejects(async () => { for await (const part of stream) { assert.ok(part); stream.abort(); } }, { name: 'AbortError' });
  await fake.closed(fake.inferences.at(-1), 1000);
  delete fake.options.delayMs;
});

// Each starts a long answer and gives back what aborts it. (Whole answers are tried against a fake in passthrough.test.js:
// this llama-server does not notice that the client of a whole answer has left.)
const aborts = {
  'OpenAI: abort of a stream': async () => {
    const stream = await openai.chat.completions.create({ model: 'tiny', messages: HELLO, max_tokens: LONG, stream: true });
    const reading = (async () => { for await (const chunk of stream) assert.ok(chunk); })().catch(() => {});
    return { abort: () => stream.controller.abort(), reading };
  },
  'Anthropic: abort of a stream': async () => {
    const stream = anthropic.messages.stream({ model: 'tiny', messages: HELLO, max_tokens: LONG });
    stream.on('error', () => {}).on('abort', () => {});
    return { abort: () => stream.abort(), reading: stream.done().catch(() => {}) };
  },
};
for (const [label, begin] of Object.entries(aborts))
  test(`${label} frees llama-server's slot within 100 ms`, async () => {
    await until('an idle llama-server', async () => (await llama.busy()) === 0);
    const { abort, reading } = await begin();
    await until('a busy slot', async () => (await llama.busy()) === 1, 5000, 5);
    await sleep(100);
    assert.equal(await llama.busy(), 1, 'still generating');
    const left = performance.now();
    abort();
    await until('an idle slot', async () => (await llama.busy()) === 0, 5000, 2);
    const took = performance.now() - left;
    await reading;
    assert.ok(took < 100, `the slot was free after ${took.toFixed(0)} ms`);
  });
