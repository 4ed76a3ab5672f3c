/* keydraft.ts - a key as a person fills it in: from a key to the form and back, what is wrong with it, what was changed, and what
 * the key will be able to do, in words. */
import { T } from '../text'
import { amount } from './csv'
import { clock, count } from './format'

export const LIMITS = [
  'requests_per_min',
  'requests_burst',
  'concurrent',
  'tokens_per_min',
  'tokens_per_day',
  'tokens_per_month',
  'money_per_day',
  'money_per_month',
] as const
export type Limit = (typeof LIMITS)[number]
export const isMoney = (l: Limit): boolean => l.startsWith('money')

export const RIGHTS = ['pass', 'manage', 'measure'] as const

/* What a key says about itself and can be set. */
export interface KeyMembers {
  name: string
  owner: string
  enabled: boolean
  expires_ms?: number | null
  models: string[]
  endpoints: string[]
  networks: string[]
  rights: string[]
  priority: number
  limits: Record<string, number>
}

export interface KeyForm {
  name: string
  owner: string
  enabled: boolean
  expires: string /* '' not said yet, 'never', days, or 'at' */
  expiresAt: string /* as the browser's date field has it, local time */
  models: string /* patterns, one a line */
  endpoints: string
  networks: string
  rights: string[]
  priority: string
  limits: Record<Limit, string>
}

const noLimits = (): Record<Limit, string> => Object.fromEntries(LIMITS.map((l) => [l, ''])) as Record<Limit, string>

/* Nothing is chosen beforehand: what a key may use is for the person to say. */
export const emptyForm = (): KeyForm => ({
  name: '',
  owner: '',
  enabled: true,
  expires: '',
  expiresAt: '',
  models: '',
  endpoints: '',
  networks: '',
  rights: [],
  priority: '0',
  limits: noLimits(),
})

const two = (n: number): string => String(n).padStart(2, '0')
export function localDate(ms: number): string {
  const d = new Date(ms)
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}T${two(d.getHours())}:${two(d.getMinutes())}`
}

export function formOf(k: KeyMembers): KeyForm {
  const limits = noLimits()
  for (const l of LIMITS) if (k.limits[l]) limits[l] = String(k.limits[l])
  return {
    name: k.name,
    owner: k.owner,
    enabled: k.enabled,
    expires: k.expires_ms ? 'at' : 'never',
    expiresAt: k.expires_ms ? localDate(k.expires_ms) : '',
    models: k.models.join('\n'),
    endpoints: k.endpoints.join('\n'),
    networks: k.networks.join('\n'),
    rights: [...k.rights],
    priority: String(k.priority),
    limits,
  }
}

export const lines = (text: string): string[] => [...new Set(text.split(/[\n,]/).map((x) => x.trim()))].filter(Boolean)

const DAY_MS = 86_400_000
const MONEY_MOST = 1_000_000_000

function expiry(f: KeyForm, nowMs: number): number | null | undefined {
  if (f.expires === 'never') return null
  if (f.expires === 'at') {
    const at = Date.parse(f.expiresAt)
    return Number.isFinite(at) ? at : undefined
  }
  return f.expires ? nowMs + Number(f.expires) * DAY_MS : undefined
}

/* A limit as typed: undefined is wrong, 0 is none. Separators of thousands are fine, and a comma before the end of a sum of money. */
export function readLimit(l: Limit, text: string): number | undefined {
  const t = text.replace(/[\s_']/g, '')
  if (!t) return 0
  if (isMoney(l))
    return /^\d+([.,]\d{1,6})?$/.test(t) && Number(t.replace(',', '.')) <= MONEY_MOST ? Number(t.replace(',', '.')) : undefined
  const plain = /^\d{1,3}(,\d{3})+$/.test(t) ? t.replace(/,/g, '') : t
  const small = l === 'requests_per_min' || l === 'requests_burst' || l === 'concurrent'
  return /^\d+$/.test(plain) && Number(plain) <= (small ? 2 ** 31 - 1 : Number.MAX_SAFE_INTEGER) ? Number(plain) : undefined
}

export type KeyFaults = Partial<Record<'name' | 'owner' | 'expires' | 'models' | 'endpoints' | 'networks' | 'priority' | Limit, string>>

/* was: when the key had its end already, a moment that is over may stay. */
export function check(f: KeyForm, nowMs: number, was?: KeyForm): KeyFaults {
  const out: KeyFaults = {}
  const bytes = (t: string): number => new TextEncoder().encode(t).length
  if (!f.name.trim() || bytes(f.name.trim()) > 64) out.name = T.key.faultName
  if (bytes(f.owner) > 64) out.owner = T.key.faultOwner
  const at = expiry(f, nowMs)
  if (at === undefined) out.expires = T.key.faultExpires
  else if (at !== null && at <= nowMs && was?.expiresAt !== f.expiresAt) out.expires = T.key.faultPast
  if (!lines(f.models).length) out.models = T.key.faultModels
  if (!lines(f.endpoints).length) out.endpoints = T.key.faultEndpoints
  if (lines(f.networks).some((n) => !/^[0-9a-f.:]+(\/\d{1,3})?$/i.test(n))) out.networks = T.key.faultNetworks
  const p = Number(f.priority)
  if (!/^-?\d+$/.test(f.priority.trim()) || p < -100 || p > 100) out.priority = T.key.faultPriority
  for (const l of LIMITS) if (readLimit(l, f.limits[l]) === undefined) out[l] = isMoney(l) ? T.key.faultMoney : T.key.faultCount
  return out
}

/* Only where check finds nothing. */
export function members(f: KeyForm, nowMs: number): KeyMembers {
  const limits: Record<string, number> = {}
  for (const l of LIMITS) {
    const n = readLimit(l, f.limits[l])
    if (n) limits[l] = n
  }
  return {
    name: f.name.trim(),
    owner: f.owner.trim(),
    enabled: f.enabled,
    expires_ms: expiry(f, nowMs) ?? null,
    models: lines(f.models),
    endpoints: lines(f.endpoints),
    networks: lines(f.networks),
    rights: RIGHTS.filter((r) => f.rights.includes(r)),
    priority: Number(f.priority),
    limits,
  }
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)
const sorted = (o: Record<string, number>): [string, number][] => Object.entries(o).sort(([a], [b]) => (a < b ? -1 : 1))

/* The members that differ: what is sent, and what two people who changed the same key disagree on. */
export function changes(from: KeyMembers, to: KeyMembers): Partial<KeyMembers> {
  const out: Record<string, unknown> = {}
  for (const m of ['name', 'owner', 'enabled', 'models', 'endpoints', 'networks', 'rights', 'priority'] as const)
    if (!same(from[m], to[m])) out[m] = to[m]
  if (!same(sorted(from.limits), sorted(to.limits))) out.limits = to.limits
  /* The field knows minutes: what was not touched is not cut down to them. */
  const minute = (ms: number | null | undefined): number => Math.floor((ms ?? 0) / 60_000)
  if (minute(from.expires_ms) !== minute(to.expires_ms)) out.expires_ms = to.expires_ms
  return out
}

/* A value as words, for the list of what changed. */
export function memberWords(name: keyof KeyMembers, v: unknown, currency: string): string {
  if (name === 'expires_ms') return v ? clock(v as number) : T.key.never
  if (name === 'enabled') return v ? T.yes : T.no
  if (name === 'limits') {
    const list = Object.entries(v as Record<string, number>).map(([l, n]) =>
      T.key.limitIs(T.key.limits[l as Limit] ?? l, isMoney(l as Limit) ? amount(n, currency) : count(n)),
    )
    return list.join(', ') || T.none
  }
  return Array.isArray(v) ? v.join(', ') || T.none : String(v)
}

const all = (list: string[]): boolean => list.includes('*')

/* What the key will be able to do, a sentence each. */
export function words(k: KeyMembers, currency: string, nowMs: number): string[] {
  const out: string[] = []
  out.push(
    k.enabled
      ? k.expires_ms
        ? T.key.sayUntil(k.name, clock(k.expires_ms), Math.max(0, Math.round((k.expires_ms - nowMs) / DAY_MS)))
        : T.key.sayForever(k.name)
      : T.key.sayOff(k.name),
  )
  out.push(all(k.models) ? T.key.sayAllModels : k.models.length ? T.key.sayModels(k.models.join(', ')) : T.key.sayNoModels)
  out.push(
    all(k.endpoints) ? T.key.sayAllEndpoints : k.endpoints.length ? T.key.sayEndpoints(k.endpoints.join(', ')) : T.key.sayNoEndpoints,
  )
  out.push(k.networks.length ? T.key.sayNetworks(k.networks.join(', ')) : T.key.sayAnywhere)
  for (const r of RIGHTS) if (k.rights.includes(r)) out.push(T.key.sayRights[r])
  if (!k.rights.length) out.push(T.key.sayNoRights)
  const rate: string[] = []
  const budget: string[] = []
  for (const l of LIMITS) {
    const n = k.limits[l]
    if (n)
      (l.endsWith('_day') || l.endsWith('_month') ? budget : rate).push(
        T.key.limitIs(T.key.limits[l], isMoney(l) ? amount(n, currency) : count(n)),
      )
  }
  out.push(rate.length ? T.key.sayRate(rate.join(', ')) : T.key.sayNoRate)
  out.push(budget.length ? T.key.sayBudget(budget.join(', ')) : T.key.sayNoBudget)
  if (k.priority) out.push(k.priority > 0 ? T.key.sayFirst(k.priority) : T.key.sayLast(k.priority))
  return out
}

/* --- budgets ------------------------------------------------------------------------------------------------------- */

export interface Spent {
  limit: number
  spent: number
  left: number
  share: number /* 0..1, and above where it is overdrawn */
  endsMs?: number /* at the pace so far it is used up then, if that is before its span ends */
}

/* Days and months are UTC's. */
export function spanStart(span: 'day' | 'month', nowMs: number): number {
  const d = new Date(nowMs)
  return Date.UTC(d.getUTCFullYear(), d.getUTCMonth(), span === 'day' ? d.getUTCDate() : 1)
}

export function spanEnd(span: 'day' | 'month', nowMs: number): number {
  const d = new Date(nowMs)
  return span === 'day' ? spanStart('day', nowMs) + DAY_MS : Date.UTC(d.getUTCFullYear(), d.getUTCMonth() + 1, 1)
}

export const daysOfMonth = (nowMs: number): number => new Date(nowMs).getUTCDate()

export function spend(limit: number, spent: number, span: 'day' | 'month', nowMs: number): Spent {
  const start = spanStart(span, nowMs)
  const gone = nowMs - start
  const out: Spent = { limit, spent, left: Math.max(0, limit - spent), share: limit > 0 ? spent / limit : 0 }
  /* A pace is none before an hour has gone. */
  if (spent > 0 && spent < limit && gone > 3_600_000) {
    const ends = start + (gone * limit) / spent
    if (ends < spanEnd(span, nowMs)) out.endsMs = ends
  }
  return out
}
