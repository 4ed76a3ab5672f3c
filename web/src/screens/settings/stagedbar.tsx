/* stagedbar.tsx - how many changes are staged, what they would do, and the three things to do with them. */
import { setParams } from '../../app/route'
import { useStore } from '../../app/store'
import { toast } from '../../app/say'
import { Button } from '../../parts/button'
import { visible } from '../../pure/visible'
import { T } from '../../text'
import { apply, check, discard, staged, wanted, type Verdict } from './changes'

/* To its row, and into its control. */
function toSetting(key: string): void {
  const name = key.replace(/\[.*$/, '')
  setParams({ tab: 'all', q: name, group: undefined, origin: undefined, changed: undefined, open: name })
  wanted.set(name)
}

export function StagedBar({ onEnd }: { onEnd(): void }) {
  const { drafts, complaints, verdict } = useStore(staged)
  if (!drafts.size) return null
  const end = (fn: () => unknown) => async (): Promise<void> => {
    await fn()
    if (!staged.get().drafts.size) onEnd()
  }
  return (
    <section class="staged" aria-label={T.set.staged}>
      {(verdict || complaints.length > 0) && (
        <div class="staged-verdict" tabIndex={0} role="region" aria-label={T.set.verdict}>
          {complaints.length > 0 && (
            <ul class="plain stack tight">
              {complaints.map((c) => (
                <li class="fault">
                  ✕{' '}
                  {drafts.has(c.key.replace(/\[.*$/, '')) ? (
                    <button type="button" class="button quiet" onClick={() => toSetting(c.key)}>
                      {visible(c.key)}
                    </button>
                  ) : (
                    <strong>{visible(c.key)}</strong>
                  )}{' '}
                  {visible(c.message)}
                  {c.line ? T.set.atLine(visible(c.source ?? ''), c.line) : ''}
                </li>
              ))}
            </ul>
          )}
          {verdict?.good && <Differences verdict={verdict} />}
        </div>
      )}
      <div class="row">
        <strong role="status">{T.set.changes(drafts.size)}</strong>
        <span class="grow" />
        <Button act={check}>{T.set.checkChanges}</Button>
        <Button act={end(apply)} kind="main">
          {T.set.apply}
        </Button>
        <Button
          act={end(() => {
            discard()
            toast('ok', T.set.discarded)
          })}
        >
          {T.set.discard}
        </Button>
      </div>
    </section>
  )
}

function Differences({ verdict }: { verdict: Verdict }) {
  return (
    <>
      <p>{T.set.checkedGood(verdict.changes.length)}</p>
      <ul class="plain stack tight">
        {verdict.changes.map((c) => (
          <li>
            <button type="button" class="button quiet" onClick={() => toSetting(c.key)}>
              {visible(c.key)}
            </button>{' '}
            <code>{visible(c.from) || T.set.notSet}</code> → <code>{visible(c.to) || T.set.notSet}</code>{' '}
            <span class="extra">{T.set.effect(T.set.origins[c.origin] ?? visible(c.origin), c.restart)}</span>
          </li>
        ))}
      </ul>
      {verdict.warnings.map((w) => (
        <p class="extra">
          ▲ {visible(w.key || (w.source ?? ''))} {visible(w.message)}
        </p>
      ))}
    </>
  )
}
