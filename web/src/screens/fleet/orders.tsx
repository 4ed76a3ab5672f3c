/* orders.tsx - what a node is asked to do: buttons for it, and what became of what was asked before. */
import { useMemo, useState } from 'preact/hooks'
import { del, part, post } from '../../app/api'
import { resource, useResource } from '../../app/data'
import { toast } from '../../app/say'
import { may } from '../../app/session'
import type { Directive, Node } from '../../app/types'
import { Button } from '../../parts/button'
import { Confirm } from '../../parts/confirm'
import { Dialog } from '../../parts/dialog'
import { SelectField } from '../../parts/field'
import { Mark, type MarkState } from '../../parts/mark'
import { Name } from '../../parts/name'
import { Problem } from '../../parts/problem'
import { Skeleton } from '../../parts/skeleton'
import { Table, type Column } from '../../parts/table'
import { Ago } from '../../parts/time'
import { visible } from '../../pure/visible'
import { T } from '../../text'

const marks: Record<Directive['state'], MarkState> = {
  queued: 'unknown',
  sent: 'unknown',
  accepted: 'busy',
  running: 'busy',
  succeeded: 'ok',
  refused: 'warn',
  failed: 'bad',
  cancelled: 'off',
  timed_out: 'bad',
  expired: 'off',
  superseded: 'off',
  unknown: 'warn',
}
const isOpen = (d: Directive): boolean => ['queued', 'sent', 'accepted', 'running'].includes(d.state)
const listOf = (n: Node) => resource<{ directives: Directive[] }>(`nodes/${part(n.id)}/directives`, ['node'], 0)

async function order(n: Node, op: string, args: object = {}): Promise<void> {
  await post(`nodes/${part(n.id)}/directives`, { op, args })
  await listOf(n).reload()
  toast('ok', T.node.asked(T.node.ops[op] ?? op, visible(n.name)))
}

export function Orders({ n }: { n: Node }) {
  const [asking, setAsking] = useState<'level' | 'restart' | undefined>(undefined)
  const admin = may('admin') ? undefined : T.needsAdmin
  const close = (): void => setAsking(undefined)
  return (
    <div class="stack">
      {n.state === 'approved' && (
        <div class="row">
          <Button act={() => order(n, 'refresh_inventory')} locked={admin} hub>
            {T.node.lookAgain}
          </Button>
          <Button act={() => setAsking('level')} locked={admin}>
            {T.node.logLevel}
          </Button>
          <Button act={() => setAsking('restart')} locked={admin} kind="danger">
            {T.node.restartName(visible(n.name))}
          </Button>
        </div>
      )}
      <List n={n} />
      {asking === 'level' && <Level n={n} onClose={close} />}
      {asking === 'restart' && (
        <Confirm
          title={T.node.restartName(visible(n.name))}
          facts={[T.node.restartMeans, T.node.revokeBusy(n.link?.streams ?? 0)]}
          verb={T.node.restartName(visible(n.name))}
          act={() => order(n, 'restart')}
          onClose={close}
        />
      )}
    </div>
  )
}

const levels = ['debug', 'info', 'warn', 'error']
const minutes = ['5', '15', '60']

function Level({ n, onClose }: { n: Node; onClose(): void }) {
  const [level, setLevel] = useState('debug')
  const [ttl, setTtl] = useState('15')
  const send = async (): Promise<void> => {
    await order(n, 'set_log_level', { level, ttl_ms: Number(ttl) * 60_000 })
    onClose()
  }
  return (
    <Dialog title={T.node.logLevelOf(visible(n.name))} onClose={onClose}>
      <SelectField label={T.node.level} value={level} options={levels.map((v) => ({ value: v, text: v }))} onInput={setLevel} />
      <SelectField label={T.node.levelFor} value={ttl} options={minutes.map((v) => ({ value: v, text: T.node.minutes(Number(v)) }))} onInput={setTtl} hint={T.node.levelFalls} />
      <footer class="row">
        <Button act={onClose}>{T.cancel}</Button>
        <Button act={send} kind="main" hub autofocus>
          {T.node.logLevel}
        </Button>
      </footer>
    </Dialog>
  )
}

/* --- what was asked -------------------------------------------------------------------------------------------------- */

const why = (d: Directive): string => d.message || d.code || (d.detail ? JSON.stringify(d.detail) : '') || d.reason

const columns: Column<Directive>[] = [
  { id: 'at', head: T.time, rowHead: true, cell: (d) => <Ago ms={d.issued_ms} /> },
  { id: 'what', head: T.node.order, cell: (d) => T.node.ops[d.op] ?? visible(d.op) },
  { id: 'state', head: T.colState, cell: (d) => <Mark state={marks[d.state] ?? 'unknown'} word={T.node.orderStates[d.state] ?? visible(d.state)} /> },
  { id: 'by', head: T.node.orderBy, wide: true, cell: (d) => <Name text={d.by} most={24} /> },
  { id: 'why', head: T.details, wide: true, cell: (d) => <Name text={why(d) || '–'} most={48} /> },
  { id: 'cancel', head: '', cell: (d) => isOpen(d) && d.op !== 'cancel' && <Cancel d={d} /> },
]

function Cancel({ d }: { d: Directive }) {
  return (
    <Button act={() => del(`directives/${part(d.id)}`)} locked={may('admin') ? undefined : T.needsAdmin} hub>
      {T.cancel}
    </Button>
  )
}

function List({ n }: { n: Node }) {
  const list = useMemo(() => listOf(n), [n.id])
  const { data, error } = useResource(list)
  if (error && !data) return <Problem error={error} what={T.cannotLoad(T.node.orders)} retry={() => list.reload()} />
  if (!data) return <Skeleton what={T.node.orders} rows={3} />
  if (data.directives.length === 0) return <p class="extra">{T.node.noOrders}</p>
  return (
    <Table
      name="node-orders"
      caption={T.node.ordersOf(visible(n.name))}
      columns={columns}
      rows={data.directives}
      rowKey={(d) => d.id}
      label={(d) => T.node.ops[d.op] ?? d.op}
    />
  )
}
