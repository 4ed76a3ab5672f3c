/* firstrun.tsx - from an empty hub to the first streamed answer: the account, what was found, the first key, the answer in place.
 * The step is in the address (#/start?step=found), so leaving in the middle resumes there. The key is only in this page's memory. */
import { useEffect, useState } from 'preact/hooks'
import { Answer, ask, type AskResult } from '../app/answer'
import { ApiError, post } from '../app/api'
import { useResource } from '../app/data'
import { lists } from '../app/lists'
import { lookAgain } from '../app/palette'
import { setPref } from '../app/prefs'
import { go, setParams, setupToken, useRoute } from '../app/route'
import { session, setUp } from '../app/session'
import { snippets } from '../app/snippets'
import { useStore } from '../app/store'
import type { Key } from '../app/types'
import { AnswerView } from '../parts/answer'
import { Button } from '../parts/button'
import { Code } from '../parts/code'
import { CheckField, SelectField, TextField } from '../parts/field'
import { Mark } from '../parts/mark'
import { Name } from '../parts/name'
import { Problem } from '../parts/problem'
import { Skeleton } from '../parts/skeleton'
import { duration } from '../pure/format'
import { visible } from '../pure/visible'
import { T } from '../text'
import { Guard } from '../app/guard'

const steps = [
  { id: 'who', name: T.stepWho },
  { id: 'found', name: T.stepFound },
  { id: 'key', name: T.stepKey },
  { id: 'done', name: T.stepDone },
]
type Made = Key & { key: string }

export default function FirstRun() {
  const s = useStore(session)
  const asked = useRoute().params.step ?? ''
  const [made, setMade] = useState<Made | undefined>(undefined)
  const [kept, setKept] = useState(false)
  const at = !s?.signed_in
    ? 0
    : Math.max(
        1,
        steps.findIndex((x) => x.id === asked),
      )
  const step = steps[at]
  useEffect(() => {
    document.title = T.setupTitle
    document.getElementById('title')?.focus()
  }, [at])
  /* Leaving with a key that nobody kept would lose it. */
  useEffect(() => {
    if (!made || kept) return
    const hold = (e: BeforeUnloadEvent): void => e.preventDefault()
    addEventListener('beforeunload', hold)
    return () => removeEventListener('beforeunload', hold)
  }, [made, kept])
  return (
    <main class="entrance wide">
      <h1 id="title" tabIndex={-1}>
        {T.setupTitle}
      </h1>
      <p class="extra">{T.setupStep(at + 1, steps.length, step?.name ?? '')}</p>
      <h2>{step?.name}</h2>
      {at === 0 && (setupToken ? <Who /> : <NoToken />)}
      {at === 1 && <Found />}
      {at === 2 && <FirstKey made={made} onMade={setMade} kept={kept} onKept={setKept} />}
      {at === 3 && <Done />}
      <Guard />
    </main>
  )
}

const to = (step: string): void => setParams({ step }, true)

function finish(params?: Record<string, string>): void {
  setPref('checklist', true)
  go('fleet', params)
}

function NoToken() {
  return (
    <>
      <p>{T.setupNoToken}</p>
      <Code text={'drover user setup'} what={T.sameInTerminal} />
    </>
  )
}

const nameOk = (name: string): boolean => /^[\w.-]{1,64}$/.test(name)
const passBytes = (text: string): number => new TextEncoder().encode(text).length

function Who() {
  const [name, setName] = useState('')
  const [pass, setPass] = useState('')
  const [checked, setChecked] = useState({ name: false, pass: false })
  const [busy, setBusy] = useState(false)
  const [fault, setFault] = useState<unknown>(undefined)
  const passOk = passBytes(pass) >= 8 && passBytes(pass) <= 1024
  const send = async (e: Event): Promise<void> => {
    e.preventDefault()
    setChecked({ name: true, pass: true })
    if (!nameOk(name) || !passOk || busy) return
    setBusy(true)
    setFault(undefined)
    try {
      await setUp(setupToken, name, pass)
      go('start', { step: 'found' })
    } catch (x) {
      setFault(x)
      setBusy(false)
    }
  }
  return (
    <form onSubmit={send} noValidate>
      <p>{T.whoWhy}</p>
      <TextField
        label={T.userName}
        value={name}
        onInput={setName}
        autocomplete="username"
        name="username"
        hint={T.nameRule}
        fault={checked.name && !nameOk(name) ? T.nameWrong : undefined}
        onLeave={() => setChecked((c) => ({ ...c, name: name !== '' }))}
      />
      <TextField
        label={T.passphrase}
        value={pass}
        onInput={setPass}
        autocomplete="new-password"
        name="password"
        secret
        hint={T.passRule}
        fault={checked.pass && !passOk ? T.passWrong : undefined}
        onLeave={() => setChecked((c) => ({ ...c, pass: pass !== '' }))}
      />
      {fault !== undefined && <Problem error={fault} />}
      <button type="submit" class="button main" aria-busy={busy} aria-disabled={busy}>
        {busy ? T.busy : T.makeAccount}
      </button>
      <Code text={'drover user add NAME --role admin'} what={T.sameInTerminal} />
    </form>
  )
}

function Found() {
  const { data, error } = useResource(lists.endpoints)
  const list = data?.endpoints
  const up = list?.filter((e) => e.state === 'up' || e.state === 'degraded' || e.state === 'loading') ?? []
  return (
    <>
      <p>{T.foundLooked}</p>
      {error && <Problem error={error} retry={() => lists.endpoints.reload()} />}
      {!list && !error && <Skeleton what={T.theEndpoints} />}
      {list && (up.length ? <p role="status">{T.foundSome(up.length)}</p> : <p role="status">{T.foundNothing}</p>)}
      {list && !up.length && <Code text={'endpoints:\n  - name: box\n    url: http://192.0.2.10:11434\n'} what={T.fleetEmptyConfig} />}
      <ul class="plain found">
        {list?.map((e) => (
          <li class="row">
            <Mark
              state={
                e.state === 'up'
                  ? 'ok'
                  : e.state === 'down'
                    ? 'bad'
                    : e.state === 'unknown'
                      ? 'unknown'
                      : e.state === 'loading'
                        ? 'busy'
                        : 'warn'
              }
              word={T.states[e.state]}
            />
            <Name text={e.name} />
            <span class="extra">
              {visible(e.kind)} {visible(e.version)} · {T.modelsN(e.models.length)} {e.demonstration ? `· ${T.demo}` : ''}{' '}
              {e.state === 'down' ? visible(e.reason) : ''}
            </span>
          </li>
        ))}
      </ul>
      <Code text={'drover endpoints'} what={T.sameInTerminal} />
      <footer class="row">
        <Button act={lookAgain} icon="again">
          {T.lookAgain}
        </Button>
        <span class="grow" />
        <Button kind="main" act={() => to('key')}>
          {T.next}
        </Button>
      </footer>
    </>
  )
}

interface KeyProps {
  made: Made | undefined
  onMade(k: Made | undefined): void
  kept: boolean
  onKept(kept: boolean): void
}

function FirstKey({ made, onMade, kept, onKept }: KeyProps) {
  const [name, setName] = useState('first')
  const [lang, setLang] = useState('curl')
  const [model, setModel] = useState('')
  const [answer, setAnswer] = useState<Answer | undefined>(undefined)
  const [result, setResult] = useState<AskResult | undefined>(undefined)
  const [think, setThink] = useState(false)
  const models = useResource(lists.models).data?.models ?? []
  const slug = model || (models.find((m) => m.targets.some((t) => t.loaded)) ?? models[0])?.slug || ''
  const leave = (step: string | undefined) => (): void => {
    onMade(undefined)
    if (step) to(step)
    else finish()
  }
  if (!made)
    return (
      <>
        <p>{T.keyWhy}</p>
        <TextField label={T.keyName} value={name} onInput={setName} hint={T.nameRule} fault={nameOk(name) ? undefined : T.nameWrong} />
        <Code text={`drover key add ${nameOk(name) ? name : 'NAME'}`} what={T.sameInTerminal} />
        <footer class="row">
          <Button act={() => to('found')}>{T.back}</Button>
          <span class="grow" />
          <Button act={() => finish()}>{T.skipStep}</Button>
          <Button
            kind="main"
            act={async () => {
              if (nameOk(name)) onMade(await post<Made>('keys', { name }))
            }}
          >
            {T.makeKey(name)}
          </Button>
        </footer>
      </>
    )
  const list = snippets(slug || 'MODEL', T.firstQuestion)
  const shown = list.find((x) => x.id === lang) ?? list[0]
  const send = async (): Promise<void> => {
    const a = new Answer()
    setAnswer(a)
    setResult(undefined)
    setResult(
      await ask(
        '/v1/chat/completions',
        { model: slug, stream: true, stream_options: { include_usage: true }, messages: [{ role: 'user', content: T.firstQuestion }] },
        a,
        AbortSignal.timeout(600_000),
        made.key,
      ),
    )
  }
  return (
    <>
      <p>
        <strong>{T.keyOnce}</strong>
      </p>
      <Code text={made.key} what={T.keyIs} wrap />
      <CheckField label={T.saved} value={kept} onInput={onKept} />
      {models.length > 0 && (
        <SelectField
          label={T.sendWith}
          value={slug}
          onInput={setModel}
          options={models.map((m) => ({ value: m.slug, text: visible(m.slug) }))}
        />
      )}
      <SelectField label={T.useIt} value={lang} onInput={setLang} options={list.map((x) => ({ value: x.id, text: x.name }))} />
      {shown && <Code text={`export DROVER_KEY=…   # ${T.keyIs}\n\n${shown.text}`} what={shown.name} wrap />}
      {!slug && <p role="status">○ {T.noModelYet}</p>}
      {answer && (
        <section aria-label={T.answerIs} class="answer-box">
          <AnswerView answer={answer} thinkingOpen={think} onThinking={setThink} />
          {result && !result.error && answer.endMs && (
            <p class="extra">
              {T.firstToken} {duration(answer.firstMs && answer.firstMs - answer.startMs)} · {T.measuredHere}
            </p>
          )}
          {result?.error && <Problem error={new ApiError(result.status, '', result.error)} />}
        </section>
      )}
      <footer class="row">
        <Button act={send} icon="send" off={slug ? undefined : T.noModelYet}>
          {T.sendIt}
        </Button>
        <span class="grow" />
        <Button kind="main" act={leave('done')} off={kept ? undefined : T.savedFirst}>
          {T.next}
        </Button>
      </footer>
    </>
  )
}

function Done() {
  return (
    <>
      <p>{T.doneText}</p>
      <p>{T.doneOther}</p>
      <footer class="row">
        <Button act={() => to('key')}>{T.back}</Button>
        <span class="grow" />
        <Button act={() => finish({ add: '1' })}>{T.addNode}</Button>
        <Button kind="main" act={() => finish()}>
          {T.toFleet}
        </Button>
      </footer>
    </>
  )
}
