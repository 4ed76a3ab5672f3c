// Bad input, in each API, with a runtime behind that speaks another: a client's mistake is refused with the exact status and
// words, in the client's own envelope, before the runtime hears of it; what a runtime sends amiss never reaches a client as it is.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { startFake } from './fakes/index.js';
import { startDrover } from './lib/drover.js';

let drover, vllm, ollama; // model m: a vLLM that is spoken to in chat completions only; model o: an Ollama, in its own API only

before(async () => {
  vllm = await startFake('vllm', { models: ['m'] });
  ollama = await startFake('ollama', { models: ['o:latest'] });
  drover = await startDrover({ endpoints: [{ name: 'vllm', url: vllm.url, kind: 'auto', dialects: ['openai-chat'] }, { name: 'ollama', url: ollama.url, kind: 'auto', dialects: ['ollama'] }],
    models: ['m', 'o:latest'] });
});
after(async () => {
  await drover?.stop();
  await vllm?.close();
  await ollama?.close();
});

const HI = [{ role: 'user', content: 'hi' }];
const apis = {
  chat: { path: '/v1/chat/completions', body: { model: 'o', messages: HI } },
  responses: { path: '/v1/responses', body: { model: 'm', input: 'hi' } },
  messages: { path: '/v1/messages', body: { model: 'm', max_tokens: 9, messages: HI } },
  ollama: { path: '/api/chat', body: { model: 'm', messages: HI, stream: false } },
  generate: { path: '/api/generate', body: { model: 'm', prompt: 'hi', stream: false } },
  lm1: { path: '/api/v1/chat', body: { model: 'm', input: 'hi' } },
  completions: { path: '/v1/completions', body: { model: 'o', prompt: 'hi' } },
  embed: { path: '/v1/embeddings', body: { model: 'o', input: 'hi' } },
};
const heard = () => vllm.inferences.length + ollama.inferences.length;

/** The whole error answer of each API. */
function envelope(path, message, code, id) {
  if (path.startsWith('/v1/messages')) return { type: 'error', error: { type: 'invalid_request_error', message }, request_id: id };
  if (path.startsWith('/api/v1')) return { error: { type: 'invalid_request', message, code } };
  if (path.startsWith('/api')) return { error: message };
  const param = /^"([\w.[\]]+)"|^(\w+(?:[.[][\w.[\]]*)) /.exec(message); // the path that the message begins with
  return { error: { message, type: 'invalid_request_error', param: param?.[1] ?? param?.[2] ?? null, code } };
}

async function refused(path, body, status, message, code) {
  const before = heard(), response = await drover.post(path, body), what = typeof body === 'string' ? body.slice(0, 200) : JSON.stringify(body);
  assert.equal(response.status, status, `${path} ${what}: ${await response.clone().text()}`);
  assert.deepEqual(await response.json(), envelope(path, message, code, response.headers.get('x-request-id')), what);
  assert.equal(heard(), before, `the runtime has heard of ${what}`);
}

// --- requests -------------------------------------------------------------------------------------------------------

const CANNOT = 'unsupported_parameter';
const NA = " is not available on this model's runtime", NT = " when the request is translated for this model's runtime";
const TOOL = { type: 'function', function: { name: 'f', parameters: {} } };
const user = (content) => ({ messages: [{ role: 'user', content }] }), part = (p) => user([p]);

/** Per API: [members that replace those of a good request, the message, the code or the status when they are not the usual ones]. */
const mistakes = {
  chat: [
    [{ messages: [{ role: 'robot', content: 'x' }] }, 'messages[0].role is "robot"; it must be system, developer, user, assistant or tool'],
    [{ messages: [{ content: 'x' }] }, 'messages[0].role is ""; it must be system, developer, user, assistant or tool'],
    [{ messages: [{ role: 7, content: 'x' }] }, 'messages[0].role is ""; it must be system, developer, user, assistant or tool'],
    [part({ type: 'video_url', video_url: { url: 'x' } }), 'messages[0].content[0].type "video_url" is not known', CANNOT],
    [part({ type: 'text' }), 'messages[0].content[0].text must be a string'],
    [part({ text: 'x' }), 'messages[0].content[0].type "" is not known', CANNOT],
    [user(['x']), 'messages[0].content[0] must be an object'],
    [user([7]), 'messages[0].content[0] must be an object'],
    [user(7), 'messages[0].content must be a string or an array of parts'],
    [user(null), 'messages[0].content is missing'],
    [{ messages: [{ role: 'user' }] }, 'messages[0].content is missing'],
    [user({}), 'messages[0].content must be a string or an array of parts'],
    [{ messages: {} }, '"messages" must be an array of at least one message'],
    [{ messages: [] }, '"messages" must be an array of at least one message'],
    [{ messages: 'hi' }, '"messages" must be an array of at least one message'],
    [{ messages: null }, '"messages" is missing'],
    [{ messages: undefined }, '"messages" is missing'],
    [{ messages: ['hi'] }, 'messages[0] must be an object'],
    [{ messages: [null] }, 'messages[0] must be an object'],
    [{ messages: [{ role: 'system', content: [{ type: 'image_url', image_url: { url: 'x' } }] }] }, 'messages[0].content[0].type is "image_url"; only text can stand here'],
    [{ messages: [{ role: 'assistant', content: 7 }] }, 'messages[0].content must be a string or an array of parts'],
    [{ messages: [{ role: 'assistant', tool_calls: {} }] }, 'messages[0].tool_calls must be an array'],
    [{ messages: [{ role: 'assistant', tool_calls: [{}] }] }, 'messages[0].tool_calls[0].function.name must be a string'],
    [{ messages: [{ role: 'assistant', tool_calls: ['x'] }] }, 'messages[0].tool_calls[0].function.name must be a string'],
    [{ messages: [{ role: 'assistant', tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: 7 } }] }] }, 'messages[0].tool_calls[0].function.arguments must be a string'],
    [{ messages: [{ role: 'assistant', function_call: {} }] }, 'messages[0].function_call.name must be a string'],
    [{ messages: [{ role: 'tool', content: 'x' }] }, 'messages[0].tool_call_id must be a string'],
    [part({ type: 'image_url' }), 'messages[0].content[0].image_url.url must be a string'],
    [part({ type: 'image_url', image_url: {} }), 'messages[0].content[0].image_url.url must be a string'],
    [part({ type: 'image_url', image_url: { url: 7 } }), 'messages[0].content[0].image_url.url must be a string'],
    [part({ type: 'image_url', image_url: { url: 'ftp://x' } }), 'messages[0].content[0].image_url.url must be an http(s) or data URL'],
    [part({ type: 'image_url', image_url: { url: '' } }), 'messages[0].content[0].image_url.url must be an http(s) or data URL'],
    [part({ type: 'image_url', image_url: { url: 'data:' } }), 'messages[0].content[0].image_url.url is a data URL without data'],
    [part({ type: 'image_url', image_url: { url: 'data:image/png,x' } }), 'messages[0].content[0].image_url.url must be a data URL in base64'],
    [part({ type: 'image_url', image_url: { url: 'data:image/png;base64,' } }), 'messages[0].content[0].image_url.url does not hold base64 data'],
    [part({ type: 'image_url', image_url: { url: 'data:image/png;base64,***' } }), 'messages[0].content[0].image_url.url does not hold base64 data'],
    [part({ type: 'image_url', image_url: { url: 'data:;base64,aGVsbG8=' } }), 'messages[0].content[0].image_url.url is not a PNG, JPEG, GIF or WebP image'],
    [part({ type: 'image_url', image_url: { url: 'data:image/png;base64,aGVsbG8=' } }), 'messages[0].content[0].image_url.url is not a PNG, JPEG, GIF or WebP image'],
    [part({ type: 'image_url', image_url: { url: 'data:text/html;base64,aGVsbG8=' } }), 'messages[0].content[0].image_url.url is not an image'],
    [part({ type: 'image_url', image_url: { url: 'data:im"age;base64,aGVsbG8=' } }), 'messages[0].content[0].image_url.url has a malformed media type'],
    [part({ type: 'image_url', image_url: { url: 'https://example.com/a.png' } }), "messages[0].content[0] is a link, and this model's runtime does not fetch links; send the image as base64", CANNOT],
    [part({ type: 'input_audio' }), 'messages[0].content[0].input_audio needs data and format'],
    [part({ type: 'input_audio', input_audio: { data: 'aa', format: 'wav' } }), "messages[0].content[0] is audio, which this model's runtime does not take", CANNOT],
    [part({ type: 'file', file: {} }), 'messages[0].content[0].file needs file_data or file_id'],
    [part({ type: 'file', file: { file_id: 'file-1' } }), "messages[0].content[0] is a document that is not text, which this model's runtime does not take", CANNOT],
    [part({ type: 'file', file: { file_data: 'data:application/pdf;base64,JVBERi0=' } }), "messages[0].content[0] is a document that is not text, which this model's runtime does not take", CANNOT],
    [{ tools: {} }, '"tools" must be an array'],
    [{ tools: [{ type: 'web_search' }] }, `tools[0].type "web_search"${NA}`, CANNOT],
    [{ tools: [{}] }, `tools[0].type ""${NA}`, CANNOT],
    [{ tools: ['x'] }, 'tools[0] must be an object'],
    [{ tools: [{ type: 'function' }] }, 'tools[0].function must be an object'],
    [{ tools: [{ type: 'function', function: {} }] }, 'tools[0].function.name must be a string'],
    [{ tools: [{ type: 'function', function: { name: 7 } }] }, 'tools[0].function.name must be a string'],
    [{ tools: [{ type: 'function', function: { name: 'f', parameters: 'x' } }] }, 'tools[0].function.parameters must be an object'],
    [{ tools: [TOOL], tool_choice: 'maybe' }, '"tool_choice" must be "none", "auto", "required" or an object that names a function'],
    [{ tools: [TOOL], tool_choice: 7 }, '"tool_choice" must be "none", "auto", "required" or an object that names a function'],
    [{ tools: [TOOL], tool_choice: {} }, '"tool_choice" must be "none", "auto", "required" or an object that names a function'],
    [{ tools: [TOOL], tool_choice: { type: 'function' } }, 'tool_choice.function.name must be a string'],
    [{ tools: [TOOL], tool_choice: { type: 'function', function: { name: 'g' } } }, 'the tool choice "g" is none of the tools'],
    [{ functions: 7 }, '"functions" must be an array'],
    [{ function_call: {} }, 'function_call.name must be a string'],
    [{ response_format: 'json' }, 'response_format.type is ""; it must be text, json_object or json_schema'],
    [{ response_format: { type: 'yaml' } }, 'response_format.type is "yaml"; it must be text, json_object or json_schema'],
    [{ response_format: { type: 'json_schema' } }, 'response_format.json_schema.schema must be an object'],
    [{ response_format: { type: 'json_schema', json_schema: { name: 'x', schema: 7 } } }, 'response_format.json_schema.schema must be an object'],
    [{ reasoning_effort: 'extreme' }, '"reasoning_effort" must be none, minimal, low, medium, high, xhigh or max'],
    [{ reasoning_effort: 7 }, '"reasoning_effort" must be none, minimal, low, medium, high, xhigh or max'],
    [{ modalities: ['text', 'audio'] }, `"modalities" other than text cannot be translated for this model's runtime`, CANNOT],
    [{ audio: {} }, `"audio"${NA}`, CANNOT],
    [{ web_search_options: {} }, `"web_search_options"${NA}`, CANNOT],
    [{ temperature: 'hot' }, '"temperature" must be a number, not a string'],
    [{ temperature: [1] }, '"temperature" must be a number, not an array'],
    [{ top_p: true }, '"top_p" must be a number, not a boolean'],
    [{ seed: {} }, '"seed" must be a number, not an object'],
    [{ stop: 7 }, '"stop" must be a string or an array of strings, not a number'],
    [{ stop: [1] }, '"stop[0]" must be a string, not a number'],
    [{ logit_bias: [] }, '"logit_bias" must be an object, not an array'],
    [{ logit_bias: { '1': 2 } }, `"logit_bias" cannot be translated for this model's runtime`, CANNOT],
    [{ logprobs: 3 }, '"logprobs" must be true or false, not a number'],
    [{ top_logprobs: -1 }, '"top_logprobs" must not be negative'],
    [{ top_logprobs: 'x' }, '"top_logprobs" must be an integer, not a string'],
    [{ max_tokens: '5' }, '"max_tokens" must be an integer, not a string'],
    [{ max_tokens: 1.5 }, '"max_tokens" must be an integer, not a number'],
    [{ max_tokens: 9000000000000000 }, '"max_tokens" must be at most 2147483647'],
    [{ max_completion_tokens: '5' }, '"max_completion_tokens" must be an integer, not a string'],
    [{ n: 2 }, `"n" greater than 1 is not supported${NT}`, CANNOT],
    [{ n: 9 }, '"n" is 9; at most 8 answers per request'],
    [{ n: 1000000000 }, '"n" is 1000000000; at most 8 answers per request'],
    [{ n: 0 }, '"n" must be an integer of at least 1'],
    [{ n: -1 }, '"n" must be an integer of at least 1'],
    [{ n: '2' }, '"n" must be an integer of at least 1'],
    [{ n: 1.5 }, '"n" must be an integer of at least 1'],
    [{ stream: 'yes' }, '"stream" must be true or false, not a string'],
    [{ parallel_tool_calls: 'no' }, '"parallel_tool_calls" must be true or false, not a string'],
    [{ model: 7 }, '"model" must be a string'],
    [{ model: '' }, '"model" is empty'],
    [{ model: undefined }, '"model" is missing'],
  ],
  responses: [
    [{ input: undefined }, '"input" is missing'],
    [{ input: 7 }, '"input" must be a string or an array of items'],
    [{ input: {} }, '"input" must be a string or an array of items'],
    [{ input: [] }, '"input" holds nothing to answer'],
    [{ input: [7] }, 'input[0] must be an object'],
    [{ input: [{ type: 'nonsense' }] }, `input[0].type "nonsense"${NA}`, CANNOT],
    [{ input: [{ role: 'robot', content: 'x' }] }, 'input[0].role is "robot"; it must be user, assistant, system or developer'],
    [{ input: [{ role: 'user' }] }, 'input[0].content must be a string or an array of parts'],
    [{ input: [{ role: 'user', content: 7 }] }, 'input[0].content must be a string or an array of parts'],
    [{ input: [{ role: 'user', content: [{ type: 'video' }] }] }, `input[0].content[0].type "video"${NA}`, CANNOT],
    [{ input: [{ role: 'user', content: [{ type: 'input_text' }] }] }, 'input[0].content[0].text must be a string'],
    [{ input: [{ role: 'user', content: [7] }] }, 'input[0].content[0] must be an object'],
    [{ input: [{ role: 'user', content: [{ type: 'input_image' }] }] }, 'input[0].content[0].image_url must be a string'],
    [{ input: [{ role: 'user', content: [{ type: 'input_image', file_id: 'f' }] }] }, 'input[0].content[0] refers to a file stored elsewhere (file_id); send the image itself', CANNOT],
    [{ input: [{ role: 'user', content: [{ type: 'input_image', image_url: 'nope' }] }] }, 'input[0].content[0].image_url must be an http(s) or data URL'],
    [{ input: [{ role: 'user', content: [{ type: 'input_file' }] }] }, 'input[0].content[0] needs file_data, file_url or file_id'],
    [{ input: [{ role: 'user', content: [{ type: 'input_audio' }] }] }, 'input[0].content[0].input_audio needs data and format'],
    [{ input: [{ type: 'function_call', name: 'f' }] }, 'input[0] needs call_id and name'],
    [{ input: [{ type: 'function_call', call_id: 'c' }] }, 'input[0] needs call_id and name'],
    [{ input: [{ type: 'function_call_output', output: 'x' }] }, 'input[0].call_id must be a string'],
    [{ input: [{ type: 'function_call_output', call_id: 'c' }] }, 'input[0].output must be a string or an array of parts'],
    [{ input: [{ type: 'item_reference', id: 'msg_1' }] }, 'input[0] refers to an item stored elsewhere; send the item itself', CANNOT],
    [{ input: [{ type: 'web_search_call', id: 'x' }] }, `input[0].type "web_search_call"${NA}`, CANNOT],
    [{ instructions: 7 }, '"instructions" must be a string'],
    [{ instructions: ['x'] }, '"instructions" must be a string'],
    [{ tools: 7 }, '"tools" must be an array'],
    [{ tools: [{ type: 'web_search' }] }, `tools[0].type "web_search"${NA}`, CANNOT],
    [{ tools: [{ type: 'function' }] }, 'tools[0].name must be a string'],
    [{ tools: [7] }, 'tools[0] must be an object'],
    [{ tools: [{ type: 'function', name: 'f', parameters: 7 }] }, 'tools[0].parameters must be an object'],
    [{ tools: [{ type: 'namespace', name: 'a', tools: 7 }] }, '"tools[0].tools" must be an array'],
    [{ tool_choice: 'maybe' }, '"tool_choice" must be "none", "auto", "required" or an object that names a tool'],
    [{ tool_choice: { type: 'web_search' } }, `tool_choice.type "web_search"${NA}`, CANNOT],
    [{ tool_choice: { type: 'function' } }, 'tool_choice.name must be a string'],
    [{ tool_choice: 7 }, '"tool_choice" must be "none", "auto", "required" or an object that names a tool'],
    [{ text: { format: { type: 'yaml' } } }, 'text.format.type is "yaml"; it must be text, json_object or json_schema'],
    [{ text: { format: { type: 'json_schema', name: 'x' } } }, 'text.format.schema must be an object'],
    [{ text: 7 }, '"text" must be an object'],
    [{ reasoning: { effort: 'extreme' } }, 'reasoning.effort must be none, minimal, low, medium, high, xhigh or max'],
    [{ reasoning: 7 }, '"reasoning" must be an object'],
    [{ reasoning: { effort: 7 } }, 'reasoning.effort must be none, minimal, low, medium, high, xhigh or max'],
    [{ previous_response_id: 'resp_1' }, `"previous_response_id" needs responses that are stored, which this model's runtime does not do; send the whole conversation in "input"`, CANNOT],
    [{ conversation: 'c' }, `"conversation" needs responses that are stored, which this model's runtime does not do; send the whole conversation in "input"`, CANNOT],
    [{ background: true }, `"background"${NA}`, CANNOT],
    [{ background: 'x' }, '"background" must be true or false'],
    [{ prompt: { id: 'p' } }, `"prompt"${NA}`, CANNOT],
    [{ include: 7 }, '"include" must be an array'],
    [{ max_output_tokens: '9' }, '"max_output_tokens" must be an integer, not a string'],
    [{ max_output_tokens: 1.5 }, '"max_output_tokens" must be an integer, not a number'],
    [{ max_output_tokens: 9000000000000000 }, '"max_output_tokens" must be at most 2147483647'],
    [{ temperature: 'x' }, '"temperature" must be a number, not a string'],
    [{ top_logprobs: -1 }, '"top_logprobs" must not be negative'],
    [{ parallel_tool_calls: 1 }, '"parallel_tool_calls" must be true or false, not a number'],
    [{ stream: 1 }, '"stream" must be true or false, not a number'],
  ],
  messages: [
    [{ max_tokens: undefined }, '"max_tokens" is missing'],
    [{ max_tokens: '9' }, '"max_tokens" must be an integer, not a string'],
    [{ max_tokens: null }, '"max_tokens" is missing'],
    [{ max_tokens: -1 }, '"max_tokens" must not be negative'],
    [{ max_tokens: 1.5 }, '"max_tokens" must be an integer, not a number'],
    [{ max_tokens: 9000000000000000 }, '"max_tokens" must be at most 2147483647'],
    [{ messages: undefined }, '"messages" is missing'],
    [{ messages: [] }, '"messages" must be an array of at least one message'],
    [{ messages: {} }, '"messages" must be an array of at least one message'],
    [{ messages: [7] }, 'messages[0] must be an object'],
    [{ messages: [{ role: 'robot', content: 'x' }] }, 'messages[0].role is "robot"; it must be user or assistant'],
    [{ messages: [{ role: 'tool', content: 'x' }] }, 'messages[0].role is "tool"; it must be user or assistant'],
    [{ messages: [{ role: 'user' }] }, 'messages[0].content must be a string or an array of blocks'],
    [user(7), 'messages[0].content must be a string or an array of blocks'],
    [user([7]), 'messages[0].content[0] must be an object'],
    [part({ type: 'nonsense' }), `messages[0].content[0].type "nonsense"${NA}`],
    [part({ type: 'text' }), 'messages[0].content[0].text must be a string'],
    [part({ type: 'text', text: 7 }), 'messages[0].content[0].text must be a string'],
    [user([]), '"messages" holds nothing to answer'],
    [part({ type: 'image' }), 'messages[0].content[0].source.type "" is not known'],
    [part({ type: 'image', source: { type: 'ftp' } }), 'messages[0].content[0].source.type "ftp" is not known'],
    [part({ type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'aGVsbG8=' } }), 'messages[0].content[0].source.data is not a PNG, JPEG, GIF or WebP image in base64'],
    [part({ type: 'image', source: { type: 'base64', media_type: 'image/png' } }), 'messages[0].content[0].source.data is not a PNG, JPEG, GIF or WebP image in base64'],
    [part({ type: 'image', source: { type: 'base64', media_type: 'x"y', data: 'iVBORw0KGgo=' } }), 'messages[0].content[0].source.data has a malformed media type'],
    [part({ type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'iVBORw0KGgo*' } }), 'messages[0].content[0].source.data does not hold base64 data'],
    [part({ type: 'image', source: { type: 'url', url: 'ftp://x' } }), 'messages[0].content[0].source.url must be an http(s) or data URL'],
    [part({ type: 'image', source: { type: 'url' } }), 'messages[0].content[0].source.url must be a string'],
    [part({ type: 'image', source: { type: 'file', file_id: 'f' } }), 'messages[0].content[0] refers to a file stored elsewhere (file_id); send the image itself'],
    [part({ type: 'document', source: { type: 'base64', media_type: 'application/pdf', data: 'JVBERi0=' } }), "messages[0].content[0] is a document that is not text; this model's runtime takes text and images only"],
    [part({ type: 'document', source: { type: 'text', media_type: 'text/plain' } }), 'messages[0].content[0].source.data must be a string'],
    [part({ type: 'tool_result', content: 'x' }), 'messages[0].content[0].tool_use_id must be a string'],
    [part({ type: 'tool_result', tool_use_id: 'c', content: 7 }), 'messages[0].content[0].content must be a string or an array of blocks'],
    [part({ type: 'tool_result', tool_use_id: 'c', content: [{ type: 'nonsense' }] }), `messages[0].content[0].content[0].type "nonsense"${NA}`],
    [part({ type: 'tool_use', id: 'x', name: 'f', input: {} }), `messages[0].content[0].type "tool_use"${NA}`],
    [{ messages: [{ role: 'assistant', content: [{ type: 'tool_use', name: 'f' }] }] }, 'messages[0].content[0] needs id and name'],
    [{ messages: [{ role: 'assistant', content: [{ type: 'tool_use', id: 'c', name: 'f', input: 'x' }] }] }, 'messages[0].content[0].input must be an object'],
    [part({ type: 'server_tool_use', id: 'x', name: 'web_search', input: {} }), `messages[0].content[0].type "server_tool_use"${NA}`],
    [{ system: 7 }, '"system" must be a string or an array of text blocks'],
    [{ system: [{ type: 'image' }] }, 'system[0] must be a text block'],
    [{ system: ['x'] }, 'system[0] must be a text block'],
    [{ tools: {} }, '"tools" must be an array'],
    [{ tools: [{}] }, 'tools[0].name must be a string'],
    [{ tools: [{ name: 'f' }] }, 'tools[0].input_schema must be an object'],
    [{ tools: [{ name: 'f', input_schema: 'x' }] }, 'tools[0].input_schema must be an object'],
    [{ tools: [{ type: 'web_search_20250305', name: 'web_search' }] }, `tools[0].type "web_search_20250305"${NA}`],
    [{ tools: [{ type: 'computer_20250124', name: 'computer' }] }, `tools[0].type "computer_20250124"${NA}`],
    [{ tools: [7] }, 'tools[0] must be an object'],
    [{ tool_choice: { type: 'maybe' } }, 'tool_choice.type is "maybe"; it must be auto, any, tool or none'],
    [{ tool_choice: 'auto' }, 'tool_choice.type is ""; it must be auto, any, tool or none'],
    [{ tool_choice: { type: 'tool' } }, 'tool_choice.name must be a string'],
    [{ thinking: { type: 'extreme' } }, 'thinking.type is "extreme"; it must be enabled, adaptive or disabled'],
    [{ thinking: { type: 'enabled' } }, 'thinking.budget_tokens must be a number of tokens'],
    [{ thinking: { type: 'enabled', budget_tokens: 'x' } }, 'thinking.budget_tokens must be a number of tokens'],
    [{ thinking: true }, 'thinking.type is ""; it must be enabled, adaptive or disabled'],
    [{ output_config: { effort: 'extreme' } }, 'output_config.effort must be low, medium, high, xhigh or max'],
    [{ output_config: { format: { type: 'yaml' } } }, 'output_config.format must be {"type":"json_schema","schema":{...}}'],
    [{ output_config: 7 }, '"output_config" must be an object'],
    [{ output_format: { type: 'json_schema' } }, 'output_format must be {"type":"json_schema","schema":{...}}'],
    [{ mcp_servers: [{}] }, `"mcp_servers"${NA}`],
    [{ container: 'x' }, `"container"${NA}`],
    [{ stop_sequences: 7 }, '"stop_sequences" must be a string or an array of strings, not a number'],
    [{ stop_sequences: [7] }, '"stop_sequences[0]" must be a string, not a number'],
    [{ temperature: 'x' }, '"temperature" must be a number, not a string'],
    [{ top_k: 'x' }, '"top_k" must be a number, not a string'],
    [{ stream: 'x' }, '"stream" must be true or false, not a string'],
  ],
  ollama: [
    [{ messages: undefined }, '"messages" is missing'],
    [{ messages: [] }, `"messages" is empty, which loads or unloads the model; this model's runtime has no such call`],
    [{ messages: {} }, '"messages" must be an array'],
    [{ messages: [7] }, 'messages[0] must be an object'],
    [{ messages: [{ role: 'robot', content: 'x' }] }, 'messages[0].role is "robot"; it must be system, user, assistant or tool'],
    [user(7), 'messages[0].content must be a string'],
    [part({ type: 'text', text: 'x' }), 'messages[0].content must be a string'],
    [{ messages: [{ role: 'user', content: 'x', images: 'x' }] }, 'messages[0].images must be an array of base64 strings'],
    [{ messages: [{ role: 'user', content: 'x', images: [7] }] }, 'messages[0].images[0] is not a PNG, JPEG, GIF or WebP image in base64'],
    [{ messages: [{ role: 'user', content: 'x', images: ['aGVsbG8='] }] }, 'messages[0].images[0] is not a PNG, JPEG, GIF or WebP image in base64'],
    [{ messages: [{ role: 'user', content: 'x', images: ['***'] }] }, 'messages[0].images[0] is not a PNG, JPEG, GIF or WebP image in base64'],
    [{ messages: [{ role: 'assistant', content: '', tool_calls: 7 }] }, 'messages[0].tool_calls must be an array'],
    [{ messages: [{ role: 'assistant', content: '', tool_calls: [{}] }] }, 'messages[0].tool_calls[0].function.name must be a string'],
    [{ messages: [{ role: 'assistant', content: '', tool_calls: [{ function: { name: 'f', arguments: 7 } }] }] }, 'messages[0].tool_calls[0].function.arguments must be an object'],
    [{ tools: {} }, '"tools" must be an array'],
    [{ tools: [{}] }, 'tools[0].function.name must be a string'],
    [{ tools: [{ type: 'function', function: { name: 'f', parameters: 7 } }] }, 'tools[0].function.parameters must be an object'],
    [{ format: 'yaml' }, '"format" must be "json" or a JSON schema'],
    [{ format: 7 }, '"format" must be "json" or a JSON schema'],
    [{ think: 'extreme' }, '"think" must be true, false, "low", "medium", "high" or "max"'],
    [{ think: 7 }, '"think" must be true, false, "low", "medium", "high" or "max"'],
    [{ keep_alive: true }, '"keep_alive" must be seconds or a duration such as "10m"'],
    [{ options: [] }, '"options" must be an object'],
    [{ options: { temperature: 'x' } }, '"options.temperature" must be a number, not a string'],
    [{ options: { num_predict: 'x' } }, '"options.num_predict" must be an integer, not a string'],
    [{ options: { num_ctx: 'x' } }, '"options.num_ctx" must be an integer, not a string'],
    [{ options: { stop: 7 } }, '"options.stop" must be a string or an array of strings, not a number'],
    [{ options: { seed: 'x', nonsense: 1 } }, '"options.seed" must be a number, not a string'],
    [{ stream: 'x' }, '"stream" must be true or false, not a string'],
    [{ logprobs: 1 }, '"logprobs" must be true or false, not a number'],
  ],
  generate: [
    [{ prompt: undefined }, '"prompt" is missing'],
    [{ prompt: 7 }, '"prompt" must be a string'],
    [{ prompt: '' }, `"prompt" is empty, which loads or unloads the model; this model's runtime has no such call`],
    [{ context: [1] }, `"context"${NA}`],
    [{ template: 'x' }, `"template"${NA}`],
    [{ images: ['aGVsbG8='] }, 'images[0] is not a PNG, JPEG, GIF or WebP image in base64'],
    [{ raw: true }, 'no endpoint of this model takes bare prompts (completions without a chat template)', 501],
    [{ suffix: 'x' }, 'no endpoint of this model takes bare prompts (completions without a chat template)', 501],
    [{ system: 7 }, '"system" must be a string'],
    [{ raw: 'x' }, '"raw" must be true or false'],
  ],
  lm1: [
    [{ input: undefined }, '"input" is missing'],
    [{ input: 7 }, '"input" must be a string or an array of items'],
    [{ input: [{ type: 'nonsense' }] }, 'input[0].type "nonsense" is not known', CANNOT],
    [{ input: [{ type: 'image', data_url: 'x' }] }, 'input[0].data_url must be an http(s) or data URL'],
    [{ reasoning: 'maybe' }, '"reasoning" must be off, low, medium, high or on'],
    [{ integrations: ['mcp/x'] }, '"integrations" needs LM Studio itself, which does not serve this model', CANNOT],
    [{ previous_response_id: 'x' }, '"previous_response_id" needs LM Studio itself, which does not serve this model', CANNOT],
    [{ system_prompt: 7 }, '"system_prompt" must be a string'],
    [{ context_length: 'x' }, '"context_length" must be an integer, not a string'],
  ],
  completions: [
    [{ prompt: undefined }, '"prompt" is missing'],
    [{ prompt: 7 }, `"prompt" must be one string${NT}`, CANNOT],
    [{ prompt: ['a', 'b'] }, `"prompt" must be one string${NT}`, CANNOT],
    [{ prompt: [1, 2] }, `"prompt" must be one string${NT}`, CANNOT],
    [{ n: 2 }, `"n" other than 1 is not supported${NT}`, CANNOT],
    [{ best_of: 5 }, `"best_of" other than 1 is not supported${NT}`, CANNOT],
    [{ logprobs: 5 }, `"logprobs" is not supported${NT}`, CANNOT],
    [{ logprobs: 'x' }, `"logprobs" is not supported${NT}`, CANNOT],
    [{ echo: true }, `"echo" cannot be translated for this model's runtime`, CANNOT],
    [{ suffix: 7 }, '"suffix" must be a string, not a number'],
    [{ max_tokens: 'x' }, '"max_tokens" must be an integer, not a string'],
  ],
  embed: [
    [{ input: undefined }, '"input" is missing'],
    [{ input: 7 }, '"input" must be a string or an array of strings'],
    [{ input: [] }, '"input" is empty'],
    [{ input: {} }, '"input" must be a string or an array of strings'],
    [{ encoding_format: 'hex' }, '"encoding_format" must be "float" or "base64"'],
    [{ dimensions: 'x' }, '"dimensions" must be an integer, not a string'],
  ],
};
for (const [api, rows] of Object.entries(mistakes))
  test(`${api}: bad members are refused by name`, async () => {
    for (const [more, message, odd] of rows)
      for (const stream of [false, true]) {
        const { path, body } = apis[api];
        await refused(path, { ...body, ...(path === '/v1/embeddings' ? {} : { stream }), ...more }, typeof odd === 'number' ? odd : 400, message, odd === CANNOT ? CANNOT : 'invalid_value');
      }
  });

test('bodies that are no good JSON object are refused in every API', async () => {
  const tail = '"messages":[{"role":"user","content":"hi"}],"input":"hi","prompt":"hi","max_tokens":9';
  const rows = [
    ['', 'body ends at byte 0: expected one JSON object (the body is empty)'],
    ['hi', "body, byte 0: expected '{' (the body must be one JSON object), found 'h'"],
    ['[]', "body, byte 0: expected '{' (the body must be one JSON object), found '['"],
    ['{"model":"m"} x', "body, byte 14: expected nothing but white space after the object, found 'x'"],
    ['{"model":"m","x":"a\\ud800b"}', "body, byte 25: expected a low surrogate (\\udc00 to \\udfff), found 'b'"],
    ['{"model":"m","x":"\\udc00"}', "body, byte 23: expected no low surrogate without a high one before it, found '0'"],
    [Buffer.from('{"model":"m","x":"\xff"}', 'latin1'), 'body, byte 18: expected valid UTF-8 in a string, found byte 0xff'],
    [`{"model":"m","x":${'['.repeat(500)}`, 'body, byte 80: JSON is nested deeper than 64'],
    [`{"model":"m","model":"o",${tail}}`, 'body, byte 19: the member "model" appears twice'],
    [`{"model":7,${tail}}`, '"model" must be a string'],
    [`{"model":"",${tail}}`, '"model" is empty'],
    [`{${tail}}`, '"model" is missing'],
  ];
  for (const { path } of Object.values(apis)) for (const [body, message] of rows) await refused(path, body, 400, message, 'invalid_value');
});

test('numbers that no number can hold are refused by name', async () => {
  const rows = [
    ['/v1/chat/completions', '{"model":"o","messages":[{"role":"user","content":"hi"}],"temperature":1e400}', '"temperature" must be a number, not a number out of range'],
    ['/v1/chat/completions', '{"model":"o","messages":[{"role":"user","content":"hi"}],"max_tokens":1e400}', '"max_tokens" must be an integer, not a number out of range'],
    ['/v1/chat/completions', '{"model":"o","messages":[{"role":"user","content":"hi"}],"seed":123456789012345678901234567890}', '"seed" must be a number, not a number out of range'],
    ['/v1/responses', '{"model":"m","input":"hi","top_p":-1e400}', '"top_p" must be a number, not a number out of range'],
    ['/v1/messages', '{"model":"m","max_tokens":1e400,"messages":[{"role":"user","content":"hi"}]}', '"max_tokens" must be an integer, not a number out of range'],
    ['/api/chat', '{"model":"m","messages":[{"role":"user","content":"hi"}],"options":{"num_predict":1e400}}', '"options.num_predict" must be an integer, not a number out of range'],
  ];
  for (const [path, body, message] of rows) await refused(path, body, 400, message, 'invalid_value');
});

test('more answers than any request may ask for', () => refused('/v1/chat/completions', { ...apis.chat.body, n: 1e9 }, 400, '"n" is 1000000000; at most 8 answers per request', 'invalid_value'));

/** What is let through: [API, members, drover-degraded, what the runtime is sent beside its model and stream]. */
const harmless = [
  // results of calls that nobody made: what they say is not lost
  ['chat', { messages: [{ role: 'tool', tool_call_id: 'nobody', content: '42' }] }, null, { messages: [{ role: 'user', content: '42' }] }],
  ['chat', { messages: [{ role: 'function', name: 'f', content: '42' }] }, null, { messages: [{ role: 'user', content: '42' }] }],
  ['responses', { input: [{ type: 'function_call_output', call_id: 'nobody', output: '42' }] }, null, { messages: [{ role: 'user', content: '42' }] }],
  ['messages', user([{ type: 'tool_result', tool_use_id: 'nobody', content: '42' }]), null, { messages: [{ role: 'user', content: '42' }], max_tokens: 9 }],
  ['ollama', { messages: [{ role: 'tool', content: '42' }] }, null, { messages: [{ role: 'user', content: '42' }] }],
  // members of other APIs
  ['chat', { system: 'x', stop_sequences: ['a'], options: {}, max_output_tokens: 4 }, 'system, stop_sequences, options, max_output_tokens', { messages: HI }],
  ['responses', { messages: HI, n: 3, stop: ['x'] }, 'messages, n, stop', { messages: HI }],
  ['messages', { max_completion_tokens: 5, response_format: { type: 'json_object' }, instructions: 'x', n: 2 }, 'max_completion_tokens, response_format, instructions, n', { messages: HI, max_tokens: 9 }],
  ['ollama', { max_tokens: 5 }, 'max_tokens', { messages: HI }],
  // limits that are none, and the least that can be asked for
  ['chat', { max_tokens: 0 }, null, { messages: HI }], ['chat', { max_tokens: -1 }, null, { messages: HI }], ['ollama', { options: { num_predict: -2 } }, null, { messages: HI }],
  ['messages', { max_tokens: 0 }, 'max_tokens', { messages: HI, max_tokens: 1 }],
  // nothing to choose from
  ['chat', { tools: [], tool_choice: 'required', parallel_tool_calls: false }, 'tool_choice', { messages: HI }],
  ['messages', { tool_choice: { type: 'any' } }, 'tool_choice', { messages: HI, max_tokens: 9 }],
  // what a message or a part holds that Drover does not know, and stop sequences that stop nothing
  ['messages', { messages: [{ role: 'user', content: [{ type: 'text', text: 'hi', citations: [{}] }], foo: 1 }] }, 'messages.foo, content.citations', { messages: HI, max_tokens: 9 }],
  ['messages', { stop_sequences: ['a', ''] }, 'stop_sequences', { messages: HI, max_tokens: 9, stop: ['a'] }],
  ['responses', { top_logprobs: 3, reasoning: { summary: 'detailed' } }, 'reasoning.summary, top_logprobs', { messages: HI }],
  // the runtime's own limits are its own to tell
  ['chat', { logprobs: true, top_logprobs: 500 }, null, { messages: HI, logprobs: true, top_logprobs: 500 }],
  ['chat', { temperature: 99, top_p: -3 }, null, { messages: HI, options: { temperature: 99, top_p: -3 } }],
];
test('what can be made sense of goes through', async () => {
  for (const [api, more, degraded, sent] of harmless) {
    const response = await drover.post(apis[api].path, { ...apis[api].body, ...more }), text = await response.text();
    assert.equal(response.status, 200, text);
    assert.equal(response.headers.get('drover-degraded'), degraded);
    const { model: _, stream: __, ...rest } = JSON.parse((api === 'chat' ? ollama : vllm).inferences.at(-1).body);
    assert.deepEqual(rest, sent, api);
  }
});

// --- replies --------------------------------------------------------------------------------------------------------

const clients = ['responses', 'messages', 'ollama'];
const sse = (text) => text.split('\n\n').map((f) => /^data: (.*)$/m.exec(f)?.[1]).filter(Boolean).map((d) => JSON.parse(d));
const lines = (text) => text.split('\n').filter(Boolean).map((l) => JSON.parse(l));

/** What a client makes of an answer: {text, input, output (tokens), error}; the rest of an SDK's work is done in translate.test.js. */
const understood = {
  responses(body, streamed) {
    const events = streamed ? sse(body) : [], last = streamed ? events.at(-1) : JSON.parse(body);
    if (last.error && !streamed) return { error: last.error.message };
    const r = streamed ? last.response : last;
    if (streamed && last.type !== 'response.failed') assert.match(last.type, /^response\.(completed|incomplete)$/);
    const text = r.output.filter((i) => i.type === 'message').map((i) => i.content[0].text).join('');
    if (streamed) assert.equal(events.filter((e) => e.type === 'response.output_text.delta').map((e) => e.delta).join(''), text);
    return { text, input: r.usage?.input_tokens, output: r.usage?.output_tokens, error: r.error?.message };
  },
  messages(body, streamed) {
    if (!streamed) {
      const m = JSON.parse(body);
      return m.error ? { error: m.error.message } : { text: m.content.filter((b) => b.type === 'text').map((b) => b.text).join(''), input: m.usage.input_tokens + m.usage.cache_read_input_tokens, output: m.usage.output_tokens };
    }
    const events = sse(body), last = events.at(-1), usage = events.find((e) => e.type === 'message_delta')?.usage;
    assert.match(last.type, /^(message_stop|error)$/);
    return { text: events.map((e) => e.delta?.text ?? '').join(''), input: usage && usage.input_tokens + usage.cache_read_input_tokens, output: usage?.output_tokens, error: last.error?.message };
  },
  ollama(body) {
    const all = lines(body), last = all.at(-1);
    assert.ok(last.done || last.error);
    return { text: all.map((l) => l.message?.content ?? '').join(''), input: last.prompt_eval_count, output: last.eval_count, error: last.error };
  },
};

test('of members of one name the last counts, wherever they stand', async () => {
  for (const body of ['"messages":[{"role":"user","content":"FIRST","content":"LAST"}]', '"temperature":7,"temperature":1,"messages":[{"role":"user","content":"LAST"}]']) {
    assert.equal((await drover.post('/v1/messages', `{"model":${JSON.stringify(apis.messages.body.model)},"max_tokens":5,${body}}`)).status, 200);
    const { messages, temperature } = JSON.parse(vllm.inferences.at(-1).body);
    assert.deepEqual([messages, temperature ?? 1], [[{ role: 'user', content: 'LAST' }], 1]);
  }
});

async function answered(api, stream, type, bytes) {
  vllm.options.answer = (request, response) => response.whole(200, type, bytes);
  const response = await drover.post(apis[api].path, { ...apis[api].body, stream }), body = await response.text();
  delete vllm.options.answer;
  for (let i = 0; i < 2; i++) assert.equal((await drover.post('/v1/messages', apis.messages.body)).status, 200); // so that it stays trusted
  return { status: response.status, ...understood[api](body, stream && response.status === 200) };
}

const reply = (message, finish = 'stop', more = {}) => JSON.stringify({ id: 'x', object: 'chat.completion', created: 1, model: 'm', choices: [{ index: 0, message, finish_reason: finish }], ...more });
const OK = { role: 'assistant', content: 'ok' }, usage = (u) => reply(OK, 'stop', { usage: u });
const WHY = 'the runtime ended its answer without saying why', NOT = 'the runtime sent what is not JSON: ';

/** [the reply, the fault it is] */
const badReplies = [
  ['hello', `${NOT}hello`], ['<html>502</html>', `${NOT}<html>502</html>`], ['{"choices":[', `${NOT}{"choices":[`], ['{"id":"x"} behind', `${NOT}{"id":"x"} behind`],
  ['[]', "the runtime's reply has no choices"], ['{}', "the runtime's reply has no choices"], ['{"choices":[]}', "the runtime's reply has no choices"], ['{"choices":7}', "the runtime's reply has no choices"],
  ['{"choices":[7]}', WHY], [reply(OK, null), WHY], [reply(OK, ''), WHY], [reply(OK, 'error'), 'the runtime broke its answer off (error)'],
  [reply({ role: 'assistant', content: 7 }), "the runtime's answer has a value of another kind where text belongs"],
  [reply({ ...OK, tool_calls: [{ id: 'c', function: { arguments: '{}' } }] }, 'tool_calls'), 'the runtime made a tool call without a name'],
  [reply({ role: 'assistant', content: null }, 'tool_calls'), 'the runtime ended its answer with tool calls, but made none'],
  ['{"error":{"message":"boom"}}', 'boom'], ['{"error":"boom"}', 'boom'], [`{"choices":${'['.repeat(3000)}${']'.repeat(3000)}}`, WHY],
];
test('whole replies that are none are a 502 in each API', async () => {
  for (const [bytes, error] of badReplies)
    for (const api of clients) {
      const got = await answered(api, false, 'application/json', bytes);
      assert.deepEqual([got.status, got.error], [502, error], `${api}: ${bytes.slice(0, 100)}`);
    }
});

/** [the reply, what it says, the tokens of the prompt (0: estimated) and the output] */
const oddReplies = [
  [reply({ role: 'assistant', content: null }), '', 0, 0], ['{"choices":[{"index":0,"finish_reason":"stop"}]}', '', 0, 0], [reply(OK, 'strange'), 'ok', 0, 1],
  ['{"choices":[{"index":0,"message":{"content":"a\\ud800b"},"finish_reason":"stop"}]}', 'a\ufffdb', 0, 2],
  [Buffer.from('{"choices":[{"index":0,"message":{"content":"a\xffb"},"finish_reason":"stop"}]}', 'latin1'), 'a\ufffdb', 0, 1],
  [reply(OK), 'ok', 0, 1], [usage(null), 'ok', 0, 1], [usage({}), 'ok', 0, 1], [usage({ prompt_tokens: -4, completion_tokens: -1, total_tokens: -5 }), 'ok', 0, 1],
  [usage({ prompt_tokens: '4', completion_tokens: {} }), 'ok', 0, 1], [usage({ prompt_tokens: 4.5, completion_tokens: 1.5 }), 'ok', 0, 1], [usage({ prompt_tokens: 9e18, completion_tokens: 9e18 }), 'ok', 0, 1],
  [usage({}).replace('{}', '{"prompt_tokens":1e400,"completion_tokens":9223372036854775808}'), 'ok', 0, 1],
  [usage({ prompt_tokens: 4, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 40 } }), 'ok', 4, 2], [usage({ prompt_tokens: 4, completion_tokens: 2, prompt_tokens_details: { cached_tokens: -3 } }), 'ok', 4, 2],
];
test('whole replies with odd members are made the best of', async () => {
  for (const [bytes, text, input, output] of oddReplies)
    for (const api of clients) {
      const got = await answered(api, false, 'application/json', bytes), what = `${api}: ${bytes.toString().slice(0, 200)}`;
      assert.deepEqual([got.status, got.text, got.output, got.error], [200, text, output, undefined], what);
      assert.ok(input ? got.input === input : got.input > 0 && got.input < 100, what);
    }
});

test('arguments that are no object reach a client that needs one as what they are', async () => {
  const call = (args, finish = 'tool_calls') => reply({ role: 'assistant', content: null, tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: args } }] }, finish);
  const rows = [['{"a":', { __invalid_json: '{"a":' }], ['[1]', { __value: [1] }], ['', {}], ['{"a":"\u00fc"}', { a: '\u00fc' }]];
  for (const [args, input] of rows) {
    vllm.options.answer = (request, response) => response.whole(200, 'application/json', call(args));
    assert.deepEqual((await (await drover.post('/v1/messages', apis.messages.body)).json()).content, [{ type: 'tool_use', id: 'c', name: 'f', input }]);
    assert.deepEqual((await (await drover.post('/api/chat', apis.ollama.body)).json()).message.tool_calls, [{ id: 'c', function: { index: 0, name: 'f', arguments: input } }]);
    assert.equal((await (await drover.post('/v1/responses', apis.responses.body)).json()).output[0].arguments, args || '{}');
  }
  vllm.options.answer = (request, response) => response.whole(200, 'application/json', call('{"a":', 'length')); // cut off
  const cut = await (await drover.post('/v1/messages', apis.messages.body)).json();
  assert.deepEqual([cut.content, cut.stop_reason], [[], 'max_tokens']);
  delete vllm.options.answer;
});

// --- streams --------------------------------------------------------------------------------------------------------

const data = (value) => `data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`;
const chunk = (delta, finish = null) => data({ choices: [{ index: 0, delta, finish_reason: finish }] });
const BEGIN = chunk({ role: 'assistant', content: '' }) + chunk({ content: 'ok' }), END = chunk({}, 'stop') + data('[DONE]');
const FIVE_MB = 'x'.repeat(5 << 20);

/** [what, the stream, what it says] */
const goodStreams = [
  ['as it should be', BEGIN + END, 'ok'], ['garbage after the end marker', `${BEGIN}${END}${chunk({ content: 'MORE' })}garbage\n\n${data('not json')}`, 'ok'], ['no end marker', BEGIN + chunk({}, 'stop'), 'ok'],
  ['half an event after the end marker', `${BEGIN}${END}data: {"cho`, 'ok'], ['10 MB after the end marker', BEGIN + END + chunk({ content: FIVE_MB + FIVE_MB }), 'ok'], ['no blank line at the end', (BEGIN + END).slice(0, -1), 'ok'],
  ['CR LF', (BEGIN + END).replaceAll('\n', '\r\n'), 'ok'], ['a byte order mark', `\ufeff${BEGIN}${END}`, 'ok'], ['comments', `: a\n\n${BEGIN}: b\n\n${END}`, 'ok'], ['an event that is no object', BEGIN + data('[1]') + END, 'ok'],
  ['a delta of null', BEGIN + data({ choices: [{ index: 0, delta: null }] }) + END, 'ok'], ['an event without choices', BEGIN + data({ x: 1 }) + END, 'ok'],
  ['a character in two pieces', `${BEGIN}data: {"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}\n\ndata: {"choices":[{"index":0,"delta":{"content":"\\ude00"}}]}\n\n${END}`, 'ok\u{1f600}'],
  ['half a surrogate pair', `${BEGIN}data: {"choices":[{"index":0,"delta":{"content":"\\ud800"}}]}\n\n${END}`, 'ok\ufffd'], ['a token of 5 MB', BEGIN + chunk({ content: FIVE_MB }) + END, `ok${FIVE_MB}`],
  ['usage below zero', BEGIN + chunk({}, 'stop') + data({ choices: [], usage: { prompt_tokens: -1, completion_tokens: -7 } }) + data('[DONE]'), 'ok'],
];
test('streams with oddities come through', async () => {
  for (const [what, bytes, text] of goodStreams)
    for (const api of clients) {
      const got = await answered(api, true, 'text/event-stream', bytes);
      assert.ok(got.text === text, `${what}, ${api}: ${got.text?.slice(0, 100)}, ${got.error}`);
      assert.deepEqual([got.status, got.error], [200, undefined], `${what}, ${api}`);
      assert.ok(got.input > 0 && got.output > 0, `${what}, ${api}: ${got.input}, ${got.output}`);
    }
});

/** [what, the stream, the fault] */
const badStreams = [
  ['no JSON', BEGIN + data('{nope') + END, `${NOT}{nope`], ['no finish reason', BEGIN + data('[DONE]'), WHY], ['cut off', BEGIN, WHY], ['cut off in an event', `${BEGIN}data: {"cho`, WHY],
  ['a call without a name', BEGIN + chunk({ tool_calls: [{ index: 0, function: { arguments: '{}' } }] }) + END, 'the runtime made a tool call without a name'],
  ['an error', BEGIN + data({ error: { message: 'boom', code: 500 } }), 'boom'], ['an error as text', BEGIN + data({ error: 'boom' }), 'boom'], ['an event called error', `${BEGIN}event: error\n${data({ message: 'boom' })}`, 'boom'],
  ['finish reason error', BEGIN + chunk({}, 'error') + data('[DONE]'), 'the runtime broke its answer off (error)'],
  ['an event of 10 MB', BEGIN + chunk({ content: FIVE_MB + FIVE_MB }) + END, 'an event of the stream is larger than limits.upstream.event (8388608 bytes)'],
];
test('streams that fail end with the fault in each API, behind what was said', async () => {
  for (const [what, bytes, error] of badStreams)
    for (const api of clients) {
      const got = await answered(api, true, 'text/event-stream', bytes);
      assert.deepEqual([got.status, got.text, got.error], [200, 'ok', error], `${what}, ${api}`);
    }
});

test('streams that fail before the first word are a status', async () => {
  const rows = [['', 502, WHY], [': only a comment\n\n', 502, WHY], [data({ error: { message: 'the prompt exceeds the available context size' } }), 400, 'prompt is too long: the prompt exceeds the available context size'],
    [data({ error: { message: 'Loading model', code: 503 } }), 503, 'Loading model']];
  for (const [bytes, status, error] of rows)
    for (const api of clients) {
      const got = await answered(api, true, 'text/event-stream', bytes);
      assert.deepEqual([got.status, got.error], [status, error], `${api}: ${bytes}`);
    }
});

test('a whole reply instead of a stream becomes a stream, and the other way round', async () => {
  for (const api of clients) {
    assert.equal((await answered(api, true, 'application/json', reply(OK))).text, 'ok', api);
    assert.equal((await answered(api, false, 'text/event-stream', BEGIN + END)).text, 'ok', api);
  }
});
