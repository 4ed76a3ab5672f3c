/* prefs.ts - what a person chose for this browser. Never a secret, never something from a request. */
import { store } from './store'

export interface Prefs {
  theme: 'system' | 'light' | 'dark'
  motion: boolean /* transitions; off also when the system asks for less motion */
  letters: boolean /* shortcuts of a single letter */
  compact: boolean /* rows of tables */
  readAloud: boolean /* whole sentences of a growing answer to screen readers */
  paused: boolean /* nothing updates by itself */
  checklist: boolean /* first steps on Fleet */
}

const usual: Prefs = { theme: 'system', motion: true, letters: true, compact: false, readAloud: false, paused: false, checklist: false }
const KEY = 'drover.prefs'

function read(): Prefs {
  try {
    const had: unknown = JSON.parse(localStorage.getItem(KEY) ?? '{}')
    const out: Record<string, unknown> = { ...usual }
    if (had !== null && typeof had === 'object')
      for (const [k, v] of Object.entries(had)) if (k in usual && typeof v === typeof out[k]) out[k] = v
    return out as unknown as Prefs
  } catch {
    return { ...usual } /* storage is off: choices last as long as the page */
  }
}

export const prefs = store<Prefs>(read())

export function setPref<K extends keyof Prefs>(name: K, value: Prefs[K]): void {
  prefs.set({ ...prefs.get(), [name]: value })
}

function apply(p: Prefs): void {
  const root = document.documentElement
  if (p.theme === 'system') delete root.dataset.theme
  else root.dataset.theme = p.theme
  root.dataset.motion = p.motion ? 'on' : 'off'
  root.dataset.density = p.compact ? 'compact' : 'normal'
}

apply(prefs.get())
prefs.watch((p) => {
  apply(p)
  try {
    localStorage.setItem(KEY, JSON.stringify(p))
  } catch {
    /* as above */
  }
})

/* A view's own choices (filters, columns) under its name; they survive refresh and the next visit. */
export function recall(name: string): string {
  try {
    return localStorage.getItem('drover.view.' + name) ?? ''
  } catch {
    return ''
  }
}

export function remember(name: string, value: string): void {
  try {
    if (value) localStorage.setItem('drover.view.' + name, value)
    else localStorage.removeItem('drover.view.' + name)
  } catch {
    /* as above */
  }
}
