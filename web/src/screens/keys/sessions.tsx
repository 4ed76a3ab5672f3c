/* sessions.tsx - who is signed in where, and ending it. An administrator sees all, others their own. */
import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import { del, part } from '../../app/api'
import { resource, useResource } from '../../app/data'
import { useParam } from '../../app/route'
import { toast } from '../../app/say'
import { may, signOut } from '../../app/session'
import type { Role } from '../../app/types'
import { Button } from '../../parts/button'
import { Confirm } from '../../parts/confirm'
import { Mark } from '../../parts/mark'
import { Name } from '../../parts/name'
import { Problem } from '../../parts/problem'
import { ScreenHead } from '../../parts/screenhead'
import { Skeleton } from '../../parts/skeleton'
import { Table, type Column } from '../../parts/table'
import { Ago, Clock } from '../../parts/time'
import { visible } from '../../pure/visible'
import { T } from '../../text'

interface Visit {
  id: string
  user: string
  role: Role
  created_ms: number
  used_ms: number
  expires_ms: number
  peer: string
  agent: string
  current: boolean
}

const visits = resource<{ sessions: Visit[] }>('sessions', ['session', 'user'], 15_000)

export function SessionsTab({ tabs }: { tabs: ComponentChildren }) {
  const list = useResource(visits).data?.sessions
  return (
    <>
      <ScreenHead title={T.keys} state={list && T.key.sessionsN(list.length, new Set(list.map((s) => s.user)).size)} />
      {tabs}
      <div id="tab-panel" role="tabpanel" aria-labelledby="tab-sessions">
        <Sessions />
      </div>
    </>
  )
}

export function Sessions() {
  const loaded = useResource(visits)
  const list = loaded.data?.sessions
  const [sort, setSort] = useParam('sort')
  const [ending, setEnding] = useState<Visit | undefined>(undefined)
  const columns: Column<Visit>[] = [
    { id: 'user', head: T.key.person, rowHead: true, cell: (s) => <Name text={s.user} most={24} />, sort: (s) => s.user },
    { id: 'role', head: T.set.role, cell: (s) => T.roles[s.role] ?? visible(s.role), sort: (s) => s.role },
    {
      id: 'state',
      head: T.colState,
      cell: (s) => (s.current ? <Mark state="ok" word={T.key.thisOne} /> : <Mark state="ok" word={T.key.signedIn} />),
      sort: (s) => (s.current ? 0 : 1),
    },
    { id: 'used', head: T.key.lastUsed, cell: (s) => <Ago ms={s.used_ms} />, sort: (s) => -s.used_ms },
    { id: 'peer', head: T.key.from, cell: (s) => <Name text={s.peer} most={40} />, sort: (s) => s.peer },
    { id: 'agent', head: T.key.agent, wide: true, narrow: 'hide', cell: (s) => <Name text={s.agent || '–'} most={60} /> },
    { id: 'created', head: T.key.since, narrow: 'hide', cell: (s) => <Clock ms={s.created_ms} />, sort: (s) => s.created_ms },
    { id: 'expires', head: T.key.endsAt, narrow: 'hide', cell: (s) => <Clock ms={s.expires_ms} />, sort: (s) => s.expires_ms },
    {
      id: 'acts',
      head: '',
      cell: (s) => (
        <Button
          hub
          act={() => (s.current ? signOut() : setEnding(s))}
          label={s.current ? undefined : T.key.endOf(visible(s.user), visible(s.peer))}
        >
          {s.current ? T.signOut : T.key.endSession}
        </Button>
      ),
    },
  ]
  const end = async (s: Visit): Promise<void> => {
    await del(`sessions/${part(s.id)}`)
    await visits.reload()
    toast('ok', T.key.sessionGone(s.user))
  }
  return (
    <div class="stack">
      {!may('admin') && <p class="extra">{T.key.ownSessions}</p>}
      {loaded.error && <Problem error={loaded.error} what={T.cannotLoad(T.key.theSessions)} retry={() => visits.reload()} />}
      {!list && !loaded.error && <Skeleton what={T.key.theSessions} rows={4} />}
      {list && (
        <Table
          name="sessions"
          caption={T.key.tabs.sessions}
          columns={columns}
          rows={list}
          rowKey={(s) => s.id}
          label={(s) => visible(s.user)}
          sort={sort}
          onSort={setSort}
        />
      )}
      {ending && (
        <Confirm
          title={T.key.endOf(visible(ending.user), visible(ending.peer))}
          facts={[T.key.endWho(visible(ending.user), visible(ending.agent) || T.unknown), T.key.endMeans]}
          verb={T.key.endSession}
          act={() => end(ending)}
          onClose={() => setEnding(undefined)}
        />
      )}
    </div>
  )
}
