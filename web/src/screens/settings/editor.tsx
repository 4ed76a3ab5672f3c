/* editor.tsx - the control that changes one setting: it stages, it does not send. What cannot be changed here says why. */
import { useEffect, useRef, useState } from 'preact/hooks'
import { useStore } from '../../app/store'
import { Button } from '../../parts/button'
import { CheckField, SelectField, TextField } from '../../parts/field'
import { Icon } from '../../parts/icon'
import { envName, type Setting } from '../../pure/settings'
import { linesOf, listOf, splitValue, unitsOf } from '../../pure/settingvalue'
import { complaintOf, lockOf, type Draft } from '../../pure/staged'
import { visible } from '../../pure/visible'
import { T } from '../../text'
import { stage, staged, wanted } from './changes'

export function lockWords(s: Setting, file?: string): string | undefined {
  const lock = lockOf(s)
  if (!lock) return undefined
  if (lock === 'file') return T.set.lockedFile(file ? visible(file) : T.set.theFile, s.line)
  if (lock === 'environment') return T.set.lockedVariable(envName(s.name))
  return lock === 'flag' ? T.set.lockedFlag : T.set.lockedNever
}

export function Editor({ s, file }: { s: Setting; file?: string }) {
  const now = useStore(staged)
  const want = useStore(wanted)
  const box = useRef<HTMLFieldSetElement>(null)
  useEffect(() => {
    if (want !== s.name || !box.current) return
    wanted.set('')
    box.current.querySelector<HTMLElement>('input, select, textarea')?.focus()
  }, [want, s.name])
  const locked = lockWords(s, file)
  if (locked)
    return (
      <p class="extra">
        <Icon name="lock" /> {locked}
      </p>
    )
  const draft = now.drafts.get(s.name)
  const fault = complaintOf(now.complaints, s.name)
  const set = (value: Draft['value']): void => stage(s, { value })
  return (
    <fieldset class="field editor" ref={box}>
      <legend>{T.set.changeOf(visible(s.name))}</legend>
      <Control s={s} draft={draft} fault={fault && visible(fault.message)} set={set} />
      <div class="row">
        {draft && <Button act={() => stage(s, undefined)}>{T.set.undo}</Button>}
        {s.origin === 'console' && (!draft || draft.value !== undefined) && (
          <Button act={() => stage(s, {})}>{T.set.toDefault(visible(s.default) || T.set.notSet)}</Button>
        )}
        {draft && (
          <span class="extra" role="status">
            {draft.value === undefined ? T.set.stagedDefault : T.set.stagedOne}
          </span>
        )}
      </div>
    </fieldset>
  )
}

interface ControlProps {
  s: Setting
  draft: Draft | undefined
  fault: string | undefined
  set(value: string | readonly string[]): void
}

function Control({ s, draft, fault, set }: ControlProps) {
  const usual = s.default.startsWith('(') ? '' : s.default /* in parentheses: worked out at the start */
  const value = !draft ? s.value : (draft.value ?? usual)
  const hint = s.least && s.most ? T.set.bounds(visible(s.least), visible(s.most)) : undefined
  if (s.kind === 'list') return <Lines value={typeof value === 'string' ? listOf(value) : value} fault={fault} set={set} />
  const text = String(value)
  if (s.kind === 'bool') return <CheckField label={T.set.on} value={text === 'true'} fault={fault} onInput={(on) => set(String(on))} />
  if (s.kind === 'choice')
    return (
      <SelectField
        label={T.set.value}
        value={text}
        fault={fault}
        onInput={set}
        options={(s.choices ?? []).map((c) => ({ value: c.word, text: T.set.choice(c.word, visible(c.means.replace(/`/g, ''))) }))}
      />
    )
  const units = unitsOf(s.kind ?? '')
  if (units.length) return <WithUnit kind={s.kind ?? ''} units={units} value={text} hint={hint} fault={fault} set={set} />
  return <TextField label={T.set.value} value={text} onInput={set} hint={hint} fault={fault} />
}

/* What is being typed is kept as long as it means the value: half a number or an empty line has no value of its own. */
function Lines(p: { value: readonly string[]; fault?: string; set(v: readonly string[]): void }) {
  const [typed, setTyped] = useState(p.value.join('\n'))
  const text = linesOf(typed).join('\n') === p.value.join('\n') ? typed : p.value.join('\n')
  const input = (t: string): void => {
    setTyped(t)
    p.set(linesOf(t))
  }
  return <TextField label={T.set.entries} area={4} value={text} onInput={input} hint={T.set.oneALine} fault={p.fault} />
}

function WithUnit(p: { kind: string; units: readonly string[]; value: string; hint?: string; fault?: string; set(v: string): void }) {
  const [typed, setTyped] = useState(splitValue(p.kind, p.value))
  const { number, unit } = typed.number + typed.unit === p.value ? typed : splitValue(p.kind, p.value)
  const put = (n: string, u: string): void => {
    setTyped({ number: n, unit: u })
    p.set(n + u)
  }
  return (
    <div class="row with-unit">
        <TextField
          label={p.units.length > 1 ? T.set.amount : T.set.inUnit(unit)}
          value={number}
          onInput={(n) => put(n.trim(), unit)}
          hint={p.hint}
          fault={p.fault}
        />
        {p.units.length > 1 && (
          <SelectField
            label={T.set.unit}
            value={unit}
            onInput={(u) => put(number, u)}
            options={p.units.map((u) => ({ value: u, text: T.set.units[u] ?? u }))}
          />
        )}
      </div>
  )
}
