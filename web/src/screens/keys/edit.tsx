/* edit.tsx - a key is changed: only what differs is sent, against the version that was looked at. Where somebody else was faster, both
 * changes are shown and the person decides. */
import { useState } from 'preact/hooks'
import { ApiError, get, part, put } from '../../app/api'
import { hubNow } from '../../app/events'
import { toast } from '../../app/say'
import type { Key } from '../../app/types'
import { Button } from '../../parts/button'
import { Dialog } from '../../parts/dialog'
import { CheckField } from '../../parts/field'
import { changes, check, formOf, memberWords, members, words, type KeyForm, type KeyMembers } from '../../pure/keydraft'
import { visible } from '../../pure/visible'
import { T } from '../../text'
import { HowMuchFields, WhatFields, WhoFields } from './fields'
import { keyList } from './shared'

export function EditKey({ k, currency, onClose }: { k: Key; currency: string; onClose(): void }) {
  /* The key as it was when the dialog opened: the list behind it goes on changing. */
  const [base, setBase] = useState<Key>(k)
  const [form, setForm] = useState<KeyForm>(() => formOf(k as KeyMembers))
  const [theirs, setTheirs] = useState<Key | undefined>(undefined)
  const [tried, setTried] = useState(false)
  const set = (change: Partial<KeyForm>): void => setForm({ ...form, ...change })
  const faults = check(form, hubNow(), formOf(base as KeyMembers))
  const wrong = Object.keys(faults).length > 0
  const mine = wrong ? {} : changes(base as KeyMembers, members(form, hubNow()))
  const touched = Object.keys(mine) as (keyof KeyMembers)[]
  const send = async (version: number): Promise<void> => {
    setTried(true)
    if (wrong) throw new Error(T.key.mendFirst)
    if (!touched.length) return onClose()
    try {
      await put<Key>(`keys/${part(base.id)}`, mine, { ifMatch: version })
    } catch (e) {
      if (!(e instanceof ApiError) || e.status !== 412) throw e
      setTheirs(await get<Key>(`keys/${part(base.id)}`))
      return
    }
    await keyList.reload()
    toast('ok', T.key.changed(base.name))
    onClose()
  }
  if (theirs) {
    const other = changes(base as KeyMembers, theirs as KeyMembers)
    const both = [...new Set([...(Object.keys(other) as (keyof KeyMembers)[]), ...touched])]
    const takeTheirs = (): void => {
      setBase(theirs)
      setForm(formOf(theirs as KeyMembers))
      setTheirs(undefined)
    }
    return (
      <Dialog title={T.key.conflictTitle(visible(base.name))} onClose={onClose} wide>
        <p>{T.key.conflictWhy}</p>
        <div class="table-box" role="region" aria-label={T.key.conflictTitle(visible(base.name))} tabIndex={0}>
          <table>
            <thead>
              <tr>
                <th scope="col">{T.key.member}</th>
                <th scope="col">{T.key.wasBefore}</th>
                <th scope="col">{T.key.theirs}</th>
                <th scope="col">{T.key.yours}</th>
              </tr>
            </thead>
            <tbody>
              {both.map((m) => (
                <tr>
                  <th scope="row">{T.key.members[m]}</th>
                  <td>{visible(memberWords(m, base[m as keyof Key], currency))}</td>
                  <td>{m in other ? visible(memberWords(m, other[m], currency)) : T.key.notTouched}</td>
                  <td>{m in mine ? visible(memberWords(m, mine[m], currency)) : T.key.notTouched}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        <p>{touched.some((m) => m in other) ? T.key.conflictBoth : T.key.conflictApart}</p>
        <footer class="row">
          <Button act={takeTheirs} autofocus>
            {T.key.takeTheirs}
          </Button>
          <Button act={() => send(theirs.version)} kind="danger" hub>
            {T.key.addMine}
          </Button>
        </footer>
      </Dialog>
    )
  }
  return (
    <Dialog title={T.key.editOf(visible(base.name))} onClose={onClose} wide>
      <form onSubmit={(e) => e.preventDefault()} class="stack">
        <CheckField label={T.key.enabled} value={form.enabled} onInput={(enabled) => set({ enabled })} />
        <WhoFields form={form} set={set} faults={tried ? faults : {}} fresh={false} />
        <WhatFields form={form} set={set} faults={tried ? faults : {}} />
        <HowMuchFields form={form} set={set} faults={tried ? faults : {}} currency={currency} />
      </form>
      {!wrong && touched.length > 0 && (
        <>
          <h3>{T.key.thenItIs}</h3>
          <ul class="facts">
            {words(members(form, hubNow()), currency, hubNow()).map((w) => (
              <li>{visible(w)}</li>
            ))}
          </ul>
        </>
      )}
      <footer class="row">
        <Button act={onClose}>{T.cancel}</Button>
        <Button act={() => send(base.version)} kind="main" hub off={touched.length || wrong ? undefined : T.key.nothingChanged}>
          {T.key.saveOf(visible(base.name))}
        </Button>
      </footer>
    </Dialog>
  )
}
