/* Empty: why there is nothing (one line), one action, one alternative. why; children: the action and the alternative. */
import type { ComponentChildren } from 'preact'

export function Empty({ why, children }: { why: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p>{why}</p>
      {children}
    </div>
  )
}
