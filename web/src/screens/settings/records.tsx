/* records.tsx - the records: whether they are well, how long they are kept, checking them, copying them. */
import { useState } from 'preact/hooks'
import { post } from '../../app/api'
import { useResource } from '../../app/data'
import { lists } from '../../app/lists'
import { href } from '../../app/route'
import type { Status } from '../../app/types'
import { Button } from '../../parts/button'
import { Code } from '../../parts/code'
import { Facts } from '../../parts/facts'
import { Mark, type MarkState } from '../../parts/mark'
import { Problem } from '../../parts/problem'
import { Skeleton } from '../../parts/skeleton'
import { Clock } from '../../parts/time'
import { bytes, count } from '../../pure/format'
import { visible } from '../../pure/visible'
import { T } from '../../text'
import { settingsView } from './changes'

interface RecordsState {
  state: string
  fault: string
  since_ms?: number
  file_bytes?: number
  check?: string
  rows_written?: number
  rows_waiting?: number
  rows_lost: number
}

const marks: Record<string, MarkState> = { well: 'ok', failing: 'bad', damaged: 'bad' }
/* What is kept for a time, by the names of docs/config.md. */
const keeps = /retain|retention/

export function Records() {
  const status = useResource(lists.status)
  const settings = useResource(settingsView)
  const r = (status.data as (Status & { records?: RecordsState }) | undefined)?.records as RecordsState | undefined
  const [verdict, setVerdict] = useState<{ fine: boolean; findings: string } | undefined>(undefined)
  const check = async (): Promise<void> => {
    setVerdict(undefined)
    setVerdict(await post<{ fine: boolean; findings: string }>('store/check'))
    await lists.status.reload()
  }
  const kept = settings.data?.settings.filter((s) => keeps.test(s.name))
  return (
    <>
      <section class="stack panel" aria-labelledby="state-title">
        <h2 id="state-title">{T.set.recordsTitle}</h2>
        {status.error && <Problem error={status.error} what={T.cannotLoad(T.set.theRecords)} retry={() => lists.status.reload()} />}
        {!r && !status.error && (status.data ? <p>{T.unknown}</p> : <Skeleton what={T.set.theRecords} rows={3} />)}
        {r && (
          <Facts
            rows={[
              [T.colState, <Mark state={marks[r.state] ?? 'unknown'} word={T.set.recordStates[r.state] ?? visible(r.state)} />],
              [T.reason, r.fault ? visible(r.fault) : undefined],
              [T.since, r.since_ms ? <Clock ms={r.since_ms} /> : undefined],
              [T.size, bytes(r.file_bytes)],
              [T.set.lastCheck, r.check ? visible(r.check) : T.unknown],
              [T.set.written, count(r.rows_written)],
              [T.set.waiting, count(r.rows_waiting)],
              [T.set.lost, r.rows_lost ? <span class="mark-bad">✕ {count(r.rows_lost)}</span> : '0'],
            ]}
          />
        )}
        <div class="row">
          <Button act={check}>{T.set.check}</Button>
          <span class="extra">{T.set.checkMeans}</span>
        </div>
        {verdict && (
          <div role="status">
            <Mark state={verdict.fine ? 'ok' : 'bad'} word={verdict.fine ? T.set.fine : T.set.notFine} />
            {verdict.findings && <Code text={verdict.findings} what={T.set.findings} wrap />}
          </div>
        )}
      </section>
      <section class="stack panel" aria-labelledby="keep-title">
        <h2 id="keep-title">{T.set.keepTitle}</h2>
        {settings.error && <Problem error={settings.error} what={T.cannotLoad(T.set.theSettings)} retry={() => settingsView.reload()} />}
        {!kept && !settings.error && <Skeleton what={T.set.theSettings} rows={2} />}
        {kept &&
          (kept.length ? (
            kept.map((s) => (
              <p>
                <a href={href('settings', { tab: 'all', open: s.name, q: s.name })}>{visible(s.name)}</a>{' '}
                <strong>{visible(s.value)}</strong> <span class="extra">{visible(s.help.replace(/`/g, ''))}</span>
              </p>
            ))
          ) : (
            <p>{T.unknown}</p>
          ))}
        <p class="extra">{T.set.keepSums}</p>
      </section>
      <section class="stack panel" aria-labelledby="copy-title">
        <h2 id="copy-title">{T.set.backupTitle}</h2>
        <p>{T.set.backupWhy}</p>
        <Code text={'drover backup /var/backups/drover-$(date +%F).db'} what={T.set.backupMake} />
        <Code text={'drover backup --check'} what={T.set.backupCheck} />
        <p class="extra">{T.set.backupRestore}</p>
      </section>
    </>
  )
}
