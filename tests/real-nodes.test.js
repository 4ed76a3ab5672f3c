// A hub with two linked nodes and a real llama-server behind each, the vendors' own SDKs in front; and a hub that is a node of another.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import Anthropic from '@anthropic-ai/sdk';
import { Ollama } from 'ollama';
import OpenAI from 'openai';
import { freePort, startDrover, startLlama, until } from './lib/drover.js';

const HELLO = [{ role: 'user', content: 'Say something.' }];
const LONG = 8000; // tokens: seconds, so that there is something to abort
const llamas = [], nodes = [], daemons = [];
let hub, openai, anthropic, ollama;

const startHub = async (name, more = {}) => {
  const it = await startDrover({ config: { hub: { name, heartbeat: '5s' }, name, ...more }, listen: [{ address: `127.0.0.1:${await freePort()}`, tls: 'ca', client_cert: 'optional', roles: ['link'] }] });
  daemons.push(it);
  return it;
};
const join = async (node, to, name) => {
  const line = /'(.*)'/.exec((await to.cli('hub', 'invite', '--name', name)).stdout)[1];
  const { code, stderr } = await node.cli('join', line);
  assert.equal(code, 0, stderr);
  await until(`${name}'s link`, async () => (await to.cliJson('node', 'show', name)).linked);
};
const ids = async (from) => (await (await fetch(`${from.url}/v1/models`)).json()).data.map((m) => m.id).sort();

before(async () => {
  hub = await startHub('house');
  for (const name of ['attic', 'cellar']) {
    const llama = await startLlama({ args: ['--alias', `${name}-tiny`] });
    llamas.push(llama);
    const node = await startDrover({ endpoints: [{ name: 'llama', url: llama.url, kind: 'auto' }], models: [`${name}-tiny`], config: { name } });
    nodes.push(node);
    daemons.push(node);
    await join(node, hub, name);
  }
  await until('both models', async () => (await ids(hub)).length === 2);
  openai = new OpenAI({ baseURL: `${hub.url}/v1`, apiKey: 'none', maxRetries: 0 });
  anthropic = new Anthropic({ baseURL: hub.url, apiKey: 'none', maxRetries: 0 });
  ollama = new Ollama({ host: hub.url });
});
after(async () => {
  for (const daemon of daemons.reverse()) await daemon.stop();
  for (const llama of llamas) await llama.stop();
});

test('the models of both are the hub\'s', async () => {
  assert.deepEqual(await ids(hub), ['attic-tiny', 'cellar-tiny']);
  const listed = [];
  for await (const model of openai.models.list()) listed.push(model.id);
  assert.deepEqual(listed.sort(), ['attic-tiny', 'cellar-tiny']);
  assert.deepEqual((await ollama.list()).models.map((m) => m.name.replace(/:latest$/, '')).sort(), ['attic-tiny', 'cellar-tiny']);
});

for (const name of ['attic', 'cellar'])
  test(`OpenAI, Anthropic and Ollama, whole and streamed, from ${name}`, async () => {
    const model = `${name}-tiny`;
    const { data, response } = await openai.chat.completions.create({ model, messages: HELLO, max_tokens: 12 }).withResponse();
    assert.equal(data.usage.completion_tokens, 12);
    assert.match(response.headers.get('drover-target'), new RegExp(`^${name}/`));
    let text = '', usage;
    for await (const chunk of await openai.chat.completions.create({ model, messages: HELLO, max_tokens: 12, stream: true, stream_options: { include_usage: true } })) {
      text += chunk.choices[0]?.delta?.content ?? '';
      usage = chunk.usage ?? usage;
    }
    assert.deepEqual([text.length > 0, usage.completion_tokens], [true, 12]);
    const message = await anthropic.messages.create({ model, messages: HELLO, max_tokens: 12 });
    assert.equal(message.usage.output_tokens, 12);
    const events = [];
    for await (const event of await anthropic.messages.create({ model, messages: HELLO, max_tokens: 12, stream: true })) events.push(event.type);
    assert.deepEqual([events[0], events.at(-1)], ['message_start', 'message_stop']);
    let last;
    for await (const part of await ollama.chat({ model, messages: HELLO, stream: true, options: { num_predict: 12 } })) last = part;
    assert.deepEqual([last.done, last.eval_count], [true, 12]);
    assert.equal((await openai.embeddings.create({ model, input: 'x' }).catch((e) => e)).status >= 400, true, 'a server without embeddings says so');
  });

test('who leaves ends the work at the runtime behind the node at once', async () => {
  const left = new AbortController();
  const stream = await openai.chat.completions.create({ model: 'attic-tiny', messages: HELLO, max_tokens: LONG, stream: true }, { signal: left.signal });
  const pieces = stream[Symbol.asyncIterator]();
  await pieces.next();
  await until('its slot to be taken', async () => (await llamas[0].busy()) === 1, 2000, 5);
  left.abort();
  await until('its slot to be free', async () => (await llamas[0].busy()) === 0, 2000, 10);
});

test('forty streams over both at once, each whole', async () => {
  const all = await Promise.all(Array.from({ length: 40 }, async (_, i) => {
    let text = '', end;
    for await (const chunk of await openai.chat.completions.create({ model: i % 2 ? 'attic-tiny' : 'cellar-tiny', messages: HELLO, max_tokens: 20, stream: true })) {
      text += chunk.choices[0]?.delta?.content ?? '';
      end = chunk.choices[0]?.finish_reason ?? end;
    }
    return [text.length > 0, end];
  }));
  for (const one of all) assert.deepEqual(one, [true, 'length']);
});

test('a hub that joins another is one node there, with all its models', async () => {
  const town = await startHub('town');
  await join(hub, town, 'house');
  await until('the models', async () => (await ids(town)).length === 2);
  const above = new OpenAI({ baseURL: `${town.url}/v1`, apiKey: 'none', maxRetries: 0 });
  const { data, response } = await above.chat.completions.create({ model: 'cellar-tiny', messages: HELLO, max_tokens: 12 }).withResponse();
  assert.equal(data.usage.completion_tokens, 12);
  assert.match(response.headers.get('drover-target'), /^house\//);
  let last = '';
  for await (const chunk of await above.chat.completions.create({ model: 'attic-tiny', messages: HELLO, max_tokens: 12, stream: true })) last = chunk.choices[0]?.finish_reason ?? last;
  assert.equal(last, 'length');
  assert.equal((await town.cliJson('node', 'ls')).nodes.length, 1);

  await nodes[0].stop(); // two links below
  await until('it to be told at the top', async () => (await above.chat.completions.create({ model: 'attic-tiny', messages: HELLO, max_tokens: 2 }).catch((e) => e)).status === 503, 20000);
  assert.equal((await above.chat.completions.create({ model: 'cellar-tiny', messages: HELLO, max_tokens: 2 })).usage.completion_tokens, 2);
});
