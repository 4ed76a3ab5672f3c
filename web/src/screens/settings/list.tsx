/* list.tsx - the settings in force, and changing them: an open row has the control, the bar below the list what is staged. Address: q, group, origin, changed (filters), sort, open (name). */
import { useMemo, useRef } from 'preact/hooks'
import { post } from '../../app/api'
import { isStale, useResource } from '../../app/data'
import { setParams, useParam } from '../../app/route'
import { toast } from '../../app/say'
import { useStore } from '../../app/store'
import { Button } from '../../parts/button'
import { Code } from '../../parts/code'
import { Empty } from '../../parts/empty'
import { Facts } from '../../parts/facts'
import { CheckField } from '../../parts/field'
import { FilterBar } from '../../parts/filterbar'
import { Icon } from '../../parts/icon'
import { Name } from '../../parts/name'
import { Problem } from '../../parts/problem'
import { Skeleton } from '../../parts/skeleton'
import { Table, type Column } from '../../parts/table'
import { clock } from '../../pure/format'
import { groupOf, isChanged, ORIGINS, passesSetting, waysToSet, type Setting } from '../../pure/settings'
import { draftText, lockOf, type Draft } from '../../pure/staged'
import { visible } from '../../pure/visible'
import { T } from '../../text'
import { settingsView, staged } from './changes'
import { Editor, lockWords } from './editor'
import { StagedBar } from './stagedbar'

interface Row extends Setting {
  draft?: Draft
}

const origin = (s: Setting): string => T.set.origins[s.origin] ?? visible(s.origin)

const columns: Column<Row>[] = [
  { id: 'name', head: T.set.name, cell: (s) => <Name text={s.name} most={44} />, sort: (s) => s.name },
  {
    id: 'value',
    head: T.set.value,
    wide: true,
    cell: (s) => (
      <>
        <code class={isChanged(s) ? 'changed' : ''}>{s.value === '' ? T.set.notSet : visible(s.value)}</code>
        {s.draft && (
          <>
            {' → '}
            <code class="changed">{visible(draftText(s.draft, s)) || T.set.notSet}</code> <span class="extra">{T.set.isStaged}</span>
          </>
        )}
      </>
    ),
  },
  {
    id: 'origin',
    head: T.set.origin,
    cell: (s) => (
      <>
        {s.origin === 'default' ? <span class="extra">{origin(s)}</span> : T.set.fromLine(origin(s), s.origin === 'file' ? s.line : undefined)}
        {lockOf(s) && (
          <span title={lockWords(s)}>
            {' '}
            <Icon name="lock" />
            <span class="hide-visually">{T.set.locked}</span>
          </span>
        )}
      </>
    ),
    sort: (s) => s.origin,
  },
  {
    id: 'restart',
    head: T.set.takes,
    narrow: 'hide',
    cell: (s) => (s.restart ? T.set.restart : T.set.atOnce),
    sort: (s) => (s.restart ? 1 : 0),
  },
]

export function SettingsList() {
  const loaded = useResource(settingsView)
  const all = loaded.data?.settings
  const [q, setQ] = useParam('q')
  const [group, setGroup] = useParam('group')
  const [from, setFrom] = useParam('origin')
  const [changed, setChanged] = useParam('changed')
  const [sort, setSort] = useParam('sort')
  const [open, setOpen] = useParam('open')
  const drafts = useStore(staged).drafts
  const top = useRef<HTMLDivElement>(null)
  const rows = useMemo<Row[]>(
    () =>
      (all ?? [])
        .filter(passesSetting({ text: q, group, origin: from, changed: changed === '1' }))
        .map((s) => (drafts.has(s.name) ? { ...s, draft: drafts.get(s.name) } : s)),
    [all, q, group, from, changed, drafts],
  )
  const clear = (): void => setParams({ q: undefined, group: undefined, origin: undefined, changed: undefined })
  const reload = async (): Promise<void> => {
    await post('reload')
    await settingsView.reload()
    toast('ok', T.set.reloaded)
  }
  if (!all)
    return loaded.error ? (
      <Problem error={loaded.error} what={T.cannotLoad(T.set.theSettings)} retry={() => settingsView.reload()} />
    ) : (
      <Skeleton what={T.set.theSettings} rows={10} />
    )
  const groups = [...new Set(all.map((s) => groupOf(s.name) || 'general'))].sort()
  const file = loaded.data?.file
  const stale = isStale(loaded, settingsView.everyMs) || loaded.error
  return (
    <>
      <div class="row" ref={top} tabIndex={-1}>
        <p class="extra">
          {file ? T.set.file : T.set.noFile} {file && <Name text={file} most={70} />}
          {stale && loaded.atMs && <span class="mark-unknown"> ○ {T.asOf(clock(loaded.atMs))}</span>}
        </p>
        <span class="grow" />
        <Button act={reload} icon="again">
          {T.set.reload}
        </Button>
      </div>
      {loaded.error && <Problem error={loaded.error} what={T.cannotLoad(T.set.theSettings)} retry={() => settingsView.reload()} />}
      <FilterBar
        text={q}
        onText={setQ}
        hidden={all.length - rows.length}
        onClear={clear}
        choices={[
          {
            label: T.set.group,
            value: group,
            onInput: setGroup,
            options: groups.map((g) => ({ value: g, text: visible(g), n: all.filter((s) => (groupOf(s.name) || 'general') === g).length })),
          },
          {
            label: T.set.origin,
            value: from,
            onInput: setFrom,
            options: ORIGINS.map((o) => ({ value: o, text: T.set.origins[o] ?? o, n: all.filter((s) => s.origin === o).length })),
          },
        ]}
      >
        <CheckField
          label={T.withCount(T.set.changedOnly, all.filter(isChanged).length)}
          value={changed === '1'}
          onInput={(on) => setChanged(on ? '1' : '')}
        />
      </FilterBar>
      {rows.length ? (
        <Table
          name="settings"
          caption={T.settings}
          columns={columns}
          rows={rows}
          rowKey={(s) => s.name}
          label={(s) => visible(s.name)}
          sort={sort}
          onSort={setSort}
          open={open}
          onOpen={(k) => setOpen(k, true)}
          detail={(s) => <Detail s={s} file={file} />}
        />
      ) : (
        <Empty why={all.length ? T.set.filtered : T.set.noSettings}>{all.length > 0 && <Button act={clear}>{T.showAll}</Button>}</Empty>
      )}
      <StagedBar onEnd={() => top.current?.focus()} />
    </>
  )
}

function Detail({ s, file }: { s: Setting; file?: string }) {
  const ways = waysToSet(s)
  return (
    <div class="stack">
      {s.help && <p>{visible(s.help.replace(/`/g, ''))}</p>}
      <Editor s={s} file={file} />
      <Facts
        rows={[
          [T.set.value, <code>{visible(s.value) || T.set.notSet}</code>],
          [T.set.usual, <code>{visible(s.default) || T.set.notSet}</code>],
          [T.set.type, visible(s.type)],
          [T.set.origin, s.origin === 'file' && s.line ? T.set.inFile(file ? visible(file) : T.set.theFile, s.line) : origin(s)],
          [T.set.takes, s.restart ? T.set.restartLong : T.set.atOnceLong],
        ]}
      />
      <p class="extra">{T.set.how[s.origin as 'file'] ?? T.set.how.default}</p>
      <Code text={ways.file} what={file ? T.set.inThis(visible(file)) : T.set.inAFile} />
      {ways.environment && <Code text={ways.environment} what={T.set.asVariable} />}
      {ways.flag && <Code text={ways.flag} what={T.set.asFlag} />}
      {ways.command && <Code text={ways.command} what={T.set.asCommand} />}
      {!ways.flag && <p class="extra">{T.set.onlyInFile}</p>}
    </div>
  )
}
