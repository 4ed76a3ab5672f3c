/* say.ts - the two status regions of the page for screen readers. Told without moving the focus; nothing that only counts is told. */
import { store } from './store'

export const spoken = store<{ text: string; n: number }>({ text: '', n: 0 })

export function say(text: string): void {
  spoken.set({ text, n: spoken.get().n + 1 })
}

export interface Toast {
  id: number
  kind: 'ok' | 'bad'
  text: string
}
export const toasts = store<Toast[]>([])
let next = 1
const SHOWN_MS = 6000

/* The result of what the person just did. Errors stay until they are closed. */
export function toast(kind: Toast['kind'], text: string): void {
  const t = { id: next++, kind, text }
  toasts.set([...toasts.get().slice(-3), t])
  if (kind === 'ok') setTimeout(() => closeToast(t.id), SHOWN_MS)
}

export function closeToast(id: number): void {
  toasts.set(toasts.get().filter((t) => t.id !== id))
}
