/* shared.tsx - what the tabs of Keys & usage have in common. */
import type { ComponentChildren } from 'preact'
import { resource } from '../../app/data'
import { lists } from '../../app/lists'
import { Empty } from '../../parts/empty'
import { daysOfMonth } from '../../pure/keydraft'
import { T } from '../../text'

export const keyList = lists.keys

export interface UsageRow {
  key?: string
  name?: string
  model?: string
  slug?: string
  endpoint?: string
  day?: string
  requests: number
  failed: number
  input_tokens: number
  cached_tokens: number
  output_tokens: number
  reasoning_tokens: number
  total_us: number
  cost: number
  cost_unknown: number
}
export interface UsageView {
  by: string
  currency: string
  rows: UsageRow[]
}

/* Sums since the month (UTC) began, and of today, by key: what budgets are held against. */
export const monthByKey = () => resource<UsageView>('usage?by=key&days=' + daysOfMonth(Date.now()), [], 30_000)
export const todayByKey = resource<UsageView>('usage?by=key&days=1', [], 30_000)

export const tokensOf = (r: UsageRow | undefined): number => (r ? r.input_tokens + r.output_tokens : 0)

/* In place of what the person may not see: which right is missing, and who has it. */
export function MissingRight({ what, children }: { what: string; children?: ComponentChildren }) {
  return (
    <Empty why={what}>
      <p class="extra">{T.needsAdmin}</p>
      {children}
    </Empty>
  )
}

/* How much of a limit is used: a bar with its words beside it. */
export function Share({ share, words }: { share: number; words: string }) {
  const tone = share >= 1 ? 'bad' : share >= 0.8 ? 'warn' : 'ok'
  return (
    <span class={'share share-' + tone}>
      <span class="share-bar" aria-hidden="true">
        <span style={{ width: Math.min(100, Math.round(share * 100)) + '%' }} />
      </span>{' '}
      {tone !== 'ok' && <span class={'mark-' + tone}>{tone === 'bad' ? '✕ ' : '▲ '}</span>}
      {words}
    </span>
  )
}

/* A file out of the page. */
export function download(name: string, type: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }))
  const a = document.createElement('a')
  a.href = url
  a.download = name
  document.body.append(a)
  a.click()
  a.remove()
  setTimeout(() => URL.revokeObjectURL(url), 10_000)
}
