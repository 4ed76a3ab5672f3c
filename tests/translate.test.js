// The vendors' own SDKs, unchanged, through Drover's translation. The same suites run against a real llama-server in the APIs it
// speaks itself, against the same one limited to chat completions, and against fakes of runtimes that speak other APIs, each as
// it comes and limited to one API. What a client must never notice is which of them answered.
import test, { after, afterEach, before } from 'node:test';
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import Anthropic from '@anthropic-ai/sdk';
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { APICallError, embed, generateObject, generateText, isStepCount, streamText, tool } from 'ai';
import { Ollama } from 'ollama';
import OpenAI from 'openai';
import { ResponsesToolRunner } from 'openai/helpers/responses-tool-runner';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { startFake } from './fakes/index.js';
import { startDrover, startLlama, until } from './lib/drover.js';

globalThis.AI_SDK_LOG_WARNINGS = false; // of features that its providers do not know of unknown models

/**
 * Where the suites run: the slug asked for, the runtime's own id of the model, the endpoint, the fake behind it (none:
 * llama-server), the APIs that it is spoken to in as they come, and those it cannot be spoken to in at all.
 */
const targets = {
  'llama-server': { slug: 's-llama', id: 'tiny', own: ['chat', 'completions', 'messages'], lacks: ['embeddings'] },
  'llama-server, chat only': { slug: 's-llama-chat', id: 'tiny', dialects: ['openai-chat'], own: ['chat'], lacks: ['completions', 'embeddings'] },
  'Ollama': { slug: 's-ollama', id: 'qwen3:latest', fake: 'ollama', own: ['ollama', 'embeddings'], cached: 0 },
  'Ollama, own API only': { slug: 's-ollama-own', id: 'qwen3:latest', fake: 'ollama', dialects: ['ollama'], own: ['ollama'], cached: 0 },
  'vLLM': { slug: 's-vllm', id: 'Qwen/Qwen3-8B', fake: 'vllm', own: ['chat', 'completions', 'responses', 'messages', 'embeddings'] },
  'vLLM, chat only': { slug: 's-vllm-chat', id: 'Qwen/Qwen3-8B', fake: 'vllm', dialects: ['openai-chat'], own: ['chat'], lacks: ['completions', 'embeddings'] },
  'LM Studio': { slug: 's-lmstudio', id: 'qwen/qwen3-8b', fake: 'lmstudio', own: ['chat', 'completions', 'responses', 'messages', 'embeddings'] },
  'LM Studio, messages only': { slug: 's-lmstudio-messages', id: 'qwen/qwen3-8b', fake: 'lmstudio', dialects: ['anthropic'], own: ['messages'], lacks: ['completions', 'embeddings'] },
};
for (const [name, target] of Object.entries(targets)) Object.assign(target, { name, endpoint: target.slug.slice(2), lacks: target.lacks ?? [] });
const everywhere = Object.values(targets), real = everywhere.filter((t) => !t.fake), faked = everywhere.filter((t) => t.fake);

/** What a slug can add to its target. */
const SLUGS = [
  ...['split', 'show', 'strip'].flatMap((reasoning) => [['native', 'vllm'], ['chat', 'vllm-chat']].map(([name, endpoint]) =>
    ({ slug: `${name}-${reasoning}`, targets: [`${endpoint}/Qwen/Qwen3-8B`], reasoning }))),
  { slug: 'terse', targets: ['vllm/Qwen/Qwen3-8B'], system: 'Be terse.' },
  { slug: 'cool', targets: ['vllm/Qwen/Qwen3-8B'], defaults: { temperature: 0.25, top_p: 0.5 }, force: { top_p: 0.75, user: 'drover' } },
  { slug: 'strict', targets: ['lmstudio-messages/qwen/qwen3-8b'], strict: true },
  { slug: 'guarded', targets: ['vllm/Qwen/Qwen3-8B'], context_guard: true },
  { slug: 'guarded-ollama', targets: ['ollama/qwen3:latest'], context_guard: true },
];

// llama.cpp lets a model say anything before the call that it is forced to make, unless its template begins a call without a mark of
// its own; and this model would go on talking for ever.
const TEMPLATE = `{% for tool in tools or [] %}{{ tool | tojson }}
{% endfor %}{% for m in messages %}{{ m.role }}: {{ m.content if m.content is string else '' }}
{%- for c in m.tool_calls or [] %}<function={{ c.function.name }}>{{ c.function.arguments | tojson }}{% endfor %}
{% endfor %}`;
const FORCED = 'root ::= "<function=paint>{\\"colour\\":\\"" ("red" | "blue") "\\"}"'; // whatever it is asked

const HELLO = [{ role: 'user', content: 'Say something.' }];
const SAID = 'Hello, world.', TOKENS = 5, PROMPT = 21, CACHED = 16; // of the fakes
const MAX = 12; // tokens; llama-server always uses them up
const LONG = 8000; // tokens: seconds, so that there is something to abort
const TWO_CALLS = [{ id: 'call_red', name: 'paint', args: { colour: 'red' } }, { id: 'call_blue', name: 'paint', args: { colour: 'blue' } }];
const Colour = z.object({ colour: z.enum(['red', 'blue']) });
const SCHEMA = { type: 'object', properties: { colour: { type: 'string', enum: ['red', 'blue'] } }, required: ['colour'], additionalProperties: false };
const paintTool = { type: 'function', function: { name: 'paint', description: 'Paints it', parameters: SCHEMA } };
const COLOURS = /^(red|blue)$/;

let llama, forced, drover, openai, anthropic, ollama, ai;
const fakes = {}, asStarted = {};

before(async () => {
  llama = await startLlama({ template: TEMPLATE });
  forced = await startLlama({ template: TEMPLATE, context: 16384, args: ['--grammar', FORCED] });
  fakes.ollama = await startFake('ollama', { models: ['qwen3:latest'] });
  fakes.vllm = await startFake('vllm', { models: ['Qwen/Qwen3-8B'] });
  fakes.lmstudio = await startFake('lmstudio', { models: ['qwen/qwen3-8b'] });
  for (const [name, fake] of Object.entries(fakes)) asStarted[name] = { ...fake.options };
  const url = (t) => (t.fake ? fakes[t.fake] : llama).url;
  drover = await startDrover({
    endpoints: [...everywhere.map((t) => ({ name: t.endpoint, url: url(t), kind: 'auto', ...(t.dialects ? { dialects: t.dialects } : {}) })),
      { name: 'forced', url: forced.url, kind: 'auto', dialects: ['openai-chat'] }],
    config: { gateway: { retry_max: 0 }, models: [...everywhere.map((t) => ({ slug: t.slug, targets: [`${t.endpoint}/${t.id}`] })),
      { slug: 's-forced', targets: ['forced/tiny'] }, ...SLUGS] },
    models: [...everywhere.map((t) => t.slug), 's-forced'],
  });
  const v1 = { baseURL: `${drover.url}/v1`, apiKey: 'none' };
  openai = new OpenAI({ ...v1, maxRetries: 0 });
  anthropic = new Anthropic({ baseURL: drover.url, apiKey: 'none', maxRetries: 0 });
  ollama = new Ollama({ host: drover.url });
  ai = { openai: createOpenAI(v1), anthropic: createAnthropic(v1) };
});
after(async () => {
  await drover?.stop();
  await llama?.stop();
  await forced?.stop();
  for (const fake of Object.values(fakes)) await fake.close();
});

// Each test leaves well-behaved fakes behind.
afterEach(() => {
  for (const [name, fake] of Object.entries(fakes)) {
    fake.options = { ...asStarted[name] };
    fake.removeAllListeners('request');
  }
});

// --- what is expected -----------------------------------------------------------------------------------------------

/** The name of the model in an answer: a runtime's own answer is not touched. */
const shown = (t, api) => (t.own.includes(api) ? t.id : t.slug);
const optionsOf = (t) => fakes[t.fake].options;
const lastBody = (t) => fakes[t.fake].inferences.at(-1).body.toString();

function said(t, text) {
  if (t.fake) assert.equal(text, SAID);
  else assert.ok(text.length > 0);
}

/** Tokens in the OpenAI way: the cached ones are part of the prompt's. */
function counted(t, { input, cached = 0, output, total = input + output }) {
  assert.equal(total, input + output);
  if (t.fake) assert.deepEqual([input, cached, output], [PROMPT, t.cached ?? CACHED, TOKENS]);
  else assert.ok(output === MAX && input > 0 && cached < input);
}

/** In Anthropic's: they stand beside the others. */
function countedApart(t, usage) {
  const cached = usage.cache_read_input_tokens ?? 0;
  counted(t, { input: usage.input_tokens + cached, cached, output: usage.output_tokens });
}

/** The fake calls the tools in its first answer only. */
function callsFirst(t, calls) {
  const fake = fakes[t.fake], before = fake.inferences.length;
  fake.removeAllListeners('request');
  fake.options.calls = calls;
  fake.on('request', () => { if (fake.inferences.length > before + 1) delete fake.options.calls; });
}

const callsOf = (calls) => calls.map((c) => ({ ...c, args: typeof c.args === 'string' ? JSON.parse(c.args) : c.args }));

/** Calls forced out of the real model, or the two that the fake makes. */
function called(t, calls) {
  if (t.fake) return assert.deepEqual(callsOf(calls), TWO_CALLS);
  assert.ok(calls.length > 0);
  for (const call of callsOf(calls)) {
    assert.ok(call.id.length > 4);
    assert.equal(call.name, 'paint');
    assert.match(call.args.colour, COLOURS);
  }
}

/** Runs something with a fault set, and then two good requests, so that the endpoint stays trusted. */
async function withFault(t, options, run) {
  const fake = fakes[t.fake], was = fake.options;
  fake.options = { ...was, ...options };
  try {
    await run();
  } finally {
    fake.options = was;
  }
  for (let i = 0; i < 2; i++) {
    const response = await drover.post('/v1/messages', { model: t.slug, max_tokens: 5, messages: HELLO });
    assert.equal(response.status, 200, await response.text());
  }
}

const eachTarget = (list, api, name, run) => {
  for (const t of list) if (!t.lacks.includes(api)) test(`${t.name}: ${name}`, () => run(t));
};

// --- OpenAI: chat ---------------------------------------------------------------------------------------------------

const openaiUsage = (u) => ({ input: u.prompt_tokens, cached: u.prompt_tokens_details?.cached_tokens, output: u.completion_tokens, total: u.total_tokens });

eachTarget(everywhere, 'chat', 'OpenAI chat', async (t) => {
  const { data, response } = await openai.chat.completions.create({ model: t.slug, messages: HELLO, max_tokens: MAX }).withResponse();
  said(t, data.choices[0].message.content);
  assert.equal(data.choices[0].finish_reason, t.fake ? 'stop' : 'length');
  assert.equal(data.model, shown(t, 'chat'));
  assert.equal(response.headers.get('drover-target'), `${t.endpoint}/${t.id}`);
  counted(t, openaiUsage(data.usage));
});

eachTarget(everywhere, 'chat', 'OpenAI chat, streamed, with and without usage', async (t) => {
  for (const include_usage of [true, undefined]) {
    const stream = await openai.chat.completions.create({ model: t.slug, messages: HELLO, max_tokens: MAX, stream: true, ...(include_usage ? { stream_options: { include_usage } } : {}) });
    let text = '', usage = null, finish;
    const ids = new Set();
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? '';
      finish = chunk.choices[0]?.finish_reason ?? finish;
      usage = chunk.usage ?? usage;
      ids.add(chunk.id);
      assert.equal(chunk.model, shown(t, 'chat'));
      if (!include_usage) assert.equal(chunk.choices.length, 1);
    }
    said(t, text);
    assert.equal(ids.size, 1);
    assert.equal(finish, t.fake ? 'stop' : 'length');
    if (include_usage) counted(t, openaiUsage(usage));
    else assert.equal(usage, null);
  }
});

eachTarget(everywhere, 'chat', "OpenAI chat, the SDK's stream helper", async (t) => {
  const stream = openai.chat.completions.stream({ model: t.slug, messages: HELLO, max_tokens: MAX, stream_options: { include_usage: true } });
  let text = '';
  stream.on('content', (delta) => { text += delta; });
  const completion = await stream.finalChatCompletion();
  assert.equal(completion.choices[0].message.content, text);
  said(t, text);
  counted(t, openaiUsage(completion.usage));
});

eachTarget(everywhere, 'chat', 'OpenAI chat, calls of tools', async (t) => {
  if (t.fake) optionsOf(t).calls = TWO_CALLS;
  const request = { model: t.slug, messages: HELLO, max_tokens: 200, tools: [paintTool], tool_choice: 'required', ...(t.fake ? {} : { parallel_tool_calls: false }) };
  const whole = (await openai.chat.completions.create(request)).choices[0];
  const streamed = (await openai.chat.completions.stream(request).finalChatCompletion()).choices[0];
  for (const { message, finish_reason } of [whole, streamed]) {
    assert.equal(finish_reason, 'tool_calls');
    called(t, message.tool_calls.map((c) => ({ id: c.id, name: c.function.name, args: c.function.arguments })));
  }
});

eachTarget(faked, 'chat', "OpenAI chat, the SDK's tool runner", async (t) => {
  for (const stream of [false, true]) {
    callsFirst(t, TWO_CALLS);
    const painted = [];
    const runner = openai.chat.completions.runTools({ model: t.slug, messages: HELLO, stream,
      tools: [{ type: 'function', function: { name: 'paint', parameters: SCHEMA, parse: JSON.parse, function: ({ colour }) => { painted.push(colour); return `is ${colour}`; } } }] });
    assert.equal(await runner.finalContent(), SAID);
    assert.deepEqual(painted, ['red', 'blue']);
    assert.match(lastBody(t), /is red.*is blue/);
  }
});

eachTarget(everywhere, 'chat', 'OpenAI chat, structured output through parse and stream', async (t) => {
  if (t.fake) optionsOf(t).reply = ['{"col', 'our":"red"}'];
  const request = { model: t.slug, messages: HELLO, response_format: zodResponseFormat(Colour, 'paint') };
  const whole = await openai.chat.completions.parse(request), streamed = await openai.chat.completions.stream(request).finalChatCompletion();
  for (const completion of [whole, streamed]) assert.match(completion.choices[0].message.parsed.colour, COLOURS);
  if (t.fake) assert.match(lastBody(t), /"enum":\["red","blue"\]/);
});

eachTarget(faked, 'chat', 'OpenAI chat, reasoning', async (t) => {
  optionsOf(t).reasoning = 'Let me see.';
  const member = t.own.includes('chat') && t.fake === 'vllm' ? 'reasoning' : 'reasoning_content'; // vLLM's own word for it is passed on
  const { choices } = await openai.chat.completions.create({ model: t.slug, messages: HELLO });
  assert.equal(choices[0].message[member], 'Let me see.');
  assert.equal(choices[0].message.content, SAID);
  let thought = '', text = '';
  for await (const chunk of await openai.chat.completions.create({ model: t.slug, messages: HELLO, stream: true })) {
    thought += chunk.choices[0]?.delta[member] ?? '';
    text += chunk.choices[0]?.delta.content ?? '';
  }
  assert.deepEqual([thought, text], ['Let me see.', SAID]);
});

// --- OpenAI: completions, embeddings --------------------------------------------------------------------------------

eachTarget(everywhere, 'completions', 'OpenAI completions', async (t) => {
  const whole = await openai.completions.create({ model: t.slug, prompt: 'Once', max_tokens: MAX });
  said(t, whole.choices[0].text);
  assert.equal(whole.model, shown(t, 'completions'));
  counted(t, openaiUsage(whole.usage));
  let text = '';
  for await (const chunk of await openai.completions.create({ model: t.slug, prompt: 'Once', max_tokens: MAX, stream: true })) text += chunk.choices[0]?.text ?? '';
  said(t, text);
});

eachTarget(everywhere, 'embeddings', 'OpenAI embeddings', async (t) => {
  for (const encoding_format of [undefined, 'float', 'base64']) { // the SDK asks for base64 by itself, and unpacks it
    const { data, usage } = await openai.embeddings.create({ model: t.slug, input: ['a', 'b'], ...(encoding_format ? { encoding_format } : {}) });
    assert.deepEqual(data.map((d) => d.index), [0, 1]);
    if (encoding_format === 'base64') assert.equal(typeof data[0].embedding, 'string');
    else assert.deepEqual(data[0].embedding.map((v) => v.toFixed(3)), t.own.includes('embeddings') ? ['0.100', '-0.200', '0.300'] : ['0.600', '-0.800']);
    assert.equal(usage.prompt_tokens, PROMPT);
  }
});

test('OpenAI completions and embeddings are refused where no runtime of the model has them', async () => {
  const refused = (error) => error instanceof OpenAI.InternalServerError && error.status === 501 && error.code === 'unsupported_parameter';
  for (const t of everywhere.filter((x) => x.lacks.includes('completions'))) {
    await assert.rejects(openai.completions.create({ model: t.slug, prompt: 'x' }), refused);
    await assert.rejects(openai.embeddings.create({ model: t.slug, input: 'x' }), refused);
  }
});

// --- OpenAI: responses ----------------------------------------------------------------------------------------------

const responsesUsage = (u) => ({ input: u.input_tokens, cached: u.input_tokens_details.cached_tokens, output: u.output_tokens, total: u.total_tokens });

eachTarget(everywhere, 'responses', 'OpenAI responses', async (t) => {
  const { data, response } = await openai.responses.create({ model: t.slug, input: 'Say something.', instructions: 'Be brief.', max_output_tokens: MAX }).withResponse();
  said(t, data.output_text);
  assert.equal(data.status, t.fake ? 'completed' : 'incomplete');
  if (!t.fake) assert.equal(data.incomplete_details.reason, 'max_output_tokens');
  assert.equal(data.model, shown(t, 'responses'));
  assert.equal(response.headers.get('drover-target'), `${t.endpoint}/${t.id}`);
  counted(t, responsesUsage(data.usage));
});

eachTarget(everywhere, 'responses', "OpenAI responses, the SDK's stream helper", async (t) => {
  const stream = openai.responses.stream({ model: t.slug, input: HELLO, max_output_tokens: MAX });
  const types = [];
  let text = '';
  for await (const event of stream) {
    assert.equal(event.sequence_number, types.length);
    types.push(event.type);
    if (event.type === 'response.output_text.delta') text += event.delta;
  }
  const response = await stream.finalResponse();
  said(t, text);
  assert.equal(response.output_text, text);
  assert.equal(response.model, shown(t, 'responses'));
  counted(t, responsesUsage(response.usage));
  assert.deepEqual(types.filter((type, i) => type !== types[i - 1]), ['response.created', 'response.in_progress', 'response.output_item.added', 'response.content_part.added',
    'response.output_text.delta', 'response.output_text.done', 'response.content_part.done', 'response.output_item.done', t.fake ? 'response.completed' : 'response.incomplete']);
});

eachTarget(everywhere, 'responses', 'OpenAI responses, calls of tools and their results', async (t) => {
  const tools = [{ type: 'function', name: 'paint', parameters: SCHEMA, strict: true }];
  const request = { model: t.slug, input: HELLO, tools, tool_choice: 'required', max_output_tokens: 200, ...(t.fake ? {} : { parallel_tool_calls: false }) };
  if (t.fake) optionsOf(t).calls = TWO_CALLS;
  const whole = await openai.responses.create(request), streamed = await openai.responses.stream(request).finalResponse();
  for (const { output } of [whole, streamed]) called(t, output.filter((i) => i.type === 'function_call').map((i) => ({ id: i.call_id, name: i.name, args: i.arguments })));
  if (t.fake) delete optionsOf(t).calls;
  const results = streamed.output.filter((i) => i.type === 'function_call').map((i) => ({ type: 'function_call_output', call_id: i.call_id, output: `is ${JSON.parse(i.arguments).colour}` }));
  const last = await openai.responses.create({ model: t.slug, input: [...HELLO, ...streamed.output, ...results], tools, tool_choice: 'none', max_output_tokens: MAX });
  said(t, last.output_text);
  if (t.fake) assert.match(lastBody(t), /is red.*is blue/);
});

eachTarget(faked.filter((t) => !t.own.includes('responses')), 'responses', "OpenAI responses, the SDK's tool runner, with reasoning in the loop", async (t) => {
  for (const how of [{}, { stream: true }, { stream: true, eager: true }]) {
    optionsOf(t).reasoning = 'Let me see.';
    callsFirst(t, TWO_CALLS);
    const painted = [], tool = { type: 'function', name: 'paint', parameters: SCHEMA, strict: true };
    const runner = new ResponsesToolRunner({ functions: [{ tool, execute: ({ colour }) => { painted.push(colour); return `is ${colour}`; } }] });
    const response = await runner.run(openai, { model: t.slug, input: 'Paint.' }, { ...how, maxSteps: 4 });
    assert.equal(response.output_text, SAID);
    assert.deepEqual(painted, ['red', 'blue']);
    assert.match(lastBody(t), /is red.*is blue/);
    if (!t.dialects?.includes('anthropic')) assert.match(lastBody(t), /Let me see\./); // only its maker may see a signed thought again
  }
});

eachTarget(everywhere, 'responses', 'OpenAI responses, structured output through parse and stream', async (t) => {
  if (t.fake) optionsOf(t).reply = ['{"col', 'our":"red"}'];
  const request = { model: t.slug, input: HELLO, text: { format: zodTextFormat(Colour, 'paint') } };
  const whole = await openai.responses.parse(request), streamed = await openai.responses.stream(request).finalResponse();
  for (const response of [whole, streamed]) assert.match(response.output_parsed.colour, COLOURS);
  if (t.fake) assert.match(lastBody(t), /"enum":\["red","blue"\]/);
});

eachTarget(faked, 'responses', 'OpenAI responses, reasoning, also as a summary and sealed', async (t) => {
  optionsOf(t).reasoning = 'Let me see.';
  const { output } = await openai.responses.create({ model: t.slug, input: HELLO });
  assert.deepEqual(output.map((i) => i.type), ['reasoning', 'message']);
  assert.equal(output[0].content[0].text, 'Let me see.');
  const stream = openai.responses.stream({ model: t.slug, input: HELLO });
  let thought = '';
  for await (const event of stream) if (event.type === 'response.reasoning_text.delta') thought += event.delta;
  assert.equal(thought, 'Let me see.');
  assert.equal((await stream.finalResponse()).output_text, SAID);
  if (t.own.includes('responses')) return;
  const asked = { model: t.slug, input: HELLO, reasoning: { effort: 'low', summary: 'auto' }, include: ['reasoning.encrypted_content'] };
  for (const response of [await openai.responses.create(asked), await openai.responses.stream(asked).finalResponse()]) {
    assert.deepEqual(response.output[0].summary, [{ type: 'summary_text', text: 'Let me see.' }]);
    assert.match(response.output[0].encrypted_content, /^drover1\./);
  }
});

// --- Anthropic ------------------------------------------------------------------------------------------------------

const anthropicTool = { name: 'paint', description: 'Paints it', input_schema: SCHEMA };
const textOf = (message) => message.content.filter((b) => b.type === 'text').map((b) => b.text).join('');
const usesOf = (message) => message.content.filter((b) => b.type === 'tool_use').map((b) => ({ id: b.id, name: b.name, args: b.input }));

eachTarget(everywhere, 'messages', 'Anthropic messages', async (t) => {
  const { data, response } = await anthropic.messages.create({ model: t.slug, max_tokens: MAX, system: 'Be brief.', messages: HELLO }).withResponse();
  said(t, textOf(data));
  assert.equal(data.stop_reason, t.fake ? 'end_turn' : 'max_tokens');
  assert.equal(data.model, shown(t, 'messages'));
  assert.equal(response.headers.get('drover-target'), `${t.endpoint}/${t.id}`);
  countedApart(t, data.usage);
});

eachTarget(everywhere, 'messages', "Anthropic messages, the SDK's stream helper", async (t) => {
  const stream = anthropic.messages.stream({ model: t.slug, max_tokens: MAX, messages: HELLO });
  let text = '';
  stream.on('text', (delta) => { text += delta; });
  const message = await stream.finalMessage();
  assert.equal(textOf(message), text);
  said(t, text);
  assert.equal(message.model, shown(t, 'messages'));
  assert.equal(message.stop_reason, t.fake ? 'end_turn' : 'max_tokens');
  countedApart(t, message.usage);
});

eachTarget(everywhere, 'messages', 'Anthropic messages, calls of tools and their results', async (t) => {
  const request = { model: t.slug, max_tokens: 2000, messages: HELLO, tools: [anthropicTool], tool_choice: { type: 'any', ...(t.fake ? {} : { disable_parallel_tool_use: true }) } };
  if (t.fake) optionsOf(t).calls = TWO_CALLS;
  const whole = await anthropic.messages.create(request), streamed = await anthropic.messages.stream(request).finalMessage();
  for (const message of [whole, streamed]) {
    called(t, usesOf(message));
    assert.equal(message.stop_reason, 'tool_use');
    if (!t.fake && !t.own.includes('messages')) assert.equal(usesOf(message).length, 1);
  }
  if (t.fake) delete optionsOf(t).calls;
  const results = usesOf(streamed).map((u) => ({ type: 'tool_result', tool_use_id: u.id, content: `is ${u.args.colour}` }));
  const last = await anthropic.messages.create({ model: t.slug, max_tokens: MAX, ...(t.fake ? { tools: [anthropicTool] } : {}),
    messages: [...HELLO, { role: 'assistant', content: streamed.content }, { role: 'user', content: results }] });
  said(t, textOf(last));
  if (t.fake) assert.match(lastBody(t), /is red.*is blue/);
});

eachTarget(faked, 'messages', "Anthropic messages, the SDK's tool runner", async (t) => {
  for (const stream of [false, true]) {
    callsFirst(t, TWO_CALLS);
    const painted = [];
    const paint = betaZodTool({ name: 'paint', description: 'Paints it', inputSchema: Colour, run: ({ colour }) => { painted.push(colour); return `is ${colour}`; } });
    const message = await anthropic.beta.messages.toolRunner({ model: t.slug, max_tokens: 200, messages: HELLO, tools: [paint], stream }).runUntilDone();
    assert.equal(textOf(message), SAID);
    assert.deepEqual(painted.sort(), ['blue', 'red']);
    assert.match(lastBody(t), /is red.*is blue/);
  }
});

eachTarget(everywhere, 'messages', 'Anthropic messages, structured output through parse', async (t) => {
  if (!t.fake && t.own.includes('messages')) return; // llama-server passes over output_config
  if (t.fake) optionsOf(t).reply = ['{"col', 'our":"red"}'];
  const message = await anthropic.messages.parse({ model: t.slug, max_tokens: 100, messages: HELLO, output_config: { format: zodOutputFormat(Colour) } });
  assert.match(message.parsed_output.colour, COLOURS);
  if (t.fake) assert.match(lastBody(t), /"enum":\["red","blue"\]/);
});

eachTarget(faked, 'messages', 'Anthropic messages, thinking', async (t) => {
  optionsOf(t).reasoning = 'Let me see.';
  const request = { model: t.slug, max_tokens: 4096, messages: HELLO, thinking: { type: 'enabled', budget_tokens: 2048 } };
  let thought = '';
  const stream = anthropic.messages.stream(request).on('thinking', (delta) => { thought += delta; });
  for (const message of [await anthropic.messages.create(request), await stream.finalMessage()]) {
    assert.deepEqual(message.content.map((b) => b.type), ['thinking', 'text']);
    assert.equal(message.content[0].thinking, 'Let me see.');
    if (!t.own.includes('messages')) assert.match(message.content[0].signature, /^drover\./);
    assert.equal(textOf(message), SAID);
  }
  assert.equal(thought, 'Let me see.');
});

eachTarget(everywhere, 'messages', 'Anthropic count_tokens', async (t) => {
  const { data, response } = await anthropic.messages.countTokens({ model: t.slug, messages: HELLO }).withResponse();
  const counts = t.own.includes('messages') && t.fake !== 'lmstudio';
  assert.ok(data.input_tokens > 0);
  assert.equal(response.headers.get('drover-estimated'), counts ? null : 'input_tokens');
});

// --- Ollama ---------------------------------------------------------------------------------------------------------

const ollamaCounts = (r) => ({ input: r.prompt_eval_count, cached: undefined, output: r.eval_count });
const countedTogether = (t, r) => counted({ ...t, cached: 0 }, ollamaCounts(r));

eachTarget(everywhere, 'ollama', 'Ollama chat', async (t) => {
  const whole = await ollama.chat({ model: t.slug, messages: HELLO, options: { num_predict: MAX } });
  said(t, whole.message.content);
  assert.equal(whole.model, shown(t, 'ollama'));
  assert.equal(whole.done_reason, t.fake ? 'stop' : 'length');
  assert.ok(whole.created_at instanceof Date || !Number.isNaN(Date.parse(whole.created_at)));
  countedTogether(t, whole);
  let text = '', last;
  for await (const part of await ollama.chat({ model: t.slug, messages: HELLO, stream: true, options: { num_predict: MAX } })) {
    assert.equal(part.model, shown(t, 'ollama'));
    text += part.message.content;
    last = part;
  }
  said(t, text);
  assert.ok(last.done && last.total_duration > 0 && last.eval_duration > 0);
  countedTogether(t, last);
});

eachTarget(everywhere, 'ollama', 'Ollama generate', async (t) => {
  const whole = await ollama.generate({ model: t.slug, prompt: 'Say something.', system: 'Be brief.', options: { num_predict: MAX } });
  said(t, whole.response);
  countedTogether(t, whole);
  let text = '';
  for await (const part of await ollama.generate({ model: t.slug, prompt: 'Say something.', stream: true, options: { num_predict: MAX } })) text += part.response;
  said(t, text);
});

eachTarget(everywhere, 'completions', 'Ollama generate, raw and with a suffix', async (t) => {
  if (t.fake === 'ollama') return; // its own API; passed on
  said(t, (await ollama.generate({ model: t.slug, prompt: 'Once', raw: true, options: { num_predict: MAX } })).response);
  if (!t.fake) return;
  assert.match(fakes[t.fake].inferences.at(-1).path, /completions$/);
  said(t, (await ollama.generate({ model: t.slug, prompt: 'Once', suffix: 'end', options: { num_predict: MAX } })).response);
  assert.match(lastBody(t), /"suffix":"end"/);
});

eachTarget(everywhere, 'embeddings', 'Ollama embed', async (t) => {
  const { embeddings, model } = await ollama.embed({ model: t.slug, input: ['a', 'b'] });
  assert.equal(embeddings.length, 2);
  assert.deepEqual(embeddings[1].map((v) => v.toFixed(3)), t.fake === 'ollama' ? ['0.600', '-0.800'] : ['0.100', '-0.200', '0.300']);
  assert.equal(model, t.fake === 'ollama' ? t.id : t.slug);
});

eachTarget(faked, 'ollama', 'Ollama chat, calls of tools and their results', async (t) => {
  optionsOf(t).calls = TWO_CALLS;
  const request = { model: t.slug, messages: HELLO, tools: [paintTool] };
  const whole = (await ollama.chat(request)).message.tool_calls, streamed = [];
  for await (const part of await ollama.chat({ ...request, stream: true })) streamed.push(...(part.message.tool_calls ?? []));
  for (const calls of [whole, streamed]) called(t, calls.map((c) => ({ id: c.id, name: c.function.name, args: c.function.arguments })));
  delete optionsOf(t).calls;
  const results = streamed.map((c) => ({ role: 'tool', tool_name: c.function.name, content: `is ${c.function.arguments.colour}` }));
  const last = await ollama.chat({ ...request, messages: [...HELLO, { role: 'assistant', content: '', tool_calls: streamed }, ...results] });
  said(t, last.message.content);
  assert.match(lastBody(t), /is red.*is blue/);
});

test('llama-server, chat only: Ollama chat, true calls of tools', async () => {
  const request = { model: 's-forced', messages: HELLO, tools: [paintTool], options: { num_predict: 100 } };
  const whole = (await ollama.chat(request)).message.tool_calls, streamed = [];
  for await (const part of await ollama.chat({ ...request, stream: true })) streamed.push(...(part.message.tool_calls ?? []));
  for (const calls of [whole, streamed]) called({}, calls.map((c) => ({ id: c.id, name: c.function.name, args: c.function.arguments })));
});

eachTarget(everywhere, 'ollama', 'Ollama chat, structured output', async (t) => {
  if (t.fake) optionsOf(t).reply = ['{"col', 'our":"red"}'];
  const { message } = await ollama.chat({ model: t.slug, messages: HELLO, format: z.toJSONSchema(Colour) });
  assert.match(Colour.parse(JSON.parse(message.content)).colour, COLOURS);
});

eachTarget(faked, 'ollama', 'Ollama chat, thinking', async (t) => {
  optionsOf(t).reasoning = 'Let me see.';
  const { message } = await ollama.chat({ model: t.slug, messages: HELLO, think: true });
  assert.deepEqual([message.thinking, message.content], ['Let me see.', SAID]);
  let thought = '', text = '';
  for await (const part of await ollama.chat({ model: t.slug, messages: HELLO, think: 'low', stream: true })) {
    thought += part.message.thinking ?? '';
    text += part.message.content;
  }
  assert.deepEqual([thought, text], ['Let me see.', SAID]);
});

// --- the AI SDK -----------------------------------------------------------------------------------------------------

/** Its providers' models: each speaks another API of the vendors. */
const models = {
  'OpenAI chat': ['chat', (t) => ai.openai.chat(t.slug)],
  'OpenAI responses': ['responses', (t) => ai.openai.responses(t.slug)],
  'Anthropic': ['messages', (t) => ai.anthropic(t.slug)],
};
/** Its Responses provider refers to stored items unless it is told that there is no store. */
const WHOLE = { providerOptions: { openai: { store: false } } };
const paintWith = (painted) => tool({ description: 'Paints it', inputSchema: Colour, execute: async ({ colour }) => { painted.push(colour); return `is ${colour}`; } });

for (const [provider, [api, model]] of Object.entries(models)) {
  eachTarget(everywhere, api, `AI SDK, ${provider}: generateText and streamText`, async (t) => {
    const request = { model: model(t), prompt: 'Say something.', maxOutputTokens: MAX, maxRetries: 0 };
    const whole = await generateText(request);
    const stream = streamText({ ...request, onError: () => {} });
    let text = '';
    for await (const delta of stream.textStream) text += delta;
    for (const [words, finish, usage] of [[whole.text, whole.finishReason, whole.usage], [text, await stream.finishReason, await stream.usage]]) {
      said(t, words);
      assert.equal(finish, t.fake ? 'stop' : 'length');
      counted(t, { input: usage.inputTokens, cached: usage.inputTokenDetails.cacheReadTokens, output: usage.outputTokens });
    }
  });

  eachTarget(faked, api, `AI SDK, ${provider}: a loop of tools`, async (t) => {
    for (const run of [generateText, streamText]) {
      callsFirst(t, TWO_CALLS);
      const painted = [];
      const result = run({ model: model(t), prompt: 'Paint.', tools: { paint: paintWith(painted) }, stopWhen: isStepCount(3), maxRetries: 0, ...WHOLE });
      const { steps, text } = run === generateText ? await result : { steps: await result.steps, text: await result.text };
      assert.equal(steps.length, 2);
      assert.deepEqual(painted.sort(), ['blue', 'red']);
      assert.equal(text, SAID);
      assert.match(lastBody(t), /is red.*is blue/);
    }
  });

  eachTarget(everywhere, api, `AI SDK, ${provider}: generateObject`, async (t) => {
    if (!t.fake && t.own.includes(api) && api === 'messages') return; // llama-server passes over output_config
    if (t.fake) optionsOf(t).reply = ['{"col', 'our":"red"}'];
    const { object } = await generateObject({ model: model(t), schema: Colour, prompt: 'Paint.', maxRetries: 0 });
    assert.match(object.colour, COLOURS);
  });
}

eachTarget(real, 'chat', 'AI SDK: a forced call of a tool', async (t) => {
  for (const [, model] of Object.values(models)) {
    const { toolCalls } = await generateText({ model: model(t), prompt: 'Paint.', tools: { paint: tool({ inputSchema: Colour }) }, toolChoice: 'required', maxOutputTokens: 2000, maxRetries: 0 });
    assert.ok(toolCalls.length > 0);
    for (const call of toolCalls) assert.match(call.input.colour, COLOURS);
  }
});

eachTarget(faked, 'messages', 'AI SDK: reasoning', async (t) => {
  optionsOf(t).reasoning = 'Let me see.';
  const { reasoningText, text } = await generateText({ model: ai.anthropic(t.slug), prompt: 'Say something.', maxRetries: 0 });
  assert.deepEqual([reasoningText, text], ['Let me see.', SAID]);
});

eachTarget(everywhere, 'embeddings', 'AI SDK: embed', async (t) => {
  const { embedding, usage } = await embed({ model: ai.openai.embedding(t.slug), value: 'a', maxRetries: 0 });
  assert.ok(embedding.length >= 2);
  assert.equal(usage.tokens, PROMPT);
});

test('AI SDK: items that only a store would have are refused by name', async () => {
  callsFirst(targets['vLLM, chat only'], TWO_CALLS);
  const run = generateText({ model: ai.openai.responses('s-vllm-chat'), prompt: 'Paint.', tools: { paint: paintWith([]) }, stopWhen: isStepCount(3), maxRetries: 0 });
  await assert.rejects(run, (e) => APICallError.isInstance(e) && e.statusCode === 400 && /^input\[1\] refers to an item stored elsewhere/.test(e.message));
});

// --- errors ---------------------------------------------------------------------------------------------------------

/**
 * Per client: the API, and a plain request, stream or not, that is read to its end. A response that fails when it has begun is
 * told by OpenAI as response.failed, which the SDK does not raise: its status says so.
 */
const clients = {
  'OpenAI chat': ['chat', async (slug, stream, more) => {
    const answer = await openai.chat.completions.create({ model: slug, messages: HELLO, stream, ...more });
    if (stream) for await (const chunk of answer) assert.ok(chunk);
  }],
  'OpenAI chat, helper': ['chat', async (slug, stream, more) => { await openai.chat.completions.stream({ model: slug, messages: HELLO, ...more }).finalChatCompletion(); }],
  'OpenAI responses': ['responses', async (slug, stream, more) => {
    const answer = await openai.responses.create({ model: slug, input: HELLO, stream, ...more });
    if (stream) for await (const event of answer) if (event.type === 'response.failed') throw new OpenAI.APIError(undefined, event.response.error, event.response.error.message);
  }],
  'OpenAI responses, helper': ['responses', async (slug, stream, more) => {
    const response = await openai.responses.stream({ model: slug, input: HELLO, ...more }).finalResponse();
    if (response.status === 'failed') throw new OpenAI.APIError(undefined, response.error, response.error.message);
  }],
  'Anthropic': ['messages', async (slug, stream, more) => {
    const answer = await anthropic.messages.create({ model: slug, max_tokens: 100, messages: HELLO, stream, ...more });
    if (stream) for await (const event of answer) assert.ok(event);
  }],
  'Anthropic, helper': ['messages', async (slug, stream, more) => { await anthropic.messages.stream({ model: slug, max_tokens: 100, messages: HELLO, ...more }).finalMessage(); }],
  'Ollama': ['ollama', async (slug, stream, more) => {
    const answer = await ollama.chat({ model: slug, messages: HELLO, stream, ...more });
    if (stream) for await (const part of answer) assert.ok(part);
  }],
};
for (const [provider, [api, model]] of Object.entries(models))
  clients[`AI SDK, ${provider}`] = [api, async (slug, stream) => {
    const request = { model: model({ slug }), prompt: 'Say something.', maxRetries: 0 };
    if (!stream) return void await generateText(request);
    for await (const part of streamText({ ...request, onError: () => {} }).fullStream) if (part.type === 'error') throw part.error;
  }];

/** The status that an error of any of the SDKs names. */
const statusOf = (error) => error.status ?? error.status_code ?? error.statusCode ?? error.cause?.statusCode;
const classOf = (client, name) => (client.startsWith('OpenAI') ? OpenAI : client.startsWith('Anthropic') ? Anthropic : {})[name] ?? Error;

async function fails(client, run, { status, type, text, code }) {
  await assert.rejects(run, (error) => {
    assert.ok(error instanceof classOf(client, type), `${client}: ${error.constructor.name} instead of ${type}: ${error.message}`);
    if (status) assert.equal(statusOf(error), status, `${client}: ${error.message}`);
    if (text) assert.match(error.message, text, client);
    if (code && client.startsWith('OpenAI')) assert.equal(error.code, code);
    return true;
  });
}

test('an unknown model is a NotFoundError', async () => {
  for (const [client, [, ask]] of Object.entries(clients))
    for (const stream of [false, true]) await fails(client, ask('no-such', stream), { status: 404, type: 'NotFoundError', text: /model \\?"no-such\\?" is unknown/, code: 'model_not_found' });
});

/** A mistake of the client's in each API, and the path in the complaint. */
const mistakes = {
  'OpenAI chat': [{ messages: [{ role: 'user', content: [{ type: 'text', text: 'see' }, { type: 'image_url', image_url: { url: 'ftp://x' } }] }] },
    /messages\[0\]\.content\[1\]\.image_url\.url must be an http\(s\) or data URL/],
  'OpenAI responses': [{ input: [{ role: 'user', content: [{ type: 'input_image', image_url: 'ftp://x' }] }] }, /input\[0\]\.content\[0\]\.image_url must be an http\(s\) or data URL/],
  'Anthropic': [{ messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'bm8=' } }] }] },
    /messages\[0\]\.content\[0\]\.source\.data is not a PNG, JPEG, GIF or WebP image/],
  'Ollama': [{ format: 'yaml' }, /"format" must be "json" or a JSON schema/],
};
for (const [client, [more, text]] of Object.entries(mistakes)) {
  const [api, ask] = clients[client];
  eachTarget(everywhere.filter((t) => !t.own.includes(api)), api, `${client}, a malformed member is a BadRequestError that names its path`, async (t) => {
    for (const stream of [false, true]) await fails(client, ask(t.slug, stream, more), { status: 400, type: 'BadRequestError', text, code: 'invalid_value' });
  });
}

eachTarget(real, 'chat', 'a prompt that is too long', async (t) => {
  const messages = [{ role: 'user', content: 'x'.repeat(20000) }]; // more tokens than the model has room for, and than Drover would guess
  for (const [client, [api, ask]] of Object.entries(clients).filter(([c]) => !c.startsWith('AI SDK'))) {
    const own = t.own.includes(api); // the runtime's own words then
    for (const stream of [false, true])
      await fails(client, ask(t.slug, stream, api === 'responses' ? { input: messages } : { messages }), { status: 400, type: 'BadRequestError',
        text: own ? /exceed/ : /prompt is too long: /, ...(own ? {} : { code: 'context_length_exceeded' }) });
  }
});

/** What a runtime answers instead, and what an SDK makes of it when it is translated. */
const answers = [
  [{ status: 400, body: { error: { message: "This model's maximum context length is 8192 tokens", code: 400 } } }, { status: 400, type: 'BadRequestError', text: /prompt is too long: /, code: 'context_length_exceeded' }],
  [{ status: 400, body: { error: 'qwen3 does not support tools' } }, { status: 400, type: 'BadRequestError', text: /does not support tools/, code: 'unsupported_parameter' }],
  [{ status: 401, body: { error: 'Unauthorized' } }, { status: 502, type: 'InternalServerError', text: /refused Drover's own key/, code: 'upstream_bad_reply' }],
  [{ status: 404, body: { error: 'model is gone' } }, { status: 404, type: 'NotFoundError', text: /model is gone/, code: 'model_not_found' }],
  [{ status: 500, body: { error: { message: 'CUDA error at /opt/llama/ggml.cu' } } }, { status: 502, type: 'InternalServerError', text: /CUDA error at \.\.\./, code: 'upstream_bad_reply' }],
  [{ status: 500, body: { error: 'model requires more system memory (9 GiB) than is available' } }, { status: 503, type: 'InternalServerError', text: /more system memory/, code: 'unavailable' }],
  [{ status: 503, body: { error: 'server busy, please try again' } }, { status: 503, type: 'InternalServerError', text: /server busy/, code: 'unavailable' }],
];
for (const [client, [api, ask]] of Object.entries(clients))
  eachTarget(faked.filter((t) => !t.own.includes(api)), api, `${client}, errors of the runtime`, async (t) => {
    for (const [failWith, expected] of answers)
      for (const stream of [false, true]) await withFault(t, { failWith }, () => fails(client, ask(t.slug, stream), expected));
  });

test("a runtime's 503 says so in each API, and may be tried again", async () => {
  for (const [path, type] of [['/v1/chat/completions', 'service_unavailable'], ['/v1/messages', 'overloaded_error']])
    await withFault(targets['Ollama'], { failWith: 503 }, async () => {
      const response = await drover.post(path, { model: 's-ollama', max_tokens: 5, messages: HELLO });
      assert.equal(response.status, 503);
      assert.equal(response.headers.get('retry-after'), '1');
      assert.equal((await response.json()).error.type, type);
    });
});

// --- answers that break off -----------------------------------------------------------------------------------------

/** A runtime's own error in the middle of a stream, in the API it is spoken to in. */
const errorEvents = {
  chat: 'data: {"error":{"message":"out of memory","type":"server_error","code":500}}\n\n',
  messages: 'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"out of memory"}}\n\n',
  responses: 'event: error\ndata: {"type":"error","code":"server_error","message":"out of memory","param":null,"sequence_number":9}\n\n',
  ollama: '{"error":"out of memory"}\n',
};
const spokenTo = (t, api) => (t.own.includes(api) ? api : t.fake === 'ollama' ? 'ollama' : t.dialects?.includes('anthropic') ? 'messages' : 'chat');
const breaks = {
  'with a reset': () => ({ resetAfter: 2 }),
  'without its end': () => ({ endAfter: 2 }),
  'with an error': (t, api) => ({ errorAfter: { deltas: 2, text: errorEvents[spokenTo(t, api)] } }),
};
for (const [client, [api, ask]] of Object.entries(clients))
  eachTarget(faked, api, `${client}, a stream that breaks off raises`, async (t) => {
    for (const [how, options] of Object.entries(breaks))
      await withFault(t, options(t, api), () => fails(client, ask(t.slug, true), { type: 'APIError', text: how === 'with an error' ? /out of memory/ : undefined }));
  });

// --- leaving --------------------------------------------------------------------------------------------------------

/** Each begins a stream and gives back what aborts it. */
const aborts = {
  'OpenAI chat': ['chat', async (slug) => {
    const stream = await openai.chat.completions.create({ model: slug, messages: HELLO, max_tokens: LONG, stream: true });
    return [drain(stream), () => stream.controller.abort()];
  }],
  'OpenAI responses': ['responses', async (slug) => {
    const stream = await openai.responses.create({ model: slug, input: HELLO, max_output_tokens: LONG, stream: true });
    return [drain(stream), () => stream.controller.abort()];
  }],
  'Anthropic': ['messages', async (slug) => {
    const stream = anthropic.messages.stream({ model: slug, messages: HELLO, max_tokens: LONG });
    stream.on('error', () => {}).on('abort', () => {});
    return [stream.done().catch(() => {}), () => stream.abort()];
  }],
  'Ollama': ['ollama', async (slug) => {
    const stream = await ollama.chat({ model: slug, messages: HELLO, stream: true, options: { num_predict: LONG } });
    return [drain(stream), () => stream.abort()];
  }],
  'AI SDK': ['messages', async (slug) => {
    const control = new AbortController();
    const { fullStream } = streamText({ model: ai.anthropic(slug), prompt: 'Say something.', maxOutputTokens: LONG, maxRetries: 0, abortSignal: control.signal, onError: () => {} });
    return [drain(fullStream), () => control.abort()];
  }],
};
async function drain(stream) {
  try {
    for await (const part of stream) assert.ok(part);
  } catch { /* aborted */ }
}

/** The time that something takes, at best: this machine may be busy with other things. */
async function within100ms(what, run) {
  const took = [];
  for (let i = 0; i < 3 && !(took.at(-1) < 100); i++) took.push(await run());
  assert.ok(took.at(-1) < 100, `${what} after ${took.map((ms) => ms.toFixed(0)).join(', ')} ms`);
}

for (const [client, [api, begin]] of Object.entries(aborts)) {
  eachTarget(faked, api, `${client}, an abort closes the runtime's connection within 100 ms`, (t) => within100ms('closed', async () => {
    const fake = fakes[t.fake], before = fake.inferences.length;
    fake.options.delayMs = 2000;
    const [reading, abort] = await begin(t.slug);
    const request = await until('the first words', () => fake.inferences.length > before && fake.inferences.at(-1).sent === 1 && fake.inferences.at(-1), 5000, 2);
    await sleep(20);
    const left = performance.now();
    abort();
    const took = await fake.closed(request, 1000) - left;
    await reading;
    return took;
  }));

  eachTarget(real, api, `${client}, an abort frees llama-server's slot within 100 ms`, (t) => within100ms('free', async () => {
    await until('an idle llama-server', async () => (await llama.busy()) === 0);
    const [reading, abort] = await begin(t.slug);
    await until('a busy slot', async () => (await llama.busy()) === 1, 5000, 5);
    await sleep(50);
    const left = performance.now();
    abort();
    await until('an idle slot', async () => (await llama.busy()) === 0, 5000, 2);
    const took = performance.now() - left;
    await reading;
    return took;
  }));
}

test('an abort of a whole answer closes the connection, too', async () => {
  const t = targets['Ollama'], fake = fakes.ollama;
  const whole = {
    openai: (signal) => openai.chat.completions.create({ model: t.slug, messages: HELLO }, { signal }),
    responses: (signal) => openai.responses.create({ model: t.slug, input: HELLO }, { signal }),
    anthropic: (signal) => anthropic.messages.create({ model: t.slug, max_tokens: 5, messages: HELLO }, { signal }),
  };
  fake.options.firstDelayMs = 2000;
  for (const [client, ask] of Object.entries(whole))
    await within100ms('closed', async () => {
      const before = fake.inferences.length, control = new AbortController(), answer = ask(control.signal);
      answer.catch(() => {});
      const request = await until('the request', () => fake.inferences.length > before && fake.inferences.at(-1), 5000, 2);
      await sleep(20);
      const left = performance.now();
      control.abort();
      const took = await fake.closed(request, 1000) - left;
      await assert.rejects(answer, client === 'anthropic' ? Anthropic.APIUserAbortError : OpenAI.APIUserAbortError);
      return took;
    });
});

// --- what is left out -----------------------------------------------------------------------------------------------

test('drover-degraded names what was left out, and is not there when nothing was', async () => {
  const lost = async (request) => (await request.withResponse()).response.headers.get('drover-degraded');
  const chat = { messages: HELLO, user: 'u', metadata: { a: 'b' }, seed: 7, store: true };
  assert.equal(await lost(openai.chat.completions.create({ model: 's-vllm', ...chat })), null);
  assert.equal(await lost(openai.chat.completions.create({ model: 's-ollama', messages: HELLO, seed: 7 })), null);
  assert.equal(await lost(openai.chat.completions.create({ model: 's-ollama', ...chat })), 'user, metadata, store');
  assert.equal(await lost(openai.chat.completions.create({ model: 's-lmstudio-messages', ...chat, stream: true })), 'user, metadata, store, seed');
  assert.equal(await lost(openai.responses.create({ model: 's-vllm-chat', input: 'x', truncation: 'auto', service_tier: 'flex', store: true })), 'truncation, service_tier');
  assert.equal(await lost(anthropic.messages.create({ model: 's-vllm-chat', max_tokens: 5, messages: HELLO, metadata: { user_id: 'u' },
    system: [{ type: 'text', text: 's', cache_control: { type: 'ephemeral' } }] })), 'metadata, cache_control');
  const seen = [];
  const watched = new Ollama({ host: drover.url, fetch: async (...request) => { const response = await fetch(...request); seen.push(response.headers.get('drover-degraded')); return response; } });
  await watched.chat({ model: 's-vllm-chat', messages: HELLO, keep_alive: '5m', options: { num_ctx: 4096, num_gpu: 1, mirostat: 1 } });
  await watched.chat({ model: 's-ollama', messages: HELLO, keep_alive: '5m', options: { num_ctx: 4096 } });
  assert.deepEqual(seen, ['keep_alive, options.num_ctx, options.num_gpu, options.mirostat', null]);
});

// --- what a slug adds -----------------------------------------------------------------------------------------------

const SHOWN = `<think>Let me see.</think>\n\n${SAID}`;

/** [reasoning, text] of an answer, streamed and whole, in each client's own places. */
const thoughts = {
  'OpenAI chat': async (model) => {
    const { choices: [{ message }] } = await openai.chat.completions.create({ model, messages: HELLO });
    let thought = '', text = '';
    for await (const { choices: [choice] } of await openai.chat.completions.create({ model, messages: HELLO, stream: true })) {
      thought += choice.delta.reasoning_content ?? '';
      text += choice.delta.content ?? '';
    }
    return [[message.reasoning_content ?? '', message.content], [thought, text]];
  },
  'OpenAI responses': async (model) => {
    const both = [await openai.responses.create({ model, input: HELLO }), await openai.responses.stream({ model, input: HELLO }).finalResponse()];
    return both.map((r) => [r.output.filter((i) => i.type === 'reasoning').map((i) => i.content[0].text).join(''), r.output_text]);
  },
  'Anthropic': async (model) => {
    const both = [await anthropic.messages.create({ model, max_tokens: 99, messages: HELLO }), await anthropic.messages.stream({ model, max_tokens: 99, messages: HELLO }).finalMessage()];
    return both.map((m) => [m.content.filter((b) => b.type === 'thinking').map((b) => b.thinking).join(''), textOf(m)]);
  },
  'Ollama': async (model) => {
    const { message } = await ollama.chat({ model, messages: HELLO });
    let thought = '', text = '';
    for await (const part of await ollama.chat({ model, messages: HELLO, stream: true })) {
      thought += part.message.thinking ?? '';
      text += part.message.content;
    }
    return [[message.thinking ?? '', message.content], [thought, text]];
  },
};
for (const [client, read] of Object.entries(thoughts))
  test(`models[].reasoning: ${client}`, async () => {
    const expected = { split: ['Let me see.', SAID], show: ['', SHOWN], strip: ['', SAID] };
    const ways = { 'in its own member': { reasoning: 'Let me see.' }, 'between tags': { reply: ['<thi', 'nk>Let me ', 'see.</thi', 'nk>\n\nHello, ', 'world.'] } };
    for (const [way, options] of Object.entries(ways))
      for (const [mode, answer] of Object.entries(expected))
        for (const slug of [`native-${mode}`, `chat-${mode}`]) {
          fakes.vllm.options = { ...asStarted.vllm, ...options };
          for (const got of await read(slug)) assert.deepEqual(got, answer, `${slug}, ${way}`);
        }
  });

test("models[].system stands in front of the request's own, in each API", async () => {
  const body = () => JSON.parse(fakes.vllm.inferences.at(-1).body);
  const system = (b) => (b.instructions ?? b.system ?? b.messages.filter((m) => m.role === 'system').map((m) => m.content).join('|'));
  for (const own of [undefined, 'Speak French.']) {
    const lead = own ? [{ role: 'system', content: own }] : [];
    const asks = [
      () => openai.chat.completions.create({ model: 'terse', messages: [...lead, ...HELLO] }),
      () => openai.responses.create({ model: 'terse', input: HELLO, instructions: own }),
      () => anthropic.messages.create({ model: 'terse', max_tokens: 5, system: own, messages: HELLO }),
      () => ollama.chat({ model: 'terse', messages: [...lead, ...HELLO] }),
      () => ollama.generate({ model: 'terse', prompt: 'x', system: own }),
    ];
    for (const ask of asks) {
      await ask();
      assert.equal(system(body()), own ? `Be terse.\n\n${own}` : 'Be terse.', fakes.vllm.inferences.at(-1).path);
    }
  }
});

test('models[].defaults fill in what is missing, models[].force replaces what is there', async () => {
  const asks = [(more) => openai.chat.completions.create({ model: 'cool', messages: HELLO, ...more }), (more) => openai.responses.create({ model: 'cool', input: HELLO, ...more }),
    (more) => anthropic.messages.create({ model: 'cool', max_tokens: 5, messages: HELLO, ...more })];
  for (const ask of asks)
    for (const [more, temperature] of [[{}, 0.25], [{ temperature: 0.5, top_p: 0.1 }, 0.5]]) {
      await ask(more);
      const body = JSON.parse(fakes.vllm.inferences.at(-1).body);
      assert.deepEqual([body.temperature, body.top_p], [temperature, 0.75], fakes.vllm.inferences.at(-1).path);
    }
});

test('models[].strict refuses what would be left out, but not mere hints', async () => {
  const loss = { status: 400, type: 'BadRequestError', text: /seed cannot be carried over to the API of the model's runtime, and this model is strict/, code: 'unsupported_parameter' };
  await fails('OpenAI chat', openai.chat.completions.create({ model: 'strict', messages: HELLO, seed: 1 }), loss);
  await fails('Ollama', ollama.chat({ model: 'strict', messages: HELLO, options: { seed: 1 } }), loss);
  const { response } = await openai.chat.completions.create({ model: 'strict', messages: HELLO, user: 'u' }).withResponse();
  assert.equal(response.headers.get('drover-degraded'), 'user');
});

test('models[].context_guard refuses a prompt that does not fit before the runtime is asked for an answer', async () => {
  const before = fakes.vllm.answered.length + fakes.ollama.answered.length, messages = [{ role: 'user', content: 'word '.repeat(20000) }];
  fakes.vllm.options.counted = 20007;
  for (const [model, text] of [['guarded', /prompt is too long: 20007 tokens, limit 8192/], ['guarded-ollama', /prompt is too long: about \d+ tokens \(estimated\), limit 8192/]]) {
    const expected = { status: 400, type: 'BadRequestError', text, code: 'context_length_exceeded' };
    await fails('OpenAI chat', openai.chat.completions.create({ model, messages }), expected);
    await fails('OpenAI responses', openai.responses.create({ model, input: messages }), expected);
    await fails('Anthropic', anthropic.messages.create({ model, max_tokens: 5, messages }), expected);
    await fails('Ollama', ollama.chat({ model, messages }), expected);
  }
  assert.equal(fakes.vllm.answered.length + fakes.ollama.answered.length, before);
  await openai.chat.completions.create({ model: 'guarded-ollama', messages: HELLO });
  assert.equal(JSON.parse(fakes.ollama.inferences.at(-1).body).truncate, false); // Ollama would cut it silently
});

// --- opaque names ---------------------------------------------------------------------------------------------------

test("slugs: opaque hides the model's and the endpoint's name in every event, whole answer and error", async () => {
  const ids = { vllm: 'Hidden/Hidden-8B', lmstudio: 'hidden/hidden-8b', ollama: 'hidden:latest' }, hidden = {};
  for (const [kind, id] of Object.entries(ids)) hidden[kind] = await startFake(kind, { models: [id] });
  const opaque = await startDrover({ config: { slugs: 'opaque', gateway: { retry_max: 0 } }, endpoints: [undefined, ['openai-chat'], ['anthropic']].flatMap((only, i) =>
    Object.entries(hidden).map(([kind, fake]) => ({ name: `hidden-${kind}-${i}`, url: fake.url, kind: 'auto', ...(only ? { dialects: only } : {}) }))) });
  const asks = {
    '/v1/chat/completions': { messages: HELLO }, '/v1/responses': { input: 'x' }, '/v1/messages': { max_tokens: 5, messages: HELLO }, '/api/chat': { messages: HELLO }, '/api/v1/chat': { input: 'x' },
    '/api/v0/chat/completions': { messages: HELLO }, '/api/generate': { prompt: 'x' }, '/v1/completions': { prompt: 'x' }, '/v1/embeddings': { input: 'x' }, '/api/embed': { input: 'x' },
    '/v1/messages/count_tokens': { messages: HELLO },
  };
  const faults = {
    'a refusal': (id) => ({ failWith: { status: 400, body: { error: { message: `the model ${id} cannot`, type: 'invalid_request_error' } } } }), '503': () => ({ failWith: 503 }),
    'a redirect': () => ({ failWith: { status: 302, headers: { Location: '/' } } }), 'an end too soon': () => ({ endAfter: 2 }), 'a reset': () => ({ resetAfter: 2 }),
    'an error event': (id, kind) => ({ errorAfter: { deltas: 2, get text() {
      return /^.api.(chat|generate)$/.test(hidden[kind].inferences.at(-1).path) ? `{"error":"${id} is out of memory"}\n`
        : `event: error\ndata: {"type":"error","error":{"type":"api_error","message":"${id} is out of memory"}}\n\n`;
    } } }),
  };
  const leaks = [];
  let answered = 0;
  const ask = async (what, model, path, stream) => {
    const response = await opaque.post(path, { model, stream, ...asks[path] }), text = await response.text().catch(() => '');
    const all = `${JSON.stringify([...response.headers])} ${text}`;
    if (/hidden/i.test(all)) leaks.push(`${what}, ${path}${stream ? ', streamed' : ''}: ${response.status} ${all.replace(/\s+/g, ' ')}`.slice(0, 900));
    answered += response.status === 200;
    return response.status;
  };
  const set = (fault) => { for (const [kind, fake] of Object.entries(hidden)) fake.options = { ...fake.options, failWith: undefined, endAfter: undefined, resetAfter: undefined, errorAfter: undefined, ...fault(ids[kind], kind) }; };
  try {
    const slugs = await until('the names', async () => { const names = await opaque.modelIds(); return names.length === 9 && names; });
    for (const list of ['/v1/models', '/api/tags', '/api/ps', '/api/v0/models', '/api/v1/models']) {
      const text = await (await opaque.get(list)).text();
      if (/hidden/i.test(text)) leaks.push(`GET ${list}: ${text.slice(0, 900)}`);
    }
    for (const model of slugs)
      for (const path of Object.keys(asks)) for (const stream of [false, true]) await ask('plain', model, path, stream);
    assert.ok(answered > 120, `only ${answered} plain answers`);
    for (const [what, fault] of Object.entries(faults))
      for (const model of slugs)
        for (const path of Object.keys(asks).slice(0, 5)) {
          set(fault);
          await ask(what, model, path, true);
          set(() => ({}));
          for (let i = 0; i < 2; i++) assert.equal(await ask('afterwards', model, '/v1/messages', false), 200);
        }
  } finally {
    await opaque.stop();
    for (const fake of Object.values(hidden)) await fake.close();
  }
  assert.deepEqual(leaks, []);
});

test('slugs: opaque passes nothing of a runtime that names it: headers, members wherever they stand, comments, what cannot be read', async () => {
  const id = '/home/bob/SECRETMODEL.gguf', fake = await startFake('vllm', { models: [id] });
  const ollama = await startFake('ollama', { models: ['SECRETMODEL:latest'] });
  const drover = await startDrover({ config: { slugs: 'opaque' }, endpoints: [{ name: 'secret-a', url: fake.url, kind: 'vllm' }, { name: 'secret-b', url: ollama.url, kind: 'ollama' }] });
  const headers = { 'x-litellm-model-api-base': 'http://secret:8000/', 'openai-model': id, 'x-model-id': id, server: 'secret-7', via: '1.1 secret', 'retry-after': '7', 'cache-control': 'no-cache' };
  const whole = { id: 'c', object: 'chat.completion', created: 1, model: id, choices: [{ index: 0, message: { role: 'assistant', content: 'ok 1.50', model: id, tool_calls: [{ id: 't', type: 'function', function: { name: 'f', arguments: '{"model":"mine"}' } }] }, finish_reason: 'stop' }],
    stats: { draft_model: id, n: 1 }, model_info: { model: id, 'general.name': 'SECRETMODEL' } };
  const text = JSON.stringify(whole), chunk = (delta, finish = null, more = {}) => `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: id, choices: [{ index: 0, delta, finish_reason: finish }], ...more })}\n\n`;
  const END = `${chunk({ content: 'ok' })}${chunk({}, 'stop')}data: [DONE]\n\n`, json = 'application/json', sse = 'text/event-stream';
  const sound = [['plain', json, text], ['twice', json, text.replace(/}$/, `,"model":"${id}","usage":{"x":1.10}}`)], ['escaped', json, text.replace('"model"', '"mod\\u0065l"')], ['called text', 'text/plain', text], ['untyped', null, text],
    ['half a pair', json, text.replace('ok 1.50', 'ok \\ud800')], ['stream', sse, END], ['comments', sse, `: SECRETMODEL loads\n\nid: SECRETMODEL\n${END}`], ['an event name', sse, `event: SECRETMODEL\n${END}`],
    ['more in events', sse, chunk({ content: 'ok' }, null, { remote_host: 'secret', stats: { draft_model: id } }) + END], ['an unfinished end', sse, `${END}data: {"model":"${id}`]];
  const bad = [['no JSON', json, `{"model":"${id}"`], ['words', 'text/plain', `hello from ${id}`], ['an event of words', sse, `data: hello from SECRETMODEL\n\n${END}`], ['an error in a 200', json, JSON.stringify({ error: { message: `SECRETMODEL.gguf: out of memory in ${id}` } })]];
  const slugs = await until('the names', async () => { const names = await drover.modelIds(); return names.length === 2 && names; });
  try {
    const about = new Map(await Promise.all(slugs.map(async (slug) => {
      const response = await drover.post('/api/show', { model: slug }), shown = await response.text();
      assert.equal(response.status, 200);
      assert.doesNotMatch(shown, /secret/i);
      return [(await drover.cliJson('explain', slug)).candidates[0].endpoint, slug];
    })));
    const model = about.get('secret-a');
    const ask = async (type, bytes, path = '/v1/chat/completions') => {
      fake.options.answer = (request, response) => response.whole(200, type, bytes, headers);
      const response = await drover.post(path, { model, stream: type === sse, messages: HELLO, input: 'x' });
      const body = await response.text(), all = JSON.stringify([...response.headers]) + body;
      assert.doesNotMatch(all, /secret|\/home/i, bytes);
      return { status: response.status, body, headers: response.headers };
    };
    for (const [what, type, bytes] of sound) {
      const got = await ask(type, bytes);
      assert.equal(got.status, 200, what);
      assert.match(got.body, /ok/, what);
      assert.ok(got.body.includes(`"model":"${model}"`), what);
      assert.equal(got.headers.get('retry-after'), '7');
      if (type === sse) assert.doesNotMatch(got.body, /error/, what);
      else assert.match(got.body, /\{\\"model\\":\\"mine\\"\}/, 'the arguments of tools are nobody\'s but the client\'s');
    }
    assert.match((await ask(json, sound[1][2])).body, /"usage":\{"x":1\.10\}/, 'numbers stay as they are written');
    for (const [what, type, bytes] of bad) assert.match((await ask(type, bytes)).body, /"error"/, what);
    assert.match((await ask(json, JSON.stringify({ model: id, data: [{ index: 0, document: { model: 'mine' } }] }), '/v1/embeddings')).body, /"document":\{"model":"mine"\}/);
    fake.options.answer = (request, response) => response.whole(200, 'audio/wav', Buffer.from('RIFF'));
    assert.equal(await (await drover.post('/v1/embeddings', { model, input: 'x' })).text(), 'RIFF');

    for (const stream of [false, true]) {
      const line = JSON.stringify({ model: 'SECRETMODEL:latest', remote_model: 'SECRETMODEL', remote_host: 'https://secret:443', created_at: '2026-01-01T00:00:00Z', message: { role: 'assistant', content: 'hi' }, done: true, done_reason: 'stop' });
      ollama.options.answer = (request, response) => response.whole(200, stream ? 'application/x-ndjson' : json, `${line}\n`);
      const body = await (await drover.post('/api/chat', { model: about.get('secret-b'), messages: HELLO, stream })).json();
      assert.deepEqual([body.model, body.message.content, JSON.stringify(body).match(/secret/i)], [about.get('secret-b'), 'hi', null]);
    }
    const refused = async (message) => {
      fake.options.answer = (request, response) => response.json(400, { error: { message } });
      return (await (await drover.post('/v1/chat/completions', { model, messages: HELLO })).json()).error.message;
    };
    assert.equal(await refused('failed to load SECRETMODEL.gguf; secretmodel cannot.'), `failed to load ${model}; ${model} cannot.`);
    assert.equal(await refused('SECRETMODELS, my-SECRETMODEL and SECRETMODEL.x stay'), 'SECRETMODELS, my-SECRETMODEL and SECRETMODEL.x stay', 'other words are left alone');
    const [there, nowhere] = await Promise.all(['secret-a', 'nowhere'].map(async (node) => (await drover.post('/v1/chat/completions', { model: `${model}@${node}`, messages: HELLO })).status));
    assert.deepEqual([there, nowhere], [404, 404]);
    const pull = await (await drover.post('/api/pull', { model: 'x' })).text();
    assert.doesNotMatch(pull, /secret/);
  } finally {
    await drover.stop();
    await fake.close();
    await ollama.close();
  }
});
