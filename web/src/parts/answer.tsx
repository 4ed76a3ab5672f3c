/* AnswerView: an answer (app/answer.ts) with its thinking apart, drawn once a frame while it grows. answer; onThinking: the open state
 * of the thinking, kept by the caller so that it survives. Long answers show their newest blocks, earlier ones on demand. */
import { useState } from 'preact/hooks'
import type { Answer } from '../app/answer'
import { useStore } from '../app/store'
import { visible } from '../pure/visible'
import { T } from '../text'
import { Markdown } from './markdown'
import { Thinking } from './thinking'

const BLOCKS = 120

export function AnswerView({
  answer: a,
  thinkingOpen,
  onThinking,
}: {
  answer: Answer
  thinkingOpen: boolean
  onThinking(open: boolean): void
}) {
  useStore(a.version)
  const [pages, setPages] = useState(1)
  const settled = a.markdown.settled
  const from = Math.max(0, settled.length - BLOCKS * pages)
  const u = a.reader.usage
  return (
    <div class="answer-view">
      {a.think && (
        <Thinking
          text={a.think}
          tokens={u.reasoning}
          share={u.reasoning !== undefined && u.output ? u.reasoning / u.output : undefined}
          ms={a.thinkMs}
          going={a.thinkGoing}
          unfinished={a.unfinished}
          open={thinkingOpen}
          onOpen={onThinking}
        />
      )}
      {a.tools.length > 0 && <p class="extra">{T.toolsAsked(a.tools.map(visible).join(', '))}</p>}
      <div aria-live="off" aria-busy={a.growing} role="region" aria-label={T.answerIs} tabIndex={-1}>
        {from > 0 && (
          <button type="button" class="button quiet" onClick={() => setPages(pages + 1)}>
            {T.showEarlier}
          </button>
        )}
        <Markdown blocks={from ? settled.slice(from) : settled} first={from} open={a.markdown.open} />
        {a.growing && !a.text && !a.think && <p class="extra">{T.waitingForAnswer}</p>}
        {!a.growing && !a.text && !a.think && !a.reader.error && <p class="extra">{T.answerEmpty}</p>}
      </div>
    </div>
  )
}
