/* endpoint.tsx - adding a runtime by its address, and changing or removing one that was added. A look first tells what is there; nothing of it
 * is kept. The key is in this page's memory only while the dialog is open. */
import { useState } from 'preact/hooks'
import { ApiError, call, del, part, post } from '../../app/api'
import { useResource } from '../../app/data'
import { lists } from '../../app/lists'
import { setParams, useRoute } from '../../app/route'
import { toast } from '../../app/say'
import type { EndpointState } from '../../app/types'
import { Button } from '../../parts/button'
import { Confirm } from '../../parts/confirm'
import { Dialog } from '../../parts/dialog'
import { CheckField, SelectField, TextField } from '../../parts/field'
import { Mark, type MarkState } from '../../parts/mark'
import { duration } from '../../pure/format'
import { body, formOf, isChanged, NEW, type EndpointForm, type EndpointSettings } from '../../pure/endpointdraft'
import { visible } from '../../pure/visible'
import { T } from '../../text'

interface Found {
  state: EndpointState
  reason: string
  kind: string
  version: string
  wants_key: boolean
  is_other_kind: boolean
  took_ms: number
  models: string[]
}

const marks: Record<EndpointState, MarkState> = { up: 'ok', degraded: 'warn', loading: 'busy', down: 'bad', unknown: 'unknown' }
const MODELS_SHOWN = 6
const LOOKED_AT = 'drover-endpoint-test' /* nothing is kept under it */

type Faults = Record<string, string>
/* What the hub said of single members; what it said of none of them stays with the button. */
function faultsOf(e: unknown): Faults {
  const complaints =
    e instanceof ApiError ? (e.answer as { complaints?: { key: string; message: string }[] } | undefined)?.complaints : undefined
  return Object.fromEntries((complaints ?? []).map((c) => [c.key.replace(/\[\d+\]$/, ''), c.message]))
}
const shown = [
  'name',
  'url',
  'kind',
  'key',
  'max_concurrent',
  'weight',
  'models.include',
  'models.exclude',
  'tls.insecure',
  'tls',
]

/* endpoint in the address: the name of the one that is changed, or removed; 'new' adds one. */
export default function EndpointDialog() {
  const { endpoint: name, removing } = useRoute().params
  const list = useResource(lists.endpoints).data
  const onClose = (): void => setParams({ endpoint: undefined, removing: undefined })
  const old = list?.endpoints.find((e) => e.name === name && e.origin === 'console')
  if (!list) return null
  if (name !== 'new' && !old?.settings) return null
  if (old && removing) return <Remove name={old.name} models={old.models.length} version={list.version} onClose={onClose} />
  return <Form key={name} old={old?.settings} version={list.version} onClose={onClose} />
}

function Form({ old, version, onClose }: { old?: EndpointSettings; version: number; onClose(): void }) {
  /* As it was when the dialog opened: the list behind it goes on changing. */
  const [was] = useState<EndpointForm | undefined>(() => old && formOf(old))
  const [seen] = useState(version)
  const [form, setForm] = useState<EndpointForm>(() => was ?? NEW)
  const [faults, setFaults] = useState<Faults>({})
  const [found, setFound] = useState<Found | undefined>(undefined)
  const set = (change: Partial<EndpointForm>): void => {
    setForm({ ...form, ...change })
    setFound(undefined)
  }
  const sent = body(form, was)
  const tried = async <R,>(act: () => Promise<R>): Promise<R | undefined> => {
    setFaults({})
    try {
      return await act()
    } catch (e) {
      const told = faultsOf(e)
      setFaults(told)
      if (!Object.keys(told).length || Object.keys(told).some((k) => !shown.includes(k))) throw e
      return undefined
    }
  }
  const look = async (): Promise<void> => {
    setFound(await tried(() => post<Found>('endpoints/test', { ...sent, name: was?.name ?? LOOKED_AT })))
  }
  const save = async (): Promise<void> => {
    const done = await tried(() =>
      was
        ? call<unknown>('PATCH', '/drover/v1/endpoints/' + part(was.name), { body: sent, ifMatch: seen })
        : post<unknown>('endpoints', sent),
    )
    if (done === undefined) return
    await lists.endpoints.reload()
    toast('ok', was ? T.endpoint.changed(visible(was.name)) : T.endpoint.added(visible(form.name.trim())))
    onClose()
  }
  const missing = !form.name.trim() ? T.endpoint.needsName : !form.url.trim() ? T.endpoint.needsUrl : undefined
  return (
    <Dialog title={was ? T.endpoint.changeOf(visible(was.name)) : T.endpoint.add} onClose={onClose} wide>
      <form onSubmit={(e) => e.preventDefault()} class="stack">
        {!was && (
          <TextField
            label={T.endpoint.name}
            value={form.name}
            onInput={(v) => set({ name: v })}
            hint={T.endpoint.nameHint}
            fault={faults.name}
            most={64}
            required
            first
          />
        )}
        <TextField
          label={T.endpoint.url}
          value={form.url}
          onInput={(v) => set({ url: v })}
          hint={T.endpoint.urlHint}
          fault={faults.url ?? faults.tls}
          type="url"
          placeholder="http://192.0.2.10:11434"
          required
        />
        <SelectField
          label={T.endpoint.kind}
          value={form.kind}
          onInput={(v) => set({ kind: v })}
          options={Object.entries(T.endpoint.kinds).map(([value, text]) => ({ value, text }))}
          fault={faults.kind}
        />
        <TextField
          label={T.endpoint.key}
          value={form.key}
          onInput={(v) => set({ key: v })}
          hint={was && old?.key ? T.endpoint.keyKept : T.endpoint.keyHint}
          fault={faults.key}
          secret
          autocomplete="new-password"
          most={4096}
        />
        {was && old?.key && <CheckField label={T.endpoint.dropKey} value={form.dropKey} onInput={(v) => set({ dropKey: v })} />}
        <details class="stack" open={!!was}>
          <summary>{T.endpoint.more}</summary>
          <TextField
            label={T.endpoint.most}
            value={form.most}
            onInput={(v) => set({ most: v })}
            hint={T.endpoint.mostHint}
            fault={faults.max_concurrent}
          />
          <TextField
            label={T.endpoint.weight}
            value={form.weight}
            onInput={(v) => set({ weight: v })}
            hint={T.endpoint.weightHint}
            fault={faults.weight}
          />
          <TextField
            label={T.endpoint.include}
            value={form.include}
            onInput={(v) => set({ include: v })}
            hint={T.endpoint.globHint}
            fault={faults['models.include']}
          />
          <TextField
            label={T.endpoint.exclude}
            value={form.exclude}
            onInput={(v) => set({ exclude: v })}
            fault={faults['models.exclude']}
          />
          <CheckField
            label={T.endpoint.insecure}
            value={form.insecure}
            onInput={(v) => set({ insecure: v })}
            hint={T.endpoint.insecureHint}
            fault={faults['tls.insecure']}
          />
        </details>
      </form>
      <div role="status">{found && <Told found={found} />}</div>
      <footer class="row">
        <Button act={onClose}>{T.cancel}</Button>
        <Button act={look} hub off={form.url.trim() ? undefined : T.endpoint.needsUrl}>
          {T.endpoint.look}
        </Button>
        <Button act={save} kind="main" hub off={missing ?? (isChanged(form, was) ? undefined : T.key.nothingChanged)}>
          {was ? T.endpoint.save : T.endpoint.addIt}
        </Button>
      </footer>
    </Dialog>
  )
}

function Told({ found }: { found: Found }) {
  const more = found.models.length - MODELS_SHOWN
  const what = found.kind
    ? `${T.endpoint.kinds[found.kind] ?? visible(found.kind)} ${visible(found.version)}`.trim()
    : T.endpoint.notRecognised
  return (
    <>
      <p>
        <Mark state={marks[found.state] ?? 'unknown'} word={T.endpoint.found(what, found.models.length, duration(found.took_ms))} />
      </p>
      {found.models.length > 0 && (
        <p class="extra">
          {found.models.slice(0, MODELS_SHOWN).map(visible).join(', ')}
          {more > 0 && ' ' + T.node.andMore(more)}
        </p>
      )}
      {found.reason && <p>{visible(found.reason)}</p>}
      {found.wants_key && <p>{T.endpoint.wantsKey}</p>}
      {found.is_other_kind && <p>{T.endpoint.otherKind}</p>}
    </>
  )
}

function Remove({ name, models, version, onClose }: { name: string; models: number; version: number; onClose(): void }) {
  const remove = async (): Promise<void> => {
    await del(`endpoints/${part(name)}`, { ifMatch: version })
    await lists.endpoints.reload()
    toast('ok', T.endpoint.removed(visible(name)))
  }
  return (
    <Confirm
      title={T.endpoint.removeOf(visible(name))}
      facts={T.endpoint.removeFacts(models)}
      verb={T.endpoint.remove}
      act={remove}
      onClose={onClose}
    />
  )
}
