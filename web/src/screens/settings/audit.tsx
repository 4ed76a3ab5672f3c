/* audit.tsx - the audit log: what was changed by whom, newest first, and whether that record is whole. Address: q, action. */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { get, post } from '../../app/api'
import { onTopic } from '../../app/events'
import { useParam } from '../../app/route'
import { prefs } from '../../app/prefs'
import { Button } from '../../parts/button'
import { Copy } from '../../parts/copy'
import { Empty } from '../../parts/empty'
import { FilterBar } from '../../parts/filterbar'
import { Mark } from '../../parts/mark'
import { Name } from '../../parts/name'
import { Problem } from '../../parts/problem'
import { Skeleton } from '../../parts/skeleton'
import { Table, type Column } from '../../parts/table'
import { Clock } from '../../parts/time'
import { csv } from '../../pure/csv'
import { count, utc } from '../../pure/format'
import { visible } from '../../pure/visible'
import { T } from '../../text'
import { download } from '../keys/shared'

interface Act {
  seq: number
  at_ms: number
  actor: string
  peer: string
  action: string
  object: string
  detail: string
}
interface Verdict {
  intact: boolean
  rows: number
  broken_at?: number
  head: string
}

const PAGE = 200
const MOST = 5000

const columns: Column<Act>[] = [
  { id: 'at', head: T.time, cell: (a) => <Clock ms={a.at_ms} /> },
  { id: 'actor', head: T.set.who, cell: (a) => <Name text={a.actor} most={24} /> },
  { id: 'action', head: T.set.action, cell: (a) => <Name text={a.action} most={32} /> },
  { id: 'object', head: T.set.object, wide: true, cell: (a) => <Name text={a.object || '–'} most={48} /> },
  { id: 'peer', head: T.key.from, narrow: 'hide', cell: (a) => <Name text={a.peer || '–'} most={32} /> },
  { id: 'seq', head: T.set.number, num: true, narrow: 'hide', cell: (a) => count(a.seq) },
]

export function Audit() {
  const [acts, setActs] = useState<Act[] | undefined>(undefined)
  const [end, setEnd] = useState(false)
  const [fault, setFault] = useState<unknown>(undefined)
  const [verdict, setVerdict] = useState<Verdict | undefined>(undefined)
  const [q, setQ] = useParam('q')
  const [action, setAction] = useParam('action')
  const [open, setOpen] = useParam('open')
  const reading = useRef(false)
  reading.current = open !== '' || prefs.get().paused
  const newest = async (): Promise<void> => {
    try {
      const r = await get<{ acts: Act[] }>(`audit?limit=${PAGE}`)
      setActs((had) => {
        const last = r.acts[r.acts.length - 1]?.seq ?? 0
        return [...r.acts, ...(had ?? []).filter((a) => a.seq < last)]
      })
      setEnd((was) => was || r.acts.length < PAGE)
      setFault(undefined)
    } catch (e) {
      setFault(e)
    }
  }
  const older = async (): Promise<void> => {
    const before = acts?.[acts.length - 1]?.seq
    const r = await get<{ acts: Act[] }>(`audit?limit=${PAGE}${before ? '&before=' + before : ''}`)
    setActs([...(acts ?? []), ...r.acts])
    setEnd(r.acts.length < PAGE)
  }
  useEffect(() => {
    void newest()
    let timer: ReturnType<typeof setTimeout> | undefined
    /* An act that was written down is told as its own topic, or as that of what it changed. */
    const ends = (['audit', 'key', 'user', 'mode', 'config', 'session'] as const).map((t) =>
      onTopic(t, () => {
        timer ??= setTimeout(() => {
          timer = undefined
          if (!reading.current) void newest()
        }, 1000)
      }),
    )
    return () => {
      clearTimeout(timer)
      ends.forEach((fn) => fn())
    }
  }, [])
  const rows = useMemo(() => {
    const t = q.trim().toLowerCase()
    return (acts ?? []).filter(
      (a) =>
        (!action || a.action === action) &&
        (!t || [a.actor, a.peer, a.action, a.object, a.detail].some((x) => x.toLowerCase().includes(t))),
    )
  }, [acts, q, action])
  const kinds = [...new Set((acts ?? []).map((a) => a.action))].sort()
  const clear = (): void => {
    setQ('')
    setAction('')
  }
  const save = (): void =>
    download(
      'drover-audit.csv',
      'text/csv',
      csv(
        ['seq', 'at', 'actor', 'peer', 'action', 'object', 'detail'],
        rows.map((a) => ({ ...a, at: utc(a.at_ms) })),
      ),
    )
  return (
    <>
      <div class="row">
        <Button act={async () => setVerdict(await post<Verdict>('audit/verify'))}>{T.set.verify}</Button>
        {verdict && (
          <span role="status">
            <Mark
              state={verdict.intact ? 'ok' : 'bad'}
              word={verdict.intact ? T.set.intact(count(verdict.rows)) : T.set.broken(count(verdict.broken_at))}
            />{' '}
            <Copy text={verdict.head} words={T.set.copyHead} />
          </span>
        )}
        <span class="grow" />
        <Button act={save} off={rows.length ? undefined : T.use.nothing}>
          CSV
        </Button>
      </div>
      {verdict && <p class="extra">{verdict.intact ? T.set.headMeans : T.set.brokenMeans}</p>}
      {fault !== undefined && <Problem error={fault} what={T.cannotLoad(T.set.theAudit)} retry={newest} />}
      {!acts && fault === undefined && <Skeleton what={T.set.theAudit} rows={8} />}
      {acts && !acts.length && <Empty why={T.set.noActs} />}
      {acts && acts.length > 0 && (
        <>
          <FilterBar
            text={q}
            onText={setQ}
            hidden={acts.length - rows.length}
            onClear={clear}
            choices={[
              {
                label: T.set.action,
                value: action,
                onInput: setAction,
                options: kinds.map((k) => ({ value: k, text: visible(k), n: acts.filter((a) => a.action === k).length })),
              },
            ]}
          />
          {rows.length ? (
            <Table
              name="audit"
              caption={T.set.tabs.audit}
              columns={columns}
              rows={rows}
              rowKey={(a) => String(a.seq)}
              label={(a) => visible(a.action)}
              open={open}
              onOpen={(k) => setOpen(k, true)}
              detail={(a) => (
                <p>
                  {visible(a.detail) || T.set.noDetail}{' '}
                  <span class="extra">
                    {utc(a.at_ms)} {visible(a.peer)}
                  </span>
                </p>
              )}
            />
          ) : (
            <Empty why={T.set.actsFiltered}>
              <Button act={clear}>{T.showAll}</Button>
            </Empty>
          )}
          {!end && acts.length < MOST && <Button act={older}>{T.set.olderActs}</Button>}
          {!end && acts.length >= MOST && <p class="extra">{T.set.tooManyActs(count(MOST))}</p>}
        </>
      )}
    </>
  )
}
