/* StopAll: ends all that goes on with a key (or for a person), after saying what that is. id: as requests tell it; name: as people do. */
import { post } from '../app/api'
import { hubNow, useLatest } from '../app/events'
import { toast } from '../app/say'
import type { Live } from '../app/types'
import { duration } from '../pure/format'
import { visible } from '../pure/visible'
import { T } from '../text'
import { Confirm } from './confirm'

export function StopAll({ id, name, onClose }: { id: string; name: string; onClose(): void }) {
  const live = useLatest('live') as Live | undefined
  const mine = live?.requests.filter((r) => r.key === id) ?? []
  const oldest = mine.length ? Math.min(...mine.map((r) => r.received_ms)) : 0
  const models = [...new Set(mine.map((r) => r.slug ?? r.asked))].map(visible).join(', ')
  const facts = [
    !live ? T.stopAll.unknown : mine.length ? T.key.liveNow(mine.length, duration(hubNow() - oldest), models) : live.cut ? T.key.liveCut : T.key.liveNone,
    T.stopAll.means,
    T.stopAll.later,
  ]
  const stop = async (): Promise<void> => {
    await post('live/stop', { key: id })
    toast('ok', T.stopAll.done(name))
  }
  return <Confirm title={T.stopAll.title(visible(name))} facts={facts} verb={T.stopAll.verb} act={stop} onClose={onClose} />
}
