/* requests.tsx - the list: what goes on and what just ended. Address: q, model, key, state (filters), sort, hide (columns), open
 * (request id). */
import type { ComponentChildren } from 'preact'
import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { ApiError, get } from '../../app/api'
import { useSecond } from '../../app/clock'
import { hubNow, linkView, onTopic, useFeed } from '../../app/events'
import { spread, useHistory } from '../../app/history'
import { useKeys } from '../../app/keyboard'
import { lists } from '../../app/lists'
import { prefs, setPref } from '../../app/prefs'
import { setParams, useParam } from '../../app/route'
import { snippets } from '../../app/snippets'
import { may, session } from '../../app/session'
import { useStore } from '../../app/store'
import type { EndedRequest, Live } from '../../app/types'
import { Button } from '../../parts/button'
import { Code } from '../../parts/code'
import { Empty } from '../../parts/empty'
import { FilterBar } from '../../parts/filterbar'
import { Mark, type MarkState } from '../../parts/mark'
import { Name } from '../../parts/name'
import { Problem } from '../../parts/problem'
import { ScreenHead } from '../../parts/screenhead'
import { Skeleton } from '../../parts/skeleton'
import { Table, type Column } from '../../parts/table'
import { Clock } from '../../parts/time'
import { useColumns, ViewBar } from '../../parts/views'
import { count, duration, rate, seconds } from '../../pure/format'
import { FIRST_STEPS_MS, group, histogram, RowBook, speed, stateOf, type Row, type RowState } from '../../pure/rows'
import { visible } from '../../pure/visible'
import { T } from '../../text'
import { RequestDetail } from './detail'

const marks: Record<RowState, MarkState> = {
  reading: 'busy',
  queued: 'busy',
  waiting: 'busy',
  thinking: 'busy',
  answering: 'ok',
  ending: 'unknown',
  ok: 'ok',
  client_error: 'warn',
  upstream_error: 'bad',
  cancelled: 'paused',
  rejected: 'bad',
}

export function StateMark({ row }: { row: Row }) {
  const s = stateOf(row)
  const place =
    s === 'queued' && row.live?.place
      ? T.place(row.live.place, row.live.expect_ms === undefined ? undefined : duration(row.live.expect_ms))
      : undefined
  const status = row.ended && s !== 'ok' ? row.ended.status || undefined : undefined
  return <Mark state={marks[s]} word={T.requestStates[s]} extra={place ?? status} />
}

/* Who asked: a person who tries a model, a key by its name, or nobody in particular. */
export function who(r: Row): string {
  const x = r.live ?? r.ended
  return x?.user || x?.key_name || r.ended?.key || r.live?.key || ''
}
const modelOf = (r: Row): string => r.live?.asked || r.ended?.slug || r.live?.slug || ''
const endpointOf = (r: Row): string => r.ended?.endpoint || r.live?.endpoint || ''

export const queueMs = (r: Row): number | undefined =>
  r.ended ? r.ended.queue_us / 1000 : r.live?.state === 'queued' ? hubNow() - r.live.received_ms : r.live?.queue_ms
export const firstMs = (r: Row): number | undefined =>
  r.ended ? (r.ended.first_us === null ? undefined : r.ended.first_us / 1000) : r.live?.ttft_ms
const input = (r: Row): number | null | undefined => (r.ended ? r.ended.input_tokens : r.live?.input)
const output = (r: Row): number | null | undefined => (r.ended ? r.ended.output_tokens : r.live?.output)
const reasoning = (r: Row): number | null | undefined => (r.ended ? r.ended.reasoning_tokens : r.live?.reasoning)

const columns: Column<Row>[] = [
  { id: 'time', head: T.time, cell: (r) => <Clock ms={r.atMs} />, sort: (r) => r.atMs },
  { id: 'who', head: T.colKey, narrow: 'hide', cell: (r) => (who(r) ? <Name text={who(r)} most={20} /> : '–'), sort: who },
  {
    id: 'model',
    head: T.colModelTarget,
    wide: true,
    cell: (r) => (
      <>
        <Name text={modelOf(r) || '–'} most={28} />{' '}
        <span class="extra">→ {endpointOf(r) ? <Name text={endpointOf(r)} most={20} /> : '–'}</span>
      </>
    ),
    sort: modelOf,
  },
  { id: 'state', head: T.colState, cell: (r) => <StateMark row={r} />, sort: (r) => stateOf(r) },
  { id: 'queue', head: T.tileQueue, unit: 's', num: true, narrow: 'hide', cell: (r) => seconds(queueMs(r)), sort: (r) => queueMs(r) ?? -1 },
  { id: 'first', head: T.colFirst, unit: 's', num: true, cell: (r) => seconds(firstMs(r)), sort: (r) => firstMs(r) ?? -1 },
  { id: 'in', head: T.colIn, num: true, narrow: 'hide', cell: (r) => count(input(r)), sort: (r) => input(r) ?? -1 },
  { id: 'think', head: T.colThink, num: true, narrow: 'hide', cell: (r) => count(reasoning(r)), sort: (r) => reasoning(r) ?? -1 },
  { id: 'out', head: T.colOut, num: true, cell: (r) => count(output(r)), sort: (r) => output(r) ?? -1 },
  {
    id: 'speed',
    head: T.colSpeed,
    num: true,
    narrow: 'hide',
    cell: (r) => rate(speed(r, hubNow())),
    sort: (r) => speed(r, hubNow()) ?? -1,
  },
]

const VIEW = ['q', 'model', 'key', 'state', 'sort', 'hide'] as const
const PAGE = 100
interface Page {
  requests: EndedRequest[]
  next?: string
  looked_to_ms?: number
}
const DRAW_MS = 400

/* What was seen stays while other screens are shown, and goes with the session. */
let rowBook = new RowBook()
let filled = false
session.watch((s) => {
  if (s?.signed_in) return
  rowBook = new RowBook()
  filled = false
})

export function Requests({ tabs }: { tabs: ComponentChildren }) {
  const [, draw] = useState(0)
  const [live, setLive] = useState<Live | undefined>(undefined)
  const [had, setHad] = useState(filled)
  const [fault, setFault] = useState<unknown>(undefined)
  const [end, setEnd] = useState(false) /* nothing older is known to the hub */
  const [lookedTo, setLookedTo] = useState<number | undefined>(undefined) /* the last page had none, but there is more behind */
  const [scrolled, setScrolled] = useState(false)
  const [kept, setKept] = useState(500)
  const paused = useStore(prefs).paused
  const link = useStore(linkView)
  const [q, setQ] = useParam('q')
  const [model, setModel] = useParam('model')
  const [key, setKey] = useParam('key')
  const [state, setState] = useParam('state')
  const [sort, setSort] = useParam('sort')
  const [open, setOpen] = useParam('open')
  const shown = useColumns('requests', columns)
  const frozen = useRef<{ rows: Row[]; waiting: number } | undefined>(undefined)

  /* Many ends a second are one drawing. */
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined)
  const soon = useCallback((): void => {
    timer.current ??= setTimeout(() => {
      timer.current = undefined
      draw((n) => n + 1)
    }, DRAW_MS)
  }, [])
  useEffect(() => () => clearTimeout(timer.current), [])

  useFeed('live', (v) => {
    rowBook.live(v)
    if (!prefs.get().paused) setLive(v)
    soon()
  })
  const fetchNewest = useCallback(async (): Promise<void> => {
    try {
      const [l, r] = await Promise.all([get<Live>('live'), get<Page>(`requests?limit=${PAGE}`)])
      rowBook.live(l)
      rowBook.page(r.requests)
      setLive(l)
      setEnd(!r.next)
      setFault(undefined)
      setHad((filled = true))
    } catch (e) {
      setFault(e)
    }
    soon()
  }, [])
  useEffect(() => {
    void fetchNewest()
    return onTopic('request', (e) => {
      if (!e) void fetchNewest()
      else {
        rowBook.ended([e.data as unknown as EndedRequest])
        soon()
      }
    })
  }, [])
  useEffect(() => {
    if (!may('admin')) return
    const take = (): void => {
      const keys = lists.keys.view.get().data?.keys
      if (keys) rowBook.setNames(new Map(keys.map((k) => [k.id, k.name])))
      soon()
    }
    const end = lists.keys.view.watch(take)
    lists.keys.use()
    take()
    return () => {
      end()
      lists.keys.release()
    }
  }, [])
  /* What is filtered for is sifted by the hub; a page of its rows goes on behind the last one of the same filters. */
  const sieve = useMemo(() => {
    const by = new URLSearchParams()
    if (model) by.set('model', model)
    if (key) by.set('key', key)
    if (state === 'done') by.set('result', 'ok')
    if (state === 'failed') by.set('result', 'failed')
    return by.toString()
  }, [model, key, state])
  const sifted = useRef<string | undefined>(undefined)
  useEffect(() => {
    sifted.current = undefined
    rowBook.forgetSifted()
    setEnd(false)
  }, [sieve])
  const older = async (): Promise<void> => {
    const cursor = sifted.current ?? rowBook.cursor()
    const r = await get<Page>(`requests?limit=${PAGE}${cursor ? '&cursor=' + cursor : ''}${sieve && '&' + sieve}`)
    if (sieve) {
      rowBook.ended(r.requests)
      sifted.current = r.next
    } else rowBook.page(r.requests)
    setKept((n) => n + r.requests.length)
    setEnd(!r.next)
    setLookedTo(r.requests.length ? undefined : r.looked_to_ms)
  }

  const held = paused || scrolled || open !== ''
  const listed = paused && frozen.current ? frozen.current : rowBook.list(held && had, kept)
  frozen.current = listed
  const all = listed.rows
  const rows = useMemo(() => {
    const t = q.trim().toLowerCase()
    return all.filter(
      (r) =>
        (!model || modelOf(r) === model) &&
        (!key || who(r) === key) &&
        (!state || group(stateOf(r)) === state) &&
        (!t ||
          [r.id, who(r), modelOf(r), endpointOf(r), r.ended?.model ?? r.live?.model ?? '', String(r.ended?.status ?? '')].some((x) =>
            x.toLowerCase().includes(t),
          )),
    )
  }, [all, q, model, key, state])
  const clear = (): void => setParams({ q: undefined, model: undefined, key: undefined, state: undefined })
  const release = (): void => {
    setParams({ open: undefined })
    const box = document.querySelector('.pulse-list .table-box')
    if (box) box.scrollTop = 0
    setScrolled(false)
    if (paused) setPref('paused', false)
  }
  useKeys(T.tabRequests, [{ keys: 'Space', does: T.keyPause, run: () => setPref('paused', !prefs.get().paused) }])

  const models = tally(all, modelOf)
  const keys = tally(all, who)
  const stateCount = (g: string): number => all.filter((r) => group(stateOf(r)) === g).length
  const options = (m: Map<string, number>, now: string): { value: string; text: string; n?: number }[] =>
    [...new Set([...m.keys(), now])]
      .filter(Boolean)
      .sort()
      .map((v) => ({ value: v, text: visible(v), n: m.get(v) ?? 0 }))
  return (
    <>
      <ScreenHead
        title={T.pulse}
        state={live && <Sentence live={live} />}
        stale={link.phase === 'waiting' && live ? live.at_ms : undefined}
      />
      {tabs}
      <div id="tab-panel" role="tabpanel" aria-labelledby="tab-requests" class="stack pulse-list">
        {fault !== undefined && <Problem error={fault} what={T.cannotLoad(T.theRequests)} retry={fetchNewest} />}
        {!had && fault === undefined && <Skeleton what={T.theRequests} rows={8} />}
        {had && !all.length && fault === undefined && (
          <Empty why={T.noRequests}>
            <Code text={snippets('MODEL', T.firstQuestion)[0]?.text ?? ''} what="curl" wrap />
            <Button act={() => setParams({ tab: 'try' }, true)} kind="main">
              {T.tryModel}
            </Button>
          </Empty>
        )}
        {all.length > 0 && (
          <>
            <FilterBar
              text={q}
              onText={setQ}
              hidden={all.length - rows.length}
              onClear={clear}
              choices={[
                { label: T.model, value: model, onInput: setModel, options: options(models, model) },
                { label: T.colKey, value: key, onInput: setKey, options: options(keys, key) },
                {
                  label: T.colState,
                  value: state,
                  onInput: setState,
                  options: (['live', 'queued', 'done', 'failed'] as const).map((g) => ({
                    value: g,
                    text: T.stateGroups[g],
                    n: stateCount(g),
                  })),
                },
              ]}
            >
              <ViewBar table="requests" params={VIEW} columns={columns as Column<never>[]} />
              {/* keeps its place while empty, so that nothing moves when rows begin to wait */}
              <button
                type="button"
                class="button new-rows"
                style={{ visibility: listed.waiting > 0 ? 'visible' : 'hidden' }}
                onClick={release}
              >
                {T.newRows(listed.waiting)}
              </button>
            </FilterBar>
            {open && !rows.some((r) => r.id === open) && (
              <p class="extra" role="status">
                {all.some((r) => r.id === open) ? T.openHidden : T.openOlder(visible(open))}{' '}
                <Button act={() => (all.some((r) => r.id === open) ? clear() : end ? setOpen('') : older())}>
                  {all.some((r) => r.id === open) ? T.showAll : end ? T.close : T.lookFurtherBack}
                </Button>
              </p>
            )}
            {rows.length ? (
              <Table
                name="requests"
                caption={T.tabRequests}
                columns={shown}
                rows={rows}
                rowKey={(r) => r.id}
                label={(r) => T.requestFrom(visible(who(r)), visible(r.id))}
                sort={sort}
                onSort={setSort}
                open={open}
                onOpen={(k) => setOpen(k, true)}
                detail={(r) => <RequestDetail row={r} />}
                onScrolled={setScrolled}
              />
            ) : (
              <Empty why={T.requestsFiltered}>
                <Button act={clear}>{T.showAll}</Button>
              </Empty>
            )}
            <div class="row">
              {!end && <Button act={older}>{T.showOlder}</Button>}
              {!end && lookedTo !== undefined && (
                <span class="extra" role="status">
                  {T.lookedTo} <Clock ms={lookedTo} />
                </span>
              )}
              {live?.cut && <span class="extra">▲ {T.liveCut(count(live.total))}</span>}
            </div>
            <FirstTokens rows={all} />
          </>
        )}
      </div>
    </>
  )
}

function tally(rows: Row[], of: (r: Row) => string): Map<string, number> {
  const out = new Map<string, number>()
  for (const r of rows) if (of(r)) out.set(of(r), (out.get(of(r)) ?? 0) + 1)
  return out
}

function Sentence({ live }: { live: Live }) {
  useSecond()
  const { points } = useHistory()
  const endMs = points[points.length - 1]?.at_ms
  const minute = endMs ? spread(points, 60, endMs) : []
  const last = [...minute].reverse().find((p) => p?.ttft_p50_ms !== undefined)
  const waiting = live.requests.filter((r) => r.state === 'queued').sort((a, b) => a.received_ms - b.received_ms)[0]
  return (
    <>
      {live.total === 0
        ? T.nothingGoesOn
        : waiting
          ? T.goesOnQueued(
              live.total,
              live.queued || live.requests.filter((r) => r.state === 'queued').length,
              duration(Math.floor((hubNow() - waiting.received_ms) / 1000) * 1000),
              visible(waiting.asked),
            )
          : T.goesOn(live.total)}{' '}
      {last && T.firstTokens(duration(last.ttft_p50_ms), duration(last.ttft_p95_ms))}
    </>
  )
}

function FirstTokens({ rows }: { rows: Row[] }) {
  const bars = histogram(rows)
  const most = Math.max(1, ...bars)
  const names = FIRST_STEPS_MS.map((ms, i) => (ms === Infinity ? T.overMs(duration(FIRST_STEPS_MS[i - 1])) : T.underMs(duration(ms))))
  if (!bars.some((n) => n > 0)) return null
  return (
    <figure class="histogram">
      <figcaption>{T.firstHistogram(bars.reduce((a, b) => a + b, 0))}</figcaption>
      <ol class="plain">
        {bars.map((n, i) => (
          <li>
            <span class="bar-space" aria-hidden="true">
              <span class="bar-fill" style={{ height: Math.round((n / most) * 48) + 'px' }} />
            </span>
            <span>{count(n)}</span> <span class="extra">{names[i]}</span>
          </li>
        ))}
      </ol>
    </figure>
  )
}

export function notFound(e: unknown): boolean {
  return e instanceof ApiError && e.status === 404
}
