/* make.tsx - a new key in three steps and, at last, in words; then its text, once. */
import { useState } from 'preact/hooks'
import { post } from '../../app/api'
import { hubNow } from '../../app/events'
import type { Key } from '../../app/types'
import { Button } from '../../parts/button'
import { Dialog } from '../../parts/dialog'
import { check, emptyForm, formOf, members, words, type KeyFaults, type KeyForm, type KeyMembers } from '../../pure/keydraft'
import { visible } from '../../pure/visible'
import { T } from '../../text'
import { HowMuchFields, WhatFields, WhoFields } from './fields'
import { keyList } from './shared'
import { KeyText, type KeyWithText } from './text'

const stepOf: (keyof KeyFaults)[][] = [
  ['name', 'owner', 'expires'],
  ['models', 'endpoints', 'networks'],
]

export function NewKey({ like, keys, currency, onClose }: { like?: Key; keys: Key[]; currency: string; onClose(): void }) {
  const [form, setForm] = useState<KeyForm>(() =>
    like
      ? { ...formOf(like as KeyMembers), name: '', enabled: true, ...(like.expires_ms ? { expires: '', expiresAt: '' } : {}) }
      : emptyForm(),
  )
  const [step, setStep] = useState(0)
  const [tried, setTried] = useState(-1) /* the furthest step that was left: its faults are shown */
  const [made, setMade] = useState<KeyWithText | undefined>(undefined)
  const set = (change: Partial<KeyForm>): void => setForm({ ...form, ...change })
  const faults = check(form, hubNow())
  if (!faults.name && keys.some((k) => k.name === form.name.trim())) faults.name = T.key.faultTaken
  const stepFaulty = (n: number): boolean =>
    (stepOf[n] ?? []).some((m) => faults[m]) || (n === 2 && Object.keys(faults).some((m) => !stepOf.flat().includes(m as keyof KeyFaults)))
  const shown = (n: number): KeyFaults => (tried >= n ? faults : {})
  const next = (): void => {
    setTried(Math.max(tried, step))
    if (!stepFaulty(step)) setStep(step + 1)
  }
  const make = async (): Promise<void> => {
    const k = await post<KeyWithText>('keys', members(form, hubNow()))
    setMade(k)
    void keyList.reload()
  }
  if (made) return <KeyText title={T.key.madeTitle(visible(made.name))} made={made} onClose={onClose} />
  return (
    <Dialog title={like ? T.key.makeLike(visible(like.name)) : T.key.make} onClose={onClose} wide>
      <p class="extra" aria-live="polite">
        {T.setupStep(step + 1, 4, T.key.steps[step] ?? '')}
      </p>
      <form
        onSubmit={(e) => {
          e.preventDefault()
          if (step < 3) next()
        }}
      >
        {step === 0 && <WhoFields form={form} set={set} faults={shown(0)} fresh />}
        {step === 1 && <WhatFields form={form} set={set} faults={shown(1)} />}
        {step === 2 && <HowMuchFields form={form} set={set} faults={shown(2)} currency={currency} />}
        {step === 3 && (
          <ul class="facts">
            {words(members(form, hubNow()), currency, hubNow()).map((w) => (
              <li>{visible(w)}</li>
            ))}
          </ul>
        )}
        {/* Enter in a field goes on */}
        <button type="submit" class="hide-visually" tabIndex={-1} aria-hidden="true" />
      </form>
      <footer class="row">
        <Button act={onClose}>{T.cancel}</Button>
        <span class="grow" />
        {step > 0 && <Button act={() => setStep(step - 1)}>{T.back}</Button>}
        {step < 3 ? (
          <Button act={next} kind="main">
            {T.next}
          </Button>
        ) : (
          <Button act={make} kind="main" hub>
            {T.makeKey(visible(form.name.trim()))}
          </Button>
        )}
      </footer>
    </Dialog>
  )
}
