/* stream.tsx - what feeds the two views of the Console: lines of the log, and events. */
import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { get, put } from '../../app/api'
import { linkView, useFeed } from '../../app/events'
import { href } from '../../app/route'
import { toast } from '../../app/say'
import { may } from '../../app/session'
import { useStore } from '../../app/store'
import { Confirm } from '../../parts/confirm'
import { Empty } from '../../parts/empty'
import { SelectField } from '../../parts/field'
import { Problem } from '../../parts/problem'
import { ScreenHead } from '../../parts/screenhead'
import { LEVELS, logLine, type Line } from '../../pure/loglines'
import { T } from '../../text'
import { eventBook, logBook, logRepeats, onEventLine } from './books'
import { Lines } from './view'

/* At most four drawings a second, however many lines come; before each, and at the end, `first` is run. */
function useSoon(first?: () => void): [number, () => void] {
  const [tick, setTick] = useState(0)
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined)
  useEffect(
    () => () => {
      clearTimeout(timer.current)
      first?.()
    },
    [],
  )
  return [
    tick,
    () => {
      timer.current ??= setTimeout(() => {
        timer.current = undefined
        first?.()
        setTick((n) => n + 1)
      }, 250)
    },
  ]
}

export function LogLines({ tabs }: { tabs: ComponentChildren }) {
  if (may('operator')) return <AllLogLines tabs={tabs} />
  return (
    <>
      <ScreenHead title={T.logs} />
      {tabs}
      <div id="tab-panel" role="tabpanel" aria-labelledby="tab-log">
        <Empty why={T.log.notYours}>
          <p class="extra">{T.needsOperator}</p>
          <a class="button" href={href('console', { from: 'events' })}>
            {T.log.tabs.events}
          </a>
        </Empty>
      </div>
    </>
  )
}

function AllLogLines({ tabs }: { tabs: ComponentChildren }) {
  const came = useRef<Line[]>([])
  const [tick, soon] = useSoon(() => {
    const lines = came.current.splice(0)
    if (may('operator')) logBook.add(lines) /* not after signing out: the book is empty then, and stays so */
  })
  const phase = useStore(linkView).phase
  /* A hub that is asked anew tells all it keeps, and counts anew what it holds back. */
  const anew = (): void => {
    logRepeats.came()
    logBook.withheld = 0
  }
  useEffect(anew, [])
  useEffect(() => {
    if (phase !== 'open') anew()
  }, [phase])
  useFeed(
    'log',
    (v) => {
      for (const l of logRepeats.fresh((v.lines as Record<string, unknown>[]).map(logLine))) came.current.push(l)
      logBook.missed += v.missed
      logBook.withheld += v.held
      soon()
    },
    'debug',
  )
  return (
    <Lines
      tabs={tabs}
      panel="log"
      book={logBook}
      tick={tick}
      sourceWord={T.log.source}
      levels
      empty={<p>{T.log.noLines}</p>}
      tools={<HubLevel />}
    />
  )
}

export function EventLines({ tabs }: { tabs: ComponentChildren }) {
  const [tick, soon] = useSoon()
  useEffect(() => onEventLine(soon), [])
  return (
    <Lines
      tabs={tabs}
      panel="events"
      book={eventBook}
      tick={tick}
      sourceWord={T.log.topic}
      levels={false}
      empty={<p>{T.log.noEvents}</p>}
    />
  )
}

/* What the hub writes at all; filters only choose among that. */
function HubLevel() {
  const [level, setLevel] = useState('')
  const [to, setTo] = useState('')
  const [fault, setFault] = useState<unknown>(undefined)
  const look = async (): Promise<void> => {
    try {
      setLevel((await get<{ level: string }>('log-level')).level)
      setFault(undefined)
    } catch (e) {
      setFault(e)
    }
  }
  useEffect(() => {
    void look()
  }, [])
  if (fault !== undefined) return <Problem error={fault} what={T.cannotLoad(T.log.theLevel)} retry={look} />
  if (!level) return null
  const set = async (): Promise<void> => {
    setLevel((await put<{ level: string }>('log-level', { level: to })).level)
    toast('ok', T.log.levelIsNow(T.log.levels[to as 'info']))
  }
  return (
    <>
      <SelectField
        key={level + to}
        inline
        label={T.log.hubWrites}
        value={level}
        onInput={setTo}
        options={LEVELS.map((l) => ({ value: l, text: T.log.upTo[l] }))}
      />
      {to && to !== level && (
        <Confirm
          title={T.log.setLevel(T.log.levels[to as 'info'])}
          facts={[T.log.levelMeans[to as 'info'], T.log.levelUntil]}
          verb={T.log.setLevel(T.log.levels[to as 'info'])}
          act={set}
          onClose={() => setTo('')}
        />
      )}
    </>
  )
}
