/* route.ts - the address says what is on screen: #/pulse?tab=try&open=req_7Q2. Screen, tab, filter, sort and open row are in it,
 * so that links can be shared and Back works. No secret is ever put there. */
import { store, useStore } from './store'

export interface Route {
  screen: string
  params: Readonly<Record<string, string>>
}

export function readHash(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?', 2)
  const params: Record<string, string> = {}
  for (const [k, v] of new URLSearchParams(query)) params[k] = v
  return { screen: /^[a-z]+$/.test(path) ? path : '', params }
}

/* The address of a screen, for links. Empty values are left out. */
export function href(screen: string, params: Record<string, string | undefined> = {}): string {
  const q = new URLSearchParams()
  for (const [k, v] of Object.entries(params)) if (v) q.set(k, v)
  const text = q.toString()
  return '#/' + screen + (text ? '?' + text : '')
}

/* The one-time link of the first start, #setup=TOKEN: taken out of the address before anything else happens. */
export const setupToken = ((): string => {
  const m = /^#setup=([^&]{1,512})$/.exec(location.hash)
  if (!m) return ''
  history.replaceState(null, '', location.pathname + '#/')
  try {
    return decodeURIComponent(m[1] ?? '')
  } catch {
    return m[1] ?? '' /* the hub will say that it is none of its tokens */
  }
})()

export const route = store<Route>(readHash(location.hash))
addEventListener('hashchange', () => route.set(readHash(location.hash)))

export function go(screen: string, params: Record<string, string | undefined> = {}): void {
  location.hash = href(screen, params).slice(1)
}

/* An address that names no screen gets the one that is shown, without an entry for Back. */
export function replaceScreen(screen: string): void {
  const to = href(screen, route.get().params)
  history.replaceState(null, '', location.pathname + to)
  route.set(readHash(to))
}

/* Changes some values of the address; what is opened or left makes an entry for Back (`step`), what is typed does not. */
export function setParams(change: Record<string, string | undefined>, step = false): void {
  const now = route.get()
  const to = href(now.screen, { ...now.params, ...change })
  if (to === location.hash) return
  if (step) location.hash = to.slice(1)
  else {
    history.replaceState(null, '', location.pathname + to)
    route.set(readHash(to))
  }
}

export function useRoute(): Route {
  return useStore(route)
}

/* One value of the address: [what it is, a function that sets it]. */
export function useParam(name: string, usual = ''): [string, (value: string, step?: boolean) => void] {
  const now = useRoute().params[name] ?? usual
  return [now, (value, step) => setParams({ [name]: value === usual ? undefined : value }, step)]
}
