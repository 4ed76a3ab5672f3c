/* Views: which columns a list shows, and views: filters, sort and columns under a name. Both stand in the address, so that they can be
 * shared; names and the last choice of columns are kept in this browser.
 *
 * useColumns(table, columns): the columns to show. ViewBar: table: a name for what is kept; params: what of the address belongs to a
 * view ('hide' too); columns: all there are; the first one and those without a head cannot be hidden. */
import { useMemo, useState } from 'preact/hooks'
import { recall, remember } from '../app/prefs'
import { setParams, useParam, useRoute } from '../app/route'
import { say, toast } from '../app/say'
import { NAME_MOST, pickParams, readHidden, readViews, sameParams, VIEWS_MOST, withView, writeHidden, type View } from '../pure/views'
import { visible } from '../pure/visible'
import { T } from '../text'
import { Button } from './button'
import { Dialog } from './dialog'
import { CheckField, SelectField, TextField } from './field'
import type { Column } from './table'

function useHidden(table: string): string {
  const [hide] = useParam('hide')
  return hide || recall('hide.' + table)
}

export function useColumns<R>(table: string, columns: Column<R>[]): Column<R>[] {
  const hidden = useHidden(table)
  return useMemo(() => {
    const gone = readHidden(hidden)
    return columns.filter((c, i) => i === 0 || !c.head || !gone.includes(c.id))
  }, [hidden, columns])
}

interface Props {
  table: string
  params: readonly string[]
  columns: Column<never>[]
}

export function ViewBar({ table, params, columns }: Props) {
  const route = useRoute().params
  const hidden = useHidden(table)
  const [views, setViews] = useState(() => readViews(recall('views.' + table), params))
  const [over, setOver] = useState<'' | 'columns' | 'views'>('')
  const names = columns.filter((c, i) => i > 0 && c.head)
  const gone = readHidden(hidden).filter((id) => names.some((c) => c.id === id))
  const now = { ...pickParams(route, params), hide: writeHidden(gone) }
  const current = views.find((v) => sameParams({ ...v.params, hide: v.params.hide ?? writeHidden([]) }, now))

  const keep = (next: View[]): void => {
    setViews(next)
    remember('views.' + table, next.length ? JSON.stringify(next) : '')
  }
  const hideColumns = (ids: string[]): void => {
    remember('hide.' + table, ids.length ? writeHidden(ids) : '')
    setParams({ hide: writeHidden(ids) })
  }
  const use = (v: View): void => {
    setParams({ ...Object.fromEntries(params.map((p) => [p, undefined])), ...v.params }, true)
    say(T.view.used(v.name))
  }
  return (
    <div class="row views">
      {views.length > 0 && (
        <SelectField
          inline
          label={T.view.view}
          value={current?.name ?? ''}
          onInput={(name) => {
            const v = views.find((x) => x.name === name)
            if (v) use(v)
          }}
          options={[{ value: '', text: T.view.unnamed }, ...views.map((v) => ({ value: v.name, text: visible(v.name) }))]}
        />
      )}
      <Button act={() => setOver('columns')}>{gone.length ? T.view.columnsHidden(gone.length) : T.view.columns}</Button>
      <Button act={() => setOver('views')}>{T.view.views}</Button>
      {over === 'columns' && (
        <Dialog title={T.view.columns} onClose={() => setOver('')}>
          <fieldset class="stack tight plain">
            <legend class="hide-visually">{T.view.columns}</legend>
            {names.map((c) => (
              <CheckField
                label={c.unit ? `${c.head} (${c.unit})` : c.head}
                value={!gone.includes(c.id)}
                onInput={(on) => hideColumns(on ? gone.filter((id) => id !== c.id) : [...gone, c.id])}
              />
            ))}
          </fieldset>
          <footer class="row">
            <Button act={() => hideColumns([])} off={gone.length ? undefined : T.view.allShown}>
              {T.showAll}
            </Button>
            <Button act={() => setOver('')} kind="main" autofocus>
              {T.close}
            </Button>
          </footer>
        </Dialog>
      )}
      {over === 'views' && <Keep views={views} now={now} onKeep={keep} onUse={use} onClose={() => setOver('')} />}
    </div>
  )
}

interface KeepProps {
  views: View[]
  now: Record<string, string>
  onKeep(next: View[]): void
  onUse(v: View): void
  onClose(): void
}

function Keep({ views, now, onKeep, onUse, onClose }: KeepProps) {
  const [name, setName] = useState('')
  const word = name.trim()
  const full = views.length >= VIEWS_MOST && !views.some((v) => v.name === word)
  const save = (): void => {
    onKeep(withView(views, { name: word, params: now }))
    toast('ok', T.view.saved(word))
    onClose()
  }
  const drop = (v: View): void => {
    onKeep(views.filter((x) => x !== v))
    toast('ok', T.view.deleted(v.name))
  }
  return (
    <Dialog title={T.view.views} onClose={onClose}>
      <p class="extra">{T.view.means}</p>
      {views.length > 0 && (
        <ul class="plain stack tight">
          {views.map((v) => (
            <li class="row tight" key={v.name}>
              <span class="grow">{visible(v.name)}</span>
              <Button
                label={T.view.useOf(visible(v.name))}
                act={() => {
                  onUse(v)
                  onClose()
                }}
              >
                {T.view.use}
              </Button>
              <Button act={() => drop(v)} label={T.view.deleteOf(visible(v.name))}>
                {T.view.delete}
              </Button>
            </li>
          ))}
        </ul>
      )}
      <TextField
        label={T.view.name}
        value={name}
        onInput={setName}
        most={NAME_MOST}
        first
        hint={views.some((v) => v.name === word) ? T.view.replaces : undefined}
        fault={full && word ? T.view.full(VIEWS_MOST) : undefined}
        onKey={(e) => e.key === 'Enter' && word && !full && save()}
      />
      <footer class="row">
        <Button act={onClose}>{T.cancel}</Button>
        <Button act={save} kind="main" off={!word ? T.view.nameFirst : full ? T.view.full(VIEWS_MOST) : undefined}>
          {T.view.save}
        </Button>
      </footer>
    </Dialog>
  )
}
