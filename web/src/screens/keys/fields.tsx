/* fields.tsx - the fields of a key, in the three groups in which a new one is made: who, what, how much.
 * form, set: the caller's; faults: to show; names: slugs and endpoints there are. */
import { useResource } from '../../app/data'
import { lists } from '../../app/lists'
import { CheckField, SelectField, TextField } from '../../parts/field'
import { isMoney, LIMITS, lines, RIGHTS, type KeyFaults, type KeyForm } from '../../pure/keydraft'
import { visible } from '../../pure/visible'
import { T } from '../../text'

interface Props {
  form: KeyForm
  set(change: Partial<KeyForm>): void
  faults: KeyFaults
}

export function WhoFields({ form: f, set, faults, fresh }: Props & { fresh: boolean }) {
  return (
    <>
      <TextField
        label={T.key.name}
        value={f.name}
        onInput={(name) => set({ name })}
        hint={T.key.nameHint}
        fault={faults.name}
        required
        first
        most={64}
      />
      <TextField
        label={T.key.owner}
        value={f.owner}
        onInput={(owner) => set({ owner })}
        hint={T.key.ownerHint}
        fault={faults.owner}
        most={64}
      />
      <SelectField
        label={T.key.expires}
        value={f.expires}
        onInput={(expires) => set({ expires })}
        options={[
          ...(fresh ? [{ value: '', text: T.key.choose }] : []),
          ...[7, 30, 90, 365].map((d) => ({ value: String(d), text: T.key.inDays(d) })),
          { value: 'at', text: T.key.atMoment },
          { value: 'never', text: T.key.never },
        ]}
      />
      {f.expires === 'at' && (
        <TextField label={T.key.moment} type="datetime-local" value={f.expiresAt} onInput={(expiresAt) => set({ expiresAt })} />
      )}
      {faults.expires && <p class="fault">✕ {faults.expires}</p>}
    </>
  )
}

/* Every one, or those that are ticked or written down. */
function Patterns({
  label,
  value,
  names,
  onInput,
  hint,
  fault,
  every,
}: {
  label: string
  value: string
  names: string[]
  onInput(v: string): void
  hint: string
  fault?: string
  every: string
}) {
  const list = lines(value)
  const all = list.includes('*')
  const turn = (name: string, on: boolean): void =>
    onInput((on ? [...list.filter((x) => x !== '*'), name] : list.filter((x) => x !== name)).join('\n'))
  return (
    <fieldset class="field">
      <legend>{label}</legend>
      <CheckField label={every} value={all} onInput={(on) => onInput(on ? '*' : '')} />
      {!all && (
        <>
          {names.slice(0, 40).map((n) => (
            <CheckField key={n} label={visible(n)} value={list.includes(n)} onInput={(on) => turn(n, on)} />
          ))}
          <TextField label={T.key.patterns} area={2} value={value} onInput={onInput} hint={hint} />
        </>
      )}
      {fault && <p class="fault">✕ {fault}</p>}
    </fieldset>
  )
}

export function WhatFields({ form: f, set, faults }: Props) {
  const slugs = useResource(lists.models).data?.models.map((m) => m.slug) ?? []
  const endpoints = useResource(lists.endpoints).data?.endpoints.map((e) => e.name) ?? []
  return (
    <>
      <Patterns
        label={T.key.models}
        every={T.key.everyModel}
        value={f.models}
        names={slugs}
        onInput={(models) => set({ models })}
        hint={T.key.modelsHint}
        fault={faults.models}
      />
      <Patterns
        label={T.key.endpoints}
        every={T.key.everyEndpoint}
        value={f.endpoints}
        names={endpoints}
        onInput={(v) => set({ endpoints: v })}
        hint={T.key.modelsHint}
        fault={faults.endpoints}
      />
      <TextField
        label={T.key.networks}
        area={2}
        value={f.networks}
        onInput={(networks) => set({ networks })}
        hint={T.key.networksHint}
        fault={faults.networks}
      />
      <fieldset class="field">
        <legend>{T.key.rights}</legend>
        {RIGHTS.map((r) => (
          <CheckField
            key={r}
            label={T.key.rightNames[r]}
            value={f.rights.includes(r)}
            onInput={(on) => set({ rights: on ? [...f.rights, r] : f.rights.filter((x) => x !== r) })}
            hint={T.key.rightHints[r]}
          />
        ))}
      </fieldset>
    </>
  )
}

export function HowMuchFields({ form: f, set, faults, currency }: Props & { currency: string }) {
  return (
    <>
      <p class="hint">{T.key.limitsHint}</p>
      <div class="limits">
        {LIMITS.map((l) => (
          <TextField
            key={l}
            label={isMoney(l) ? T.key.moneyIn(T.key.limits[l], currency) : T.key.limits[l]}
            value={f.limits[l]}
            onInput={(v) => set({ limits: { ...f.limits, [l]: v } })}
            fault={faults[l]}
          />
        ))}
        <TextField
          label={T.priority}
          value={f.priority}
          onInput={(priority) => set({ priority })}
          hint={T.key.priorityHint}
          fault={faults.priority}
        />
      </div>
    </>
  )
}
