import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ThinkSplitter, type Piece } from '../src/pure/think'

/* What a page would show after all pieces. */
function show(pieces: Piece[]): { think: string; text: string } {
  let think = ''
  let text = ''
  for (const p of pieces) {
    if (p.kind === 'was-thinking') {
      think = text + think
      text = ''
    } else if (p.kind === 'think') think += p.text
    else text += p.text
  }
  return { think, text }
}

function run(chunks: string[]): { think: string; text: string; open: boolean } {
  const s = new ThinkSplitter()
  const pieces = chunks.flatMap((c) => s.feed(c))
  pieces.push(...s.end())
  return { ...show(pieces), open: s.open }
}

/* Whole, in two pieces cut at every place, and one character at a time: always the same. */
function always(text: string, want: { think: string; text: string; open?: boolean }): void {
  const full = { open: false, ...want }
  assert.deepEqual(run([text]), full)
  assert.deepEqual(run([...text]), full, 'one character at a time')
  for (let i = 1; i < text.length; i++) assert.deepEqual(run([text.slice(0, i), text.slice(i)]), full, `cut at ${i}`)
}

test('text without marks is text', () => always('a < b and b > c, x<y', { think: '', text: 'a < b and b > c, x<y' }))
test('thinking at the beginning is thinking, what follows is text', () =>
  always('<think>\nhm\n</think>\n\nyes', { think: 'hm\n', text: 'yes' }))
test('the longer form of the mark counts too', () => always('<thinking>a</thinking>b', { think: 'a', text: 'b' }))
test('marks nest', () => always('<think>a<think>b</think>c</think>d', { think: 'abc', text: 'd' }))
test('a closing mark that nothing opened makes all before it thinking', () =>
  always('first this\n</think>\nanswer', { think: 'first this\n', text: 'answer' }))
test('thinking that is never closed is not finished', () => always('<think>on and on', { think: 'on and on', text: '', open: true }))
test('a second thought later in the answer is thinking', () =>
  always('<think>a</think>b\n<think>c</think>d', { think: 'ac', text: 'b\nd' }))
test('a mark in the middle of a sentence is text', () => always('use the <think> tag', { think: '', text: 'use the <think> tag' }))
test('a second closing mark is text', () => always('<think>a</think>b </think> c', { think: 'a', text: 'b </think> c' }))
test('the beginning of a mark at the very end is text', () => always('a\n<thin', { think: '', text: 'a\n<thin' }))
test('space in front of the first mark does not hide it', () => always(' \n<think>a</think>b', { think: 'a', text: ' \nb' }))
test('an empty thought leaves the answer whole', () => always('<think>\n\n</think>\n\nhello', { think: '', text: 'hello' }))
test('nothing is held back that cannot become a mark', () => {
  const s = new ThinkSplitter()
  assert.deepEqual(s.feed('a <b'), [{ kind: 'text', text: 'a <b' }])
  assert.deepEqual(s.feed('x <t'), [{ kind: 'text', text: 'x ' }])
  assert.deepEqual(s.feed('r>'), [{ kind: 'text', text: '<tr>' }])
})
