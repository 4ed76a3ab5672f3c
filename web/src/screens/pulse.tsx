/* pulse.tsx - what is being answered right now, and a place to try a model. Address: tab ('' or try); the rest belongs to the tab. */
import { useKeys } from '../app/keyboard'
import { setParams, useRoute } from '../app/route'
import { Tabs } from '../parts/tabs'
import { T } from '../text'
import { Requests } from './pulse/requests'
import { TryModel } from './pulse/try'

export default function Pulse() {
  const tab = useRoute().params.tab === 'try' ? 'try' : ''
  const pick = (id: string): void => setParams({ tab: id === 'requests' ? undefined : id, open: undefined }, true)
  useKeys(T.pulse, [{ keys: 'w', does: T.tryModel, run: () => pick('try') }])
  const tabs = (
    <Tabs
      label={T.pulse}
      now={tab || 'requests'}
      onPick={pick}
      tabs={[
        { id: 'requests', words: T.tabRequests },
        { id: 'try', words: T.tryModel },
      ]}
    />
  )
  return tab === 'try' ? <TryModel tabs={tabs} /> : <Requests tabs={tabs} />
}
