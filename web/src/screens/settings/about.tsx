/* about.tsx - which Drover this is, where it listens, since when. */
import { useSecond } from '../../app/clock'
import { useResource } from '../../app/data'
import { lists } from '../../app/lists'
import { session } from '../../app/session'
import { useStore } from '../../app/store'
import { Copy } from '../../parts/copy'
import { Facts } from '../../parts/facts'
import { Name } from '../../parts/name'
import { Problem } from '../../parts/problem'
import { Clock } from '../../parts/time'
import { count, duration } from '../../pure/format'
import { visible } from '../../pure/visible'
import { T } from '../../text'

export function About() {
  useSecond()
  const s = useStore(session)
  const loaded = useResource(lists.status)
  const st = loaded.data
  const up = st && loaded.atMs ? st.uptime_ms + (Date.now() - loaded.atMs) : undefined
  return (
    <section class="stack panel" aria-label={T.set.tabs.about}>
      {loaded.error && <Problem error={loaded.error} what={T.cannotLoad(T.set.theRecords)} retry={() => lists.status.reload()} />}
      <Facts
        rows={[
          [T.set.hubName, <Name text={st?.name ?? s?.name ?? T.unknown} />],
          [T.set.version, visible(st?.version ?? s?.version ?? T.unknown)],
          [T.set.uptime, up === undefined ? T.unknown : duration(Math.floor(up / 1000) * 1000)],
          [T.set.started, up === undefined ? undefined : <Clock ms={Date.now() - up} />],
          [T.set.listens, st ? st.listen.map(visible).join(', ') || T.none : T.unknown],
          [T.endpoints, count(st?.endpoints)],
          [T.colModels, count(st?.models)],
          [T.tileRequests, count(st?.requests)],
          [T.set.youAre, s?.user ? `${visible(s.user)}, ${s.role ? T.roles[s.role] : ''}` : undefined],
        ]}
      />
      <p class="extra">{T.set.noCallHome}</p>
      <div class="row">
        <Copy text={`Drover ${st?.version ?? s?.version ?? ''}\n${navigator.userAgent}\n`} words={T.set.copyVersion} />
      </div>
    </section>
  )
}
