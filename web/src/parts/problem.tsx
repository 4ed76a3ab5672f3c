/* Problem: what went wrong, beside what it is about. error: whatever was thrown; what: what was tried ("cannot load the list");
 * retry: if it can be tried again. The code folds. */
import { ApiError } from '../app/api'
import { visible } from '../pure/visible'
import { T } from '../text'
import { Button } from './button'

export function problemText(error: unknown): string {
  if (!(error instanceof ApiError)) return T.fault(error instanceof Error ? error.message : String(error))
  if (error.code === 'unreachable') return T.unreachable
  if (error.code === 'denied') return T.denied(error.message)
  if (error.code === 'locked') return T.locked
  if (error.code === 'limit' && error.retryAfterS) return T.tryAgainIn(error.message, error.retryAfterS)
  return error.message
}

export function Problem({ error, what, retry }: { error: unknown; what?: string; retry?: () => unknown }) {
  const e = error instanceof ApiError ? error : undefined
  if (e?.code === 'aborted') return null
  return (
    <div class="problem" role="alert">
      <p>
        <span aria-hidden="true">✕ </span>
        {what && <strong>{what} </strong>}
        {visible(problemText(error))}
      </p>
      {e?.hint && <p class="hint">{visible(e.hint)}</p>}
      {e && (e.status > 0 || e.code) && (
        <details>
          <summary>{T.details}</summary>
          <code>
            {e.status || ''} {e.code}
          </code>
        </details>
      )}
      {retry && <Button act={retry}>{T.retry}</Button>}
    </div>
  )
}
