/* guard.tsx - what the hub asks back: the passphrase again, the permission key, and whether to stay signed in. One question at a
 * time; a request that waits for the answer goes on or fails with it. */
import { useState } from 'preact/hooks'
import { Button } from '../parts/button'
import { Dialog } from '../parts/dialog'
import { TextField } from '../parts/field'
import { Problem } from '../parts/problem'
import { countdown } from '../pure/format'
import { T } from '../text'
import { setGuards } from './api'
import { useSecond } from './clock'
import { confirmPassphrase, extend, session, sessionEnd, sessionLost, signIn } from './session'
import { store, useStore } from './store'

type Question = { kind: 'reauth' | 'unlock'; answer(given: string | undefined): void }
const question = store<Question | undefined>(undefined)

function ask(kind: Question['kind']): Promise<string | undefined> {
  return new Promise((resolve) => {
    question.get()?.answer(undefined)
    question.set({
      kind,
      answer(given) {
        question.set(undefined)
        resolve(given)
      },
    })
  })
}

setGuards({
  reauth: async () => (await ask('reauth')) !== undefined,
  unlock: () => ask('unlock'),
  lost: () => sessionLost(T.sessionEnded),
})

export function Guard() {
  const q = useStore(question)
  if (q?.kind === 'reauth') return <Passphrase q={q} />
  if (q?.kind === 'unlock') return <PermissionKey q={q} />
  return <EndWarning />
}

function Passphrase({ q }: { q: Question }) {
  const [text, setText] = useState('')
  const [fault, setFault] = useState<unknown>(undefined)
  const send = async (): Promise<void> => {
    setFault(undefined)
    try {
      await confirmPassphrase(text)
    } catch (e) {
      setFault(e)
      return
    }
    q.answer('')
  }
  return (
    <Dialog title={T.reauthTitle} onClose={() => q.answer(undefined)}>
      <form
        onSubmit={(e) => {
          e.preventDefault()
          void send()
        }}
      >
        <p>{T.reauthWhy}</p>
        <input
          class="hide-visually"
          type="text"
          name="username"
          autocomplete="username"
          value={session.get()?.user ?? ''}
          readOnly
          tabIndex={-1}
          aria-hidden="true"
        />
        <TextField label={T.passphrase} secret autocomplete="current-password" value={text} onInput={setText} first />
        {fault !== undefined && <Problem error={fault} />}
        <footer class="row">
          <Button act={() => q.answer(undefined)}>{T.cancel}</Button>
          <button type="submit" class="button main">
            {T.confirm}
          </button>
        </footer>
      </form>
    </Dialog>
  )
}

function PermissionKey({ q }: { q: Question }) {
  const [text, setText] = useState('')
  return (
    <Dialog title={T.lockedTitle} onClose={() => q.answer(undefined)}>
      <form
        onSubmit={(e) => {
          e.preventDefault()
          q.answer(text)
        }}
      >
        <p>{T.lockedWhy}</p>
        <TextField label={T.permissionKey} secret value={text} onInput={setText} first />
        <footer class="row">
          <Button act={() => q.answer(undefined)}>{T.cancel}</Button>
          <button type="submit" class="button main">
            {T.useKeyOnce}
          </button>
        </footer>
      </form>
    </Dialog>
  )
}

const WARN_MS = 120_000
const ASK_MS = 10_000 /* between questions whether it is over */
let askedMs = 0

/* Two minutes before the end: stay, or where the session cannot last longer, sign in again without leaving what is on screen. */
function EndWarning() {
  useSecond()
  const s = useStore(session)
  const [put, setPut] = useState(0) /* the end that the person has read about */
  const [text, setText] = useState('')
  const end = sessionEnd()
  if (!s?.signed_in || !end) return null
  const left = end.atMs - Date.now()
  if (left <= 0) {
    if (Date.now() - askedMs > ASK_MS) {
      askedMs = Date.now()
      void extend()
    }
    return null
  }
  if (left > WARN_MS || put === end.atMs) return null
  const close = (): void => setPut(end.atMs)
  return (
    <Dialog title={T.endTitle} onClose={close}>
      <p>{end.forGood ? T.endForGood(countdown(left)) : T.endIdle(countdown(left))}</p>
      {end.forGood ? (
        <>
          <TextField label={T.passphrase} secret autocomplete="current-password" value={text} onInput={setText} first />
          <footer class="row">
            <Button act={close}>{T.notNow}</Button>
            <Button
              kind="main"
              act={async () => {
                await signIn(s.user ?? '', text)
                setText('')
              }}
            >
              {T.signInAgain}
            </Button>
          </footer>
        </>
      ) : (
        <footer class="row">
          <Button act={extend} kind="main" autofocus>
            {T.staySignedIn}
          </Button>
        </footer>
      )}
    </Dialog>
  )
}
