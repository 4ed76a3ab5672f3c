/* addnode.tsx - adding a node: an invitation, its one line to run there, and what has become of it so far. The line is in this page's memory
 * only, and only while the dialog is open. */
import { useState } from 'preact/hooks'
import { post } from '../../app/api'
import { useSecond } from '../../app/clock'
import { useResource } from '../../app/data'
import { hubNow } from '../../app/events'
import { lists } from '../../app/lists'
import type { Invite } from '../../app/types'
import { Button } from '../../parts/button'
import { Code } from '../../parts/code'
import { Dialog } from '../../parts/dialog'
import { SelectField, TextField } from '../../parts/field'
import { Mark } from '../../parts/mark'
import { count, remaining } from '../../pure/format'
import { visible } from '../../pure/visible'
import { T } from '../../text'

const ttls = ['15m', '1h', '24h', '7d'] as const

export function AddNode({ onClose }: { onClose(): void }) {
  const [name, setName] = useState('')
  const [ttl, setTtl] = useState<string>('1h')
  const [made, setMade] = useState<(Invite & { line: string }) | undefined>(undefined)
  const make = async (): Promise<void> => {
    setMade(await post<Invite & { line: string }>('invites', { ttl, ...(name && { name }) }))
    void lists.invites.reload()
  }
  if (made) return <Made made={made} onClose={onClose} again={() => setMade(undefined)} />
  return (
    <Dialog title={T.node.add} onClose={onClose}>
      <p>{T.node.addHow}</p>
      <TextField label={T.node.nameThere} value={name} onInput={setName} hint={T.node.nameHint} most={64} first />
      <SelectField label={T.node.ttl} value={ttl} onInput={setTtl} options={ttls.map((t) => ({ value: t, text: T.node.ttls[t] ?? t }))} />
      <footer class="row">
        <Button act={onClose}>{T.cancel}</Button>
        <Button act={make} kind="main" hub>
          {T.node.makeInvite}
        </Button>
      </footer>
    </Dialog>
  )
}

function Made({ made, onClose, again }: { made: Invite & { line: string }; onClose(): void; again(): void }) {
  return (
    <Dialog title={T.node.add} onClose={onClose} wide>
      <p>{T.node.runThere}</p>
      <Code text={`drover join '${made.line}'`} what={T.node.theLine} wrap />
      <p>
        <strong>{T.node.secret}</strong>
      </p>
      <Progress made={made} again={again} />
      <footer class="row">
        <Button act={onClose} kind="main">
          {T.close}
        </Button>
      </footer>
    </Dialog>
  )
}

/* Waits for it to call -> it is a node -> it is linked and has models. */
function Progress({ made, again }: { made: Invite; again(): void }) {
  useSecond()
  const invite = useResource(lists.invites).data?.invites.find((i) => i.id === made.id)
  const nodes = useResource(lists.nodes).data?.nodes
  const node = invite?.used ? nodes?.find((n) => n.fingerprint === invite.fingerprint) : undefined
  const left = made.expires_ms - hubNow()
  const over = !invite?.used && left <= 0
  return (
    <>
      <p role="status">
        {node?.linked ? (
          <Mark state="ok" word={T.node.isLinked(visible(node.name), count(node.models))} />
        ) : node ? (
          <Mark state="busy" word={T.node.hasJoined(visible(node.name))} />
        ) : over ? (
          <Mark state="off" word={T.node.ended} />
        ) : (
          <Mark state="busy" word={T.node.waitsForCall} />
        )}
      </p>
      {!invite?.used && !over && <p class="extra">{T.node.endsIn(remaining(left))}</p>}
      {over && <Button act={again}>{T.node.another}</Button>}
    </>
  )
}
