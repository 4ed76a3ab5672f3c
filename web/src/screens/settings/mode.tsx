/* mode.tsx - Dev and Live, and the permission key that risky acts take in Live. */
import { useState } from 'preact/hooks'
import { put } from '../../app/api'
import { useResource } from '../../app/data'
import { lists } from '../../app/lists'
import { toast } from '../../app/say'
import { may } from '../../app/session'
import type { Mode } from '../../app/types'
import { Button } from '../../parts/button'
import { Confirm } from '../../parts/confirm'
import { Facts } from '../../parts/facts'
import { SelectField, TextField } from '../../parts/field'
import { Mark } from '../../parts/mark'
import { Problem } from '../../parts/problem'
import { Skeleton } from '../../parts/skeleton'
import { Clock } from '../../parts/time'
import { visible } from '../../pure/visible'
import { T } from '../../text'

const HOUR = 3_600_000

export function ModeTab() {
  const loaded = useResource(lists.mode)
  const m = loaded.data
  const [key, setKey] = useState('')
  const [ttl, setTtl] = useState(String(HOUR))
  const [asking, setAsking] = useState(false)
  if (!m)
    return loaded.error ? (
      <Problem error={loaded.error} what={T.cannotLoad(T.set.theMode)} retry={() => lists.mode.reload()} />
    ) : (
      <Skeleton what={T.set.theMode} rows={3} />
    )
  const locked = may('admin') ? undefined : T.needsAdmin
  const go = async (body: Record<string, unknown>): Promise<void> => {
    const now = await put<Mode>('mode', body)
    setKey('')
    await lists.mode.reload()
    toast('ok', T.modeIsNow(T.modes[now.mode]))
  }
  const toDev = (): Promise<void> => go({ mode: 'dev', ttl_ms: Number(ttl) || undefined, permission_key: key || undefined })
  return (
    <>
      <section class="stack panel" aria-label={T.set.tabs.mode}>
        <p>
          <Mark state={m.mode === 'live' ? 'paused' : 'off'} word={T.modes[m.mode]} /> {m.mode === 'live' ? T.liveMeans : T.devMeans}
        </p>
        <Facts
          rows={[
            [T.since, m.since_ms ? <Clock ms={m.since_ms} /> : T.unknown],
            [T.set.by, m.by ? visible(m.by) : T.unknown],
            [T.devUntil, m.until_ms ? <Clock ms={m.until_ms} /> : undefined],
            [T.permissionKey, m.has_key ? T.set.keySet : T.set.keyNone],
          ]}
        />
        {m.mode === 'dev' ? (
          <div class="row">
            <Button act={() => setAsking(true)} kind="main" locked={locked} off={m.has_key ? undefined : T.set.keyFirst}>
              {T.goTo(T.modes.live)}
            </Button>
          </div>
        ) : (
          !locked && (
            <>
              <p class="extra">{T.devUnlocks}</p>
              <TextField label={T.permissionKey} secret value={key} onInput={setKey} />
              <SelectField label={T.devFor} value={ttl} onInput={setTtl} options={T.devTimes(HOUR)} />
              <div class="row">
                <Button act={toDev} kind="main" off={key || !m.has_key ? undefined : T.set.needKey}>
                  {T.goTo(T.modes.dev)}
                </Button>
              </div>
            </>
          )
        )}
        {locked && <p class="extra">{T.modeNeedsAdmin}</p>}
      </section>
      {may('admin') && <KeyForm had={m.has_key === true} />}
      {asking && (
        <Confirm
          title={T.goTo(T.modes.live)}
          facts={[T.liveMeans, T.set.liveLog, T.set.liveBack]}
          verb={T.goTo(T.modes.live)}
          act={() => go({ mode: 'live' })}
          onClose={() => setAsking(false)}
        />
      )}
    </>
  )
}

function KeyForm({ had }: { had: boolean }) {
  const [now, setNow] = useState('')
  const [next, setNext] = useState('')
  const [again, setAgain] = useState('')
  const bytes = new TextEncoder().encode(next).length
  const wrong = next && (bytes < 8 || bytes > 1024) ? T.passWrong : undefined
  const differs = again && again !== next ? T.set.keyDiffers : undefined
  const save = async (): Promise<void> => {
    await put<Mode>('mode/key', { permission_key: next, ...(had && { current: now }) })
    setNow('')
    setNext('')
    setAgain('')
    await lists.mode.reload()
    toast('ok', T.set.keySaved)
  }
  const off = !next || wrong || differs || again !== next || (had && !now) ? T.set.keyFill : undefined
  return (
    <section class="stack panel" aria-labelledby="key-title">
      <h2 id="key-title">{had ? T.set.keyChange : T.set.keyMake}</h2>
      <p class="extra">{T.set.keyWhy}</p>
      <form class="stack" onSubmit={(e) => e.preventDefault()}>
        {had && <TextField label={T.set.keyNow} secret value={now} onInput={setNow} />}
        <TextField
          label={T.set.keyNext}
          secret
          value={next}
          onInput={setNext}
          hint={T.passRule}
          fault={wrong}
          autocomplete="new-password"
        />
        <TextField label={T.set.keyAgain} secret value={again} onInput={setAgain} fault={differs} autocomplete="new-password" />
      </form>
      <div class="row">
        <Button act={save} off={off}>
          {had ? T.set.keyChange : T.set.keyMake}
        </Button>
      </div>
      {had && <p class="extra">{T.set.keyLost}</p>}
    </section>
  )
}
