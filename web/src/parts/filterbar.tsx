/* FilterBar: free text and selects that narrow a list; says how many are hidden and offers to show them.
 * text/onText: the free text; choices: selects, '' is "any", values with zero stay listed with their count;
 * hidden: how many rows the filters hide; onClear: shows all. children: further controls. "/" puts the focus into the text. */
import type { ComponentChildren } from 'preact'
import { useRef } from 'preact/hooks'
import { useKeys } from '../app/keyboard'
import { T } from '../text'
import { SelectField } from './field'

export interface Choice {
  label: string
  value: string
  options: { value: string; text: string; n?: number }[]
  onInput(value: string): void
}

interface Props {
  text: string
  onText(value: string): void
  choices?: Choice[]
  hidden: number
  onClear(): void
  children?: ComponentChildren
}

export function FilterBar({ text, onText, choices = [], hidden, onClear, children }: Props) {
  const input = useRef<HTMLInputElement>(null)
  useKeys(T.filters, [{ keys: '/', does: T.keyFilter, run: () => input.current?.focus() }])
  return (
    <div class="filterbar" role="search">
      <label class="field inline">
        <span>{T.filter}</span>
        <input
          ref={input}
          type="search"
          value={text}
          spellcheck={false}
          onInput={(e) => onText(e.currentTarget.value)}
          onKeyDown={(e) => {
            if (e.key !== 'Escape') return
            if (text) onText('')
            else e.currentTarget.blur()
          }}
        />
      </label>
      {choices.map((c) => (
        <SelectField
          inline
          label={c.label}
          value={c.value}
          onInput={c.onInput}
          options={[
            { value: '', text: T.any },
            ...c.options.map((o) => ({ value: o.value, text: o.n === undefined ? o.text : T.withCount(o.text, o.n) })),
          ]}
        />
      ))}
      {children}
      {hidden > 0 && (
        <span class="hidden-note">
          {T.hidden(hidden)}{' '}
          <button type="button" class="button quiet" onClick={onClear}>
            {T.showAll}
          </button>
        </span>
      )}
    </div>
  )
}
