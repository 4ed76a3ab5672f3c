/* TextField, SelectField, CheckField: label above, hint under it, fault under that; what was typed stays when sending fails.
 * value and onInput: the text is the caller's; fault: words, or nothing; secret: a passphrase (can be looked at, pasted, filled by
 * a password manager: give `autocomplete`); area: several lines; type: 'text' | 'number' | ...; data-autofocus through `first`. */
import type { ComponentChildren } from 'preact'
import { useRef, useState } from 'preact/hooks'
import { T } from '../text'

let ids = 0
const useId = (): string => {
  const id = useRef('')
  id.current ||= 'field-' + ++ids
  return id.current
}

function Fault({ id, text }: { id: string; text?: string }) {
  return text ? (
    <p class="fault" id={id + '-fault'}>
      ✕ {text}
    </p>
  ) : null
}

interface TextProps {
  label: string
  value: string
  onInput(value: string): void
  onLeave?(): void
  hint?: string
  fault?: string
  secret?: boolean
  area?: number /* rows */
  type?: 'text' | 'number' | 'url' | 'datetime-local'
  autocomplete?: string
  placeholder?: string
  required?: boolean
  first?: boolean
  most?: number
  name?: string
  onKey?(e: KeyboardEvent): void
}

export function TextField(p: TextProps) {
  const id = useId()
  const [seen, setSeen] = useState(false)
  const common = {
    id,
    name: p.name,
    value: p.value,
    required: p.required,
    maxLength: p.most,
    placeholder: p.placeholder,
    'aria-invalid': p.fault ? ('true' as const) : undefined,
    'aria-describedby': [p.hint && id + '-hint', p.fault && id + '-fault'].filter(Boolean).join(' ') || undefined,
    'data-autofocus': p.first ? '' : undefined,
    spellcheck: p.area ? undefined : false,
    onInput: (e: Event) => p.onInput((e.currentTarget as HTMLInputElement).value),
    onBlur: p.onLeave,
    onKeyDown: p.onKey,
  }
  return (
    <div class="field">
      <label for={id}>{p.label}</label>
      {p.area ? (
        <textarea {...common} rows={p.area} />
      ) : (
        <span class="row tight">
          <input
            {...common}
            type={(p.secret ? (seen ? 'text' : 'password') : (p.type ?? 'text')) as 'text'}
            autocomplete={p.autocomplete ?? 'off'}
            autocapitalize="off"
          />
          {p.secret && (
            <button type="button" class="button" aria-pressed={seen} onClick={() => setSeen(!seen)}>
              {seen ? T.hideText : T.showText}
            </button>
          )}
        </span>
      )}
      {p.hint && (
        <p class="hint" id={id + '-hint'}>
          {p.hint}
        </p>
      )}
      <Fault id={id} text={p.fault} />
    </div>
  )
}

interface SelectProps {
  label: string
  value: string
  options: { value: string; text: string }[]
  onInput(value: string): void
  hint?: string
  fault?: string
  inline?: boolean /* label beside it, for filter bars */
}

export function SelectField(p: SelectProps) {
  const id = useId()
  return (
    <div class={p.inline ? 'field inline' : 'field'}>
      <label for={id}>{p.label}</label>
      <select
        id={id}
        aria-invalid={p.fault ? 'true' : undefined}
        aria-describedby={p.fault && id + '-fault'}
        onInput={(e) => p.onInput(e.currentTarget.value)}
      >
        {p.options.map((o) => (
          <option value={o.value} selected={o.value === p.value}>
            {o.text}
          </option>
        ))}
      </select>
      {p.hint && <p class="hint">{p.hint}</p>}
      <Fault id={id} text={p.fault} />
    </div>
  )
}

export function CheckField({
  label,
  value,
  onInput,
  hint,
  fault,
}: {
  label: ComponentChildren
  value: boolean
  onInput(value: boolean): void
  hint?: string
  fault?: string
}) {
  const id = useId()
  return (
    <div class="field check">
      <input
        id={id}
        type="checkbox"
        checked={value}
        aria-invalid={fault ? 'true' : undefined}
        aria-describedby={fault && id + '-fault'}
        onInput={(e) => onInput(e.currentTarget.checked)}
      />
      <label for={id}>{label}</label>
      {hint && <p class="hint">{hint}</p>}
      <Fault id={id} text={fault} />
    </div>
  )
}
