/* session.ts - who is signed in here, what they may, and when that ends. The identity itself is a cookie the page cannot read. */
import { answeredMs, ApiError, call, del, post } from './api'
import { forgetAll } from './data'
import { hubNow, linkView, startEvents, stopEvents } from './events'
import { wayBack } from './place'
import { setIdleLimit } from './presence'
import { store } from './store'
import { T } from '../text'
import type { Role, Session } from './types'

/* undefined: not known yet. */
export const session = store<Session | undefined>(undefined)
/* Why the person sees the sign-in page, where there is a reason. */
export const signedOutWhy = store('')
export const sessionFault = store<unknown>(undefined)

const ranks: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 }

/* Whether the person's role suffices. The hub decides in the end; this is for showing. */
export function may(role: Role): boolean {
  const mine = session.get()?.role
  return mine !== undefined && ranks[mine] >= ranks[role]
}

function accept(s: Session): void {
  const was = session.get()?.signed_in
  session.set(s)
  setIdleLimit(s.idle_ms)
  if (s.signed_in) {
    if (!was) startEvents(onBye)
  } else {
    stopEvents()
    forgetAll()
  }
}

/* A socket that is refused does not say why: it may be that the session is over. */
linkView.watch((v) => {
  if (v.phase === 'waiting' && session.get()?.signed_in) void look()
})

/* The hub ends the socket with a reason; whether the session is over is asked of the hub, not guessed. */
function onBye(_code: string, text: string): void {
  const was = session.get()
  void look().then(() => {
    if (was?.signed_in && !session.get()?.signed_in) signedOutWhy.set(text)
  })
}

export async function look(): Promise<void> {
  try {
    const s = await call<Session>('GET', '/drover/v1/session', { quiet: true })
    if (session.get()?.signed_in && !s.signed_in) signedOutWhy.set(signedOutWhy.get() || T.sessionEnded)
    accept(s)
    sessionFault.set(undefined)
  } catch (e) {
    sessionFault.set(e)
    if (visitIsOver(e)) sessionLost('')
  }
}

/* A visit ends at the hub, which says so here. */
export function visitIsOver(fault: unknown): boolean {
  return wayBack !== undefined && fault instanceof ApiError && fault.status === 401
}

export async function signIn(name: string, passphrase: string): Promise<void> {
  const s = await post<Session>('session', { name, passphrase }, { quiet: true })
  signedOutWhy.set('')
  accept(s)
}

export async function signOut(): Promise<void> {
  await del('session', { quiet: true })
  accept({ ...session.get(), signed_in: false, setup: false, user: undefined, role: undefined })
}

export async function setUp(token: string, name: string, passphrase: string): Promise<void> {
  accept(await post<Session>('setup', { token, name, passphrase }, { quiet: true }))
}

export async function confirmPassphrase(passphrase: string): Promise<void> {
  session.set(await post<Session>('session/confirm', { passphrase }, { quiet: true }))
}

/* Any request extends the idle limit; this is the smallest. */
export async function extend(): Promise<void> {
  await look()
}

export function sessionLost(why: string): void {
  if (!session.get()?.signed_in) return
  signedOutWhy.set(why)
  accept({ ...session.get(), signed_in: false, setup: false, user: undefined, role: undefined })
}

/* When the session ends: after so long without a request, or for good. */
export function sessionEnd(): { atMs: number; forGood: boolean } | undefined {
  const s = session.get()
  if (!s?.signed_in) return undefined
  const idle = s.idle_ms && answeredMs.get() ? answeredMs.get() + s.idle_ms : Infinity
  const last = s.expires_ms ? s.expires_ms - (hubNow() - Date.now()) : Infinity /* by our clock */
  const atMs = Math.min(idle, last)
  return atMs === Infinity ? undefined : { atMs, forGood: last <= idle }
}
