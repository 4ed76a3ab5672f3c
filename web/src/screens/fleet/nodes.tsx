/* nodes.tsx - the machines of this hub's fleet, below its figures: those that wait for somebody, then all, with what is not as it should be
 * on the row. Loaded where there is a hub, or when somebody wants to add a node. Address: node (open), nsort, add ('1'). */
import { useMemo, useState } from 'preact/hooks'
import { del, part, post } from '../../app/api'
import { useSecond } from '../../app/clock'
import { isStale, useResource } from '../../app/data'
import { hubNow } from '../../app/events'
import { useKeys } from '../../app/keyboard'
import { lists } from '../../app/lists'
import { useParam } from '../../app/route'
import { toast } from '../../app/say'
import { may } from '../../app/session'
import type { Finding, Invite, Node } from '../../app/types'
import { Button } from '../../parts/button'
import { Code } from '../../parts/code'
import { Confirm } from '../../parts/confirm'
import { Dialog } from '../../parts/dialog'
import { Empty } from '../../parts/empty'
import { Facts } from '../../parts/facts'
import { Mark, type MarkState } from '../../parts/mark'
import { Name } from '../../parts/name'
import { Problem } from '../../parts/problem'
import { Skeleton } from '../../parts/skeleton'
import { Table, type Column } from '../../parts/table'
import { Age, Ago } from '../../parts/time'
import { clock, count, duration, remaining } from '../../pure/format'
import { findingsOf, fingerprintGroups, nodeRank, nodeSince, nodeState, type NodeState } from '../../pure/nodes'
import { visible } from '../../pure/visible'
import { T } from '../../text'
import { AddNode } from './addnode'
import { Certs } from './certs'
import { NodeDetail } from './node'

export const nodeMarks: Record<NodeState, MarkState> = {
  waiting: 'unknown',
  up: 'ok',
  degraded: 'warn',
  loading: 'busy',
  down: 'bad',
  lost: 'bad',
  new: 'busy',
  linking: 'busy',
  drained: 'paused',
  refused: 'off',
  revoked: 'off',
}
const CERTIFICATE_SOON_MS = 86_400_000
const HUB_CONFIG = `hub:
  name: home
`

export default function Nodes() {
  const status = useResource(lists.status).data
  const [add, setAdd] = useParam('add')
  const adding = add && may('admin')
  if (!status) return null
  if (!status.hub)
    return adding ? (
      <Dialog title={T.node.add} onClose={() => setAdd('')}>
        <p>{T.node.noHub}</p>
        <Code text={HUB_CONFIG} what={T.node.hubConfig} />
        <footer class="row">
          <Button act={() => setAdd('')} kind="main" autofocus>
            {T.close}
          </Button>
        </footer>
      </Dialog>
    ) : null
  return (
    <>
      <AllNodes onAdd={() => setAdd('1', true)} />
      {adding && <AddNode onClose={() => setAdd('')} />}
    </>
  )
}

function AllNodes({ onAdd }: { onAdd(): void }) {
  const loaded = useResource(lists.nodes)
  const findings = useResource(lists.doctor).data?.findings
  const all = loaded.data?.nodes
  const [open, setOpen] = useParam('node')
  const [sort, setSort] = useParam('nsort')
  const [draining, setDraining] = useState<Node | undefined>(undefined)
  const waiting = useMemo(() => (all ?? []).filter((n) => n.state === 'waiting'), [all])
  const rows = useMemo(() => (all ?? []).filter((n) => n.state !== 'waiting').sort((a, b) => nodeRank(a) - nodeRank(b)), [all])
  const columns = useMemo(() => nodeColumns(findings ?? []), [findings])
  useKeys(T.node.nodes, [
    { keys: 'a', does: T.node.add, run: () => may('admin') && onAdd() },
    {
      keys: 'd',
      does: T.node.drain,
      run: () => {
        const n = rows.find((x) => x.id === open)
        if (n?.state === 'approved' && !n.drained && may('operator')) setDraining(n)
      },
    },
  ])
  const stale = isStale(loaded, lists.nodes.everyMs) || (loaded.error && loaded.atMs)
  return (
    <section aria-labelledby="nodes-title" class="stack">
      <div class="row">
        <h2 id="nodes-title">{T.node.nodes}</h2>
        {all && <p class="extra">{T.node.sentence(rows.filter((n) => n.linked).length, rows.filter((n) => n.state === 'approved').length, waiting.length)}</p>}
        {stale && <span class="mark-unknown">○ {T.asOf(clock(loaded.atMs))}</span>}
      </div>
      {loaded.error && <Problem error={loaded.error} what={T.cannotLoad(T.node.theNodes)} retry={() => lists.nodes.reload()} />}
      {!all && !loaded.error && <Skeleton what={T.node.theNodes} rows={2} />}
      {waiting.map((n) => (
        <Waiting key={n.id} n={n} />
      ))}
      {all && !all.length && (
        <Empty why={T.node.empty}>
          {may('admin') ? (
            <Button act={onAdd} kind="main">
              {T.node.add}
            </Button>
          ) : (
            <p class="extra">{T.node.emptyElse}</p>
          )}
        </Empty>
      )}
      {rows.length > 0 && (
        <Table
          name="nodes"
          caption={T.node.nodes}
          columns={columns}
          rows={rows}
          rowKey={(n) => n.id}
          label={(n) => visible(n.name)}
          sort={sort}
          onSort={setSort}
          open={open}
          onOpen={(k) => setOpen(k, true)}
          detail={(n) => <NodeDetail n={n} findings={findingsOf(findings ?? [], n)} onDrain={() => setDraining(n)} />}
        />
      )}
      {may('admin') && <OpenInvites />}
      <Certs />
      {draining && <Drain n={draining} onClose={() => setDraining(undefined)} />}
    </section>
  )
}

const nodeColumns = (findings: Finding[]): Column<Node>[] => [
  { id: 'name', head: T.node.node, cell: (n) => <Name text={n.name} most={24} still />, sort: (n) => n.name.toLowerCase() },
  { id: 'state', head: T.colState, cell: (n) => <State n={n} />, sort: nodeRank },
  { id: 'findings', head: T.node.findings, wide: true, narrow: 'hide', cell: (n) => <Worst of={findingsOf(findings, n)} n={n} /> },
  {
    id: 'link',
    head: T.node.link,
    narrow: 'hide',
    cell: (n) => (n.link ? T.node.linkIs(T.node.modes[n.mode], n.link.post_quantum) : T.node.modes[n.mode]),
  },
  {
    id: 'rtt',
    head: T.node.rtt,
    num: true,
    narrow: 'hide',
    cell: (n) => (n.link?.rtt_us ? duration(n.link.rtt_us / 1000) : '–'),
    sort: (n) => n.link?.rtt_us ?? Infinity,
  },
  { id: 'models', head: T.colModels, num: true, cell: (n) => count(n.models), sort: (n) => n.models ?? -1 },
  { id: 'flight', head: T.colInFlight, num: true, narrow: 'hide', cell: (n) => count(n.link?.streams), sort: (n) => n.link?.streams ?? -1 },
  { id: 'version', head: T.node.version, narrow: 'hide', cell: (n) => visible(n.registration?.version ?? n.told.version ?? '–') },
  {
    id: 'certificate',
    head: T.node.certificate,
    narrow: 'hide',
    cell: (n) => <Certificate n={n} />,
    sort: (n) => n.certificate_ends_ms ?? Infinity,
  },
]

export function State({ n }: { n: Node }) {
  const s = nodeState(n)
  const since = nodeSince(n, hubNow())
  return <Mark state={nodeMarks[s]} word={T.node.states[s]} extra={since ? <Age ms={since} /> : undefined} />
}

/* The worst in words, how many more there are; where nothing is wrong, what the node says itself. */
function Worst({ of, n }: { of: Finding[]; n: Node }) {
  const worst = of[0]
  if (!worst || worst.severity === 'info') return <>{visible(n.reason || (n.linked ? '' : (n.last_error ?? '')))}</>
  return (
    <span class={worst.severity === 'error' ? 'mark-bad' : 'mark-warn'}>
      {worst.severity === 'error' ? '✕' : '▲'} {visible(worst.what)} {of.length > 1 && T.node.andMore(of.length - 1)}
    </span>
  )
}

export function Certificate({ n }: { n: Node }) {
  const left = (n.certificate_ends_ms ?? 0) - hubNow()
  if (!n.certificate_ends_ms || n.state !== 'approved') return <>–</>
  return (
    <span title={clock(n.certificate_ends_ms)} class={left <= 0 ? 'mark-bad' : left < CERTIFICATE_SOON_MS ? 'mark-warn' : ''}>
      {left <= 0 ? '✕ ' + T.node.certificateOver : left < CERTIFICATE_SOON_MS ? '▲ ' + duration(left) : duration(left)}
    </span>
  )
}

/* --- a machine that came without an invitation --------------------------------------------------------------------- */

function Waiting({ n }: { n: Node }) {
  const [asking, setAsking] = useState<'approve' | 'refuse' | undefined>(undefined)
  const locked = may('admin') ? undefined : T.needsAdmin
  const name = visible(n.name)
  const decide = async (): Promise<void> => {
    await post(`nodes/${part(n.id)}/${asking}`)
    await lists.nodes.reload()
    toast('ok', asking === 'approve' ? T.node.approved(name) : T.node.refusedName(name))
  }
  return (
    <section class="checklist" aria-label={T.node.waits(name)}>
      <h3>
        <Mark state="unknown" word={T.node.waits(name)} extra={<Ago ms={n.created_ms} />} />
      </h3>
      <Facts
        rows={[
          [T.node.fingerprint, <code class="fingerprint">{fingerprintGroups(n.fingerprint)}</code>],
          [T.address, visible(n.told.address ?? '') || T.unknown],
          [T.node.machine, machineOf(n)],
        ]}
      />
      <p class="extra">{T.node.compare}</p>
      <div class="row">
        <Button act={() => setAsking('refuse')} locked={locked} hub>
          {T.node.refuse(name)}
        </Button>
        <Button act={() => setAsking('approve')} locked={locked} hub>
          {T.node.approve(name)}
        </Button>
      </div>
      {asking && (
        <Confirm
          title={asking === 'approve' ? T.node.approve(name) : T.node.refuse(name)}
          facts={
            asking === 'approve'
              ? [T.node.approveMeans, T.node.approveCheck(fingerprintGroups(n.fingerprint))]
              : [T.node.refuseMeans]
          }
          verb={asking === 'approve' ? T.node.approve(name) : T.node.refuse(name)}
          act={decide}
          onClose={() => setAsking(undefined)}
        />
      )}
    </section>
  )
}

export function machineOf(n: Node): string {
  const t = n.told
  return [t.hostname, t.os, t.arch, t.version && T.hubVersion(t.version)].filter((x): x is string => !!x).map(visible).join(', ') || T.unknown
}

/* --- acts that are asked about ------------------------------------------------------------------------------------- */

function Drain({ n, onClose }: { n: Node; onClose(): void }) {
  const name = visible(n.name)
  return (
    <Confirm
      title={T.node.drainName(name)}
      facts={[T.node.drainMeans, T.node.drainBusy(n.link?.streams ?? 0)]}
      verb={T.node.drainName(name)}
      act={async () => {
        await post(`nodes/${part(n.id)}/drain`)
        await lists.nodes.reload()
        toast('ok', T.node.drained(name))
      }}
      onClose={onClose}
    />
  )
}

/* --- invitations --------------------------------------------------------------------------------------------------- */

function OpenInvites() {
  const all = useResource(lists.invites).data?.invites
  const open = (all ?? []).filter((i) => !i.used && i.expires_ms > hubNow())
  if (!open.length) return null
  return (
    <section aria-label={T.node.invites} class="stack tight">
      <h3>{T.node.invites}</h3>
      <ul class="plain stack tight">
        {open.map((i) => (
          <OpenInvite key={i.id} i={i} />
        ))}
      </ul>
    </section>
  )
}

function OpenInvite({ i }: { i: Invite }) {
  useSecond()
  return (
    <li class="row">
      <Mark state="busy" word={i.name ? T.node.inviteFor(visible(i.name)) : T.node.inviteAny} extra={T.node.endsIn(remaining(i.expires_ms - hubNow()))} />
      <Button
        act={async () => {
          await del(`invites/${part(i.id)}`)
          await lists.invites.reload()
        }}
        hub
        label={T.node.voidName(visible(i.name || i.id))}
      >
        {T.node.void}
      </Button>
    </li>
  )
}
