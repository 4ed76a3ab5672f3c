/* node.tsx - one node, opened: what is not as it should be with its cure, its link, what happened to it, and what can be done. */
import { useMemo, useState } from 'preact/hooks'
import { del, part, post, put } from '../../app/api'
import { resource, useResource } from '../../app/data'
import { lists } from '../../app/lists'
import { wayBack } from '../../app/place'
import { setParams } from '../../app/route'
import { toast } from '../../app/say'
import { may } from '../../app/session'
import type { Finding, Node, NodeEvent } from '../../app/types'
import { Button } from '../../parts/button'
import { Confirm } from '../../parts/confirm'
import { Dialog } from '../../parts/dialog'
import { Facts } from '../../parts/facts'
import { TextField } from '../../parts/field'
import { Mark } from '../../parts/mark'
import { Name } from '../../parts/name'
import { Problem } from '../../parts/problem'
import { Skeleton } from '../../parts/skeleton'
import { Table, type Column } from '../../parts/table'
import { Ago, Clock } from '../../parts/time'
import { bytes, count, duration } from '../../pure/format'
import { fingerprintGroups, readLabels, writeLabels } from '../../pure/nodes'
import { visible } from '../../pure/visible'
import { T } from '../../text'
import { Certificate, machineOf, State } from './nodes'
import { Orders } from './orders'

type Asking = 'rename' | 'labels' | 'revoke' | 'remove' | 'history' | 'orders' | undefined

export function NodeDetail({ n, findings, onDrain }: { n: Node; findings: Finding[]; onDrain(): void }) {
  const [asking, setAsking] = useState<Asking>(undefined)
  const close = (): void => setAsking(undefined)
  return (
    <div class="stack">
      {findings.length > 0 && <Findings all={findings} />}
      <Facts rows={facts(n)} />
      <Acts n={n} ask={setAsking} asking={asking} onDrain={onDrain} />
      {asking === 'history' && <History n={n} />}
      {asking === 'orders' && <Orders n={n} />}
      {asking === 'rename' && <Rename n={n} onClose={close} />}
      {asking === 'labels' && <Labels n={n} onClose={close} />}
      {asking === 'revoke' && <Revoke n={n} onClose={close} />}
      {asking === 'remove' && <Remove n={n} onClose={close} />}
    </div>
  )
}

export function Findings({ all }: { all: Finding[] }) {
  return (
    <ul class="plain stack tight" aria-label={T.node.findings}>
      {all.map((f) => (
        <li class={'alert-row alert-' + (f.severity === 'error' ? 'bad' : f.severity === 'warning' ? 'warn' : 'info')}>
          <Mark state={f.severity === 'error' ? 'bad' : f.severity === 'warning' ? 'warn' : 'off'} word={visible(f.what)} />
          <p>
            {T.alarm.todo} {visible(f.cure)}
          </p>
        </li>
      ))}
    </ul>
  )
}

function facts(n: Node): Parameters<typeof Facts>[0]['rows'] {
  const l = n.link
  return [
    [T.colState, <State n={n} />],
    [T.reason, n.reason ? visible(n.reason) : undefined],
    [T.node.lastError, !n.linked && n.last_error ? visible(n.last_error) : undefined],
    [T.node.link, l ? T.node.linkFor(T.node.modes[n.mode], visible(l.peer), duration(l.up_ms)) : T.node.modes[n.mode]],
    [T.node.postQuantum, l && (l.post_quantum ? T.node.pqYes(visible(l.group)) : T.node.pqNo(visible(l.group)))],
    [T.node.rtt, l && (l.rtt_us ? duration(l.rtt_us / 1000) : T.unknown)],
    [T.node.carries, l && T.node.carriesIs(count(l.streams), l.lanes)],
    [T.node.traffic, l && T.node.trafficIs(bytes(l.bytes_in), bytes(l.bytes_out))],
    [T.colModels, l && count(n.models)],
    [T.node.console, l && T.node.consoleIs[reachOf(n)]],
    [T.address, n.url ? visible(n.url) : undefined],
    [T.node.machine, machineOf(n)],
    [T.node.certificate, <Certificate n={n} />],
    [T.node.fingerprint, <code class="fingerprint">{fingerprintGroups(n.fingerprint)}</code>],
    [T.node.labels, Object.keys(n.labels).length ? visible(writeLabels(n.labels).split('\n').join(', ')) : T.none],
    [T.node.id, <Name text={n.id} most={60} />],
    [T.node.came, <Clock ms={n.created_ms} />],
    [T.node.decided, n.decided_by ? T.node.decidedBy(visible(n.decided_by)) : undefined],
  ]
}

const reachOf = (n: Node): 'off' | 'view' | 'full' => n.registration?.allow?.console ?? 'off'

/* The node's page takes this one's place: it leads back. A visitor visits no further. */
async function visit(n: Node): Promise<void> {
  const v = await post<{ path: string }>(`nodes/${part(n.id)}/visit`)
  location.assign(v.path)
}

function Acts({ n, ask, asking, onDrain }: { n: Node; ask(what: Asking): void; asking: Asking; onDrain(): void }) {
  const operator = may('operator') ? undefined : T.needsOperator
  const admin = may('admin') ? undefined : T.needsAdmin
  const name = visible(n.name)
  const resume = async (): Promise<void> => {
    await post(`nodes/${part(n.id)}/resume`)
    await lists.nodes.reload()
    toast('ok', T.node.resumed(name))
  }
  return (
    <div class="row">
      {n.linked && reachOf(n) !== 'off' && !wayBack && (
        <Button act={() => visit(n)} hub>
          {T.node.openConsole(name)}
        </Button>
      )}
      {n.state === 'approved' &&
        (n.drained ? (
          <Button act={resume} locked={operator} hub>
            {T.node.resumeName(name)}
          </Button>
        ) : (
          <Button act={onDrain} locked={operator} hub>
            {T.node.drainName(name)}
          </Button>
        ))}
      {n.state === 'approved' && (
        <>
          <Button act={() => ask('rename')} locked={admin}>
            {T.node.rename}
          </Button>
          <Button act={() => ask('labels')} locked={admin}>
            {T.node.setLabels}
          </Button>
        </>
      )}
      <button type="button" class="button" aria-expanded={asking === 'history'} onClick={() => ask(asking === 'history' ? undefined : 'history')}>
        {T.node.history}
      </button>
      <button type="button" class="button" aria-expanded={asking === 'orders'} onClick={() => ask(asking === 'orders' ? undefined : 'orders')}>
        {T.node.orders}
      </button>
      {n.state === 'approved' && (
        <Button act={() => ask('revoke')} locked={admin} kind="danger">
          {T.node.revokeName(name)}
        </Button>
      )}
      <Button act={() => ask('remove')} locked={admin} kind="danger">
        {T.node.removeName(name)}
      </Button>
    </div>
  )
}

/* --- changes ------------------------------------------------------------------------------------------------------- */

function Change({ title, onClose, send, children, off }: { title: string; onClose(): void; send(): Promise<unknown>; children: preact.ComponentChildren; off?: string }) {
  return (
    <Dialog title={title} onClose={onClose}>
      {children}
      <footer class="row">
        <Button act={onClose}>{T.cancel}</Button>
        <Button
          act={async () => {
            await send()
            await lists.nodes.reload()
            onClose()
          }}
          kind="main"
          hub
          off={off}
        >
          {title}
        </Button>
      </footer>
    </Dialog>
  )
}

function Rename({ n, onClose }: { n: Node; onClose(): void }) {
  const [name, setName] = useState(n.name)
  return (
    <Change title={T.node.renameName(visible(n.name))} onClose={onClose} send={() => put(`nodes/${part(n.id)}`, { name })} off={name === n.name ? T.node.sameName : undefined}>
      <TextField label={T.node.newName} value={name} onInput={setName} hint={T.node.nameRule} most={64} first />
      <p class="extra">{T.node.renameMeans}</p>
    </Change>
  )
}

function Labels({ n, onClose }: { n: Node; onClose(): void }) {
  const [text, setText] = useState(() => writeLabels(n.labels))
  const { labels, fault } = readLabels(text)
  return (
    <Change title={T.node.labelsOf(visible(n.name))} onClose={onClose} send={() => put(`nodes/${part(n.id)}`, { labels })} off={fault && T.node.badLabel(visible(fault))}>
      <TextField label={T.node.labels} value={text} onInput={setText} area={6} hint={T.node.labelRule} fault={fault && T.node.badLabel(visible(fault))} first />
    </Change>
  )
}

function Revoke({ n, onClose }: { n: Node; onClose(): void }) {
  const name = visible(n.name)
  return (
    <Confirm
      title={T.node.revokeName(name)}
      facts={[T.node.revokeMeans, T.node.revokeBusy(n.link?.streams ?? 0), T.node.revokeBack]}
      verb={T.node.revokeName(name)}
      word={n.name}
      act={async () => {
        await post(`nodes/${part(n.id)}/revoke`)
        await lists.nodes.reload()
        toast('ok', T.node.revoked(name))
      }}
      onClose={onClose}
    />
  )
}

function Remove({ n, onClose }: { n: Node; onClose(): void }) {
  const name = visible(n.name)
  return (
    <Confirm
      title={T.node.removeName(name)}
      facts={[T.node.removeMeans, T.node.revokeBusy(n.link?.streams ?? 0)]}
      verb={T.node.removeName(name)}
      word={n.name}
      act={async () => {
        await del(`nodes/${part(n.id)}`)
        setParams({ node: undefined })
        await lists.nodes.reload()
        toast('ok', T.node.removed(name))
      }}
      onClose={onClose}
    />
  )
}

/* --- what happened ------------------------------------------------------------------------------------------------- */

const eventColumns: Column<NodeEvent>[] = [
  { id: 'at', head: T.time, rowHead: true, cell: (e) => <Ago ms={e.at_ms} /> },
  { id: 'what', head: T.node.event, cell: (e) => T.node.events[e.what] ?? visible(e.what) },
  { id: 'detail', head: T.details, wide: true, cell: (e) => <Name text={e.detail || '–'} most={48} /> },
]

function History({ n }: { n: Node }) {
  const list = useMemo(() => resource<{ events: NodeEvent[] }>(`nodes/${part(n.id)}/history`, ['node'], 0), [n.id])
  const { data, error } = useResource(list)
  if (error && !data) return <Problem error={error} what={T.cannotLoad(T.node.history)} retry={() => list.reload()} />
  if (!data) return <Skeleton what={T.node.history} rows={3} />
  return (
    <Table
      name="node-history"
      caption={T.node.historyOf(visible(n.name))}
      columns={eventColumns}
      rows={data.events}
      rowKey={(e) => `${e.at_ms} ${e.what} ${e.detail}`}
      label={(e) => e.what}
    />
  )
}
