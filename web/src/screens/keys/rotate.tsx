/* rotate.tsx - another secret for the same key, and how long the one before still works. */
import { useState } from 'preact/hooks'
import { part, post } from '../../app/api'
import { hubNow } from '../../app/events'
import type { Key } from '../../app/types'
import { Button } from '../../parts/button'
import { Dialog } from '../../parts/dialog'
import { SelectField } from '../../parts/field'
import { clock } from '../../pure/format'
import { visible } from '../../pure/visible'
import { T } from '../../text'
import { keyList } from './shared'
import { KeyText, type KeyWithText } from './text'

const overlaps = ['1h', '24h', '7d', '30d', '0'] as const

export function Rotate({ k, onClose }: { k: Key; onClose(): void }) {
  const two = (k.old_secret_until_ms ?? 0) > hubNow()
  const [overlap, setOverlap] = useState<string>(two ? '0' : '24h')
  const [made, setMade] = useState<KeyWithText | undefined>(undefined)
  const rotate = async (): Promise<void> => {
    setMade(await post<KeyWithText>(`keys/${part(k.id)}/rotate`, { overlap }))
    void keyList.reload()
  }
  if (made) {
    const until = made.old_secret_until_ms
    return (
      <KeyText
        title={T.key.rotatedTitle(visible(made.name))}
        made={made}
        note={until ? T.key.oldUntil(clock(until)) : T.key.oldGone}
        onClose={onClose}
      />
    )
  }
  return (
    <Dialog title={T.key.rotateName(visible(k.name))} onClose={onClose}>
      <ul class="facts">
        <li>{T.key.rotateKeeps}</li>
        <li>{overlap === '0' ? T.key.rotateEnds : T.key.rotateBoth}</li>
        {two && <li>{T.key.rotateTwo(clock(k.old_secret_until_ms ?? 0))}</li>}
      </ul>
      <SelectField
        label={T.key.overlap}
        value={overlap}
        onInput={setOverlap}
        options={overlaps.filter((o) => !two || o === '0').map((o) => ({ value: o, text: T.key.overlaps[o] ?? o }))}
      />
      <footer class="row">
        <Button act={onClose} autofocus>
          {T.cancel}
        </Button>
        <Button act={rotate} kind={overlap === '0' ? 'danger' : 'main'} hub>
          {T.key.rotateName(visible(k.name))}
        </Button>
      </footer>
    </Dialog>
  )
}
