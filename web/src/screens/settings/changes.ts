/* changes.ts - the changes this page has staged, kept while it goes elsewhere and forgotten with the session. They are made against the
 * settings that were seen when the first was staged, or that the last check has shown. */
import { ApiError, call, post } from '../../app/api'
import { resource } from '../../app/data'
import { say, toast } from '../../app/say'
import { session } from '../../app/session'
import { store } from '../../app/store'
import type { Setting } from '../../pure/settings'
import { bodyOf, withDraft, type Complaint, type Draft, type Drafts } from '../../pure/staged'
import { T } from '../../text'

export interface SettingsView {
  file?: string
  version: number
  settings: Setting[]
}
export const settingsView = resource<SettingsView>('settings', ['config'], 60_000)

export interface Difference {
  key: string
  from: string
  to: string
  origin: string
  restart: boolean
}

export interface Verdict {
  good: boolean
  version: number
  complaints: Complaint[]
  more_complaints?: number
  warnings: { key: string; message: string; source?: string }[]
  changes: Difference[]
}

export interface Staged {
  drafts: Drafts
  version: number
  complaints: readonly Complaint[]
  verdict?: Verdict /* of these very drafts */
}

const NOTHING: Staged = { drafts: new Map(), version: 0, complaints: [] }
export const staged = store<Staged>(NOTHING)
/* The setting whose control shall get the focus when it is shown. */
export const wanted = store('')

session.watch((s) => {
  if (!s?.signed_in) discard()
})

export function stage(s: Setting, draft: Draft | undefined): void {
  const was = staged.get()
  const drafts = withDraft(was.drafts, s, draft)
  const complaints = was.complaints.filter((c) => c.key !== s.name && !c.key.startsWith(s.name + '['))
  const version = was.drafts.size ? was.version : (settingsView.view.get().data?.version ?? 0)
  staged.set(drafts.size ? { drafts, version, complaints } : NOTHING)
}

export function discard(): void {
  staged.set(NOTHING)
}

export async function check(): Promise<void> {
  const { drafts } = staged.get()
  const verdict = await post<Verdict>('settings/check', bodyOf(drafts))
  if (staged.get().drafts !== drafts) return /* it was about others */
  staged.set({ drafts, version: verdict.version, complaints: verdict.complaints, verdict })
  say(verdict.good ? T.set.checkedGood(verdict.changes.length) : T.set.checkedBad(verdict.complaints.length))
}

export async function apply(): Promise<void> {
  const { drafts, version } = staged.get()
  let made: { changes: Difference[] }
  try {
    made = await call<{ changes: Difference[] }>('PATCH', '/drover/v1/settings', { body: bodyOf(drafts), ifMatch: version })
  } catch (e) {
    const complaints = e instanceof ApiError ? (e.answer as { complaints?: Complaint[] } | undefined)?.complaints : undefined
    if (complaints && staged.get().drafts === drafts) staged.set({ drafts, version, complaints })
    if (e instanceof ApiError && e.status === 412) {
      void settingsView.reload()
      throw new ApiError(412, e.code, T.set.changedMeanwhile)
    }
    throw e
  }
  discard()
  await settingsView.reload()
  const later = made.changes.filter((c) => c.restart).length
  toast('ok', T.set.applied(made.changes.length, later))
}
