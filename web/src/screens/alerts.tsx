/* alerts.tsx - what fires, what to do about it, and silence with an end. Address: q, severity. */
import { useState } from 'preact/hooks'
import { part, put } from '../app/api'
import { useSecond } from '../app/clock'
import { isStale, useResource } from '../app/data'
import { hubNow } from '../app/events'
import { lists } from '../app/lists'
import { setParams, useParam } from '../app/route'
import { toast } from '../app/say'
import { may } from '../app/session'
import type { Alert } from '../app/types'
import { Button } from '../parts/button'
import { Dialog } from '../parts/dialog'
import { Empty } from '../parts/empty'
import { SelectField } from '../parts/field'
import { FilterBar } from '../parts/filterbar'
import { Mark } from '../parts/mark'
import { Name } from '../parts/name'
import { Problem } from '../parts/problem'
import { ScreenHead } from '../parts/screenhead'
import { Skeleton } from '../parts/skeleton'
import { Age, Clock } from '../parts/time'
import { alertOrder, evidence, isSilent } from '../pure/alerts'
import { duration } from '../pure/format'
import { visible } from '../pure/visible'
import { T } from '../text'

const SHOWN = 200

export default function Alerts() {
  useSecond()
  const loaded = useResource(lists.alerts)
  const all = loaded.data?.alerts
  const [q, setQ] = useParam('q')
  const [severity, setSeverity] = useParam('severity')
  const [silencing, setSilencing] = useState<Alert | undefined>(undefined)
  const now = hubNow()
  const t = q.trim().toLowerCase()
  const rows =
    all &&
    alertOrder(all, now).filter(
      (a) => (!severity || a.severity === severity) && (!t || [a.text, a.object, a.kind, a.cure].some((x) => x.toLowerCase().includes(t))),
    )
  const firing = all?.filter((a) => !isSilent(a, now) && !a.explained_by) ?? []
  const clear = (): void => setParams({ q: undefined, severity: undefined })
  const end = async (a: Alert): Promise<void> => {
    await put(`alerts/${part(a.id)}/silence`, { until_ms: 0 })
    await lists.alerts.reload()
    toast('ok', T.alarm.heardAgain)
  }
  return (
    <>
      <ScreenHead
        title={T.alertsName}
        state={
          all &&
          T.alarm.sentence(
            firing.filter((a) => a.severity === 'bad').length,
            firing.filter((a) => a.severity !== 'bad').length,
            all.filter((a) => isSilent(a, now)).length,
          )
        }
        stale={isStale(loaded, lists.alerts.everyMs) || (loaded.error && loaded.atMs) ? loaded.atMs : undefined}
      />
      {loaded.error && <Problem error={loaded.error} what={T.cannotLoad(T.alarm.theAlerts)} retry={() => lists.alerts.reload()} />}
      {!all && !loaded.error && <Skeleton what={T.alarm.theAlerts} rows={4} />}
      {all && !all.length && (
        <Empty why={T.alarm.none}>
          <p class="extra">{T.alarm.noneMeans}</p>
          <a class="button" href="#/fleet">
            {T.toFleet}
          </a>
        </Empty>
      )}
      {all && rows && all.length > 0 && (
        <>
          <FilterBar
            text={q}
            onText={setQ}
            hidden={all.length - rows.length}
            onClear={clear}
            choices={[
              {
                label: T.alarm.severity,
                value: severity,
                onInput: setSeverity,
                options: (['bad', 'warn'] as const).map((s) => ({
                  value: s,
                  text: T.alarm.severities[s],
                  n: all.filter((a) => a.severity === s).length,
                })),
              },
            ]}
          />
          {!rows.length && (
            <Empty why={T.alarm.filtered}>
              <Button act={clear}>{T.showAll}</Button>
            </Empty>
          )}
          <ul class="plain stack tight">
            {rows.slice(0, SHOWN).map((a) => (
              <Row key={a.id} a={a} by={all.find((x) => x.id === a.explained_by)} silent={isSilent(a, now)} onSilence={() => setSilencing(a)} onEnd={() => end(a)} />
            ))}
          </ul>
          {rows.length > SHOWN && <p class="extra">{T.use.newestOf(SHOWN, String(rows.length))}</p>}
        </>
      )}
      {silencing && <Silence a={silencing} onClose={() => setSilencing(undefined)} />}
    </>
  )
}

function Row({ a, by, silent, onSilence, onEnd }: { a: Alert; by?: Alert; silent: boolean; onSilence(): void; onEnd(): unknown }) {
  const locked = may('operator') ? undefined : T.needsOperator
  const link = evidence(a.link)
  return (
    <li class={'alert-row' + (by ? ' folded' : '') + (silent ? ' silent' : ' alert-' + a.severity)}>
      <div class="row">
        <Mark
          state={silent ? 'paused' : a.severity === 'bad' ? 'bad' : 'warn'}
          word={silent ? T.alarm.silent : T.alarm.severities[a.severity === 'bad' ? 'bad' : 'warn']}
        />
        <Name text={a.object} most={40} />
        <span class="extra">
          {T.alarm.forSo} <Age ms={a.since_ms} />
        </span>
        {silent && (
          <span class="extra">
            {T.alarm.silentUntil} <Clock ms={a.silenced_until_ms} />
          </span>
        )}
      </div>
      <p>
        <strong>{visible(a.text)}</strong>
      </p>
      {by && (
        <p class="extra">
          {T.alarm.explainedBy} {visible(by.text)}
        </p>
      )}
      {a.cure && !by && (
        <p>
          {T.alarm.todo} {visible(a.cure)}
        </p>
      )}
      <div class="row">
        {link && (
          <a class="button" href={link}>
            {T.alarm.evidence}
          </a>
        )}
        {silent ? (
          <Button act={onEnd} locked={locked} hub>
            {T.alarm.endSilence}
          </Button>
        ) : (
          <Button act={onSilence} locked={locked}>
            {T.alarm.silence}
          </Button>
        )}
      </div>
    </li>
  )
}

const HOUR = 3_600_000

function Silence({ a, onClose }: { a: Alert; onClose(): void }) {
  const [ms, setMs] = useState(String(HOUR))
  const go = async (): Promise<void> => {
    await put(`alerts/${part(a.id)}/silence`, { until_ms: Math.round(hubNow() + Number(ms)) })
    await lists.alerts.reload()
    toast('ok', T.alarm.silencedFor(duration(Number(ms))))
    onClose()
  }
  return (
    <Dialog title={T.alarm.silence} onClose={onClose}>
      <p>
        <strong>{visible(a.text)}</strong>
      </p>
      <p>{T.alarm.silenceMeans}</p>
      <SelectField
        label={T.alarm.howLong}
        value={ms}
        onInput={setMs}
        options={[HOUR / 4, HOUR, 4 * HOUR, 24 * HOUR, 7 * 24 * HOUR].map((n) => ({ value: String(n), text: duration(n) }))}
      />
      <footer class="row">
        <Button act={onClose} autofocus>
          {T.cancel}
        </Button>
        <Button act={go} kind="main" hub>
          {T.alarm.silence}
        </Button>
      </footer>
    </Dialog>
  )
}
