import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ReplyReader } from '../src/pure/reply'

interface Shown {
  think: string
  text: string
  tools: string[]
  usage: object
  finish: string
  error: string
}

function read(body: string, size: number, type?: string): Shown {
  const out = { think: '', text: '', tools: [] as string[] }
  const r = new ReplyReader({
    think: (t) => (out.think += t),
    text: (t) => (out.text += t),
    wasThinking() {
      out.think = out.text + out.think
      out.text = ''
    },
    tool: (n) => out.tools.push(n),
  })
  if (type) r.setForm(type)
  const b = new TextEncoder().encode(body)
  for (let i = 0; i < b.length; i += size) r.feed(b.subarray(i, i + size))
  r.end()
  return { ...out, usage: { ...r.usage }, finish: r.finish, error: r.error }
}

function always(body: string, type: string, want: Partial<Shown>): void {
  for (const size of [body.length * 4, 1, 5]) {
    const got = read(body, size, type)
    for (const [k, v] of Object.entries(want)) assert.deepEqual(got[k as keyof Shown], v, `${k}, pieces of ${size}`)
  }
}
const sse = (...events: unknown[]): string => events.map((e) => `data: ${typeof e === 'string' ? e : JSON.stringify(e)}\n\n`).join('')
const delta = (d: object, finish: string | null = null): object => ({ model: 'm', choices: [{ delta: d, finish_reason: finish }] })

test('OpenAI chat: reasoning in a field of its own, either name', () =>
  always(
    sse(
      delta({ reasoning_content: 'a' }),
      delta({ reasoning: 'b' }),
      delta({ content: 'c' }),
      delta({}, 'stop'),
      { choices: [], usage: { prompt_tokens: 3, completion_tokens: 5, completion_tokens_details: { reasoning_tokens: 2 } } },
      '[DONE]',
    ),
    'text/event-stream',
    {
      think: 'ab',
      text: 'c',
      finish: 'stop',
      usage: { input: 3, output: 5, reasoning: 2 },
    },
  ))
test('OpenAI chat: reasoning as marks in the text, cut across events', () =>
  always(sse(delta({ content: '<th' }), delta({ content: 'ink>a</thi' }), delta({ content: 'nk>b' })), 'text/event-stream', {
    think: 'a',
    text: 'b',
  }))
test('OpenAI chat: calls of tools are named', () =>
  always(
    sse(delta({ tool_calls: [{ function: { name: 'look', arguments: '' } }] }), delta({ tool_calls: [{ function: { arguments: '{}' } }] })),
    'text/event-stream',
    { tools: ['look'] },
  ))
test('OpenAI chat, not streamed', () =>
  always(
    JSON.stringify({
      choices: [{ message: { reasoning_content: 'a', content: 'b' }, finish_reason: 'length' }],
      usage: { completion_tokens: 1 },
    }),
    'application/json',
    { think: 'a', text: 'b', finish: 'length' },
  ))
test('OpenAI responses', () =>
  always(
    sse(
      { type: 'response.reasoning_text.delta', delta: 'a' },
      { type: 'response.output_text.delta', delta: 'b' },
      { type: 'response.completed', response: { status: 'completed', usage: { input_tokens: 1, output_tokens: 2 } } },
    ),
    'text/event-stream',
    { think: 'a', text: 'b', finish: 'completed', usage: { input: 1, output: 2, reasoning: undefined } },
  ))
test('Anthropic messages', () =>
  always(
    sse(
      { type: 'message_start', message: { usage: { input_tokens: 9 } } },
      { type: 'content_block_start', content_block: { type: 'tool_use', name: 'look' } },
      { type: 'content_block_delta', delta: { thinking: 'a' } },
      { type: 'content_block_delta', delta: { text: 'b' } },
      { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 4 } },
    ),
    'text/event-stream',
    { think: 'a', text: 'b', tools: ['look'], finish: 'end_turn', usage: { input: 9, output: 4, reasoning: undefined } },
  ))
test('Ollama chat, lines of JSON', () =>
  always(
    '{"model":"m","message":{"thinking":"a","content":""}}\n{"message":{"content":"b"}}\n' +
      '{"message":{"content":""},"done":true,"done_reason":"stop","prompt_eval_count":7,"eval_count":8}\n',
    'application/x-ndjson',
    { think: 'a', text: 'b', finish: 'stop', usage: { input: 7, output: 8 } },
  ))
test('an error in the stream is told', () =>
  always(sse({ error: { message: 'out of memory' } }), 'text/event-stream', { error: 'out of memory' }))
test('what is no JSON is passed over', () => always('data: {broken\n\n' + sse(delta({ content: 'x' })), 'text/event-stream', { text: 'x' }))
test('the form is seen without a content type', () => {
  assert.equal(read(sse(delta({ content: 'x' })), 10_000).text, 'x')
  assert.equal(read('{"message":{"content":"x"}}\n{"message":{"content":"y"}}\n', 10_000).text, 'xy')
  assert.equal(read('{"choices":[{"text":"x"}]}', 10_000).text, 'x')
})
