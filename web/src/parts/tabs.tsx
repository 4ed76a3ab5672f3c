/* Tabs: parts of a screen, each with an address of its own. tabs: id and words; now: the id shown; onPick(id). [ and ] step through
 * them. The content is the caller's: give it id "tab-panel" and role "tabpanel". */
import { useKeys } from '../app/keyboard'
import { T } from '../text'

export interface Tab {
  id: string
  words: string
}

export function Tabs({ tabs, now, onPick, label }: { tabs: Tab[]; now: string; onPick(id: string): void; label: string }) {
  const at = Math.max(
    0,
    tabs.findIndex((t) => t.id === now),
  )
  const step = (by: number, focus = false): void => {
    const next = tabs[(at + by + tabs.length) % tabs.length]
    if (!next) return
    onPick(next.id)
    if (focus) requestAnimationFrame(() => document.getElementById('tab-' + next.id)?.focus())
  }
  useKeys(label, [
    { keys: '[', does: T.keyTabLeft, run: () => step(-1) },
    { keys: ']', does: T.keyTabRight, run: () => step(1) },
  ])
  return (
    <div class="tabs" role="tablist" aria-label={label}>
      {tabs.map((t, i) => (
        <button
          type="button"
          role="tab"
          id={'tab-' + t.id}
          aria-selected={i === at}
          aria-controls="tab-panel"
          tabIndex={i === at ? 0 : -1}
          onClick={() => onPick(t.id)}
          onKeyDown={(e) => {
            if (e.key === 'ArrowRight') step(1, true)
            else if (e.key === 'ArrowLeft') step(-1, true)
          }}
        >
          {t.words}
        </button>
      ))}
    </div>
  )
}
