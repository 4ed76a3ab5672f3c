/* console.tsx - live logs, and what happened as it is told to pages. Address: from ('' the log, 'events'), levels, source, q, f (fields),
 * find, re, exact, wrap; kept for the next visit too. */
import { useEffect } from 'preact/hooks'
import { recall, remember } from '../app/prefs'
import { setParams, useRoute } from '../app/route'
import { Tabs } from '../parts/tabs'
import { T } from '../text'
import { EventLines, LogLines } from './console/stream'

const KEPT = ['from', 'levels', 'source', 'q', 'f', 'find', 're', 'exact', 'wrap']
const VIEW = 'console'

export default function Console() {
  const params = useRoute().params
  const now = params.from === 'events' ? 'events' : 'log'
  /* An address that says something is followed; a bare one gets what was chosen last time. */
  useEffect(() => {
    if (KEPT.some((k) => params[k])) return
    const had = Object.fromEntries(new URLSearchParams(recall(VIEW)))
    const known = Object.fromEntries(Object.entries(had).filter(([k]) => KEPT.includes(k)))
    if (Object.keys(known).length) setParams(known)
  }, [])
  const chosen = new URLSearchParams(KEPT.filter((k) => params[k]).map((k): [string, string] => [k, params[k] ?? ''])).toString()
  useEffect(() => {
    const t = setTimeout(() => remember(VIEW, chosen), 300)
    return () => clearTimeout(t)
  }, [chosen])
  const tabs = (
    <Tabs
      label={T.logs}
      now={now}
      onPick={(id) => setParams({ from: id === 'log' ? undefined : id, levels: undefined, source: undefined, f: undefined }, true)}
      tabs={[
        { id: 'log', words: T.log.tabs.log },
        { id: 'events', words: T.log.tabs.events },
      ]}
    />
  )
  return now === 'events' ? <EventLines key="events" tabs={tabs} /> : <LogLines key="log" tabs={tabs} />
}
