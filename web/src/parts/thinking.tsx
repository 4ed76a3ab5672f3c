/* Thinking: what a model thought, apart from its answer. Closed it is one line; open it shows the newest 200 lines, plain and dimmed,
 * earlier ones on demand. text: all of it; tokens: reported or undefined; ms: how long; going: whether it grows;
 * unfinished: it ended inside of thinking; share: part of the output, 0..1; open/onOpen: the caller's. */
import { useState } from 'preact/hooks'
import { count, duration } from '../pure/format'
import { T } from '../text'
import { Growing } from './growing'

const PAGE = 200

interface Props {
  text: string
  tokens?: number
  ms?: number
  share?: number
  going: boolean
  unfinished?: boolean
  open: boolean
  onOpen(open: boolean): void
}

/* The last n lines of a text, without cutting all of it into lines. */
export function lastLines(text: string, n: number): { shown: string; more: boolean } {
  let at = text.length
  for (let i = 0; i < n && at > 0; i++) at = text.lastIndexOf('\n', at - 1)
  return at > 0 ? { shown: text.slice(at + 1), more: true } : { shown: text, more: false }
}

export function Thinking(p: Props) {
  const [pages, setPages] = useState(1)
  const { shown, more } = lastLines(p.text, PAGE * pages)
  const state = p.going ? T.stillGoing : p.unfinished ? T.notFinished : ''
  const figures = [
    p.tokens !== undefined && T.tokensN(count(p.tokens)),
    p.ms !== undefined && duration(p.ms),
    p.share !== undefined && T.shareOfOutput(Math.round(p.share * 100)),
    state,
  ]
  return (
    <div class="thinking">
      <button type="button" class="row-open" aria-expanded={p.open} onClick={() => p.onOpen(!p.open)}>
        <span aria-hidden="true">{p.open ? '▾' : '▸'} </span>
        <strong>{T.thinking}</strong> <span class="extra">{figures.filter(Boolean).join(' · ')}</span>
        {p.going && <span class="growing-mark" aria-hidden="true" />}
      </button>
      {p.open && (
        <div class="thought" aria-live="off" aria-busy={p.going} tabIndex={0} role="region" aria-label={T.thinking}>
          {more && (
            <button type="button" class="button quiet" onClick={() => setPages(pages + 1)}>
              {T.showEarlier}
            </button>
          )}
          <Growing text={shown} />
        </div>
      )}
    </div>
  )
}
