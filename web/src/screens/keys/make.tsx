/* make.tsx - a new key in three steps and, at last, in words; then its text, once. The text is in this page's memory only, and only
 * while the dialog is open. */
import { useState } from 'preact/hooks'
import { post } from '../../app/api'
import { useResource } from '../../app/data'
import { hubNow } from '../../app/events'
import { lists } from '../../app/lists'
import { snippets } from '../../app/snippets'
import type { Key } from '../../app/types'
import { Button } from '../../parts/button'
import { Code } from '../../parts/code'
import { Dialog } from '../../parts/dialog'
import { CheckField, SelectField } from '../../parts/field'
import { check, emptyForm, formOf, members, words, type KeyFaults, type KeyForm, type KeyMembers } from '../../pure/keydraft'
import { visible } from '../../pure/visible'
import { T } from '../../text'
import { HowMuchFields, WhatFields, WhoFields } from './fields'
import { keyList } from './shared'

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
  const [made, setMade] = useState<(Key & { key: string }) | undefined>(undefined)
  const [saved, setSaved] = useState(false)
  const [warned, setWarned] = useState(false)
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
    const k = await post<Key & { key: string }>('keys', members(form, hubNow()))
    setMade(k)
    void keyList.reload()
  }
  const close = (): void => {
    if (made && !saved) setWarned(true)
    else onClose()
  }
  if (made)
    return (
      <Dialog title={T.key.madeTitle(visible(made.name))} onClose={close} wide>
        <p>
          <strong>{T.keyOnce}</strong>
        </p>
        <Code text={made.key} what={T.keyIs} wrap />
        <UseIt slug={firstSlug(made.models)} />
        <CheckField label={T.saved} value={saved} onInput={setSaved} />
        {warned && !saved && (
          <p class="fault" role="alert">
            ✕ {T.savedFirst}
          </p>
        )}
        <footer class="row">
          {warned && !saved && (
            <Button act={onClose} kind="danger">
              {T.key.leaveAnyway}
            </Button>
          )}
          <Button act={close} kind="main">
            {T.close}
          </Button>
        </footer>
      </Dialog>
    )
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
          <Button act={make} kind="main">
            {T.makeKey(visible(form.name.trim()))}
          </Button>
        )}
      </footer>
    </Dialog>
  )
}

const firstSlug = (models: string[]): string => models.find((m) => !m.includes('*')) ?? ''

function UseIt({ slug }: { slug: string }) {
  const known = useResource(lists.models).data?.models[0]?.slug
  const [lang, setLang] = useState('curl')
  const list = snippets(slug || known || 'MODEL', T.firstQuestion)
  const now = list.find((x) => x.id === lang) ?? list[0]
  return (
    <>
      <SelectField label={T.useIt} value={lang} onInput={setLang} options={list.map((x) => ({ value: x.id, text: x.name }))} />
      {now && <Code text={now.text} what={now.name} />}
    </>
  )
}
