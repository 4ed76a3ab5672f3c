/* Mark: a state as shape, word and colour, in this order of weight.
 * state: one of the eight; word: what to say, usually the state's own word; extra: said behind it, dimmed (an age). */
import type { ComponentChildren } from 'preact'

export type MarkState = 'ok' | 'busy' | 'warn' | 'bad' | 'paused' | 'asleep' | 'unknown' | 'off'

const shapes: Record<MarkState, string> = { ok: '●', busy: '◐', warn: '▲', bad: '✕', paused: '■', asleep: '☾', unknown: '○', off: '–' }

export function Mark({ state, word, extra }: { state: MarkState; word: string; extra?: ComponentChildren }) {
  return (
    <span class={'mark mark-' + state}>
      <span class="shape" aria-hidden="true">
        {shapes[state]}
      </span>{' '}
      <span class="word">{word}</span>
      {extra !== undefined && <span class="extra"> {extra}</span>}
    </span>
  )
}
