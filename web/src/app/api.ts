/* api.ts - calls of the admin API. Every call goes through `call`: it adds the header that a form or an image cannot add, turns
 * faults into ApiError, and asks the person where the hub wants to be sure (guard.tsx): the passphrase again, the permission key. */
import { path as at } from './place'
import { store } from './store'

export class ApiError extends Error {
  constructor(
    readonly status: number /* 0: no answer came */,
    readonly code: string,
    message: string,
    readonly hint = '',
    readonly retryAfterS?: number,
    readonly answer?: unknown /* all of it */,
  ) {
    super(message)
  }
}

export interface CallOptions {
  body?: unknown
  ifMatch?: number
  signal?: AbortSignal
  quiet?: boolean /* no question to the person: the fault is the caller's to show */
}

/* What is asked of the person in between; guard.tsx answers with true (asked and given) or false (given up). */
export interface Guards {
  reauth(): Promise<boolean>
  unlock(): Promise<string | undefined>
  lost(): void /* the session ended */
}
let guards: Guards | undefined
export function setGuards(g: Guards): void {
  guards = g
}

/* When the hub last answered at all, for the idle limit and the connection line. */
export const answeredMs = store(0)
export const unreachableSince = store<number | undefined>(undefined)

const TIMEOUT_MS = 30_000

async function once<T>(method: string, path: string, o: CallOptions, permissionKey?: string): Promise<T> {
  const headers: Record<string, string> = { 'drover-console': '1' }
  if (o.body !== undefined) headers['content-type'] = 'application/json'
  if (o.ifMatch !== undefined) headers['if-match'] = `"${o.ifMatch}"`
  if (permissionKey !== undefined) headers['drover-permission-key'] = permissionKey
  const late = new AbortController()
  const timer = setTimeout(() => late.abort(), TIMEOUT_MS)
  const stop = (): void => late.abort()
  o.signal?.addEventListener('abort', stop)
  let res: Response
  let text: string
  try {
    res = await fetch(at(path), {
      method,
      headers,
      body: o.body === undefined ? null : JSON.stringify(o.body),
      signal: late.signal,
      cache: 'no-store',
      credentials: 'same-origin',
      redirect: 'error',
    })
    text = await res.text()
  } catch {
    if (o.signal?.aborted) throw new ApiError(0, 'aborted', '')
    if (unreachableSince.get() === undefined) unreachableSince.set(Date.now())
    throw new ApiError(0, 'unreachable', '')
  } finally {
    clearTimeout(timer)
    o.signal?.removeEventListener('abort', stop)
  }
  answeredMs.set(Date.now())
  unreachableSince.set(undefined)
  let value: unknown
  try {
    value = text ? JSON.parse(text) : undefined
  } catch {
    value = undefined
  }
  if (res.ok) return value as T
  const e = (value as { error?: { code?: string; message?: string; hint?: string } } | undefined)?.error
  const after = Number(res.headers.get('retry-after'))
  throw new ApiError(res.status, e?.code ?? '', e?.message ?? `HTTP ${res.status}`, e?.hint ?? '', after > 0 ? after : undefined, value)
}

export async function call<T>(method: string, path: string, o: CallOptions = {}): Promise<T> {
  let permissionKey: string | undefined
  let confirmed = false
  for (;;) {
    try {
      return await once<T>(method, path, o, permissionKey)
    } catch (e) {
      if (!(e instanceof ApiError) || o.quiet || !guards) throw e
      if (e.status === 401) guards.lost()
      if (e.code === 'reauth_required' && !confirmed) confirmed = await guards.reauth()
      else if (e.code === 'locked' && permissionKey === undefined) permissionKey = await guards.unlock()
      else throw e
      if (e.code === 'locked' ? permissionKey === undefined : !confirmed) throw e
    }
  }
}

export const get = <T>(path: string, signal?: AbortSignal): Promise<T> => call<T>('GET', '/drover/v1/' + path, { signal })
export const post = <T>(path: string, body: unknown = {}, o: CallOptions = {}): Promise<T> =>
  call<T>('POST', '/drover/v1/' + path, { ...o, body })
export const put = <T>(path: string, body: unknown, o: CallOptions = {}): Promise<T> => call<T>('PUT', '/drover/v1/' + path, { ...o, body })
export const del = <T>(path: string, o: CallOptions = {}): Promise<T> => call<T>('DELETE', '/drover/v1/' + path, o)

/* A name or id as one part of a path. */
export const part = (name: string): string => encodeURIComponent(name)
