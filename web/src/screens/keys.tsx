/* keys.tsx - who may use what, and what did it cost. Address: tab (keys, usage, budgets, sessions); the rest belongs to the tab. */
import { setParams, useRoute } from '../app/route'
import { may } from '../app/session'
import { Tabs } from '../parts/tabs'
import { T } from '../text'
import { Budgets } from './keys/budgets'
import { Keys } from './keys/list'
import { SessionsTab } from './keys/sessions'
import { Usage } from './keys/usage'

const names = ['keys', 'usage', 'budgets', 'sessions'] as const

export default function KeysAndUsage() {
  const params = useRoute().params
  const now = names.find((n) => n === params.tab) ?? (may('admin') ? 'keys' : 'usage')
  /* Each tab has its own filters: none goes along. */
  const pick = (id: string): void => setParams({ ...Object.fromEntries(Object.keys(params).map((k) => [k, undefined])), tab: id }, true)
  const tabs = <Tabs label={T.keys} now={now} onPick={pick} tabs={names.map((id) => ({ id, words: T.key.tabs[id] }))} />
  return now === 'usage' ? (
    <Usage tabs={tabs} />
  ) : now === 'budgets' ? (
    <Budgets tabs={tabs} />
  ) : now === 'sessions' ? (
    <SessionsTab tabs={tabs} />
  ) : (
    <Keys tabs={tabs} />
  )
}
