/* screens.ts - the screens there are: one row each, its code loaded when it is first shown. A new screen is a file in screens/ with
 * a default export, and a row here. */
import type { FunctionComponent } from 'preact'
import { T } from '../text'
import type { Role } from './types'

export interface Screen {
  id: string /* in the address */
  name: string
  icon: string
  letter: string /* behind g */
  least: Role /* who may see it at all */
  load(): Promise<{ default: FunctionComponent }>
}

export const screens: Screen[] = [
  { id: 'fleet', name: T.fleet, icon: 'fleet', letter: 'f', least: 'viewer', load: () => import('../screens/fleet') },
  { id: 'pulse', name: T.pulse, icon: 'pulse', letter: 'p', least: 'viewer', load: () => import('../screens/pulse') },
  { id: 'console', name: T.logs, icon: 'console', letter: 'c', least: 'viewer', load: () => import('../screens/console') },
  { id: 'keys', name: T.keys, icon: 'keys', letter: 'k', least: 'viewer', load: () => import('../screens/keys') },
  { id: 'settings', name: T.settings, icon: 'settings', letter: 's', least: 'viewer', load: () => import('../screens/settings') },
  { id: 'alerts', name: T.alertsName, icon: 'alerts', letter: 'a', least: 'viewer', load: () => import('../screens/alerts') },
]

/* Entrances: shown in place of the shell. */
export const signInPage = (): Promise<{ default: FunctionComponent }> => import('../screens/signin')
export const firstRunPage = (): Promise<{ default: FunctionComponent }> => import('../screens/firstrun')
