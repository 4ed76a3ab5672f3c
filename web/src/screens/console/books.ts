/* books.ts - the two books of the Console: they outlive a visit to another screen, and end with the session. What is told while no
 * Console is shown is told again by the hub (log) or not kept (events). */
import { onTopic } from '../../app/events'
import { session } from '../../app/session'
import type { Topic } from '../../app/types'
import { eventLine, LogBook, Repeats } from '../../pure/loglines'

export const logBook = new LogBook()
export const logRepeats = new Repeats()

const EVENTS_KEPT = 2000
export const eventBook = new LogBook(EVENTS_KEPT, 2_000_000)
const topics: Topic[] = ['fleet', 'request', 'key', 'user', 'session', 'alert', 'config', 'mode', 'audit', 'hub']
const watchers = new Set<() => void>()
const changed = (): void => watchers.forEach((fn) => fn())

/* From the first look at the Console on, whichever screen is shown. */
for (const t of topics)
  onTopic(t, (e) => {
    if (!session.get()?.signed_in) return
    if (e) eventBook.add([eventLine(e)])
    else if (t === 'hub') eventBook.missed++ /* some were lost: nobody says how many */
    changed()
  })

export function onEventLine(fn: () => void): () => void {
  watchers.add(fn)
  return () => watchers.delete(fn)
}

session.watch((s) => {
  if (s?.signed_in) return
  logBook.clear()
  eventBook.clear()
})
