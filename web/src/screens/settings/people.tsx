/* people.tsx - people and their roles. Changes go against the version that was looked at. Address: q, sort, open (name). */
import { useState } from 'preact/hooks'
import { ApiError, call, del, part, post } from '../../app/api'
import { resource, useResource } from '../../app/data'
import { useKeys } from '../../app/keyboard'
import { setParams, useParam } from '../../app/route'
import { toast } from '../../app/say'
import { session } from '../../app/session'
import { useStore } from '../../app/store'
import type { Role } from '../../app/types'
import { Button } from '../../parts/button'
import { Confirm } from '../../parts/confirm'
import { Dialog } from '../../parts/dialog'
import { Empty } from '../../parts/empty'
import { CheckField, SelectField, TextField } from '../../parts/field'
import { FilterBar } from '../../parts/filterbar'
import { Mark } from '../../parts/mark'
import { Name } from '../../parts/name'
import { Problem } from '../../parts/problem'
import { Skeleton } from '../../parts/skeleton'
import { Table, type Column } from '../../parts/table'
import { Ago, Clock } from '../../parts/time'
import { visible } from '../../pure/visible'
import { T } from '../../text'

interface Person {
  name: string
  role: Role
  enabled: boolean
  created_ms: number
  seen_ms?: number
  version: number
}

const people = resource<{ users: Person[] }>('users', ['user'], 30_000)
const ROLES: Role[] = ['viewer', 'operator', 'admin']
const roleOptions = ROLES.map((r) => ({ value: r, text: T.set.roleMeans[r] }))

const okName = (n: string): boolean => /^[A-Za-z0-9._-]{1,64}$/.test(n)
const okPass = (p: string): boolean => {
  const n = new TextEncoder().encode(p).length
  return n >= 8 && n <= 1024
}

export function People() {
  const loaded = useResource(people)
  const all = loaded.data?.users
  const me = useStore(session)?.user
  const [q, setQ] = useParam('q')
  const [sort, setSort] = useParam('sort')
  const [adding, setAdding] = useState(false)
  const [editing, setEditing] = useState<Person | undefined>(undefined)
  const [removing, setRemoving] = useState<Person | undefined>(undefined)
  useKeys(T.set.tabs.people, [{ keys: 'n', does: T.set.addPerson, run: () => setAdding(true) }])
  const rows = (all ?? []).filter((p) => p.name.toLowerCase().includes(q.trim().toLowerCase()))
  const columns: Column<Person>[] = [
    {
      id: 'name',
      head: T.userName,
      rowHead: true,
      cell: (p) => (
        <>
          <Name text={p.name} most={32} /> {p.name === me && <span class="extra">{T.set.you}</span>}
        </>
      ),
      sort: (p) => p.name,
    },
    { id: 'role', head: T.set.role, cell: (p) => T.roles[p.role] ?? visible(p.role), sort: (p) => ROLES.indexOf(p.role) },
    {
      id: 'state',
      head: T.colState,
      cell: (p) => (p.enabled ? <Mark state="ok" word={T.set.enabled} /> : <Mark state="off" word={T.set.disabled} />),
      sort: (p) => (p.enabled ? 0 : 1),
    },
    {
      id: 'seen',
      head: T.set.lastSignIn,
      cell: (p) => (p.seen_ms ? <Ago ms={p.seen_ms} /> : T.key.neverUsed),
      sort: (p) => -(p.seen_ms ?? 0),
    },
    { id: 'made', head: T.key.made, narrow: 'hide', cell: (p) => <Clock ms={p.created_ms} />, sort: (p) => p.created_ms },
    {
      id: 'acts',
      head: '',
      cell: (p) => (
        <span class="row tight">
          <Button act={() => setEditing(p)} label={T.set.changeOf(visible(p.name))}>
            {T.key.edit}
          </Button>
          <Button act={() => setRemoving(p)} label={T.set.removeOf(visible(p.name))}>
            {T.set.remove}
          </Button>
        </span>
      ),
    },
  ]
  return (
    <>
      <div class="row">
        <span class="grow" />
        <Button act={() => setAdding(true)} kind="main" icon="person">
          {T.set.addPerson}
        </Button>
      </div>
      {loaded.error && <Problem error={loaded.error} what={T.cannotLoad(T.set.thePeople)} retry={() => people.reload()} />}
      {!all && !loaded.error && <Skeleton what={T.set.thePeople} rows={4} />}
      {all && all.length > 3 && <FilterBar text={q} onText={setQ} hidden={all.length - rows.length} onClear={() => setQ('')} />}
      {all && !rows.length && (
        <Empty why={all.length ? T.set.peopleFiltered : T.set.noPeople}>
          {all.length > 0 && <Button act={() => setQ('')}>{T.showAll}</Button>}
        </Empty>
      )}
      {rows.length > 0 && (
        <Table
          name="people"
          caption={T.set.tabs.people}
          columns={columns}
          rows={rows}
          rowKey={(p) => p.name}
          label={(p) => visible(p.name)}
          sort={sort}
          onSort={setSort}
        />
      )}
      {adding && <AddPerson names={(all ?? []).map((p) => p.name)} onClose={() => setAdding(false)} />}
      {editing && <EditPerson p={editing} mine={editing.name === me} onClose={() => setEditing(undefined)} />}
      {removing && (
        <Confirm
          title={T.set.removeOf(visible(removing.name))}
          facts={[
            T.set.removeRole(T.roles[removing.role]),
            T.set.removeSessions,
            T.set.removeAudit,
            ...(removing.name === me ? [T.set.removeSelf] : []),
          ]}
          verb={T.set.removeOf(visible(removing.name))}
          word={removing.name}
          act={async () => {
            await del(`users/${part(removing.name)}`)
            await people.reload()
            setParams({ open: undefined })
            toast('ok', T.set.removed(removing.name))
          }}
          onClose={() => setRemoving(undefined)}
        />
      )}
    </>
  )
}

function AddPerson({ names, onClose }: { names: string[]; onClose(): void }) {
  const [name, setName] = useState('')
  const [role, setRole] = useState<string>('viewer')
  const [pass, setPass] = useState('')
  const [tried, setTried] = useState(false)
  const nameFault = !okName(name) ? T.nameWrong : names.includes(name) ? T.set.nameTaken : undefined
  const passFault = okPass(pass) ? undefined : T.passWrong
  const add = async (): Promise<void> => {
    setTried(true)
    if (nameFault || passFault) throw new Error(T.key.mendFirst)
    await post('users', { name, role, passphrase: pass })
    await people.reload()
    toast('ok', T.set.added(name))
    onClose()
  }
  return (
    <Dialog title={T.set.addPerson} onClose={onClose}>
      <form onSubmit={(e) => e.preventDefault()}>
        <TextField
          label={T.userName}
          value={name}
          onInput={setName}
          hint={T.nameRule}
          fault={tried ? nameFault : undefined}
          required
          first
          most={64}
        />
        <SelectField label={T.set.role} value={role} onInput={setRole} options={roleOptions} />
        <TextField
          label={T.set.firstPass}
          secret
          value={pass}
          onInput={setPass}
          hint={T.passRule}
          fault={tried ? passFault : undefined}
          autocomplete="new-password"
          required
        />
      </form>
      <footer class="row">
        <Button act={onClose}>{T.cancel}</Button>
        <Button act={add} kind="main">
          {T.set.addPerson}
        </Button>
      </footer>
    </Dialog>
  )
}

function EditPerson({ p, mine, onClose }: { p: Person; mine: boolean; onClose(): void }) {
  const [base, setBase] = useState(p)
  const [role, setRole] = useState<string>(p.role)
  const [enabled, setEnabled] = useState(p.enabled)
  const [pass, setPass] = useState('')
  const [conflict, setConflict] = useState(false)
  const change: Record<string, unknown> = {}
  if (role !== base.role) change.role = role
  if (enabled !== base.enabled) change.enabled = enabled
  if (pass) change.passphrase = pass
  const passFault = pass && !okPass(pass) ? T.passWrong : undefined
  const save = async (): Promise<void> => {
    if (passFault) throw new Error(T.key.mendFirst)
    try {
      await call('PUT', `/drover/v1/users/${part(base.name)}`, { body: change, ifMatch: base.version })
    } catch (e) {
      if (!(e instanceof ApiError) || e.status !== 412) throw e
      await people.reload()
      const now = people.view.get().data?.users.find((x) => x.name === base.name)
      if (!now) throw new Error(T.set.personGone)
      setBase(now)
      setConflict(true)
      return
    }
    await people.reload()
    toast('ok', T.set.personChanged(base.name))
    onClose()
  }
  return (
    <Dialog title={T.set.changeOf(visible(base.name))} onClose={onClose}>
      {conflict && (
        <p role="alert" class="mark-warn">
          ▲ {T.set.personConflict(T.roles[base.role], base.enabled ? T.set.enabled : T.set.disabled)}
        </p>
      )}
      <form onSubmit={(e) => e.preventDefault()}>
        <SelectField label={T.set.role} value={role} onInput={setRole} options={roleOptions} />
        <CheckField label={T.set.mayIn} value={enabled} onInput={setEnabled} hint={T.set.mayInHint} />
        <TextField
          label={T.set.newPass}
          secret
          value={pass}
          onInput={setPass}
          hint={T.set.newPassHint}
          fault={passFault}
          autocomplete="new-password"
        />
        {Object.keys(change).length > 0 && <p class="mark-warn">▲ {mine ? T.set.yourself : T.set.endsSessions}</p>}
      </form>
      <footer class="row">
        <Button act={onClose} autofocus>
          {T.cancel}
        </Button>
        <Button act={save} kind="main" off={Object.keys(change).length ? undefined : T.key.nothingChanged}>
          {T.key.saveOf(visible(base.name))}
        </Button>
      </footer>
    </Dialog>
  )
}
