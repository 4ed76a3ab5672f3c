/* signin.tsx - the entrance: name and passphrase, by hand, paste or password manager. */
import { useEffect, useState } from 'preact/hooks'
import { ApiError } from '../app/api'
import { session, signedOutWhy, signIn } from '../app/session'
import { useSecond } from '../app/clock'
import { useStore } from '../app/store'
import { TextField } from '../parts/field'
import { Problem } from '../parts/problem'
import { visible } from '../pure/visible'
import { T } from '../text'

export default function SignIn() {
  const hub = useStore(session)?.name ?? ''
  const why = useStore(signedOutWhy)
  const [name, setName] = useState('')
  const [pass, setPass] = useState('')
  const [busy, setBusy] = useState(false)
  const [fault, setFault] = useState<unknown>(undefined)
  const [missing, setMissing] = useState<{ name?: string; pass?: string }>({})
  const [notBefore, setNotBefore] = useState(0)
  useSecond()
  useEffect(() => {
    document.title = T.signInTo(hub || 'Drover')
    document.querySelector<HTMLElement>('form input')?.focus()
  }, [])
  const wait = Math.ceil((notBefore - Date.now()) / 1000)

  const send = async (e: Event): Promise<void> => {
    e.preventDefault()
    /* A password manager may fill the fields without telling. */
    const form = e.currentTarget as HTMLFormElement
    const n = (form.elements.namedItem('username') as HTMLInputElement | null)?.value || name
    const p = (form.elements.namedItem('password') as HTMLInputElement | null)?.value || pass
    const lacks = { name: n ? undefined : T.needName, pass: p ? undefined : T.needPassphrase }
    setMissing(lacks)
    if (lacks.name || lacks.pass || busy || wait > 0) return
    setBusy(true)
    setFault(undefined)
    try {
      await signIn(n, p)
    } catch (x) {
      if (x instanceof ApiError && x.retryAfterS) setNotBefore(Date.now() + 1000 * x.retryAfterS)
      else setFault(x instanceof ApiError && x.status === 401 ? new ApiError(401, x.code, T.signInWrong, x.hint) : x)
      setBusy(false)
    }
  }
  return (
    <main class="entrance">
      <h1>{T.signInTo(visible(hub || 'Drover'))}</h1>
      {why && <p role="status">○ {visible(why)}</p>}
      <form onSubmit={send} noValidate>
        <TextField label={T.userName} value={name} onInput={setName} autocomplete="username" fault={missing.name} name="username" />
        <TextField
          label={T.passphrase}
          value={pass}
          onInput={setPass}
          autocomplete="current-password"
          secret
          fault={missing.pass}
          name="password"
        />
        {wait > 0 && (
          <p class="fault" role="status">
            ▲ {T.waitSeconds(wait)}
          </p>
        )}
        {fault !== undefined && <Problem error={fault} />}
        <button type="submit" class="button main" aria-disabled={busy || wait > 0} aria-busy={busy}>
          {busy ? T.busy : T.signIn}
        </button>
      </form>
      <p class="extra">{T.noAccount}</p>
    </main>
  )
}
