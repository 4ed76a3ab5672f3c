/* budgets.tsx - budgets of keys: what is spent, what is left, and when it would be used up. The hub counts against them itself; here
 * they are held against the sums of the ledger, and what is reserved for requests under way is not told. Address: q, sort. */
import type { ComponentChildren } from 'preact'
import { useMemo } from 'preact/hooks'
import { useResource } from '../../app/data'
import { hubNow } from '../../app/events'
import { href, useParam } from '../../app/route'
import { may } from '../../app/session'
import type { Key } from '../../app/types'
import { Button } from '../../parts/button'
import { Empty } from '../../parts/empty'
import { FilterBar } from '../../parts/filterbar'
import { Name } from '../../parts/name'
import { Problem } from '../../parts/problem'
import { ScreenHead } from '../../parts/screenhead'
import { Skeleton } from '../../parts/skeleton'
import { Table, type Column } from '../../parts/table'
import { Clock } from '../../parts/time'
import { amount } from '../../pure/csv'
import { count } from '../../pure/format'
import { spend, type Spent } from '../../pure/keydraft'
import { visible } from '../../pure/visible'
import { T } from '../../text'
import { keyList, MissingRight, monthByKey, Share, todayByKey, tokensOf, type UsageRow, type UsageView } from './shared'

const BUDGETS = ['tokens_per_day', 'tokens_per_month', 'money_per_day', 'money_per_month'] as const

interface Row extends Spent {
  k: Key
  budget: (typeof BUDGETS)[number]
  unknown: number /* requests of which nobody knows what they cost */
  text(n: number): string
}

export function budgetRows(keys: Key[], day: UsageView | undefined, month: UsageView | undefined, nowMs: number): Row[] {
  const of = (v: UsageView | undefined, id: string): UsageRow | undefined => v?.rows.find((r) => r.key === id)
  const out: Row[] = []
  for (const k of keys)
    for (const b of BUDGETS) {
      const limit = k.limits[b]
      const view = b.endsWith('day') ? day : month
      if (!limit || !view) continue
      const u = of(view, k.id)
      const money = b.startsWith('money')
      out.push({
        k,
        budget: b,
        ...spend(limit, money ? (u?.cost ?? 0) : tokensOf(u), b.endsWith('day') ? 'day' : 'month', nowMs),
        unknown: money ? (u?.cost_unknown ?? 0) : 0,
        text: (n) => (money ? amount(n, view.currency) : count(n)),
      })
    }
  return out
}

const columns: Column<Row>[] = [
  {
    id: 'key',
    head: T.colKey,
    rowHead: true,
    cell: (r) => (
      <a href={href('keys', { open: r.k.id })}>
        <Name text={r.k.name} most={24} />
      </a>
    ),
    sort: (r) => r.k.name.toLowerCase(),
  },
  { id: 'budget', head: T.key.budget, cell: (r) => T.key.limits[r.budget], sort: (r) => r.budget },
  {
    id: 'share',
    head: T.key.used,
    cell: (r) => <Share share={r.share} words={T.key.percentUsed(Math.round(r.share * 100))} />,
    sort: (r) => r.share,
  },
  {
    id: 'spent',
    head: T.key.spent,
    num: true,
    cell: (r) => (
      <>
        {r.text(r.spent)}
        {r.unknown > 0 && (
          <span class="mark-warn" title={T.use.unknownFor(r.unknown)}>
            {' '}
            ▲
          </span>
        )}
      </>
    ),
  },
  { id: 'left', head: T.key.left, num: true, cell: (r) => r.text(r.left) },
  { id: 'limit', head: T.key.of, num: true, narrow: 'hide', cell: (r) => r.text(r.limit) },
  { id: 'flight', head: T.colInFlight, num: true, narrow: 'hide', cell: (r) => count(r.k.in_flight), sort: (r) => r.k.in_flight },
  {
    id: 'ends',
    head: T.key.usedUp,
    narrow: 'hide',
    cell: (r) =>
      r.spent >= r.limit ? (
        <span class="mark-bad">✕ {T.key.usedUpNow}</span>
      ) : r.endsMs ? (
        <span class="mark-warn">
          ▲ {T.key.about} <Clock ms={r.endsMs} />
        </span>
      ) : (
        T.key.lasts
      ),
    sort: (r) => (r.spent >= r.limit ? 0 : (r.endsMs ?? Infinity)),
  },
]

export function Budgets({ tabs }: { tabs: ComponentChildren }) {
  return may('admin') ? (
    <All tabs={tabs} />
  ) : (
    <>
      <ScreenHead title={T.keys} />
      {tabs}
      <div id="tab-panel" role="tabpanel" aria-labelledby="tab-budgets">
        <MissingRight what={T.key.budgetsNotYours} />
      </div>
    </>
  )
}

function All({ tabs }: { tabs: ComponentChildren }) {
  const keys = useResource(keyList)
  const day = useResource(todayByKey)
  const month = useResource(monthByKey())
  const [q, setQ] = useParam('q')
  const [sort, setSort] = useParam('sort', '-share')
  const all = useMemo(
    () => (keys.data ? budgetRows(keys.data.keys, day.data, month.data, hubNow()) : undefined),
    [keys.data, day.data, month.data],
  )
  const rows = all?.filter((r) => r.k.name.toLowerCase().includes(q.trim().toLowerCase()))
  const fault = keys.error ?? day.error ?? month.error
  const loading = !keys.data || !(day.data || day.error) || !(month.data || month.error)
  const worst = all?.slice().sort((a, b) => b.share - a.share)[0]
  const unknown = all?.some((r) => r.unknown > 0)
  return (
    <>
      <ScreenHead
        title={T.keys}
        state={
          all && !loading && (worst ? T.key.budgetsSay(all.length, visible(worst.k.name), Math.round(worst.share * 100)) : T.key.noBudgets)
        }
        stale={fault && keys.atMs ? keys.atMs : undefined}
      />
      {tabs}
      <div id="tab-panel" role="tabpanel" aria-labelledby="tab-budgets" class="stack">
        {fault && (
          <Problem
            error={fault}
            what={T.cannotLoad(T.key.theBudgets)}
            retry={() => Promise.all([keyList.reload(), todayByKey.reload(), monthByKey().reload()])}
          />
        )}
        {loading && !fault && <Skeleton what={T.key.theBudgets} rows={5} />}
        {all && !loading && !all.length && (
          <Empty why={T.key.noBudgets}>
            <a class="button" href={href('keys', { tab: 'keys' })}>
              {T.key.toKeys}
            </a>
            <p class="extra">{T.key.budgetsHow}</p>
          </Empty>
        )}
        {all && rows && all.length > 0 && (
          <>
            <FilterBar text={q} onText={setQ} hidden={all.length - rows.length} onClear={() => setQ('')} />
            {rows.length ? (
              <Table
                name="budgets"
                caption={T.key.tabs.budgets}
                columns={columns}
                rows={rows}
                rowKey={(r) => r.k.id + r.budget}
                label={(r) => visible(r.k.name)}
                sort={sort}
                onSort={setSort}
              />
            ) : (
              <Empty why={T.key.filtered}>
                <Button act={() => setQ('')}>{T.showAll}</Button>
              </Empty>
            )}
            <p class="extra">
              {T.key.budgetsFrom} {unknown && T.key.budgetsUnknown}
            </p>
          </>
        )}
      </div>
    </>
  )
}
