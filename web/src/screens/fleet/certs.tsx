/* certs.tsx - the fleet's root and the hub's certificate; and while the root is replaced, how far that is, and who is missing. Looking only: what is
 * done about it is asked for on the command line, where the key is. */
import { useResource } from '../../app/data'
import { hubNow } from '../../app/events'
import { lists } from '../../app/lists'
import type { Rotation } from '../../app/types'
import { Facts } from '../../parts/facts'
import { Mark } from '../../parts/mark'
import { Age } from '../../parts/time'
import { clock, duration } from '../../pure/format'
import { visible } from '../../pure/visible'
import { T } from '../../text'

export function Certs() {
  const c = useResource(lists.certs).data
  const root = c?.roots.find((r) => r.issues)
  if (!c || !root) return null
  return (
    <section aria-labelledby="certs-title" class="stack tight">
      <h3 id="certs-title">{T.certs.title}</h3>
      {c.rotation && <Replacing r={c.rotation} />}
      <Facts
        rows={[
          [T.certs.root, T.certs.is(root.name, left(root.ends_ms), clock(root.ends_ms))],
          [T.certs.hub, c.hub.ends_ms ? T.certs.is(c.hub.ca, left(c.hub.ends_ms), clock(c.hub.ends_ms)) : T.certs.unsigned],
          [T.certs.notBack, c.not_back.length ? <span class="mark-bad">✕ {T.certs.back(c.not_back.map(visible).join(', '))}</span> : undefined],
        ]}
      />
    </section>
  )
}

const left = (ms: number): string => duration(Math.max(0, ms - hubNow()))

function Replacing({ r }: { r: Rotation }) {
  return (
    <div class="checklist stack tight" role="group" aria-label={T.certs.replacing}>
      <Mark state={r.fault ? 'bad' : r.missing ? 'busy' : 'ok'} word={T.certs.stages[r.stage]} extra={<Age ms={hubNow() - r.since_ms} />} />
      <p>{T.certs.by(r.old, r.new)}</p>
      {r.fault && <p class="mark-bad">✕ {visible(r.fault)}</p>}
      {r.missing > 0 && <p>{T.certs.missing(r.missing, r.nodes)}</p>}
      <ul class="plain stack tight">
        {r.waits_for.map((w) => (
          <li key={w.invite ?? w.node}>{T.certs.lacks(visible(w.name || w.invite || ''), w.why, w.linked === false)}</li>
        ))}
      </ul>
      {r.skipped.length > 0 && <p class="extra">{T.certs.skipped(r.skipped.map(visible).join(', '))}</p>}
    </div>
  )
}
