/* settings.tsx - what is set, who may come in, and how the hub keeps its records. Address: tab; the rest belongs to the tab. Settings
 * themselves belong to files and the environment: they are shown with where they come from and how to change them. */
import { setParams, useRoute } from '../app/route'
import { may } from '../app/session'
import { ScreenHead } from '../parts/screenhead'
import { Tabs } from '../parts/tabs'
import { T } from '../text'
import { Sessions } from './keys/sessions'
import { MissingRight } from './keys/shared'
import { About } from './settings/about'
import { Appearance } from './settings/appearance'
import { Audit } from './settings/audit'
import { SettingsList } from './settings/list'
import { ModeTab } from './settings/mode'
import { People } from './settings/people'
import { Records } from './settings/records'

const tabs = ['all', 'people', 'sessions', 'mode', 'records', 'audit', 'look', 'about'] as const
type TabId = (typeof tabs)[number]
const forAdmins: readonly TabId[] = ['all', 'people', 'records', 'audit']

export default function Settings() {
  const params = useRoute().params
  const now = tabs.find((t) => t === params.tab) ?? (may('admin') ? 'all' : 'look')
  const pick = (id: string): void => setParams({ ...Object.fromEntries(Object.keys(params).map((k) => [k, undefined])), tab: id }, true)
  return (
    <>
      <ScreenHead title={T.settings} state={T.set.says[now]} />
      <Tabs label={T.settings} now={now} onPick={pick} tabs={tabs.map((id) => ({ id, words: T.set.tabs[id] }))} />
      <div id="tab-panel" role="tabpanel" aria-labelledby={'tab-' + now} class="stack" key={now}>
        {forAdmins.includes(now) && !may('admin') ? <MissingRight what={T.set.notYours(T.set.tabs[now])} /> : <Panel tab={now} />}
      </div>
    </>
  )
}

function Panel({ tab }: { tab: TabId }) {
  if (tab === 'people') return <People />
  if (tab === 'sessions') return <Sessions />
  if (tab === 'mode') return <ModeTab />
  if (tab === 'records') return <Records />
  if (tab === 'audit') return <Audit />
  if (tab === 'look') return <Appearance />
  if (tab === 'about') return <About />
  return <SettingsList />
}
