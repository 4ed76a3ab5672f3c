/* list.tsx - the keys. Address: q, state (filters), sort, hide (columns), open (key id), edit (key id), new ('1', or the id of the key it
 * is like). */
import type { ComponentChildren } from 'preact'
import { useMemo, useState } from 'preact/hooks'
import { del, part, put } from '../../app/api'
import { isStale, useResource } from '../../app/data'
import { hubNow } from '../../app/events'
import { useKeys } from '../../app/keyboard'
import { lists } from '../../app/lists'
import { href, setParams, useParam } from '../../app/route'
import { toast } from '../../app/say'
import { may } from '../../app/session'
import type { Key, Live } from '../../app/types'
import { useLatest } from '../../app/events'
import { Button } from '../../parts/button'
import { Confirm } from '../../parts/confirm'
import { Copy } from '../../parts/copy'
import { Empty } from '../../parts/empty'
import { Facts } from '../../parts/facts'
import { FilterBar } from '../../parts/filterbar'
import { Mark, type MarkState } from '../../parts/mark'
import { Name } from '../../parts/name'
import { Problem } from '../../parts/problem'
import { ScreenHead } from '../../parts/screenhead'
import { Skeleton } from '../../parts/skeleton'
import { StopAll } from '../../parts/stopall'
import { Table, type Column } from '../../parts/table'
import { Ago, Clock } from '../../parts/time'
import { useColumns, ViewBar } from '../../parts/views'
import { clock, count, duration, percent } from '../../pure/format'
import { words, type KeyMembers } from '../../pure/keydraft'
import { visible } from '../../pure/visible'
import { T } from '../../text'
import { RevokeMany } from './bulk'
import { EditKey } from './edit'
import { NewKey } from './make'
import { Rotate } from './rotate'
import { keyList, MissingRight, monthByKey, Share, tokensOf, type UsageRow } from './shared'

const VIEW = ['q', 'state', 'sort', 'hide'] as const
const SOON_MS = 7 * 86_400_000

export type KeyState = 'ok' | 'soon' | 'ended' | 'off'
export function keyState(k: Key, nowMs: number): KeyState {
  if (!k.enabled) return 'off'
  if (!k.expires_ms) return 'ok'
  return k.expires_ms <= nowMs ? 'ended' : k.expires_ms - nowMs < SOON_MS ? 'soon' : 'ok'
}
const marks: Record<KeyState, MarkState> = { ok: 'ok', soon: 'warn', ended: 'bad', off: 'off' }

/* What a key may use, in a cell. */
function may1(list: string[]): string {
  return list.includes('*') ? T.key.all : list.length ? list.map(visible).join(', ') : T.none
}

export function Keys({ tabs }: { tabs: ComponentChildren }) {
  const admin = may('admin')
  return admin ? (
    <AllKeys tabs={tabs} />
  ) : (
    <>
      <ScreenHead title={T.keys} />
      {tabs}
      <div id="tab-panel" role="tabpanel" aria-labelledby="tab-keys">
        <MissingRight what={T.key.notYours}>
          <a class="button" href={href('keys', { tab: 'usage' })}>
            {T.key.tabs.usage}
          </a>
        </MissingRight>
      </div>
    </>
  )
}

function AllKeys({ tabs }: { tabs: ComponentChildren }) {
  const loaded = useResource(keyList)
  const usage = useResource(monthByKey()).data
  const all = loaded.data?.keys
  const [q, setQ] = useParam('q')
  const [state, setState] = useParam('state')
  const [sort, setSort] = useParam('sort')
  const [open, setOpen] = useParam('open')
  const [edit, setEdit] = useParam('edit')
  const [fresh, setFresh] = useParam('new')
  const [revoking, setRevoking] = useState<Key | undefined>(undefined)
  const [rotating, setRotating] = useState<Key | undefined>(undefined)
  const [stopping, setStopping] = useState<Key | undefined>(undefined)
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set())
  const [revokingMany, setRevokingMany] = useState(false)
  const now = hubNow()
  const used = useMemo(() => new Map((usage?.rows ?? []).map((r) => [r.key ?? '', r])), [usage])
  const rows = useMemo(() => {
    const t = q.trim().toLowerCase()
    return (all ?? []).filter(
      (k) =>
        (!state || keyState(k, hubNow()) === state) &&
        (!t || [k.name, k.id, k.owner, ...k.models, ...k.endpoints].some((x) => x.toLowerCase().includes(t))),
    )
  }, [all, q, state])
  useKeys(T.keys, [
    { keys: 'n', does: T.key.make, run: () => setFresh('1', true) },
    {
      keys: 'Delete',
      does: T.key.revoke,
      run: () => {
        const k = all?.find((x) => x.id === open)
        if (k) setRevoking(k)
      },
    },
  ])
  const columns = useMemo(() => keyColumns(used, setRevoking, setEdit), [used])
  const shown = useColumns('keys', columns)
  const seen = new Set(rows)
  const chosen = (all ?? []).filter((k) => picked.has(k.id)) /* also those that a filter hides: it is said how many */
  const clear = (): void => setParams({ q: undefined, state: undefined })
  const editing = all?.find((k) => k.id === edit)
  const like = all?.find((k) => k.id === fresh)
  return (
    <>
      <ScreenHead
        title={T.keys}
        state={all && <State keys={all} used={used} />}
        stale={isStale(loaded, keyList.everyMs) || (loaded.error && loaded.atMs) ? loaded.atMs : undefined}
      >
        <Button act={() => setFresh('1', true)} kind="main" icon="keys">
          {T.key.make}
        </Button>
      </ScreenHead>
      {tabs}
      <div id="tab-panel" role="tabpanel" aria-labelledby="tab-keys" class="stack">
        {loaded.error && <Problem error={loaded.error} what={T.cannotLoad(T.key.theKeys)} retry={() => keyList.reload()} />}
        {!all && !loaded.error && <Skeleton what={T.key.theKeys} rows={6} />}
        {all && !all.length && (
          <Empty why={T.key.noKeys}>
            <Button act={() => setFresh('1', true)} kind="main">
              {T.key.make}
            </Button>
            <p class="extra">{T.key.noKeysElse}</p>
          </Empty>
        )}
        {all && all.length > 0 && (
          <>
            <FilterBar
              text={q}
              onText={setQ}
              hidden={all.length - rows.length}
              onClear={clear}
              choices={[
                {
                  label: T.colState,
                  value: state,
                  onInput: setState,
                  options: (['ok', 'soon', 'ended', 'off'] as const).map((s) => ({
                    value: s,
                    text: T.key.states[s],
                    n: all.filter((k) => keyState(k, now) === s).length,
                  })),
                },
              ]}
            >
              <ViewBar table="keys" params={VIEW} columns={columns as Column<never>[]} />
            </FilterBar>
            {chosen.length > 0 && (
              <div class="row bulk" role="group" aria-label={T.bulk.bar}>
                <span role="status">{T.bulk.picked(chosen.length, chosen.filter((k) => !seen.has(k)).length)}</span>
                <Button act={() => setRevokingMany(true)} kind="danger">
                  {T.bulk.revoke}
                </Button>
                <Button act={() => setPicked(new Set())}>{T.bulk.none}</Button>
              </div>
            )}
            {open && !rows.some((k) => k.id === open) && (
              <p class="extra">{all.some((k) => k.id === open) ? T.key.openHidden : T.key.gone(visible(open))}</p>
            )}
            {rows.length ? (
              <Table
                name="keys"
                caption={T.key.tabs.keys}
                columns={shown}
                picked={picked}
                onPick={setPicked}
                rows={rows}
                rowKey={(k) => k.id}
                label={(k) => visible(k.name)}
                sort={sort}
                onSort={setSort}
                open={open}
                onOpen={(k) => setOpen(k, true)}
                detail={(k) => (
                  <Detail
                    k={k}
                    month={used.get(k.id)}
                    currency={usage?.currency ?? ''}
                    onRevoke={() => setRevoking(k)}
                    onRotate={() => setRotating(k)}
                    onStop={() => setStopping(k)}
                    onEdit={() => setEdit(k.id, true)}
                    onLike={() => setFresh(k.id, true)}
                  />
                )}
              />
            ) : (
              <Empty why={T.key.filtered}>
                <Button act={clear}>{T.showAll}</Button>
              </Empty>
            )}
          </>
        )}
      </div>
      {fresh && (all || fresh === '1') && (
        <NewKey like={like} keys={all ?? []} currency={usage?.currency ?? ''} onClose={() => setFresh('')} />
      )}
      {edit &&
        all &&
        (editing ? <EditKey key={editing.id} k={editing} currency={usage?.currency ?? ''} onClose={() => setEdit('')} /> : null)}
      {rotating && <Rotate k={rotating} onClose={() => setRotating(undefined)} />}
      {stopping && <StopAll id={stopping.id} name={stopping.name} onClose={() => setStopping(undefined)} />}
      {revokingMany && (
        <RevokeMany
          keys={chosen}
          onClose={(revoked) => {
            setRevokingMany(false)
            setPicked((had) => new Set([...had].filter((id) => !revoked.includes(id))))
          }}
        />
      )}
      {revoking && <Revoke k={revoking} onClose={() => setRevoking(undefined)} />}
    </>
  )
}

function State({ keys, used }: { keys: Key[]; used: Map<string, UsageRow> }) {
  const now = hubNow()
  const soon = keys.filter((k) => keyState(k, now) === 'soon').length
  const ended = keys.filter((k) => keyState(k, now) === 'ended').length
  const full = keys
    .map((k) => ({ k, share: k.limits.tokens_per_month ? tokensOf(used.get(k.id)) / k.limits.tokens_per_month : 0 }))
    .filter((x) => x.share >= 0.8)
    .sort((a, b) => b.share - a.share)[0]
  return (
    <>
      {T.key.sentence(keys.length, soon, ended)} {full && T.key.nearBudget(visible(full.k.name), Math.round(full.share * 100))}
    </>
  )
}

const keyColumns = (used: Map<string, UsageRow>, revoke: (k: Key) => void, edit: (id: string, step?: boolean) => void): Column<Key>[] => [
  { id: 'name', head: T.key.name, cell: (k) => <Name text={k.name} most={24} />, sort: (k) => k.name.toLowerCase() },
  {
    id: 'state',
    head: T.colState,
    cell: (k) => <Mark state={marks[keyState(k, hubNow())]} word={T.key.states[keyState(k, hubNow())]} />,
    sort: (k) => keyState(k, hubNow()),
  },
  { id: 'may', head: T.key.mayUse, wide: true, narrow: 'hide', cell: (k) => may1(k.models) },
  {
    id: 'used',
    head: T.key.lastUsed,
    cell: (k) => (k.used_ms ? <Ago ms={k.used_ms} /> : <span title={T.key.neverUsedMeans}>{T.key.neverUsed}</span>),
    sort: (k) => k.used_ms ?? 0,
  },
  { id: 'flight', head: T.colInFlight, num: true, narrow: 'hide', cell: (k) => count(k.in_flight), sort: (k) => k.in_flight },
  {
    id: 'month',
    head: T.key.month,
    num: true,
    narrow: 'hide',
    cell: (k) => {
      const n = tokensOf(used.get(k.id))
      const most = k.limits.tokens_per_month
      return most ? <Share share={n / most} words={T.ofMax(count(n), count(most))} /> : T.tokensN(count(n))
    },
    sort: (k) => tokensOf(used.get(k.id)),
  },
  {
    id: 'expires',
    head: T.key.expires,
    narrow: 'hide',
    cell: (k) => (k.expires_ms ? <Expires ms={k.expires_ms} /> : T.key.never),
    sort: (k) => k.expires_ms ?? Infinity,
  },
  {
    id: 'acts',
    head: '',
    narrow: 'hide',
    cell: (k) => (
      <span class="row tight">
        <Button act={() => edit(k.id, true)} label={T.key.editOf(visible(k.name))}>
          {T.key.edit}
        </Button>
        <Button act={() => revoke(k)} label={T.key.revokeOf(visible(k.name))}>
          {T.key.revoke}
        </Button>
      </span>
    ),
  },
]

function Expires({ ms }: { ms: number }) {
  const left = ms - hubNow()
  return (
    <span title={clock(ms)} class={left <= 0 ? 'mark-bad' : left < SOON_MS ? 'mark-warn' : ''}>
      {left <= 0 ? '✕ ' + T.key.over : left < SOON_MS ? '▲ ' + duration(left) : duration(left)}
    </span>
  )
}

function Detail({
  k,
  month,
  currency,
  onRevoke,
  onRotate,
  onStop,
  onEdit,
  onLike,
}: {
  k: Key
  month?: UsageRow
  currency: string
  onRevoke(): void
  onRotate(): void
  onStop(): void
  onEdit(): void
  onLike(): void
}) {
  const turn = async (): Promise<void> => {
    await put(`keys/${part(k.id)}`, { enabled: !k.enabled }, { ifMatch: k.version })
    await keyList.reload()
    toast('ok', k.enabled ? T.key.turnedOff(k.name) : T.key.turnedOn(k.name))
  }
  return (
    <div class="stack">
      <div class="row">
        <Button act={onEdit}>{T.key.edit}</Button>
        <Button act={onLike}>{T.key.like}</Button>
        <Button act={onRotate}>{T.key.rotate}</Button>
        <Button act={turn} hub>{k.enabled ? T.key.turnOff : T.key.turnOn}</Button>
        <Copy text={k.id} words={T.copyId} />
        <a class="button" href={href('keys', { tab: 'usage', by: 'key', open: k.id })}>
          {T.key.usageOf}
        </a>
        <a class="button" href={href('pulse', { key: k.name })}>
          {T.key.requestsOf}
        </a>
        <span class="grow" />
        {k.in_flight > 0 && (
          <Button act={onStop} icon="stop">
            {T.stopAll.verb}
          </Button>
        )}
        <Button act={onRevoke} kind="danger">
          {T.key.revokeName(visible(k.name))}
        </Button>
      </div>
      <ul class="facts">
        {words(k as KeyMembers, currency, hubNow()).map((w) => (
          <li>{visible(w)}</li>
        ))}
      </ul>
      <Facts
        rows={[
          [T.requestId, <Name text={k.id} />],
          [T.key.owner, k.owner ? <Name text={k.owner} /> : T.none],
          [T.key.made, <Clock ms={k.created_ms} />],
          [T.key.expires, k.expires_ms ? <Clock ms={k.expires_ms} /> : T.key.never],
          [T.key.oldSecret, (k.old_secret_until_ms ?? 0) > hubNow() ? <Clock ms={k.old_secret_until_ms ?? 0} /> : undefined],
          [T.key.lastUsed, k.used_ms ? <Ago ms={k.used_ms} /> : T.key.neverUsedMeans],
          [T.colInFlight, count(k.in_flight)],
          [T.key.monthRequests, count(month?.requests ?? 0)],
          [T.colFailed, month ? percent(month.failed, month.requests) : undefined],
        ]}
      />
    </div>
  )
}

/* Level 2: for good, so it says what is live on the key now and asks for its name. */
function Revoke({ k, onClose }: { k: Key; onClose(): void }) {
  const live = useLatest('live') as Live | undefined
  const now = hubNow()
  const mine = live?.requests.filter((r) => r.key === k.id)
  const oldest = mine?.length ? Math.min(...mine.map((r) => r.received_ms)) : 0
  const models = mine ? [...new Set(mine.map((r) => r.slug ?? r.asked))].map(visible).join(', ') : ''
  const facts = [
    mine
      ? mine.length
        ? T.key.liveNow(mine.length, duration(now - oldest), models)
        : live?.cut
          ? T.key.liveCut
          : T.key.liveNone
      : T.key.liveCount(k.in_flight),
    T.key.revokeEnds,
    k.used_ms ? T.key.revokeUsed(duration(Math.max(0, now - k.used_ms))) : T.key.revokeUnused,
    T.key.revokeForGood,
  ]
  const revoke = async (): Promise<void> => {
    await del(`keys/${part(k.id)}`)
    await Promise.all([keyList.reload(), lists.status.reload()])
    setParams({ open: undefined })
    toast('ok', T.key.revoked(k.name))
  }
  return (
    <Confirm
      title={T.key.revokeName(visible(k.name))}
      facts={facts}
      verb={T.key.revokeName(visible(k.name))}
      word={k.name}
      act={revoke}
      onClose={onClose}
    />
  )
}
