/* mode.tsx - Dev or Live, beside the product's name: what it is, until when, and going to the other. The hub enforces it. */
import { useState } from 'preact/hooks'
import { Button } from '../parts/button'
import { Dialog } from '../parts/dialog'
import { SelectField, TextField } from '../parts/field'
import { Clock } from '../parts/time'
import { visible } from '../pure/visible'
import { T } from '../text'
import { put } from './api'
import { useResource } from './data'
import { lists } from './lists'
import { toast } from './say'
import { may, session } from './session'
import { useStore } from './store'
import type { Mode } from './types'

const HOUR = 3_600_000

export function ModeButton() {
  const s = useStore(session)
  const m = useResource(lists.mode).data
  const [open, setOpen] = useState(false)
  const mode = m?.mode ?? s?.mode
  if (!mode) return null
  return (
    <>
      <button type="button" class={'mode ' + mode} onClick={() => setOpen(true)} title={mode === 'live' ? T.liveMeans : T.devMeans}>
        <span aria-hidden="true">{mode === 'live' ? '■' : '◇'}</span> {T.modes[mode]}
      </button>
      {open && <ModeDialog mode={mode} facts={m} onClose={() => setOpen(false)} />}
    </>
  )
}

function ModeDialog({ mode, facts, onClose }: { mode: 'dev' | 'live'; facts?: Mode; onClose(): void }) {
  const [key, setKey] = useState('')
  const [ttl, setTtl] = useState(String(HOUR))
  const to = mode === 'live' ? 'dev' : 'live'
  const change = async (): Promise<void> => {
    const body = to === 'live' ? { mode: to } : { mode: to, ttl_ms: Number(ttl) || undefined, permission_key: key || undefined }
    await put<Mode>('mode', body)
    await lists.mode.reload()
    toast('ok', T.modeIsNow(T.modes[to]))
    onClose()
  }
  return (
    <Dialog title={T.modeTitle(T.modes[mode])} onClose={onClose}>
      <p>{mode === 'live' ? T.liveMeans : T.devMeans}</p>
      {facts?.since_ms && (
        <p class="extra">
          {T.since} <Clock ms={facts.since_ms} /> {facts.by && T.byWhom(visible(facts.by))}
        </p>
      )}
      {facts?.until_ms && (
        <p class="extra">
          {T.devUntil} <Clock ms={facts.until_ms} />
        </p>
      )}
      {!may('admin') ? (
        <p>{T.modeNeedsAdmin}</p>
      ) : (
        <>
          {to === 'dev' && (
            <>
              <p>{T.devUnlocks}</p>
              {facts?.has_key !== false && <TextField label={T.permissionKey} secret value={key} onInput={setKey} first />}
              <SelectField label={T.devFor} value={ttl} onInput={setTtl} options={T.devTimes(HOUR)} />
            </>
          )}
        </>
      )}
      <footer class="row">
        <Button act={onClose} autofocus={to === 'live'}>
          {T.close}
        </Button>
        {may('admin') && (
          <Button act={change} kind="main" hub>
            {T.goTo(T.modes[to])}
          </Button>
        )}
      </footer>
    </Dialog>
  )
}
