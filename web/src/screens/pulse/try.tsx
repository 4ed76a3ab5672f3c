/* try.tsx - a place to try a model: the console's view of the answer beside the exact request and the exact bytes. What is written and
 * answered here lives in this page's memory only, goes on while another screen is shown, and is gone after signing out.
 * Address: tab=try, model (chosen from elsewhere). */
import type { ComponentChildren } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { Answer, ask, type AskResult } from '../../app/answer'
import { ApiError } from '../../app/api'
import { useResource } from '../../app/data'
import { lists } from '../../app/lists'
import { href, setParams, useRoute } from '../../app/route'
import { session } from '../../app/session'
import { curl } from '../../app/snippets'
import { store, useStore } from '../../app/store'
import { AnswerView } from '../../parts/answer'
import { Button } from '../../parts/button'
import { Code } from '../../parts/code'
import { Empty } from '../../parts/empty'
import { SelectField, TextField } from '../../parts/field'
import { Problem } from '../../parts/problem'
import { ScreenHead } from '../../parts/screenhead'
import { Skeleton } from '../../parts/skeleton'
import { check, emptyDraft, request, type Dialect, type Draft, type Turn } from '../../pure/draft'
import { count, duration, rate } from '../../pure/format'
import { visible } from '../../pure/visible'
import { T } from '../../text'
import { Raw } from './detail'

interface Exchange {
  prompt: string
  answer: Answer
  sent: { path: string; body: Record<string, unknown> }
  result?: AskResult
  stop: AbortController
}

const draft = store<Draft>(emptyDraft)
const prompt = store('')
const exchanges = store<Exchange[]>([])
const SHOWN = 10

session.watch((s) => {
  if (s?.signed_in) return
  for (const x of exchanges.get()) x.stop.abort()
  exchanges.set([])
  prompt.set('')
  draft.set(emptyDraft)
})

const change = (part: Partial<Draft>): void => draft.set({ ...draft.get(), ...part })

async function send(): Promise<void> {
  const text = prompt.get().trim()
  const d = draft.get()
  if (!text || !d.model || Object.keys(check(d)).length) return
  const turns: Turn[] = exchanges.get().flatMap((x): Turn[] =>
    x.answer.text
      ? [
          { role: 'user', content: x.prompt },
          { role: 'assistant', content: x.answer.text },
        ]
      : [],
  )
  const sent = request(d, [...turns, { role: 'user', content: text }])
  const x: Exchange = { prompt: text, answer: new Answer(), sent, stop: new AbortController() }
  for (const old of exchanges.get().slice(0, -SHOWN)) old.answer.raw = '' /* not shown any more */
  exchanges.set([...exchanges.get(), x])
  prompt.set('')
  const result = await ask(sent.path, sent.body, x.answer, x.stop.signal)
  exchanges.set(exchanges.get().map((y) => (y === x ? { ...x, result } : y)))
}

export function TryModel({ tabs }: { tabs: ComponentChildren }) {
  const models = useResource(lists.models)
  const d = useStore(draft)
  const text = useStore(prompt)
  const list = useStore(exchanges)
  const asked = useRoute().params.model ?? ''
  const [more, setMore] = useState(false)
  const slugs = models.data?.models.map((m) => m.slug)
  useEffect(() => {
    if (asked && asked !== d.model) change({ model: asked })
    else if (!d.model && models.data) {
      const first = models.data.models.find((m) => m.targets.some((t) => t.loaded && t.state === 'up')) ?? models.data.models[0]
      if (first) change({ model: first.slug })
    }
  }, [asked, models.data])
  const last = list[list.length - 1]
  const going = last !== undefined && last.result === undefined
  const faults = check(d)
  return (
    <>
      <ScreenHead title={T.tryModel} state={going ? T.tryGoing(visible(d.model)) : T.tryState} />
      {tabs}
      <div id="tab-panel" role="tabpanel" aria-labelledby="tab-try" class="try">
        <section class="stack try-form" aria-label={T.tryRequest}>
          {models.error && <Problem error={models.error} what={T.cannotLoad(T.theModels)} retry={() => lists.models.reload()} />}
          {!slugs && !models.error && <Skeleton what={T.theModels} rows={2} />}
          {slugs && !slugs.length && <Empty why={T.noModelYet} />}
          {slugs && slugs.length > 0 && (
            <SelectField
              label={T.model}
              value={d.model}
              onInput={(model) => {
                change({ model })
                setParams({ model })
              }}
              options={[...new Set([...slugs, d.model])].filter(Boolean).map((x) => ({ value: x, text: visible(x) }))}
            />
          )}
          <TextField
            label={T.prompt}
            value={text}
            onInput={(v) => prompt.set(v)}
            area={6}
            hint={T.promptHint}
            onKey={(e) => {
              if (e.key === 'Enter' && (e.ctrlKey || e.metaKey) && !going) {
                e.preventDefault()
                void send()
              }
            }}
          />
          <div class="row">
            {going ? (
              <Button act={() => last.stop.abort()} icon="stop" kind="main">
                {T.stopAnswer}
              </Button>
            ) : (
              <Button
                hub
                act={() => void send()}
                icon="send"
                kind="main"
                off={!d.model ? T.noModelYet : !text.trim() ? T.needPrompt : Object.keys(faults).length ? T.needFix : undefined}
              >
                {T.send}
              </Button>
            )}
            <Button act={() => setMore(!more)} pressed={more}>
              {T.options}
            </Button>
            {list.length > 0 && !going && (
              <Button kind="quiet" act={() => exchanges.set([])}>
                {T.startAnew}
              </Button>
            )}
          </div>
          {more && <Options d={d} />}
        </section>
        <section class="stack" aria-label={T.conversation}>
          {!list.length && <Empty why={T.tryEmpty} />}
          {list.length > SHOWN && <p class="extra">{T.earlierTurns(list.length - SHOWN)}</p>}
          {list.slice(-SHOWN).map((x, i) => (
            <Turned key={list.length - Math.min(SHOWN, list.length) + i} x={x} />
          ))}
        </section>
      </div>
    </>
  )
}

function Options({ d }: { d: Draft }) {
  const f = check(d)
  return (
    <>
      <SelectField
        label={T.dialect}
        value={d.dialect}
        onInput={(v) => change({ dialect: v as Dialect })}
        options={[
          { value: 'openai', text: 'OpenAI chat' },
          { value: 'anthropic', text: 'Anthropic messages' },
          { value: 'ollama', text: 'Ollama chat' },
        ]}
      />
      <TextField label={T.system} value={d.system} onInput={(system) => change({ system })} area={3} />
      <TextField
        label={T.temperature}
        value={d.temperature}
        onInput={(temperature) => change({ temperature })}
        hint={T.temperatureHint}
        fault={f.temperature && T.temperatureWrong}
      />
      <TextField
        label={T.maxTokens}
        value={d.maxTokens}
        onInput={(maxTokens) => change({ maxTokens })}
        fault={f.maxTokens && T.wholeWrong}
      />
      <SelectField
        label={T.thinking}
        value={d.thinking}
        onInput={(v) => change({ thinking: v as Draft['thinking'] })}
        options={[
          { value: '', text: T.thinkUsual },
          { value: 'off', text: T.thinkOff },
          { value: 'on', text: T.thinkOn },
        ]}
      />
      {d.dialect === 'anthropic' && d.thinking === 'on' && (
        <TextField
          label={T.thinkBudget}
          value={d.budget}
          onInput={(budget) => change({ budget })}
          fault={f.budget && (f.budget === 'over' ? T.budgetOver : T.wholeWrong)}
        />
      )}
    </>
  )
}

function Turned({ x }: { x: Exchange }) {
  const a = x.answer
  useStore(a.version)
  const [think, setThink] = useState(false)
  const [view, setView] = useState<'' | 'request' | 'raw'>('')
  const u = a.reader.usage
  const id = x.result?.headers['x-request-id']
  const target = x.result?.headers['drover-target']
  const figures = [
    a.firstMs !== undefined && T.figure(T.firstToken, duration(a.firstMs - a.startMs)),
    a.perSecond !== undefined && T.figure(T.colSpeed, rate(a.perSecond)),
    a.endMs !== undefined && T.figure(T.took, duration(a.endMs - a.startMs)),
  ].filter(Boolean)
  const told = [
    u.input !== undefined && T.figure(T.colIn, count(u.input)),
    u.output !== undefined && T.figure(T.colOut, count(u.output)),
    a.reader.finish && T.figure(T.finish, visible(a.reader.finish)),
    target && T.figure(T.target, visible(target)),
  ].filter(Boolean)
  const stopped = x.stop.signal.aborted
  return (
    <article class="answer-box">
      <p class="prompt">{visible(x.prompt)}</p>
      <AnswerView answer={a} thinkingOpen={think} onThinking={setThink} />
      {stopped && <p>■ {T.stoppedKept}</p>}
      {x.result?.error && <Problem error={new ApiError(x.result.status, '', x.result.error)} />}
      {figures.length > 0 && (
        <p class="extra">
          {figures.join(' · ')} ({T.measuredHere})
        </p>
      )}
      {told.length > 0 && <p class="extra">{told.join(' · ')}</p>}
      <div class="row">
        <Button pressed={view === 'request'} act={() => setView(view === 'request' ? '' : 'request')}>
          {T.asCurl}
        </Button>
        <Button pressed={view === 'raw'} act={() => setView(view === 'raw' ? '' : 'raw')}>
          {T.wireBytes}
        </Button>
        {id && (
          <a class="button" href={href('pulse', { open: id })}>
            {T.openInPulse}
          </a>
        )}
      </div>
      {view === 'request' && <Code text={curl(x.sent.path, x.sent.body)} what={T.asCurl} wrap />}
      {view === 'raw' && <Raw answer={a} />}
    </article>
  )
}
