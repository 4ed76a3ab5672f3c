/* usage.tsx - what was used, by whom and of what: sums of the hub, a line over the days, and the requests behind a figure.
 * Address: by, days, q (filter), sort, open (row). */
import type { ComponentChildren } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import { get } from '../../app/api'
import { isStale, resource, useResource } from '../../app/data'
import { href, setParams, useParam } from '../../app/route'
import type { EndedRequest } from '../../app/types'
import { Button } from '../../parts/button'
import { Chart, type Series } from '../../parts/chart'
import { Empty } from '../../parts/empty'
import { SelectField } from '../../parts/field'
import { FilterBar } from '../../parts/filterbar'
import { Mark } from '../../parts/mark'
import { Name } from '../../parts/name'
import { Problem } from '../../parts/problem'
import { ScreenHead } from '../../parts/screenhead'
import { Skeleton } from '../../parts/skeleton'
import { Table, type Column } from '../../parts/table'
import { Clock } from '../../parts/time'
import { amount, csv } from '../../pure/csv'
import { clock, count, duration, percent } from '../../pure/format'
import { receivedMs } from '../../pure/rows'
import { visible } from '../../pure/visible'
import { T } from '../../text'
import { download, tokensOf, type UsageRow, type UsageView } from './shared'

const WAYS = ['key', 'model', 'slug', 'endpoint', 'day'] as const
type Way = (typeof WAYS)[number]
const RANGES = ['1', '7', '30', '90', '365']
const DAY_MS = 86_400_000
const every = (days: string): number => (days === '1' ? 10_000 : 30_000)

const sums = (by: string, days: string) => resource<UsageView>(`usage?by=${by}&days=${days}`, [], every(days))

const idOf = (r: UsageRow, by: Way): string => r[by] ?? ''
function nameOf(r: UsageRow, by: Way): string {
  if (by !== 'key') return idOf(r, by) || T.use.nameless
  return r.name || r.key || T.nobody
}

export function Usage({ tabs }: { tabs: ComponentChildren }) {
  const [byText, setBy] = useParam('by', 'key')
  const [daysText, setDays] = useParam('days', '30')
  const [q, setQ] = useParam('q')
  const [sort, setSort] = useParam('sort')
  const [open, setOpen] = useParam('open')
  const by = WAYS.find((w) => w === byText) ?? 'key'
  const days = RANGES.includes(daysText) ? daysText : '30'
  const from = useMemo(() => sums(by, days), [by, days])
  const loaded = useResource(from)
  const view = loaded.data
  const all = view?.rows
  const currency = view?.currency ?? ''
  const rows = useMemo(() => {
    const t = q.trim().toLowerCase()
    return (all ?? []).filter((r) => !t || nameOf(r, by).toLowerCase().includes(t) || idOf(r, by).toLowerCase().includes(t))
  }, [all, q, by])
  const columns = useMemo(() => usageColumns(by, currency), [by, currency])
  const save = (as: 'csv' | 'json'): void => {
    const names = [
      by,
      ...(by === 'key' ? ['name'] : []),
      'requests',
      'failed',
      'input_tokens',
      'cached_tokens',
      'output_tokens',
      'reasoning_tokens',
      'total_us',
      'cost',
      'cost_unknown',
    ]
    const file = `drover-usage-by-${by}-${days}d.${as}`
    if (as === 'csv')
      download(
        file,
        'text/csv',
        csv(
          [...names, 'currency'],
          rows.map((r) => ({ ...r, currency })),
        ),
      )
    else download(file, 'application/json', JSON.stringify({ by, days: Number(days), currency, rows }, null, 2) + '\n')
  }
  return (
    <>
      <ScreenHead
        title={T.keys}
        state={all && <Sentence rows={all} days={days} currency={currency} />}
        stale={isStale(loaded, every(days)) || (loaded.error && loaded.atMs) ? loaded.atMs : undefined}
      />
      {tabs}
      <div id="tab-panel" role="tabpanel" aria-labelledby="tab-usage" class="stack">
        <FilterBar text={q} onText={setQ} hidden={(all?.length ?? 0) - rows.length} onClear={() => setQ('')}>
          <SelectField
            inline
            label={T.use.by}
            value={by}
            onInput={(v) => setParams({ by: v === 'key' ? undefined : v, open: undefined, sort: undefined })}
            options={WAYS.map((w) => ({ value: w, text: T.use.ways[w] }))}
          />
          <SelectField
            inline
            label={T.use.range}
            value={days}
            onInput={setDays}
            options={RANGES.map((d) => ({ value: d, text: T.use.ranges[d] ?? d }))}
          />
          <Button act={() => save('csv')} off={rows.length ? undefined : T.use.nothing}>
            CSV
          </Button>
          <Button act={() => save('json')} off={rows.length ? undefined : T.use.nothing}>
            JSON
          </Button>
        </FilterBar>
        {loaded.error && <Problem error={loaded.error} what={T.cannotLoad(T.use.theUsage)} retry={() => from.reload()} />}
        {!all && !loaded.error && <Skeleton what={T.use.theUsage} rows={8} />}
        {all && !all.length && (
          <Empty why={T.use.empty(T.use.ranges[days] ?? days)}>
            <a class="button" href={href('pulse', { tab: 'try' })}>
              {T.tryModel}
            </a>
            {days !== '365' && <Button act={() => setDays('365')}>{T.use.wider}</Button>}
          </Empty>
        )}
        {all && all.length > 0 && (
          <>
            {days !== '1' && <Days days={days} />}
            {rows.length ? (
              <Table
                name="usage"
                caption={T.key.tabs.usage}
                columns={columns}
                rows={rows}
                rowKey={(r) => idOf(r, by) || '-'}
                label={(r) => visible(nameOf(r, by))}
                sort={sort}
                onSort={setSort}
                open={open}
                onOpen={(k) => setOpen(k, true)}
                detail={(r) => <Behind by={by} id={idOf(r, by)} row={r} days={Number(days)} currency={currency} />}
              />
            ) : (
              <Empty why={T.use.filtered}>
                <Button act={() => setQ('')}>{T.showAll}</Button>
              </Empty>
            )}
            {by !== 'day' && by !== 'key' && <Button act={() => setBy('key')}>{T.use.byKey}</Button>}
          </>
        )}
      </div>
    </>
  )
}

const total = (rows: UsageRow[], of: (r: UsageRow) => number): number => rows.reduce((n, r) => n + of(r), 0)

function Sentence({ rows, days, currency }: { rows: UsageRow[]; days: string; currency: string }) {
  const requests = total(rows, (r) => r.requests)
  const unknown = total(rows, (r) => r.cost_unknown)
  return (
    <>
      {T.use.sentence(
        T.use.ranges[days] ?? days,
        requests,
        count(requests),
        count(total(rows, tokensOf)),
        percent(
          total(rows, (r) => r.failed),
          requests,
        ),
      )}{' '}
      {costWords(
        total(rows, (r) => r.cost),
        unknown,
        requests,
        currency,
      )}
    </>
  )
}

function costWords(cost: number, unknown: number, requests: number, currency: string): string {
  if (requests > 0 && unknown >= requests) return T.use.costUnknown
  return unknown ? T.use.costPart(amount(cost, currency), unknown) : T.use.cost(amount(cost, currency))
}

function Cost({ r, currency }: { r: UsageRow; currency: string }) {
  if (r.requests > 0 && r.cost_unknown >= r.requests) return <span title={T.use.unknownFor(r.cost_unknown)}>{T.unknown}</span>
  return (
    <>
      {amount(r.cost, currency)}
      {r.cost_unknown > 0 && <span class="mark-warn"> ▲ {T.use.unknownFor(r.cost_unknown)}</span>}
    </>
  )
}

const usageColumns = (by: Way, currency: string): Column<UsageRow>[] => [
  { id: 'name', head: T.use.ways[by], cell: (r) => <Name text={nameOf(r, by)} most={32} />, sort: (r) => nameOf(r, by).toLowerCase() },
  { id: 'requests', head: T.tileRequests, num: true, cell: (r) => count(r.requests), sort: (r) => r.requests },
  {
    id: 'failed',
    head: T.colFailed,
    num: true,
    narrow: 'hide',
    cell: (r) => (r.failed ? percent(r.failed, r.requests) : '0'),
    sort: (r) => r.failed / (r.requests || 1),
  },
  { id: 'in', head: T.colIn, num: true, cell: (r) => count(r.input_tokens), sort: (r) => r.input_tokens },
  { id: 'cached', head: T.cached, num: true, narrow: 'hide', cell: (r) => count(r.cached_tokens), sort: (r) => r.cached_tokens },
  { id: 'think', head: T.colThink, num: true, narrow: 'hide', cell: (r) => count(r.reasoning_tokens), sort: (r) => r.reasoning_tokens },
  { id: 'out', head: T.colOut, num: true, cell: (r) => count(r.output_tokens), sort: (r) => r.output_tokens },
  { id: 'time', head: T.use.time, num: true, narrow: 'hide', cell: (r) => duration(r.total_us / 1000), sort: (r) => r.total_us },
  { id: 'cost', head: T.use.costHead, num: true, cell: (r) => <Cost r={r} currency={currency} />, sort: (r) => r.cost },
]

/* --- over the days ------------------------------------------------------------------------------------------------- */

/* Midnights of UTC as the hub counts days, each with its sums; a day without a row had no requests. */
function Days({ days }: { days: string }) {
  const [what, setWhat] = useState('tokens')
  const from = useMemo(() => sums('day', days), [days])
  const view = useResource(from).data
  const made = useMemo(() => {
    if (!view?.rows.length) return undefined
    const byDay = new Map(view.rows.map((r) => [r.day ?? '', r]))
    const today = Math.floor(Date.now() / DAY_MS) * DAY_MS
    /* Before the first day that is known nothing is known, not zero. */
    const first = Date.parse([...byDay.keys()].sort()[0] ?? '')
    const times: number[] = []
    for (let t = Math.max(first, today - (Number(days) - 1) * DAY_MS); t <= today; t += DAY_MS) times.push(t)
    const pick = (of: (r: UsageRow) => number): number[] =>
      times.map((t) => {
        const r = byDay.get(new Date(t).toISOString().slice(0, 10))
        return r ? of(r) : 0
      })
    return { times, pick }
  }, [view, days])
  const series = useMemo((): Series[] => {
    if (!made) return []
    if (what === 'cost') return [{ label: T.use.costHead, values: made.pick((r) => r.cost) }]
    return what === 'tokens'
      ? [
          { label: T.inTokens, values: made.pick((r) => r.input_tokens) },
          { label: T.outTokens, values: made.pick((r) => r.output_tokens) },
        ]
      : [
          { label: T.allLine, values: made.pick((r) => r.requests) },
          { label: T.failedLine, values: made.pick((r) => r.failed) },
        ]
  }, [made, what])
  if (!view || !made || made.times.length < 2) return null
  const format = (v: number | undefined): string => (what === 'cost' ? amount(v, view.currency) : count(v))
  const most = Math.max(0, ...series.flatMap((s) => s.values.map((v) => v ?? 0)))
  const day = (ms: number): string =>
    new Date(Math.round(ms / DAY_MS) * DAY_MS).toISOString().slice(0, 10) /* the axis has marks at local midnights */
  return (
    <div class="stack tight">
      <SelectField
        inline
        label={T.use.show}
        value={what}
        onInput={setWhat}
        options={(['tokens', 'requests', 'cost'] as const).map((w) => ({ value: w, text: T.use.figures[w] }))}
      />
      <Chart
        key={what}
        title={T.use.perDay(T.use.figures[what as 'tokens'])}
        times={made.times}
        series={series}
        format={format}
        at={day}
        say={T.use.chartSay(
          T.use.figures[what as 'tokens'],
          day(made.times[0] ?? 0),
          day(made.times[made.times.length - 1] ?? 0),
          format(most),
        )}
      />
    </div>
  )
}

/* --- the requests behind a figure ---------------------------------------------------------------------------------- */

type Priced = EndedRequest & { cost?: number | null; cost_source?: string }

const PAGE = 500
const SHOWN = 200

/* The hub sifts: a page has rows of this figure alone, or tells how far back it has looked. */
function Behind({ by, id, row, days, currency }: { by: Way; id: string; row: UsageRow; days: number; currency: string }) {
  const [list, setList] = useState<Priced[]>([])
  const [next, setNext] = useState<string | undefined>(undefined)
  const [lookedTo, setLookedTo] = useState<number | undefined>(undefined)
  const [fault, setFault] = useState<unknown>(undefined)
  const [had, setHad] = useState(false)
  const end = had && !next
  const today = Math.floor(Date.now() / DAY_MS) * DAY_MS
  const fromMs = by === 'day' ? Date.parse(id) : today - (days - 1) * DAY_MS
  const more = async (): Promise<void> => {
    const q = new URLSearchParams({ limit: String(PAGE), from_ms: String(fromMs) })
    if (by === 'day') q.set('to_ms', String(fromMs + DAY_MS))
    else q.set(by === 'slug' ? 'model' : by, id)
    if (next) q.set('cursor', next)
    try {
      const r = await get<{ requests: Priced[]; next?: string; looked_to_ms?: number }>(`requests?${q}`)
      /* "model" finds a slug as well as a model of that name */
      setList((before) => [...before, ...r.requests.filter((x) => by === 'day' || x[by] === id)])
      setNext(r.next)
      setLookedTo(r.looked_to_ms)
      setFault(undefined)
      setHad(true)
    } catch (e) {
      setFault(e)
    }
  }
  useEffect(() => {
    void more()
  }, [])
  const shown = list.slice(0, SHOWN)
  const save = (): void => {
    const names = [
      'id',
      'ended_ms',
      'key',
      'slug',
      'model',
      'endpoint',
      'runtime',
      'api',
      'status',
      'result',
      'input_tokens',
      'cached_tokens',
      'output_tokens',
      'reasoning_tokens',
      'queue_us',
      'first_us',
      'total_us',
      'cost',
      'cost_source',
      'currency',
    ]
    download(
      `drover-requests-by-${by}.csv`,
      'text/csv',
      csv(
        names,
        list.map((r) => ({ ...r, currency })),
      ),
    )
  }
  return (
    <div class="stack">
      <p>
        {T.use.behind(count(list.length), count(row.requests))} {costWords(row.cost, row.cost_unknown, row.requests, currency)}
      </p>
      {fault !== undefined && <Problem error={fault} what={T.cannotLoad(T.theRequests)} retry={more} />}
      {!had && fault === undefined && <Skeleton what={T.theRequests} rows={4} />}
      {had && !list.length && <p class="extra">{end ? T.use.rowsGone : T.use.notYet}</p>}
      {shown.length > 0 && (
        <div class="table-box" role="region" aria-label={T.theRequests} tabIndex={0}>
          <table>
            <thead>
              <tr>
                <th scope="col">{T.time}</th>
                <th scope="col">{T.slug}</th>
                <th scope="col" class="narrow-hide">
                  {T.colEndpoint}
                </th>
                <th scope="col">{T.colState}</th>
                <th scope="col" class="num">
                  {T.colIn}
                </th>
                <th scope="col" class="num">
                  {T.colOut}
                </th>
                <th scope="col" class="num">
                  {T.use.costHead}
                </th>
              </tr>
            </thead>
            <tbody>
              {shown.map((r) => (
                <tr key={r.id}>
                  <th scope="row">
                    <a href={href('pulse', { open: r.id })} title={visible(r.id)}>
                      <Clock ms={receivedMs(r)} />
                    </a>
                  </th>
                  <td>
                    <Name text={r.slug || '–'} most={28} />
                  </td>
                  <td class="narrow-hide">
                    <Name text={r.endpoint || '–'} most={20} />
                  </td>
                  <td>
                    <Mark state={r.result === 'ok' ? 'ok' : r.result === 'cancelled' ? 'paused' : 'bad'} word={T.requestStates[r.result]} />
                  </td>
                  <td class="num">{count(r.input_tokens)}</td>
                  <td class="num">
                    {count(r.output_tokens)}
                    {r.output_source === 'partial' || r.output_source === 'estimated' ? (
                      <span class="extra"> {T.tokenSources[r.output_source]}</span>
                    ) : null}
                  </td>
                  <td class="num">{r.cost === null || r.cost === undefined ? T.unknown : amount(r.cost, currency)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <div class="row">
        {list.length > SHOWN && <span class="extra">{T.use.newestOf(SHOWN, count(list.length))}</span>}
        {had && !end && <Button act={more}>{lookedTo ? T.use.backTo(clock(lookedTo)) : T.lookFurtherBack}</Button>}
        {list.length > 0 && <Button act={save}>{T.use.saveRequests(count(list.length))}</Button>}
      </div>
    </div>
  )
}
