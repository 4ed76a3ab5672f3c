/* keyboard.ts - shortcuts. A screen names its keys with useKeys while it is shown; help (?) lists what is in force. Single letters
 * never work while something is typed or a dialog is open, and can be turned off. */
import { useEffect, useRef } from 'preact/hooks'
import { prefs } from './prefs'

export interface KeyBinding {
  keys: string /* 'p', 'Shift+L', 'Ctrl+k', 'g f' (one after the other), 'ArrowDown' */
  does: string /* what help says; empty: not listed */
  run(e: KeyboardEvent): void
}

interface Layer {
  title: string
  bindings: KeyBinding[]
}
const layers: Layer[] = []

export function keyLayers(): readonly Layer[] {
  return layers
}

/* In force while the caller is shown; later layers win. */
export function useKeys(title: string, bindings: KeyBinding[]): void {
  const layer = useRef<Layer>({ title, bindings })
  layer.current.title = title
  layer.current.bindings = bindings
  useEffect(() => {
    const mine = layer.current
    layers.push(mine)
    return () => {
      layers.splice(layers.indexOf(mine), 1)
    }
  }, [])
}

const CHORD_MS = 1500
let first = ''
let firstAt = 0

function nameOf(e: KeyboardEvent): string {
  const key = e.key === ' ' ? 'Space' : e.key
  if (e.ctrlKey || e.metaKey) return 'Ctrl+' + key.toLowerCase()
  if (e.altKey) return 'Alt+' + key
  return e.shiftKey && key.length === 1 && key.toLowerCase() !== key.toUpperCase()
    ? 'Shift+' + key.toUpperCase()
    : e.shiftKey && key.length > 1
      ? 'Shift+' + key
      : key
}

function typing(e: KeyboardEvent): boolean {
  const t = e.target
  if (t instanceof HTMLInputElement && /^(checkbox|radio)$/.test(t.type)) return false
  return t instanceof HTMLElement && (t.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(t.tagName))
}

/* Space and Enter on a control belong to the control. */
function controls(e: KeyboardEvent, name: string): boolean {
  const t = e.target
  return (name === 'Space' || name === 'Enter') && t instanceof HTMLElement && !!t.closest('button, a, input, summary, [role=button]')
}

addEventListener('keydown', (e) => {
  if (e.defaultPrevented || e.isComposing || e.key === 'Shift' || e.key === 'Control' || e.key === 'Alt' || e.key === 'Meta') return
  const name = nameOf(e)
  const single = e.key.length === 1 && !e.ctrlKey && !e.metaKey
  if (document.querySelector('dialog[open]')) return
  if (typing(e) && !e.ctrlKey && !e.metaKey) return
  if (single && !prefs.get().letters) return
  if (controls(e, name)) return
  const chord = first && Date.now() - firstAt < CHORD_MS ? first + ' ' + name : ''
  first = ''
  /* Two keys in a row win over one in any layer: k is a row of the table, g k a screen. */
  for (const want of chord ? [chord, name] : [name]) {
    for (let i = layers.length - 1; i >= 0; i--) {
      const b = layers[i]?.bindings.find((x) => x.keys === want)
      if (b) {
        e.preventDefault()
        b.run(e)
        return
      }
    }
  }
  if (layers.some((l) => l.bindings.some((b) => b.keys.startsWith(name + ' ')))) {
    first = name
    firstAt = Date.now()
    e.preventDefault()
  }
})
