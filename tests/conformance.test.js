// Which client's feature works with which runtime, and how: this file finds out and docs/conformance.md says it.
//
// Each case sends one request through Drover to a fake of each runtime and looks at both ends. A member that the client sent
// carries a mark; the mark must have reached the runtime, or the answer must have said that it did not (drover-degraded), or
// the request must have been refused. What the runtime said carries marks, too, and must reach the client in its own form.
// The page is made anew with DROVER_REFRESH_DOCS=1; otherwise it must be what this run found.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { startFake } from './fakes/index.js';
import { startDrover } from './lib/drover.js';

const KINDS = ['ollama', 'lmstudio', 'llamacpp', 'vllm', 'sglang', 'mistralrs', 'tgi', 'localai', 'koboldcpp', 'tabbyapi', 'jan', 'lemonade', 'mlx', 'docker-model-runner',
  'triton', 'trtllm', 'openai', 'tei', 'infinity'];
const TITLES = { ollama: 'Ollama', lmstudio: 'LM Studio', llamacpp: 'llama.cpp', vllm: 'vLLM', sglang: 'SGLang', mistralrs: 'mistral.rs', tgi: 'TGI',
  localai: 'LocalAI', koboldcpp: 'KoboldCpp', tabbyapi: 'TabbyAPI', jan: 'Jan', lemonade: 'Lemonade', mlx: 'MLX-LM', 'docker-model-runner': 'Docker MR', triton: 'Triton',
  trtllm: 'TensorRT-LLM', openai: 'other', tei: 'TEI', infinity: 'Infinity' };
const PNG = 'iVBORw0KGgoAAAANSUhEUg==';
const SCHEMA = { type: 'object', properties: { mark_member: { type: 'string' } } };
const CALLS = [{ id: 'call_mark1', name: 'mark_tool', args: { city: 'Mark-Ulm' } }, { id: 'call_mark2', name: 'mark_tool', args: { city: 'Mark-Bonn' } }];

// --- the clients ----------------------------------------------------------------------------------------------------

const openaiTool = { type: 'function', function: { name: 'mark_tool', description: 'd', parameters: SCHEMA } };
const user = (content) => ({ messages: [{ role: 'user', content }] });

/** Per client: path, the plainest request, and a request for each feature (a function of nothing; absent: the API has no such thing). */
const clients = {
  'OpenAI chat completions': {
    path: '/v1/chat/completions', plain: user('hi'),
    stream: (sse) => sse.map((d) => d.choices?.[0]?.delta?.content ?? '').join(''),
    text: (b) => b.choices[0].message.content,
    features: {
      'system prompt': { messages: [{ role: 'system', content: 'mark-system' }, { role: 'user', content: 'hi' }] },
      'several turns': { messages: [{ role: 'user', content: 'a' }, { role: 'assistant', content: 'mark-turn' }, { role: 'user', content: 'b' }] },
      'tools': { ...user('hi'), tools: [openaiTool] },
      'tool choice: required': { ...user('hi'), tools: [openaiTool], tool_choice: 'required' },
      'tool choice: by name': { ...user('hi'), tools: [openaiTool], tool_choice: { type: 'function', function: { name: 'mark_tool' } } },
      'one call at a time': { ...user('hi'), tools: [openaiTool], parallel_tool_calls: false },
      'tool results': { messages: [{ role: 'user', content: 'a' }, { role: 'assistant', content: null, tool_calls: [{ id: 'c1', type: 'function', function: { name: 'f', arguments: '{}' } }] },
        { role: 'tool', tool_call_id: 'c1', content: 'mark-result' }] },
      'images': user([{ type: 'text', text: 'see' }, { type: 'image_url', image_url: { url: `data:image/png;base64,${PNG}` } }]),
      'structured output': { ...user('hi'), response_format: { type: 'json_schema', json_schema: { name: 'n', schema: SCHEMA } } },
      'JSON mode': { ...user('hi'), response_format: { type: 'json_object' } },
      'stop sequences': { ...user('hi'), stop: ['mark-stop'] },
      'output limit': { ...user('hi'), max_completion_tokens: 4321 },
      'temperature': { ...user('hi'), temperature: 0.625 },
      'seed': { ...user('hi'), seed: 424242 },
      'log probabilities': { ...user('hi'), logprobs: true, top_logprobs: 3 },
      'several answers (n)': { ...user('hi'), n: 2 },
      'reasoning effort': { ...user('hi'), reasoning_effort: 'high' },
      'audio in': user([{ type: 'input_audio', input_audio: { data: 'bWFyaw==', format: 'wav' } }]),
    },
  },
  'OpenAI responses': {
    path: '/v1/responses', plain: { input: 'hi' },
    stream: (sse) => sse.filter((d) => d.type === 'response.output_text.delta').map((d) => d.delta).join(''),
    text: (b) => b.output.filter((i) => i.type === 'message').map((i) => i.content[0].text).join(''),
    features: {
      'system prompt': { input: 'hi', instructions: 'mark-system' },
      'several turns': { input: [{ role: 'user', content: 'a' }, { role: 'assistant', content: 'mark-turn' }, { role: 'user', content: 'b' }] },
      'tools': { input: 'hi', tools: [{ type: 'function', name: 'mark_tool', parameters: SCHEMA }] },
      'tool choice: required': { input: 'hi', tools: [{ type: 'function', name: 'mark_tool', parameters: SCHEMA }], tool_choice: 'required' },
      'tool choice: by name': { input: 'hi', tools: [{ type: 'function', name: 'mark_tool', parameters: SCHEMA }], tool_choice: { type: 'function', name: 'mark_tool' } },
      'one call at a time': { input: 'hi', tools: [{ type: 'function', name: 'mark_tool', parameters: SCHEMA }], parallel_tool_calls: false },
      'tool results': { input: [{ role: 'user', content: 'a' }, { type: 'function_call', call_id: 'c1', name: 'f', arguments: '{}' }, { type: 'function_call_output', call_id: 'c1', output: 'mark-result' }] },
      'images': { input: [{ role: 'user', content: [{ type: 'input_text', text: 'see' }, { type: 'input_image', image_url: `data:image/png;base64,${PNG}` }] }] },
      'structured output': { input: 'hi', text: { format: { type: 'json_schema', name: 'n', schema: SCHEMA } } },
      'JSON mode': { input: 'hi', text: { format: { type: 'json_object' } } },
      'output limit': { input: 'hi', max_output_tokens: 4321 },
      'temperature': { input: 'hi', temperature: 0.625 },
      'reasoning effort': { input: 'hi', reasoning: { effort: 'high' } },
      'stored state': { input: 'hi', previous_response_id: 'resp_mark' },
      'hosted tools': { input: 'hi', tools: [{ type: 'web_search' }] },
    },
  },
  'Anthropic messages': {
    path: '/v1/messages', plain: { max_tokens: 64, ...user('hi') },
    stream: (sse) => sse.map((d) => (d.delta?.type === 'text_delta' ? d.delta.text : '')).join(''),
    text: (b) => b.content.filter((c) => c.type === 'text').map((c) => c.text).join(''),
    features: {
      'system prompt': { max_tokens: 64, system: [{ type: 'text', text: 'mark-system' }], ...user('hi') },
      'several turns': { max_tokens: 64, messages: [{ role: 'user', content: 'a' }, { role: 'assistant', content: 'mark-turn' }, { role: 'user', content: 'b' }] },
      'tools': { max_tokens: 64, ...user('hi'), tools: [{ name: 'mark_tool', input_schema: SCHEMA }] },
      'tool choice: required': { max_tokens: 64, ...user('hi'), tools: [{ name: 'mark_tool', input_schema: SCHEMA }], tool_choice: { type: 'any' } },
      'tool choice: by name': { max_tokens: 64, ...user('hi'), tools: [{ name: 'mark_tool', input_schema: SCHEMA }], tool_choice: { type: 'tool', name: 'mark_tool' } },
      'one call at a time': { max_tokens: 64, ...user('hi'), tools: [{ name: 'mark_tool', input_schema: SCHEMA }], tool_choice: { type: 'auto', disable_parallel_tool_use: true } },
      'tool results': { max_tokens: 64, messages: [{ role: 'user', content: 'a' }, { role: 'assistant', content: [{ type: 'tool_use', id: 'toolu_1', name: 'f', input: {} }] },
        { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'toolu_1', content: 'mark-result' }] }] },
      'images': { max_tokens: 64, ...user([{ type: 'text', text: 'see' }, { type: 'image', source: { type: 'base64', media_type: 'image/png', data: PNG } }]) },
      'structured output': { max_tokens: 64, ...user('hi'), output_config: { format: { type: 'json_schema', schema: SCHEMA } } },
      'stop sequences': { max_tokens: 64, ...user('hi'), stop_sequences: ['mark-stop'] },
      'output limit': { max_tokens: 4321, ...user('hi') },
      'temperature': { max_tokens: 64, ...user('hi'), temperature: 0.625 },
      'reasoning budget': { max_tokens: 9000, ...user('hi'), thinking: { type: 'enabled', budget_tokens: 4096 } },
      'cache marks': { max_tokens: 64, system: [{ type: 'text', text: 's', cache_control: { type: 'ephemeral' } }], ...user('hi') },
      'documents (PDF)': { max_tokens: 64, ...user([{ type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'JVBERi0=' } }]) },
      'hosted tools': { max_tokens: 64, ...user('hi'), tools: [{ type: 'web_search_20250305', name: 'web_search' }] },
    },
  },
  'Ollama chat': {
    path: '/api/chat', plain: { ...user('hi'), stream: false }, lines: true,
    stream: (lines) => lines.map((d) => d.message?.content ?? '').join(''),
    text: (b) => b.message.content,
    features: {
      'system prompt': { messages: [{ role: 'system', content: 'mark-system' }, { role: 'user', content: 'hi' }], stream: false },
      'several turns': { messages: [{ role: 'user', content: 'a' }, { role: 'assistant', content: 'mark-turn' }, { role: 'user', content: 'b' }], stream: false },
      'tools': { ...user('hi'), tools: [openaiTool], stream: false },
      'tool results': { messages: [{ role: 'user', content: 'a' }, { role: 'assistant', content: '', tool_calls: [{ function: { name: 'f', arguments: {} } }] },
        { role: 'tool', tool_name: 'f', content: 'mark-result' }], stream: false },
      'images': { messages: [{ role: 'user', content: 'see', images: [PNG] }], stream: false },
      'structured output': { ...user('hi'), format: SCHEMA, stream: false },
      'JSON mode': { ...user('hi'), format: 'json', stream: false },
      'stop sequences': { ...user('hi'), options: { stop: ['mark-stop'] }, stream: false },
      'output limit': { ...user('hi'), options: { num_predict: 4321 }, stream: false },
      'temperature': { ...user('hi'), options: { temperature: 0.625 }, stream: false },
      'seed': { ...user('hi'), options: { seed: 424242 }, stream: false },
      'reasoning switch': { ...user('hi'), think: 'high', stream: false },
      'context size (num_ctx)': { ...user('hi'), options: { num_ctx: 6144 }, stream: false },
      'keep_alive': { ...user('hi'), keep_alive: '61m', stream: false },
    },
  },
  'Ollama generate': {
    path: '/api/generate', plain: { prompt: 'hi', stream: false }, lines: true,
    stream: (lines) => lines.map((d) => d.response ?? '').join(''),
    text: (b) => b.response,
    features: { 'system prompt': { prompt: 'hi', system: 'mark-system', stream: false }, 'raw prompt': { prompt: 'mark-raw', raw: true, stream: false } },
  },
  'OpenAI completions': {
    path: '/v1/completions', plain: { prompt: 'hi' },
    stream: (sse) => sse.map((d) => d.choices?.[0]?.text ?? '').join(''),
    text: (b) => b.choices[0].text,
    features: { 'fill in the middle (suffix)': { prompt: 'hi', suffix: 'mark-suffix' }, 'stop sequences': { prompt: 'hi', stop: 'mark-stop' } },
  },
  'LM Studio v0 chat': {
    path: '/api/v0/chat/completions', plain: user('hi'),
    stream: (sse) => sse.map((d) => d.choices?.[0]?.delta?.content ?? '').join(''), text: (b) => b.choices[0].message.content, features: {},
  },
  'LM Studio v1 chat': {
    path: '/api/v1/chat', plain: { input: 'hi' },
    stream: (sse) => sse.filter((d) => d.type === 'message.delta').map((d) => d.content).join(''),
    text: (b) => b.output.filter((o) => o.type === 'message').map((o) => o.content).join(''),
    features: { 'system prompt': { input: 'hi', system_prompt: 'mark-system' }, 'images': { input: [{ type: 'message', content: 'see' }, { type: 'image', data_url: `data:image/png;base64,${PNG}` }] },
      'stored state': { input: 'hi', previous_response_id: 'resp_mark' } },
  },
  'OpenAI embeddings': {
    path: '/v1/embeddings', plain: { input: 'hi' }, text: (b) => (b.data[0].embedding.length > 1 ? 'Hello, world.' : ''),
    features: { 'base64': { input: 'hi', encoding_format: 'base64' }, 'token ids': { input: [4711, 4712] }, 'dimensions': { input: 'hi', dimensions: 4321 } }, noCalls: true,
  },
  'Ollama embed': { path: '/api/embed', plain: { input: 'hi' }, text: (b) => (b.embeddings[0].length > 1 ? 'Hello, world.' : ''), features: {}, noCalls: true },
};

/** What of a feature must be found in the runtime's request. */
const MARKS = {
  'system prompt': /mark-system/, 'several turns': /mark-turn/, 'tools': /mark_tool.*mark_member|mark_member.*mark_tool/, 'tool choice: required': /"required"|"any"/,
  'tool choice: by name': /"(name|function)":\{?"?(name":")?mark_tool"?\}?.*"mark_tool"|"tool_choice":\{[^}]*mark_tool/, 'one call at a time': /"parallel_tool_calls":false|"disable_parallel_tool_use":true/,
  'tool results': /mark-result/, 'images': /iVBORw0KGgo/, 'structured output': /mark_member/, 'JSON mode': /"json_object"|"format":"json"|"json_schema".*"object"/, 'stop sequences': /mark-stop/,
  'output limit': /4321/, 'temperature': /0\.625/, 'seed': /424242/, 'log probabilities': /logprobs/, 'several answers (n)': /"n":2/, 'reasoning effort': /"high"/,
  'reasoning budget': /4096|"medium"|"think"|reasoning/, 'reasoning switch': /"high"|"think"/, 'audio in': /bWFyaw==/, 'stored state': /resp_mark/, 'hosted tools': /web_search/, 'cache marks': /cache_control/,
  'documents (PDF)': /JVBERi0=/, 'context size (num_ctx)': /6144/, 'keep_alive': /61m/, 'raw prompt': /mark-raw/, 'fill in the middle (suffix)': /mark-suffix/, 'base64': /hi/,
  'token ids': /4711/, 'dimensions': /4321/,
};

// --- finding out ----------------------------------------------------------------------------------------------------

let drover;
const fakes = {}, found = new Map(); // 'client / feature' -> {kind: cell}
const notes = [];

before(async () => {
  for (const kind of KINDS) fakes[kind] = await startFake(kind, { models: [`m-${kind}`] });
  drover = await startDrover({ endpoints: Object.values(fakes), models: KINDS.map((k) => `m-${k}`) });
});
after(async () => {
  await drover?.stop();
  await Promise.all(Object.values(fakes).map((f) => f.close()));
});

function note(text) {
  const at = notes.indexOf(text);
  return at >= 0 ? at + 1 : notes.push(text);
}

function record(client, feature, kind, cell) {
  const row = `${client} / ${feature}`;
  if (!found.has(row)) found.set(row, {});
  found.get(row)[kind] = cell;
}

async function ask(client, kind, body) {
  const fake = fakes[kind], before = fake.inferences.length;
  const response = await drover.post(client.path, { model: `m-${kind}`, ...body }, { headers: client.path === '/v1/messages' ? { 'anthropic-version': '2023-06-01' } : {} });
  const text = await response.text();
  const got = fake.inferences.length > before ? fake.inferences.at(-1) : null;
  return { response, text, got, degraded: response.headers.get('drover-degraded') ?? '' };
}

/** The shown reason of a refusal, short and without the model's name. */
function reason(text, kind) {
  const body = JSON.parse(text);
  return (body.error?.message ?? body.error).replaceAll(`"m-${kind}"`, 'the model').replaceAll('|', '/');
}

/** N: as it came, T: translated, followed by what is left out; R: refused. */
function cellOf(client, kind, { response, text, got, degraded }) {
  if (response.status >= 400) {
    assert.ok([400, 501].includes(response.status), `${response.status}: ${text}`);
    assert.equal(got, null, 'a refused request has reached the runtime');
    return `R${note(reason(text, kind))}`;
  }
  assert.equal(response.status, 200, text);
  const native = got.path === client.path || `/v1${got.path}` === client.path; // Infinity has no /v1
  return degraded ? `T-${note(`left out: ${degraded}`)}` : native ? 'N' : 'T';
}

function checkMark(feature, body, cell, degraded) {
  if (cell.startsWith('R') || MARKS[feature].test(body)) return;
  assert.ok(degraded, `${feature} did not reach the runtime, and nobody said so: ${body}`);
}

const sse = (text) => text.split('\n\n').map((f) => /^data: (.*)$/m.exec(f)?.[1]).filter((d) => d && d !== '[DONE]').map((d) => JSON.parse(d));
const lines = (text) => text.split('\n').filter(Boolean).map((l) => JSON.parse(l));

for (const [name, client] of Object.entries(clients)) {
  test(`${name}: plain answers`, async () => {
    for (const kind of KINDS) {
      const answer = await ask(client, kind, client.plain), cell = cellOf(client, kind, answer);
      record(name, 'plain', kind, cell);
      if (cell.startsWith('R')) continue;
      assert.equal(client.text(JSON.parse(answer.text)), 'Hello, world.', kind);
      if (!client.noCalls) assert.match(answer.text, /21|"input_tokens":5,/, `${kind}: the prompt's tokens`);
    }
  });

  if (client.stream) test(`${name}: streams`, async () => {
    for (const kind of KINDS) {
      const answer = await ask(client, kind, { ...client.plain, stream: true }), cell = cellOf(client, kind, answer);
      record(name, 'stream', kind, cell);
      if (cell.startsWith('R')) continue;
      assert.equal(client.stream(client.lines ? lines(answer.text) : sse(answer.text)), 'Hello, world.', `${kind}: ${answer.text}`);
    }
  });

  for (const [feature, body] of Object.entries(client.features))
    test(`${name}: ${feature}`, async () => {
      for (const kind of KINDS) {
        const answer = await ask(client, kind, body), cell = cellOf(client, kind, answer);
        record(name, feature, kind, cell);
        checkMark(feature, answer.got?.body.toString() ?? '', cell, answer.degraded);
      }
    });

  if (['OpenAI chat completions', 'OpenAI responses', 'Anthropic messages', 'Ollama chat'].includes(name)) {
    test(`${name}: calls of tools in answers, whole and streamed`, async () => {
      for (const kind of KINDS) {
        for (const stream of [false, true]) {
          fakes[kind].options.calls = CALLS;
          const answer = await ask(client, kind, { ...client.features.tools, stream }), cell = cellOf(client, kind, answer);
          delete fakes[kind].options.calls;
          record(name, 'parallel calls in answers', kind, cell);
          if (cell.startsWith('R')) continue;
          assert.deepEqual(callsOf[name](stream ? (client.lines ? lines(answer.text) : sse(answer.text)) : JSON.parse(answer.text), stream), CALLS.map((c) => [c.name, c.args]), `${kind}: ${answer.text}`);
        }
      }
    });

    test(`${name}: reasoning in answers, whole and streamed`, async () => {
      for (const kind of KINDS) {
        for (const stream of [false, true]) {
          fakes[kind].options.reasoning = 'mark-thought';
          const answer = await ask(client, kind, { ...client.plain, stream }), cell = cellOf(client, kind, answer);
          delete fakes[kind].options.reasoning;
          record(name, 'reasoning in answers', kind, cell);
          if (!cell.startsWith('R')) assert.match(answer.text, /mark-thought/, kind);
        }
      }
    });
  }
}

/** [name, arguments] of each call, put together from the client's form. */
const callsOf = {
  'OpenAI chat completions': (b, stream) => {
    if (!stream) return b.choices[0].message.tool_calls.map((c) => [c.function.name, JSON.parse(c.function.arguments)]);
    const all = [];
    for (const c of b.flatMap((d) => d.choices?.[0]?.delta?.tool_calls ?? [])) {
      all[c.index] ??= ['', ''];
      all[c.index][0] += c.function.name ?? '';
      all[c.index][1] += c.function.arguments ?? '';
    }
    return all.map(([n, a]) => [n, JSON.parse(a)]);
  },
  'OpenAI responses': (b, stream) => (stream ? b.find((d) => d.type === 'response.completed').response : b).output.filter((i) => i.type === 'function_call')
    .map((i) => [i.name, JSON.parse(i.arguments)]),
  'Anthropic messages': (b, stream) => {
    if (!stream) return b.content.filter((c) => c.type === 'tool_use').map((c) => [c.name, c.input]);
    const all = new Map();
    for (const d of b) {
      if (d.content_block?.type === 'tool_use') all.set(d.index, [d.content_block.name, '']);
      if (d.delta?.type === 'input_json_delta') all.get(d.index)[1] += d.delta.partial_json;
    }
    return [...all.values()].map(([n, a]) => [n, JSON.parse(a)]);
  },
  'Ollama chat': (b, stream) => (stream ? b : [b]).flatMap((l) => l.message?.tool_calls ?? []).map((c) => [c.function.name, c.function.arguments]),
};

// --- the page -------------------------------------------------------------------------------------------------------

function page() {
  const out = ['# What works with what', '',
    'Made by `tests/conformance.test.js`, which sends each request below through Drover to a fake of each runtime and looks at both ends; the', 'test of a cell is called `CLIENT: FEATURE`. [dialects.md](dialects.md) says how things are translated.', '',
    '**N** the request goes to the runtime as it came. **T** it is translated. **T-n** translated, and something is left out: note n. **Rn** refused, with the reason in note n.', ''];
  for (const client of Object.keys(clients)) {
    const kinds = KINDS;
    out.push(`## ${client}`, '', `| | ${kinds.map((k) => TITLES[k]).join(' | ')} |`, `| --- |${' --- |'.repeat(kinds.length)}`);
    for (const [row, cells] of found)
      if (row.startsWith(`${client} / `)) out.push(`| ${row.slice(client.length + 3)} | ${kinds.map((k) => cells[k]).join(' | ')} |`);
    out.push('');
  }
  out.push('## Notes', '', ...notes.map((n, i) => `${i + 1}. ${n}`), '');
  return out.join('\n');
}

test('docs/conformance.md says what was found, and has no unexplained cell', () => {
  const file = new URL('../docs/conformance.md', import.meta.url), text = page();
  for (const [row, cells] of found) for (const kind of KINDS) assert.match(cells[kind] ?? 'nothing', /^(N|T|T-\d+|R\d+)$/, `${row}, ${kind}`);
  if (process.env.DROVER_REFRESH_DOCS) writeFileSync(file, text);
  assert.equal(readFileSync(file, 'utf8'), text, 'run it again with DROVER_REFRESH_DOCS=1');
});
