/* bulk.tsx - several keys at once: what each is and does now, the number typed, one after the other, and a table of what failed. */
import { useRef, useState } from 'preact/hooks'
import { ApiError, del, part } from '../../app/api'
import { hubNow } from '../../app/events'
import { lists } from '../../app/lists'
import { say, toast } from '../../app/say'
import type { Key } from '../../app/types'
import { Button } from '../../parts/button'
import { Dialog } from '../../parts/dialog'
import { TextField } from '../../parts/field'
import { Mark } from '../../parts/mark'
import { Name } from '../../parts/name'
import { count, duration } from '../../pure/format'
import { visible } from '../../pure/visible'
import { T } from '../../text'
import { keyList } from './shared'

/* What became of a key: nothing yet, revoked, or a fault in words. */
type End = 'done' | { fault: string }

export function RevokeMany({ keys: first, onClose }: { keys: Key[]; onClose(revoked: string[]): void }) {
  const keys = useRef(first).current /* the list behind it changes while they are revoked */
  const [ends, setEnds] = useState<ReadonlyMap<string, End>>(new Map())
  const [typed, setTyped] = useState('')
  const [busy, setBusy] = useState(false)
  const left = keys.filter((k) => ends.get(k.id) !== 'done')
  const failed = keys.filter((k) => typeof ends.get(k.id) === 'object')
  const word = String(keys.length)
  const live = keys.reduce((n, k) => n + k.in_flight, 0)
  const close = (): void => {
    if (!busy) onClose(keys.filter((k) => ends.get(k.id) === 'done').map((k) => k.id))
  }

  const revoke = async (): Promise<void> => {
    const now = new Map(ends)
    setBusy(true)
    for (const k of left) {
      try {
        await del(`keys/${part(k.id)}`)
        now.set(k.id, 'done')
      } catch (e) {
        const gone = e instanceof ApiError && e.status === 404 /* somebody else was quicker */
        now.set(k.id, gone ? 'done' : { fault: e instanceof Error && e.message ? e.message : T.hubAway })
      }
      setEnds(new Map(now))
    }
    setBusy(false)
    await Promise.allSettled([keyList.reload(), lists.status.reload()])
    const n = keys.filter((k) => now.get(k.id) === 'done').length
    if (n === keys.length) {
      toast('ok', T.bulk.revoked(n))
      onClose(keys.map((k) => k.id))
    } else say(T.bulk.someFailed(keys.length - n, keys.length))
  }
  return (
    <Dialog title={T.bulk.revokeTitle(keys.length)} onClose={close} wide>
      <ul class="facts">
        <li>{live ? T.bulk.liveNow(live) : T.key.liveNone}</li>
        <li>{T.key.revokeEnds}</li>
        <li>{T.key.revokeForGood}</li>
      </ul>
      {failed.length > 0 && !busy && <p class="mark-bad">✕ {T.bulk.someFailed(failed.length, keys.length)}</p>}
      <div class="table-box" role="region" aria-label={T.bulk.each} tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">{T.key.name}</th>
              <th scope="col" class="num">
                {T.colInFlight}
              </th>
              <th scope="col" class="narrow-hide">
                {T.key.lastUsed}
              </th>
              <th scope="col">{T.bulk.what}</th>
            </tr>
          </thead>
          <tbody>
            {keys.map((k) => {
              const end = ends.get(k.id)
              return (
                <tr key={k.id}>
                  <th scope="row">
                    <Name text={k.name} most={32} />
                  </th>
                  <td class="num">{count(k.in_flight)}</td>
                  <td class="narrow-hide">{k.used_ms ? T.bulk.ago(duration(Math.max(0, hubNow() - k.used_ms))) : T.key.neverUsed}</td>
                  <td>
                    {end === 'done' ? (
                      <Mark state="ok" word={T.bulk.done} />
                    ) : end ? (
                      <Mark state="bad" word={visible(end.fault)} />
                    ) : (
                      T.bulk.willEnd
                    )}
                  </td>
                </tr>
              )
            })}
          </tbody>
        </table>
      </div>
      {!ends.size && <TextField label={T.typeToConfirm(word)} value={typed} onInput={setTyped} />}
      <footer class="row">
        <Button act={close} autofocus off={busy ? T.busy : undefined}>
          {ends.size ? T.close : T.cancel}
        </Button>
        <Button act={revoke} kind="danger" hub off={!ends.size && typed !== word ? T.typeFirst(word) : undefined}>
          {failed.length ? T.bulk.again(failed.length) : T.bulk.revokeTitle(keys.length)}
        </Button>
      </footer>
    </Dialog>
  )
}
