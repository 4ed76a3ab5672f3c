// Answers in each dialect, as the runtimes give them: whole bodies, and streams as lists of frames for
// Response.stream(). `t` tells what to say: {model, deltas, reasoning, calls (of {id, name, args}), promptTokens, cached, quirks}.
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

const finishOf = (t) => (t.calls ? 'tool_calls' : 'stop');

/** OpenAI chat and legacy completions: the same stream but for names. */
function openaiChat(t, body) {
  const id = 'chatcmpl-7f3', base = { id, created: CREATED, model: t.model };
  if (!body.stream) {
    const message = { role: 'assistant', content: t.deltas.join(''), refusal: null };
    if (t.reasoning) message[t.reasoningMember ?? 'reasoning_content'] = t.reasoning;
    if (t.calls) message.tool_calls = t.calls.map((c) => ({ id: c.id, type: 'function', function: { name: c.name, arguments: json(c.args) } }));
    return { whole: { ...base, object: 'chat.completion',
      choices: [{ index: 0, message, logprobs: null, finish_reason: finishOf(t) }], usage: openaiUsage(t) } };
  }
  const usage = body.stream_options?.include_usage;
  const chunk = (delta, finish, extra) => sse({ ...base, object: 'chat.completion.chunk',
    choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }], ...(usage && !t.usageOnFinish ? { usage: null } : {}),
    ...extra?.members }, extra?.flags);
  const frames = [chunk({ role: 'assistant', content: t.roleContent ?? '' }, null)];
  if (t.reasoning) frames.push(chunk({ [t.reasoningMember ?? 'reasoning_content']: t.reasoning }, null));
  for (const d of t.deltas) frames.push(chunk({ content: d }, null, { flags: { delta: true } }));
  for (const [index, c] of (t.calls ?? []).entries()) frames.push(chunk({ tool_calls: [{ index, id: c.id, type: 'function', function: { name: c.name, arguments: '' } }] }, null));
  for (const [index, c] of (t.calls ?? []).entries()) // arguments in pieces of one byte, the calls mixed
    for (const piece of json(c.args)) frames.push(chunk({ tool_calls: [{ index, function: { arguments: piece } }] }, null));
  if (usage && t.usageOnFinish) frames.push(chunk({}, finishOf(t), { members: { usage: openaiUsage(t) } }));
  else frames.push(chunk({}, finishOf(t)));
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
  const calls = (t.calls ?? []).map((c, i) => ({ type: 'function_call', id: `fc_${i}`, call_id: c.id, name: c.name, arguments: json(c.args), status: 'completed' }));
  const thought = t.reasoning ? [{ type: 'reasoning', id: 'rs_1', summary: [], content: [{ type: 'reasoning_text', text: t.reasoning }] }] : [];
  const full = response('completed', [...thought, item('completed', [part(text)]), ...calls], true);
  if (!body.stream) return { whole: full };
  let n = 0;
  const at = { item_id: 'msg_1', output_index: thought.length, content_index: 0 };
  const e = (type, members, extra) => event({ type, sequence_number: n++, ...members }, extra);
  return { type: 'text/event-stream', frames: [
    e('response.created', { response: response('in_progress', []) }),
    e('response.in_progress', { response: response('in_progress', []) }),
    ...thought.flatMap((it) => [
      e('response.output_item.added', { output_index: 0, item: { ...it, content: [] } }),
      e('response.content_part.added', { item_id: it.id, output_index: 0, content_index: 0, part: { type: 'reasoning_text', text: '' } }),
      e('response.reasoning_text.delta', { item_id: it.id, output_index: 0, content_index: 0, delta: t.reasoning }),
      e('response.reasoning_text.done', { item_id: it.id, output_index: 0, content_index: 0, text: t.reasoning }),
      e('response.content_part.done', { item_id: it.id, output_index: 0, content_index: 0, part: it.content[0] }),
      e('response.output_item.done', { output_index: 0, item: it })]),
    e('response.output_item.added', { output_index: at.output_index, item: item('in_progress', []) }),
    e('response.content_part.added', { ...at, part: part('') }),
    ...t.deltas.map((delta) => e('response.output_text.delta', { ...at, delta, logprobs: [] }, { delta: true })),
    e('response.output_text.done', { ...at, text, logprobs: [] }),
    e('response.content_part.done', { ...at, part: part(text) }),
    e('response.output_item.done', { output_index: at.output_index, item: item('completed', [part(text)]) }),
    ...calls.flatMap((it, i) => [
      e('response.output_item.added', { output_index: at.output_index + 1 + i, item: { ...it, arguments: '', status: 'in_progress' } }),
      e('response.function_call_arguments.delta', { item_id: it.id, output_index: at.output_index + 1 + i, delta: it.arguments }),
      e('response.function_call_arguments.done', { item_id: it.id, output_index: at.output_index + 1 + i, arguments: it.arguments }),
      e('response.output_item.done', { output_index: at.output_index + 1 + i, item: it })]),
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
  const calls = (t.calls ?? []).map((c) => ({ type: 'tool_use', id: c.id, name: c.name, input: c.args }));
  const thought = t.reasoning ? [{ type: 'thinking', thinking: t.reasoning, signature: '' }] : [];
  const reason = t.calls ? 'tool_use' : 'end_turn', first = thought.length;
  if (!body.stream)
    return { whole: message([...thought, { type: 'text', text: t.deltas.join('') }, ...calls], reason, t.deltas.length) };
  return { type: 'text/event-stream', frames: [
    event({ type: 'message_start', message: message([], null, 1) }),
    event({ type: 'ping' }),
    ...thought.flatMap((b) => [
      event({ type: 'content_block_start', index: 0, content_block: { type: 'thinking', thinking: '', signature: '' } }),
      event({ type: 'content_block_delta', index: 0, delta: { type: 'thinking_delta', thinking: b.thinking } }),
      event({ type: 'content_block_stop', index: 0 })]),
    event({ type: 'content_block_start', index: first, content_block: { type: 'text', text: '' } }),
    ...t.deltas.map((text) => event({ type: 'content_block_delta', index: first, delta: { type: 'text_delta', text } }, { delta: true })),
    event({ type: 'content_block_stop', index: first }),
    ...calls.flatMap((b, i) => [
      event({ type: 'content_block_start', index: first + 1 + i, content_block: { ...b, input: {} } }),
      event({ type: 'content_block_delta', index: first + 1 + i, delta: { type: 'input_json_delta', partial_json: json(b.input) } }),
      event({ type: 'content_block_stop', index: first + 1 + i })]),
    event({ type: 'message_delta', delta: { stop_reason: reason, stop_sequence: null }, usage: { output_tokens: t.deltas.length } }),
    event({ type: 'message_stop' }, { last: true }),
  ] };
}

const countTokens = (t) => ({ whole: { input_tokens: t.counted ?? t.promptTokens } });
const tokens = (t) => Array.from({ length: Math.min(t.counted ?? t.promptTokens, 100) }, (_, i) => i);
const tokenize = (t) => ({ whole: { count: t.counted ?? t.promptTokens, max_model_len: 8192, tokens: tokens(t), token_strs: null } });
const tokencount = (t) => ({ whole: { value: t.counted ?? t.promptTokens, ids: tokens(t) } });

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
function ollamaChat(t, body) {
  const message = (content, more) => ({ message: { role: 'assistant', content, ...more } });
  const calls = t.calls && { tool_calls: t.calls.map((c, index) => ({ id: c.id, function: { index, name: c.name, arguments: c.args } })) };
  const answer = ollamaLines(t, body, (content) => message(content), {});
  if (answer.whole) Object.assign(answer.whole, message(t.deltas.join(''), { ...(t.reasoning ? { thinking: t.reasoning } : {}), ...calls }));
  const extra = (more) => line({ model: t.model, created_at: STAMP, ...message('', more), done: false });
  if (answer.frames && t.reasoning) answer.frames.unshift(extra({ thinking: t.reasoning }));
  if (answer.frames && calls) answer.frames.splice(-1, 0, extra(calls));
  return answer;
}
const ollamaGenerate = (t, body) => ollamaLines(t, body, (response) => ({ response }), { context: [1, 2, 3] });
const ollamaEmbed = (t, body) => ({ whole: { model: t.model, embeddings: [].concat(body.input).map(() => [0.6, -0.8]),
  total_duration: 14000000, load_duration: 1000000, prompt_eval_count: t.promptTokens } });
const ollamaEmbeddings = () => ({ whole: { embedding: [0.6, -0.8] } });

/** LM Studio's own chat: runs of reasoning and message events, and the whole at the end. */
function lmstudioChat(t, body) {
  const output = [...(t.reasoning ? [{ type: 'reasoning', content: t.reasoning }] : []), { type: 'message', content: t.deltas.join('') }];
  const result = { model_instance_id: t.model, output, stats: { input_tokens: t.promptTokens, total_output_tokens: t.deltas.length, reasoning_output_tokens: 0,
    tokens_per_second: 27.5, time_to_first_token_seconds: 0.1 } };
  if (!body.stream) return { whole: result };
  return { type: 'text/event-stream', frames: [
    event({ type: 'chat.start', model_instance_id: t.model }),
    ...(t.reasoning ? [event({ type: 'reasoning.start' }), event({ type: 'reasoning.delta', content: t.reasoning }), event({ type: 'reasoning.end' })] : []),
    event({ type: 'message.start' }),
    ...t.deltas.map((content) => event({ type: 'message.delta', content }, { delta: true })),
    event({ type: 'message.end' }),
    event({ type: 'chat.end', result }, { last: true }),
  ] };
}

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
  tokenize: { '/tokenize': tokenize },
  tokencount: { '/api/extra/tokencount': tokencount },
  ollama: { '/api/chat': ollamaChat, '/api/generate': ollamaGenerate, '/api/embed': ollamaEmbed, '/api/embeddings': ollamaEmbeddings },
  lmstudio: { '/api/v0/chat/completions': openaiChat, '/api/v0/completions': openaiCompletions, '/api/v0/embeddings': openaiEmbeddings, '/api/v1/chat': lmstudioChat },
  rerank: { '/v1/rerank': rerank },
};
