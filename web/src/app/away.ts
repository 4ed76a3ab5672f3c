/* away.ts - whether the hub is out of reach. A second and a half without a socket is no news yet; a call that got no answer is. */
import { T } from '../text'
import { unreachableSince } from './api'
import { linkView } from './events'
import { store, useStore } from './store'

const PATIENCE_MS = 1500
export const awaySince = store<number | undefined>(undefined)

let timer: ReturnType<typeof setTimeout> | undefined
function look(): void {
  clearTimeout(timer)
  const http = unreachableSince.get()
  const since = linkView.get().downSinceMs ?? http
  const left = since === undefined ? 0 : since + PATIENCE_MS - Date.now()
  if (since !== undefined && http === undefined && left > 0) timer = setTimeout(look, left)
  else awaySince.set(since)
}
linkView.watch(look)
unreachableSince.watch(look)

/* Why nothing can be changed now, for controls that act on the hub; undefined while it can. */
export const useAway = (): string | undefined => (useStore(awaySince) === undefined ? undefined : T.hubAway)
