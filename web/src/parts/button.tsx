/* Button: does something. While what it started goes on it is busy and cannot be pressed again; a fault is shown beside it.
 * act: may return a promise; kind: 'plain' | 'main' (one per place) | 'danger'; icon: glyph in front of the words;
 * locked: the right that is missing, off: what else must come first; both are told, and the button cannot be pressed.
 * hub: what it does is done by the hub, so it is off while there is no contact. */
import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { useAway } from '../app/away'
import { T } from '../text'
import { Icon } from './icon'
import { Problem } from './problem'

interface Props {
  act(): unknown
  children: ComponentChildren
  kind?: 'plain' | 'main' | 'danger' | 'quiet'
  icon?: string
  locked?: string
  off?: string
  hub?: boolean
  label?: string /* accessible name, where the words alone do not say of what */
  pressed?: boolean
  autofocus?: boolean
}

export function Button({ act, children, kind = 'plain', icon, locked, off: first, hub, label, pressed, autofocus }: Props) {
  const away = useAway()
  const off = hub && away ? away : first
  const [busy, setBusy] = useState(false)
  const [fault, setFault] = useState<unknown>(undefined)
  const here = useRef(true)
  useEffect(() => {
    here.current = true
    return () => {
      here.current = false
    }
  }, [])
  const press = async (): Promise<void> => {
    if (busy || locked || off) return
    setFault(undefined)
    try {
      const r = act()
      if (r instanceof Promise) {
        setBusy(true)
        await r
      }
    } catch (e) {
      if (here.current) setFault(e)
    }
    if (here.current) setBusy(false)
  }
  return (
    <>
      <button
        type="button"
        class={'button ' + kind}
        aria-disabled={busy || locked || off ? 'true' : undefined}
        aria-busy={busy ? 'true' : undefined}
        aria-label={label}
        aria-pressed={pressed}
        title={locked ?? off}
        data-autofocus={autofocus ? '' : undefined}
        onClick={press}
      >
        {locked && <Icon name="lock" />}
        {icon && !locked && <Icon name={icon} />}
        {busy ? T.busy : children}
        {(locked ?? off) && <span class="hide-visually"> ({locked ?? off})</span>}
      </button>
      {fault !== undefined && <Problem error={fault} />}
    </>
  )
}
