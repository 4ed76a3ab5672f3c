/* staged.ts - changes of settings that are collected before they are checked and applied together. */
import { listOf } from './settingvalue'
import type { Setting } from './settings'

export interface Draft {
  value?: string | readonly string[] /* undefined: back to the default */
}
export type Drafts = ReadonlyMap<string, Draft>

export interface Complaint {
  key: string
  message: string
  expected?: string
  source?: string
  line?: number
}

/* Why the console cannot change it: what sets it wins, or it is never for the console. */
export type Lock = 'never' | 'file' | 'environment' | 'flag'
export const lockOf = (s: Setting): Lock | undefined =>
  !s.changeable ? 'never' : s.origin === 'file' || s.origin === 'environment' || s.origin === 'flag' ? s.origin : undefined

export const draftText = (d: Draft, s: Setting): string =>
  d.value === undefined ? s.default : typeof d.value === 'string' ? d.value : `[${d.value.join(', ')}]`

const isSame = (d: Draft, s: Setting): boolean =>
  d.value === undefined
    ? s.origin !== 'console'
    : typeof d.value === 'string'
      ? d.value === s.value
      : JSON.stringify(d.value) === JSON.stringify(listOf(s.value))

/* What changes nothing is no draft. */
export function withDraft(drafts: Drafts, s: Setting, draft: Draft | undefined): Drafts {
  const next = new Map(drafts)
  if (!draft || isSame(draft, s)) next.delete(s.name)
  else next.set(s.name, draft)
  return next
}

export function bodyOf(drafts: Drafts): { set: Record<string, string | readonly string[]>; unset: string[] } {
  const set: Record<string, string | readonly string[]> = {}
  const unset: string[] = []
  for (const [name, d] of drafts) {
    if (d.value === undefined) unset.push(name)
    else set[name] = d.value
  }
  return { set, unset }
}

/* discovery.lan[2] stands at discovery.lan. */
export const complaintOf = (all: readonly Complaint[], name: string): Complaint | undefined =>
  all.find((c) => c.key === name || c.key.startsWith(name + '['))
