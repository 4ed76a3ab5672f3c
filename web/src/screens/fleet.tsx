/* fleet.tsx - is everything all right, and where is room? Figures of the hub, its endpoints, their models, and why a request for a
 * model goes where it goes; and where this is a hub, its nodes (fleet/nodes.tsx). Address: add (a node), endpoint (a name, or new), removing, q, state, kind (filters), sort, open (endpoint), figure (a tile's chart), why (slug), api. */
import type { FunctionComponent } from 'preact'
import { useMemo, useState } from 'preact/hooks'
import { get, post } from '../app/api'
import { useSecond } from '../app/clock'
import { hubNow } from '../app/events'
import { isStale, resource, useResource } from '../app/data'
import { spread, useHistory } from '../app/history'
import { useKeys } from '../app/keyboard'
import { Lazy } from '../app/lazy'
import { lists } from '../app/lists'
import { memo } from '../app/memo'
import { prefs, setPref } from '../app/prefs'
import { go, href, setParams, useParam, useRoute } from '../app/route'
import { lookAgain } from '../app/palette'
import { may } from '../app/session'
import { useStore } from '../app/store'
import type { Endpoint, EndpointState, Explanation, Key, Model, Point, Status } from '../app/types'
import { Button } from '../parts/button'
import { Chart, type Series } from '../parts/chart'
import { Code } from '../parts/code'
import { Empty } from '../parts/empty'
import { Facts } from '../parts/facts'
import { SelectField } from '../parts/field'
import { FilterBar } from '../parts/filterbar'
import { Icon } from '../parts/icon'
import { Mark, type MarkState } from '../parts/mark'
import { Name } from '../parts/name'
import { Problem } from '../parts/problem'
import { ScreenHead } from '../parts/screenhead'
import { Skeleton } from '../parts/skeleton'
import { Table, type Column } from '../parts/table'
import { Tile } from '../parts/tile'
import { Age, Ago } from '../parts/time'
import { bytes, count, duration, percent, rate, tokens } from '../pure/format'
import { visible } from '../pure/visible'
import { T } from '../text'

const marks: Record<EndpointState, MarkState> = { up: 'ok', degraded: 'warn', loading: 'busy', down: 'bad', unknown: 'unknown' }
const worst: Record<EndpointState, number> = { down: 0, degraded: 1, loading: 2, unknown: 3, up: 4 }

export const configExample = `endpoints:
  - name: box
    url: http://192.0.2.10:11434
`

export default function Fleet() {
  const loaded = useResource(lists.endpoints)
  const status = useResource(lists.status).data
  const [add, setAdd] = useParam('add')
  const [endpoint, setEndpoint] = useParam('endpoint')
  const all = loaded.data?.endpoints
  const stale = isStale(loaded, lists.endpoints.everyMs) || (loaded.error && loaded.atMs) ? loaded.atMs : undefined
  return (
    <>
      <ScreenHead title={T.fleet} state={all && <State all={all} status={status} />} stale={stale}>
        {may('operator') && (
          <Button act={lookAgain} icon="again" hub>
            {T.lookAgain}
          </Button>
        )}
        {may('admin') && <Button act={() => setEndpoint('new', true)}>{T.endpoint.add}</Button>}
        {may('admin') && <Button act={() => setAdd('1', true)}>{T.addNode}</Button>}
      </ScreenHead>
      <FirstSteps endpoints={all} status={status} />
      <Figures />
      {loaded.error && <Problem error={loaded.error} what={T.cannotLoad(T.theEndpoints)} retry={() => lists.endpoints.reload()} />}
      {(status?.hub || add) && <Lazy load={nodes} what={T.theNodes} />}
      {endpoint && may('admin') && <Lazy load={endpointDialog} what={T.endpoint.add} />}
      {all ? <Endpoints all={all} /> : !loaded.error && <Skeleton what={T.theEndpoints} rows={6} />}
    </>
  )
}

const endpointDialog = (): Promise<{ default: FunctionComponent }> => import('./fleet/endpoint')
const nodes = (): Promise<{ default: FunctionComponent }> => import('./fleet/nodes')

/* The one sentence: what is wrong by name, before how many are well. */
function State({ all, status }: { all: Endpoint[]; status?: Status }) {
  useSecond()
  const { points } = useHistory()
  const queued = points[points.length - 1]?.queued ?? status?.queued ?? 0
  const { models, up, trouble, fine } = useMemo(
    () => ({
      models: new Set(all.flatMap((e) => e.models.map((m) => m.slug).filter(Boolean))).size,
      up: all.filter((e) => e.state === 'up' || e.state === 'degraded').length,
      trouble: all
        .filter((e) => e.state === 'down' || e.state === 'degraded')
        .sort((a, b) => worst[a.state] - worst[b.state] || b.since_ms - a.since_ms)[0],
      fine: all.every((e) => e.state === 'up'),
    }),
    [all],
  )
  return (
    <>
      {all.length === 0 ? T.fleetNone : fine ? T.fleetAllUp(all.length, models) : T.fleetSome(up, all.length, models)}{' '}
      {trouble && (
        <>
          {T.fleetTrouble(
            visible(trouble.name),
            T.states[trouble.state],
            duration(Math.floor((hubNow() - trouble.since_ms) / 1000) * 1000),
            visible(trouble.reason).replace(/[.\s]+$/, ''),
          )}{' '}
        </>
      )}
      {queued > 0 && T.fleetQueue(queued)} {status && !status.settled && T.fleetSettling}
      {status?.records && status.records.state !== 'well' && (
        <span class="mark-bad"> ✕ {T.recordsTrouble(visible(status.records.fault))}</span>
      )}
    </>
  )
}

/* --- figures ------------------------------------------------------------------------------------------------------- */

type Pick = (p: Point) => number | undefined
interface Figure {
  id: string
  label: string
  unit?: string
  format(v: number | undefined): string
  now(minute: (Point | undefined)[]): string
  line: Pick
  series: { label: string; pick: Pick }[]
  warn?(minute: (Point | undefined)[]): string | undefined
}

const known = (m: (Point | undefined)[]): Point[] => m.filter((p): p is Point => p !== undefined)
const sum = (m: (Point | undefined)[], pick: Pick): number => known(m).reduce((n, p) => n + (pick(p) ?? 0), 0)
const mean = (m: (Point | undefined)[], pick: Pick): number | undefined => {
  const told = known(m).filter((p) => pick(p) !== undefined)
  return told.length ? sum(told, pick) / told.length : undefined
}
const newest = (m: (Point | undefined)[], pick: Pick): number | undefined => {
  for (let i = m.length - 1; i >= 0; i--) {
    const p = m[i]
    const v = p && pick(p)
    if (v !== undefined) return v
  }
  return undefined
}

const figures: Figure[] = [
  {
    id: 'requests',
    label: T.tileRequests,
    unit: T.perSecond,
    format: rate,
    now: (m) => rate(mean(m, (p) => p.requests)),
    line: (p) => p.requests,
    series: [
      { label: T.allLine, pick: (p) => p.requests },
      { label: T.failedLine, pick: (p) => p.failed },
    ],
  },
  {
    id: 'errors',
    label: T.tileErrors,
    format: count,
    now: (m) =>
      percent(
        sum(m, (p) => p.failed),
        sum(m, (p) => p.requests),
      ),
    line: (p) => p.failed,
    series: [{ label: T.failedLine, pick: (p) => p.failed }],
    warn: (m) =>
      sum(m, (p) => p.requests) >= 5 && sum(m, (p) => p.failed) > 0.05 * sum(m, (p) => p.requests)
        ? count(sum(m, (p) => p.failed))
        : undefined,
  },
  {
    id: 'ttft',
    label: T.tileTtft,
    format: duration,
    now: (m) => duration(newest(m, (p) => p.ttft_p95_ms)),
    line: (p) => p.ttft_p95_ms,
    series: [
      { label: T.p50, pick: (p) => p.ttft_p50_ms },
      { label: T.p95, pick: (p) => p.ttft_p95_ms },
    ],
  },
  {
    id: 'tokens',
    label: T.tileTokens,
    unit: T.perSecond,
    format: rate,
    now: (m) => rate(mean(m, (p) => p.output_tokens)),
    line: (p) => p.output_tokens,
    series: [
      { label: T.outTokens, pick: (p) => p.output_tokens },
      { label: T.inTokens, pick: (p) => p.input_tokens },
    ],
  },
  {
    id: 'flight',
    label: T.tileInFlight,
    format: count,
    now: (m) => count(newest(m, (p) => p.in_flight)),
    line: (p) => p.in_flight,
    series: [
      { label: T.tileInFlight, pick: (p) => p.in_flight },
      { label: T.tileQueue, pick: (p) => p.queued },
    ],
  },
  {
    id: 'queue',
    label: T.tileQueue,
    format: count,
    now: (m) => count(newest(m, (p) => p.queued)),
    line: (p) => p.queued,
    series: [{ label: T.tileQueue, pick: (p) => p.queued }],
    warn: (m) => ((newest(m, (p) => p.queued) ?? 0) > 0 ? T.lastMinute : undefined),
  },
]

function Figures() {
  const { points } = useHistory()
  const [open, setOpen] = useParam('figure')
  const end = points[points.length - 1]?.at_ms
  const minute = useMemo(() => (end ? spread(points, 60, end) : []), [points])
  const chosen = figures.find((f) => f.id === open)
  return (
    <section aria-label={T.theFigures} class="stack">
      <div class="tiles">
        {figures.map((f) => {
          const now = f.now(minute)
          const most = Math.max(0, ...known(minute).map((p) => f.line(p) ?? 0))
          return (
            <Tile
              label={f.label}
              value={now}
              unit={f.unit}
              points={minute.map((p) => p && f.line(p))}
              say={end ? T.tileSay(f.label, now, f.format(most)) : T.noFigures}
              warn={f.id === 'errors' ? f.warn?.(minute) : undefined}
              open={f.id === open}
              onOpen={() => setOpen(f.id === open ? '' : f.id)}
            />
          )
        })}
      </div>
      {chosen && end && <History figure={chosen} points={points} endMs={end} />}
    </section>
  )
}

const STEP_MS = 5000

function History({ figure: f, points, endMs }: { figure: Figure; points: Point[]; endMs: number }) {
  /* A point for 5 s, at whole 5 s: a second's figure is too restless to read, and what was drawn does not change again. */
  const last = Math.floor(endMs / STEP_MS) * STEP_MS
  const { times, series } = useMemo(() => {
    const all = spread(points, 900, last)
    const steps = Array.from({ length: 180 }, (_, i) => all.slice(5 * i, 5 * i + 5))
    const list: Series[] = f.series.map((s) => ({ label: s.label, values: steps.map((five) => mean(five, s.pick)) }))
    return { times: steps.map((_, i) => last - (179 - i) * STEP_MS), series: list }
  }, [f, last])
  const first = f.series[0]
  const most = Math.max(0, ...points.map((p) => first?.pick(p) ?? 0))
  return (
    <Chart
      title={f.label}
      times={times}
      series={series}
      format={f.format}
      say={T.chartSay(f.label, f.now(spread(points, 60, endMs)), f.format(most))}
    />
  )
}

/* --- endpoints ----------------------------------------------------------------------------------------------------- */

function State1({ e }: { e: Endpoint }) {
  return <Mark state={marks[e.state] ?? 'unknown'} word={T.states[e.state] ?? visible(e.state)} extra={<Age ms={e.since_ms} />} />
}

function Reason({ e }: { e: Endpoint }) {
  return (
    <>
      {e.breaker !== 'closed' && <span class="mark-warn">▲ {T.breakers[e.breaker]} </span>}
      {e.demonstration ? T.demo : visible(e.reason)}
    </>
  )
}

const columns: Column<Endpoint>[] = [
  { id: 'name', head: T.colEndpoint, cell: (e) => <Name text={e.name} most={24} still />, sort: (e) => e.name },
  { id: 'state', head: T.colState, cell: (e) => <State1 e={e} />, sort: (e) => worst[e.state] ?? 5 },
  {
    id: 'kind',
    head: T.colRuntime,
    narrow: 'hide',
    cell: (e) => (e.kind ? `${visible(e.kind)} ${visible(e.version)}` : T.unknown),
    sort: (e) => e.kind,
  },
  { id: 'reason', head: T.reason, wide: true, narrow: 'hide', cell: (e) => <Reason e={e} /> },
  { id: 'models', head: T.colModels, num: true, cell: (e) => count(e.models.length), sort: (e) => e.models.length },
  {
    id: 'flight',
    head: T.colInFlight,
    num: true,
    cell: (e) => (e.max_concurrent ? T.ofMax(count(e.in_flight), count(e.max_concurrent)) : count(e.in_flight)),
    sort: (e) => e.in_flight,
  },
  { id: 'ok', head: T.colAnswered, num: true, narrow: 'hide', cell: (e) => count(e.ok), sort: (e) => e.ok },
  {
    id: 'failed',
    head: T.colFailed,
    num: true,
    narrow: 'hide',
    cell: (e) => (e.failed ? <span class="mark-warn">▲ {count(e.failed)}</span> : '0'),
    sort: (e) => e.failed,
  },
]

function matches(e: Endpoint, q: string): boolean {
  const t = q.trim().toLowerCase()
  return !t || [e.name, e.url, e.kind, e.reason, ...e.models.flatMap((m) => [m.id, m.slug ?? ''])].some((x) => x.toLowerCase().includes(t))
}

const Endpoints = memo(function Endpoints({ all }: { all: Endpoint[] }) {
  const [q, setQ] = useParam('q')
  const [state, setState] = useParam('state')
  const [kind, setKind] = useParam('kind')
  const [sort, setSort] = useParam('sort')
  const [open, setOpen] = useParam('open')
  const rows = useMemo(
    () => all.filter((e) => matches(e, q) && (!state || e.state === state) && (!kind || e.kind === kind)),
    [all, q, state, kind],
  )
  const counts = useMemo(() => ({ state: tally(all, (e) => e.state), kind: tally(all, (e) => e.kind) }), [all])
  useKeys(T.fleet, [{ keys: 'r', does: T.lookAgain, run: () => may('operator') && void lookAgain() }])
  if (!all.length)
    return (
      <Empty why={T.fleetEmpty}>
        <Code text={configExample} what={T.fleetEmptyConfig} />
        {may('admin') && (
          <Button act={() => setParams({ endpoint: 'new' })} kind="main">
            {T.endpoint.add}
          </Button>
        )}
        {may('operator') && (
          <Button act={lookAgain} icon="again" hub>
            {T.lookAgain}
          </Button>
        )}
      </Empty>
    )
  const clear = (): void => setParams({ q: undefined, state: undefined, kind: undefined })
  return (
    <section aria-label={T.endpoints} class="stack">
      <FilterBar
        text={q}
        onText={setQ}
        hidden={all.length - rows.length}
        onClear={clear}
        choices={[
          {
            label: T.stateFilter,
            value: state,
            onInput: setState,
            options: (['up', 'degraded', 'loading', 'down', 'unknown'] as const).map((x) => ({
              value: x,
              text: T.states[x],
              n: counts.state.get(x) ?? 0,
            })),
          },
          {
            label: T.kindFilter,
            value: kind,
            onInput: setKind,
            options: [...counts.kind]
              .filter(([k]) => k)
              .sort()
              .map(([k, n]) => ({ value: k, text: visible(k), n })),
          },
        ]}
      />
      {rows.length ? (
        <Table
          name="endpoints"
          caption={T.endpoints}
          columns={columns}
          rows={rows}
          rowKey={(e) => e.name}
          label={(e) => visible(e.name)}
          sort={sort}
          onSort={setSort}
          open={open}
          onOpen={(k) => setOpen(k, true)}
          detail={(e) => <Detail e={e} />}
        />
      ) : (
        <Empty why={T.fleetFiltered}>
          <Button act={clear}>{T.showAll}</Button>
        </Empty>
      )}
    </section>
  )
})

function tally(all: Endpoint[], of: (e: Endpoint) => string): Map<string, number> {
  const out = new Map<string, number>()
  for (const e of all) out.set(of(e), (out.get(of(e)) ?? 0) + 1)
  return out
}

/* The id of the node behind an endpoint; undefined: it is none. */
const nodeOf = (e: Endpoint): string | undefined => (e.url.startsWith('link:') ? e.url.slice(5) : undefined)

function Detail({ e }: { e: Endpoint }) {
  const why = useRoute().params.why
  return (
    <div class="stack">
      <Facts
        rows={[
          [T.colEndpoint, <Name text={e.name} most={60} />],
          [
            T.colState,
            <Mark state={marks[e.state] ?? 'unknown'} word={T.states[e.state] ?? visible(e.state)} extra={<Ago ms={e.since_ms} />} />,
          ],
          [T.reason, e.reason ? visible(e.reason) : undefined],
          [T.address, <Name text={e.url} most={60} />],
          [T.endpoint.origin, T.endpoint.origins[e.origin]],
          [T.where, nodeOf(e) ? <a href={href('fleet', { node: nodeOf(e) })}>{T.node.aNode}</a> : e.local ? T.thisMachine : T.otherMachine],
          [T.colRuntime, e.kind ? `${visible(e.kind)} ${visible(e.version)}` : T.unknown],
          [T.speaks, e.speaks.length ? e.speaks.map(visible).join(', ') : T.unknown],
          [T.breaker, e.breaker === 'closed' ? undefined : T.breakers[e.breaker]],
          [T.colAnswered, count(e.ok)],
          [T.colFailed, count(e.failed)],
        ]}
      />
      {e.origin === 'console' && may('admin') && <Acts e={e} />}
      <Models e={e} />
      {why && e.models.some((m) => m.slug === why) && <Why slug={why} />}
    </div>
  )
}

/* Of one that a person added. */
function Acts({ e }: { e: Endpoint }) {
  return (
    <p class="row">
      <Button act={() => setParams({ endpoint: e.name })}>{T.endpoint.change}</Button>
      <Button act={() => setParams({ endpoint: e.name, removing: '1' })}>{T.endpoint.removeIt}</Button>
    </p>
  )
}

const modelColumns = (e: Endpoint, why: string | undefined): Column<Model>[] => [
  { id: 'model', head: T.model, rowHead: true, cell: (m) => <Name text={m.id} most={28} /> },
  { id: 'slug', head: T.slug, narrow: 'hide', cell: (m) => (m.slug ? <Name text={m.slug} most={28} /> : '–') },
  {
    id: 'loaded',
    head: T.loaded,
    cell: (m) =>
      m.loaded === true ? (
        <Mark
          state="ok"
          word={T.loadedYes}
          extra={
            m.expires ? (
              <>
                {T.loadedUntil} <Until s={m.expires} />
              </>
            ) : undefined
          }
        />
      ) : m.loaded === false ? (
        <Mark state="off" word={T.loadedNo} />
      ) : (
        <Mark state="unknown" word={T.unknown} />
      ),
  },
  {
    id: 'context',
    head: T.context,
    num: true,
    cell: (m) =>
      m.context && m.context_max && m.context !== m.context_max
        ? T.contextOf(tokens(m.context), tokens(m.context_max))
        : tokens(m.context ?? m.context_max),
  },
  { id: 'size', head: T.size, num: true, cell: (m) => bytes(m.size_bytes) },
  { id: 'vram', head: T.vram, num: true, narrow: 'hide', cell: (m) => bytes(m.vram_bytes) },
  {
    id: 'quant',
    head: T.quant,
    narrow: 'hide',
    cell: (m) =>
      [m.parameters, m.quantization]
        .filter((x): x is string => !!x)
        .map(visible)
        .join(' ') || '–',
  },
  { id: 'can', head: T.can, wide: true, narrow: 'hide', cell: (m) => m.capabilities?.map(visible).join(', ') || '–' },
  {
    id: 'acts',
    head: '',
    cell: (m) =>
      m.slug && (
        <span class="row tight">
          <button
            type="button"
            class="button"
            aria-expanded={why === m.slug}
            onClick={() => setParams({ why: why === m.slug ? undefined : m.slug, open: e.name })}
          >
            {T.why}
          </button>
          <a class="button" href={href('pulse', { tab: 'try', model: m.slug })}>
            {T.tryIt}
          </a>
        </span>
      ),
  },
]

function Until({ s }: { s: number }) {
  const left = s * 1000 - Date.now()
  return <span>{left > 0 ? duration(left) : T.unknown}</span>
}

function Models({ e }: { e: Endpoint }) {
  const why = useRoute().params.why
  if (!e.models.length) return <p class="extra">{T.noModels}</p>
  return (
    <Table
      name="models"
      caption={T.modelsOf(visible(e.name))}
      columns={modelColumns(e, why)}
      rows={e.models}
      rowKey={(m) => m.id}
      label={(m) => visible(m.id)}
    />
  )
}

const apis = ['openai-chat', 'openai-completions', 'openai-responses', 'openai-embeddings', 'anthropic', 'ollama']

function Why({ slug }: { slug: string }) {
  const [api, setApi] = useParam('api')
  const r = useMemo(
    () => resource<Explanation>(`explain?model=${encodeURIComponent(slug)}${api ? '&api=' + api : ''}`, ['fleet'], 5_000),
    [slug, api],
  )
  const { data, error } = useResource(r)
  const cols: Column<Explanation['candidates'][number]>[] = [
    { id: 'target', head: T.colEndpoint, rowHead: true, cell: (c) => <Name text={c.endpoint} /> },
    {
      id: 'verdict',
      head: T.verdict,
      wide: true,
      cell: (c) => (c.taken ? <Mark state="ok" word={visible(c.verdict)} /> : <Mark state="off" word={visible(c.verdict)} />),
    },
    {
      id: 'state',
      head: T.colState,
      cell: (c) => <Mark state={marks[c.state] ?? 'unknown'} word={T.states[c.state] ?? visible(c.state)} />,
    },
    {
      id: 'native',
      head: T.whyApi,
      narrow: 'hide',
      cell: (c) => (c.native === undefined ? '–' : c.native ? T.whyNative : T.whyTranslated),
    },
    {
      id: 'flight',
      head: T.colInFlight,
      num: true,
      cell: (c) => ((c.max_concurrent ?? c.slots) ? T.ofMax(count(c.in_flight), count(c.max_concurrent ?? c.slots)) : count(c.in_flight)),
    },
    { id: 'speed', head: T.speed, num: true, narrow: 'hide', cell: (c) => (c.us_per_token ? duration(c.us_per_token / 1000) : '–') },
    { id: 'priority', head: T.priority, num: true, narrow: 'hide', cell: (c) => String(c.priority) },
  ]
  return (
    <section aria-label={T.whyOf(visible(slug))} class="stack">
      <div class="row">
        <h3>{T.whyOf(visible(slug))}</h3>
        <span class="grow" />
        <SelectField
          inline
          label={T.whyApi}
          value={api}
          onInput={(v) => setApi(v)}
          options={[{ value: '', text: T.whyAnyApi }, ...apis.map((a) => ({ value: a, text: a }))]}
        />
        <button type="button" class="button quiet" aria-label={T.close} onClick={() => setParams({ why: undefined, api: undefined })}>
          <Icon name="close" />
        </button>
      </div>
      {error && <Problem error={error} />}
      {data && (
        <>
          {data.alias && <p>{T.whyAlias(visible(data.asked), visible(data.slug))}</p>}
          <Table
            name="why"
            caption={T.whyOf(visible(slug))}
            columns={cols}
            rows={data.candidates}
            rowKey={(c) => c.endpoint + ' ' + c.model}
            label={(c) => visible(c.endpoint)}
          />
          {data.fallback.length > 0 && <p class="extra">{T.whyFallback(data.fallback.map(visible).join(', '))}</p>}
        </>
      )}
      {!data && !error && <Skeleton what={T.why} rows={2} />}
    </section>
  )
}

/* --- first steps --------------------------------------------------------------------------------------------------- */

/* What is left to do after the first run; made of what the hub knows, gone when done or hidden. */
function FirstSteps({ endpoints, status }: { endpoints?: Endpoint[]; status?: Status }) {
  const p = useStore(prefs)
  const [keys, setKeys] = useState<number | undefined>(undefined)
  const [asked, setAsked] = useState(false)
  if (!p.checklist || !may('admin') || !endpoints || !status) return null
  if (!asked) {
    setAsked(true)
    void get<{ keys: Key[] }>('keys').then(
      (r) => setKeys(r.keys.length),
      () => undefined,
    )
  }
  const items = [
    {
      done: endpoints.some((e) => e.state === 'up' && !e.demonstration),
      text: T.checkRuntime,
      act: T.lookAgain,
      run: () => void post('endpoints/refresh'),
    },
    { done: (keys ?? 1) > 0, text: T.checkKey, act: T.checkMake, run: () => go('start', { step: 'key' }) },
    { done: status.requests > status.failed, text: T.checkRequest, act: T.tryModel, run: () => go('pulse', { tab: 'try' }) },
  ]
  return (
    <section class="checklist" aria-label={T.checklist}>
      <h2>{T.checklist}</h2>
      <ul class="plain">
        {items.map((i) => (
          <li class="row">
            <Mark state={i.done ? 'ok' : 'off'} word={i.text} />
            {!i.done && <Button act={i.run}>{i.act}</Button>}
          </li>
        ))}
      </ul>
      <Button kind="quiet" act={() => setPref('checklist', false)}>
        {T.checkDone}
      </Button>
    </section>
  )
}
