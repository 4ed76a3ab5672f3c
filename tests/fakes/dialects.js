// Answers in each dialect, as the runtimes give them: whole bodies, and streams as lists of frames for
// Response.stream(). `t` tells what to say: {model, deltas, reasoning, promptTokens, cached, quirks}.
const CREATED = 1790000000, STAMP = '2026-08-21T10:00:00.1Z';

const json = JSON.stringify;
const sse = (value, extra = {}) => ({ text: `data: ${json(value)}\n\n`, ...extra });
const event = (value, extra = {}) => ({ text: `event: ${value.type}\ndata: ${json(value)}\n\n`, ...extra });
const line = (value, extra = {}) => ({ text: json(value) + '\n', ...extra });
const DONE = { text: 'data: [DONE]\n\n', last: true };

const openaiUsage = (t) => ({
  prompt_tokens: t.promptTokens, completion_tokens: t.deltas.length, total_tokens: t.promptTokens + t.deltas.length,
  prompt_tokens_details: { cached_tokens: t.cached },
});

/** OpenAI chat and legacy completions: the same stream but for names. */
function openaiChat(t, body) {
  const id = 'chatcmpl-7f3', base = { id, created: CREATED, model: t.model };
  if (!body.stream) {
    const message = { role: 'assistant', content: t.deltas.join(''), refusal: null };
    if (t.reasoning) message[t.reasoningMember ?? 'reasoning_content'] = t.reasoning;
    return { whole: { ...base, object: 'chat.completion',
      choices: [{ index: 0, message, logprobs: null, finish_reason: 'stop' }], usage: openaiUsage(t) } };
  }
  const usage = body.stream_options?.include_usage;
  const chunk = (delta, finish, extra) => sse({ ...base, object: 'chat.completion.chunk',
    choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }], ...(usage && !t.usageOnFinish ? { usage: null } : {}),
    ...extra?.members }, extra?.flags);
  const frames = [chunk({ role: 'assistant', content: t.roleContent ?? '' }, null)];
  if (t.reasoning) frames.push(chunk({ [t.reasoningMember ?? 'reasoning_content']: t.reasoning }, null));
  for (const d of t.deltas) frames.push(chunk({ content: d }, null, { flags: { delta: true } }));
  if (usage && t.usageOnFinish) frames.push(chunk({}, 'stop', { members: { usage: openaiUsage(t) } }));
  else frames.push(chunk({}, 'stop'));
  if (usage && !t.usageOnFinish)
    frames.push(sse({ ...base, object: 'chat.completion.chunk', choices: [], usage: openaiUsage(t) }));
  frames.push(DONE);
  return { type: 'text/event-stream', frames };
}

function openaiCompletions(t, body) {
  const base = { id: 'cmpl-9', object: 'text_completion', created: CREATED, model: t.model };
  const choice = (text, finish) => [{ index: 0, text, logprobs: null, finish_reason: finish }];
  if (!body.stream) return { whole: { ...base, choices: choice(t.deltas.join(''), 'stop'), usage: openaiUsage(t) } };
  const frames = t.deltas.map((d) => sse({ ...base, choices: choice(d, null) }, { delta: true }));
  frames.push(sse({ ...base, choices: choice('', 'stop') }));
  if (body.stream_options?.include_usage) frames.push(sse({ ...base, choices: [], usage: openaiUsage(t) }));
  frames.push(DONE);
  return { type: 'text/event-stream', frames };
}

function openaiResponses(t, body) {
  const text = t.deltas.join('');
  const part = (value) => ({ type: 'output_text', text: value, annotations: [], logprobs: [] });
  const item = (status, content) => ({ type: 'message', id: 'msg_1', role: 'assistant', status, content });
  const response = (status, output, usage) => ({
    id: 'resp_5a', object: 'response', created_at: CREATED, status, error: null, incomplete_details: null,
    model: t.model, instructions: null, metadata: {}, output, parallel_tool_calls: true, temperature: 1, tool_choice: 'auto',
    tools: [], top_p: 1, usage: usage ? { input_tokens: t.promptTokens, input_tokens_details: { cached_tokens: t.cached },
      output_tokens: t.deltas.length, output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: t.promptTokens + t.deltas.length } : null,
  });
  const full = response('completed', [item('completed', [part(text)])], true);
  if (!body.stream) return { whole: full };
  let n = 0;
  const at = { item_id: 'msg_1', output_index: 0, content_index: 0 };
  const e = (type, members, extra) => event({ type, sequence_number: n++, ...members }, extra);
  return { type: 'text/event-stream', frames: [
    e('response.created', { response: response('in_progress', []) }),
    e('response.in_progress', { response: response('in_progress', []) }),
    e('response.output_item.added', { output_index: 0, item: item('in_progress', []) }),
    e('response.content_part.added', { ...at, part: part('') }),
    ...t.deltas.map((delta) => e('response.output_text.delta', { ...at, delta, logprobs: [] }, { delta: true })),
    e('response.output_text.done', { ...at, text, logprobs: [] }),
    e('response.content_part.done', { ...at, part: part(text) }),
    e('response.output_item.done', { output_index: 0, item: item('completed', [part(text)]) }),
    e('response.completed', { response: full }, { last: true }),
  ] };
}

function openaiEmbeddings(t, body) {
  const inputs = Array.isArray(body.input) ? body.input : [body.input];
  const vector = [0.1, -0.2, 0.3];
  const embedding = body.encoding_format === 'base64' ? Buffer.from(new Float32Array(vector).buffer).toString('base64') : vector;
  return { whole: { object: 'list', model: t.model, data: inputs.map((_, index) => ({ object: 'embedding', index, embedding })),
    usage: { prompt_tokens: t.promptTokens, total_tokens: t.promptTokens } } };
}

function anthropicMessages(t, body) {
  const message = (content, reason, output) => ({ id: 'msg_01', type: 'message', role: 'assistant', model: t.model, content,
    stop_reason: reason, stop_sequence: null, usage: { input_tokens: t.promptTokens - t.cached,
      cache_creation_input_tokens: 0, cache_read_input_tokens: t.cached, output_tokens: output } });
  if (!body.stream)
    return { whole: message([{ type: 'text', text: t.deltas.join('') }], 'end_turn', t.deltas.length) };
  return { type: 'text/event-stream', frames: [
    event({ type: 'message_start', message: message([], null, 1) }),
    event({ type: 'ping' }),
    event({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } }),
    ...t.deltas.map((text) => event({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } }, { delta: true })),
    event({ type: 'content_block_stop', index: 0 }),
    event({ type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage: { output_tokens: t.deltas.length } }),
    event({ type: 'message_stop' }, { last: true }),
  ] };
}

const countTokens = (t) => ({ whole: { input_tokens: t.promptTokens } });

function ollamaLines(t, body, carry, closing) {
  const base = { model: t.model, created_at: STAMP };
  const metrics = { done: true, done_reason: 'stop', total_duration: 812000000, load_duration: 31000000,
    prompt_eval_count: t.promptTokens, prompt_eval_duration: 90000000, eval_count: t.deltas.length, eval_duration: 640000000 };
  if (body.stream === false) return { whole: { ...base, ...carry(t.deltas.join('')), ...closing, ...metrics } };
  return { type: 'application/x-ndjson', frames: [
    ...t.deltas.map((d) => line({ ...base, ...carry(d), done: false }, { delta: true })),
    line({ ...base, ...carry(''), ...closing, ...metrics }, { last: true }),
  ] };
}
const ollamaChat = (t, body) => ollamaLines(t, body, (content) => ({ message: { role: 'assistant', content } }), {});
const ollamaGenerate = (t, body) => ollamaLines(t, body, (response) => ({ response }), { context: [1, 2, 3] });
const ollamaEmbed = (t, body) => ({ whole: { model: t.model, embeddings: [].concat(body.input).map(() => [0.6, -0.8]),
  total_duration: 14000000, load_duration: 1000000, prompt_eval_count: t.promptTokens } });
const ollamaEmbeddings = () => ({ whole: { embedding: [0.6, -0.8] } });

const rerank = (t, body) => ({ whole: { id: 'rr-1', model: t.model, usage: { total_tokens: t.promptTokens },
  results: (body.documents ?? []).map((_, index) => ({ index, relevance_score: 0.5 })) } });

/** Path -> how it is answered; a runtime picks from these by dialect. */
export const dialects = {
  chat: { '/v1/chat/completions': openaiChat },
  completions: { '/v1/completions': openaiCompletions },
  responses: { '/v1/responses': openaiResponses },
  embeddings: { '/v1/embeddings': openaiEmbeddings },
  messages: { '/v1/messages': anthropicMessages },
  countTokens: { '/v1/messages/count_tokens': countTokens },
  ollama: { '/api/chat': ollamaChat, '/api/generate': ollamaGenerate, '/api/embed': ollamaEmbed, '/api/embeddings': ollamaEmbeddings },
  rerank: { '/v1/rerank': rerank },
};
