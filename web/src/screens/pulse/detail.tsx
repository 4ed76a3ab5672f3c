/* detail.tsx - one request: where its time went, its figures, stopping it, and, where that is allowed, its text as it comes. */
import { useEffect, useRef, useState } from 'preact/hooks'
import { Answer } from '../../app/answer'
import { post, part } from '../../app/api'
import { useSecond } from '../../app/clock'
import { hubNow, onWatch, watchRequest } from '../../app/events'
import { useKeys } from '../../app/keyboard'
import { href } from '../../app/route'
import { toast } from '../../app/say'
import { may } from '../../app/session'
import { snippets } from '../../app/snippets'
import { AnswerView } from '../../parts/answer'
import { Button } from '../../parts/button'
import { Code } from '../../parts/code'
import { Confirm } from '../../parts/confirm'
import { Copy } from '../../parts/copy'
import { Facts } from '../../parts/facts'
import { Name } from '../../parts/name'
import { Clock } from '../../parts/time'
import { StopAll } from '../../parts/stopall'
import { TimeBar, type TimePart } from '../../parts/timebar'
import { bytes, count, duration, rate } from '../../pure/format'
import { speed, type Row } from '../../pure/rows'
import { visible } from '../../pure/visible'
import { T } from '../../text'
import { firstMs, notFound, queueMs, StateMark, who } from './requests'

function timeParts(r: Row): TimePart[] {
  const now = r.ended ? r.ended.total_us / 1000 : hubNow() - r.atMs
  const queue = Math.min(queueMs(r) ?? 0, now)
  const first = firstMs(r)
  const live = !r.ended
  if (live && r.live?.state === 'queued') return [{ name: T.partQueue, ms: now, pattern: 'queue', going: true }]
  const out: TimePart[] = [{ name: T.partQueue, ms: queue, pattern: 'queue' }]
  if (first === undefined) return [...out, { name: T.partWait, ms: Math.max(0, now - queue), pattern: 'wait', going: live }]
  out.push({ name: T.partWait, ms: Math.max(0, first - queue), pattern: 'wait' })
  /* How long thinking took is not told; where all output so far is thinking, it is known. */
  const allThinking = live && (r.live?.reasoning ?? 0) > 0 && (r.live?.output ?? 0) <= (r.live?.reasoning ?? 0)
  out.push({
    name: allThinking ? T.partThink : T.partAnswer,
    ms: Math.max(0, now - first),
    pattern: allThinking ? 'think' : 'answer',
    going: live,
  })
  return out
}

const SOURCES: Record<string, string> = T.tokenSources

export function RequestDetail({ row: r }: { row: Row }) {
  useSecond()
  const [asking, setAsking] = useState(false)
  const [all, setAll] = useState(false)
  const live = r.live && !r.gone && !r.ended
  const x = r.ended ?? r.live
  const slug = r.ended?.slug || r.live?.asked || ''
  const stop = async (): Promise<void> => {
    try {
      await post(`live/${part(r.id)}/stop`)
      toast('ok', T.stopping(r.id))
    } catch (e) {
      if (!notFound(e)) throw e
      toast('ok', T.endedMeanwhile)
    }
  }
  useKeys(T.request, [{ keys: 's', does: T.stopRequest, run: () => live && may('operator') && setAsking(true) }])
  const tokensFrom = (n: number | null | undefined, source: string | undefined): string =>
    n === null || n === undefined
      ? T.unknown
      : source && source !== 'reported' && SOURCES[source]
        ? T.withSource(count(n), SOURCES[source] ?? '')
        : count(n)
  return (
    <div class="stack">
      <div class="row">
        <StateMark row={r} />
        <span class="grow" />
        {live && (
          <Button act={() => setAsking(true)} icon="stop" locked={may('operator') ? undefined : T.needsOperator}>
            {T.stopRequest}
          </Button>
        )}
        {live && r.live?.key && (
          <Button act={() => setAll(true)} locked={may('operator') ? undefined : T.needsOperator}>
            {T.stopAll.of(visible(who(r)))}
          </Button>
        )}
        {slug && (
          <a class="button" href={href('fleet', { open: r.ended?.endpoint || r.live?.endpoint, why: slug })}>
            {T.why}
          </a>
        )}
        <Copy text={snippets(slug || 'MODEL', '…')[0]?.text ?? ''} words={T.copyCurl} />
        <Copy text={r.id} words={T.copyId} />
      </div>
      <TimeBar parts={timeParts(r)} />
      <Facts
        rows={[
          [T.requestId, <Name text={r.id} />],
          [T.received, <Clock ms={r.atMs} />],
          [T.took, r.ended ? duration(r.ended.total_us / 1000) : undefined],
          [T.colKey, who(r) ? <Name text={who(r)} /> : T.nobody],
          [T.api, x?.api ? visible(x.api) : undefined],
          [T.asked, r.live?.asked ? <Name text={r.live.asked} /> : undefined],
          [T.slug, x?.slug ? <Name text={x.slug} /> : undefined],
          [T.model, x?.model ? <Name text={x.model} /> : undefined],
          [T.colEndpoint, x?.endpoint ? <Name text={x.endpoint} /> : T.none],
          [T.runtime, r.ended?.runtime ? visible(r.ended.runtime) : undefined],
          [T.stream, x?.stream ? T.yes : T.no],
          [T.attempts, count(x?.attempts)],
          [T.status, r.ended ? String(r.ended.status) : undefined],
          [T.colIn, r.ended ? tokensFrom(r.ended.input_tokens, r.ended.input_source) : count(r.live?.input)],
          [T.cached, r.ended?.cached_tokens != null ? count(r.ended.cached_tokens) : undefined],
          [
            T.colThink,
            r.ended
              ? r.ended.reasoning_tokens === null
                ? undefined
                : count(r.ended.reasoning_tokens)
              : r.live?.reasoning === undefined
                ? undefined
                : count(r.live.reasoning),
          ],
          [T.colOut, r.ended ? tokensFrom(r.ended.output_tokens, r.ended.output_source) : count(r.live?.output)],
          [T.colSpeed, rate(speed(r, hubNow()))],
          [T.bytesOut, bytes(x?.bytes_out)],
        ]}
      />
      <WatchedText id={r.id} live={!!live} />
      {all && r.live?.key && <StopAll id={r.live.key} name={who(r)} onClose={() => setAll(false)} />}
      {asking && (
        <Confirm
          title={T.stopTitle(visible(slug))}
          facts={[T.stopWho(visible(who(r)) || T.nobody, r.id), T.stopTime(duration(hubNow() - r.atMs)), T.stopMeans]}
          verb={T.stopRequest}
          act={stop}
          onClose={() => setAsking(false)}
        />
      )}
    </div>
  )
}

function decode(base64: string): Uint8Array {
  const text = atob(base64)
  const out = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i)
  return out
}

/* What somebody else's model says. Not asked for until the person opens it: looking is written down by the hub. */
function WatchedText({ id, live }: { id: string; live: boolean }) {
  const [answer, setAnswer] = useState<Answer | undefined>(undefined)
  const [refused, setRefused] = useState('')
  const [gap, setGap] = useState(0)
  const [think, setThink] = useState(false)
  const [raw, setRaw] = useState(false)
  const next = useRef(0)
  const watching = answer !== undefined
  useEffect(() => {
    if (!answer) return
    const end = onWatch((f) => {
      if (f.id !== id) return
      if (f.refused) {
        setRefused(f.refused)
        setAnswer(undefined)
        return
      }
      if (f.from !== undefined && f.from > next.current) setGap((n) => n + (f.from ?? 0) - next.current)
      if (f.bytes) {
        const b = decode(f.bytes)
        next.current = (f.from ?? next.current) + b.length
        answer.feed(b)
      }
      if (f.end) answer.end()
    })
    return () => {
      end()
      watchRequest(null)
    }
  }, [answer, id])
  useEffect(() => {
    if (!live) answer?.end()
  }, [live])
  useKeys(T.request, [
    { keys: 't', does: T.keyThinking, run: () => setThink(!think) },
    { keys: 'r', does: T.keyRaw, run: () => watching && setRaw(!raw) },
  ])
  if (refused)
    return (
      <p role="status">
        – {T.textRefused(visible(refused))} <span class="extra">{T.textRefusedWho}</span>
      </p>
    )
  if (!answer) {
    if (!live) return <p class="extra">{T.textGone}</p>
    return (
      <div class="row">
        <Button
          hub
          act={() => {
            next.current = 0
            setGap(0)
            if (watchRequest(id)) setAnswer(new Answer(false))
            else throw new Error(T.textNoSocket)
          }}
        >
          {T.watchText}
        </Button>
        <span class="extra">{T.watchAudited}</span>
      </div>
    )
  }
  return (
    <section class="answer-box" aria-label={T.answerIs}>
      {gap > 0 && <p class="extra">▲ {T.textGap(bytes(gap))}</p>}
      <AnswerView answer={answer} thinkingOpen={think} onThinking={setThink} />
      <div class="row">
        <Button act={() => setRaw(!raw)} pressed={raw}>
          {T.wireBytes}
        </Button>
        <Button act={() => setAnswer(undefined)}>{T.stopWatching}</Button>
      </div>
      {raw && <Raw answer={answer} />}
    </section>
  )
}

export function Raw({ answer }: { answer: Answer }) {
  const [text, setText] = useState(answer.raw)
  useEffect(() => {
    const t = setInterval(() => setText(answer.raw), 500)
    return () => clearInterval(t)
  }, [answer])
  const MOST = 64 << 10
  return (
    <>
      {(text.length > MOST || answer.rawCut) && <p class="extra">{T.rawNewest}</p>}
      <Code text={text.length > MOST ? text.slice(-MOST) : text} what={T.wireBytes} wrap />
    </>
  )
}
