/* start.tsx - from an empty page to the sign-in, the first run or the shell. */
import { render } from 'preact'
import { useEffect } from 'preact/hooks'
import { Button } from '../parts/button'
import { problemText } from '../parts/problem'
import { Skeleton } from '../parts/skeleton'
import { T } from '../text'
import { Lazy } from './lazy'
import { lists } from './lists'
import { wayBack } from './place'
import { setupToken, useRoute } from './route'
import { firstRunPage, screens, signInPage } from './screens'
import { look, session, sessionFault, visitIsOver } from './session'
import { Regions, Shell } from './shell'
import { useStore } from './store'

const RETRY_MS = 3000

function Console() {
  const s = useStore(session)
  const fault = useStore(sessionFault)
  const route = useRoute()
  useEffect(() => {
    if (s || fault === undefined || visitIsOver(fault)) return
    const t = setTimeout(() => void look(), RETRY_MS)
    return () => clearTimeout(t)
  }, [s, fault])
  if (wayBack && (s ? !s.signed_in : visitIsOver(fault)))
    return (
      <main class="entrance">
        <h1>{T.visit.over}</h1>
        <p>{T.visit.overWhy}</p>
        <p>
          <a class="button" href={wayBack}>
            {T.visit.back}
          </a>
        </p>
      </main>
    )
  if (!s)
    return fault === undefined ? (
      <Skeleton what={T.console} rows={8} />
    ) : (
      <main class="entrance">
        <h1>{T.noHub}</h1>
        <p role="alert">{problemText(fault)}</p>
        <p>{T.triesBySelf}</p>
        <Button act={look}>{T.tryNow}</Button>
      </main>
    )
  if (route.screen === 'start' || (!s.signed_in && (setupToken || s.setup)))
    return (
      <>
        <Lazy key="start" load={firstRunPage} what={T.console} />
        <Regions />
      </>
    )
  if (!s.signed_in)
    return (
      <>
        <Lazy key="signin" load={signInPage} what={T.signIn} />
        <Regions />
      </>
    )
  return <Shell />
}

const at = document.getElementById('app')
if (at) {
  const first = screens.find((x) => location.hash.startsWith('#/' + x.id)) ?? screens[0]
  void first?.load()
  /* What Fleet shows is asked for before the shell is drawn. */
  void look().then(() => {
    if (session.get()?.signed_in && first === screens[0]) void lists.endpoints.reload()
  })
  render(<Console />, at)
}
