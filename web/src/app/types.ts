/* types.ts - the admin API's answers, as far as the page reads them. Members may be missing: missing is unknown. */

import type { EndpointSettings } from '../pure/endpointdraft'

export type Role = 'viewer' | 'operator' | 'admin'

export interface Session {
  signed_in: boolean
  setup: boolean
  name?: string
  version?: string
  user?: string
  role?: Role
  created_ms?: number
  expires_ms?: number
  idle_ms?: number
  fresh_until_ms?: number
  mode?: 'dev' | 'live'
  visit?: boolean /* by somebody of another hub: nothing to sign in to or out of */
}

export interface Mode {
  mode: 'dev' | 'live'
  since_ms?: number
  by?: string
  until_ms?: number
  has_key?: boolean
}

export type EndpointState = 'unknown' | 'up' | 'degraded' | 'loading' | 'down'

export interface Model {
  id: string
  slug?: string
  loaded?: boolean | null
  context?: number
  context_max?: number
  size_bytes?: number
  vram_bytes?: number
  slots?: number
  expires?: number
  family?: string
  parameters?: string
  quantization?: string
  capabilities?: string[]
}

export interface Endpoint {
  name: string
  url: string
  kind: string
  version: string
  state: EndpointState
  reason: string
  since_ms: number
  breaker: 'closed' | 'open' | 'trial'
  in_flight: number
  max_concurrent?: number
  ok: number
  failed: number
  local: boolean
  demonstration: boolean
  origin: 'configuration' | 'console' | 'found' | 'node' | 'demonstration'
  settings?: EndpointSettings
  speaks: string[]
  models: Model[]
}

export interface Slug {
  slug: string
  targets: {
    endpoint: string
    kind: string
    model: string
    state: EndpointState
    loaded: boolean | null
    context?: number
    in_flight: number
    us_per_token?: number
  }[]
}

export interface Explanation {
  asked: string
  slug: string
  alias: boolean
  candidates: {
    endpoint: string
    model: string
    verdict: string
    taken: boolean
    native?: boolean
    state: EndpointState
    reason: string
    in_flight: number
    max_concurrent?: number
    slots?: number
    us_per_token?: number
    local: boolean
    priority: number
    loaded: boolean | null
  }[]
  fallback: string[]
}

export interface Status {
  version: string
  name: string
  uptime_ms: number
  listen: string[]
  endpoints: number
  endpoints_up: number
  models: number
  requests: number
  failed: number
  cancelled: number
  in_flight: number
  queued: number
  input_tokens: number
  output_tokens: number
  settled: boolean
  hub?: boolean /* it accepts nodes */
  records?: { state: string; fault: string; rows_lost: number }
}

export interface LiveRequest {
  id: string
  received_ms: number
  state: 'reading' | 'queued' | 'waiting' | 'answering'
  key?: string
  key_name?: string
  user?: string
  api: string
  asked: string
  slug?: string
  endpoint?: string
  model?: string
  stream: boolean
  queue_ms: number
  place?: number
  expect_ms?: number
  ttft_ms?: number
  input?: number
  output?: number
  reasoning?: number
  bytes_out: number
  attempts: number
}

export interface Live {
  at_ms: number
  total: number
  queued: number
  cut: boolean
  requests: LiveRequest[]
}

export interface EndedRequest {
  id: string
  key: string
  key_name?: string
  user?: string
  slug: string
  model: string
  endpoint: string
  runtime: string
  dialect: string
  api: string
  ended_ms: number
  stream: boolean
  status: number
  result: 'ok' | 'client_error' | 'upstream_error' | 'cancelled' | 'rejected'
  attempts: number
  input_tokens: number | null
  cached_tokens: number | null
  output_tokens: number | null
  reasoning_tokens: number | null
  input_source: string
  output_source: string
  queue_us: number
  first_us: number | null
  total_us: number
  bytes_in: number
  bytes_out: number
}

export interface Point {
  at_ms: number
  requests: number
  failed: number
  in_flight: number
  queued: number
  input_tokens: number
  output_tokens: number
  ttft_p50_ms?: number
  ttft_p95_ms?: number
}

export interface Alert {
  id: string
  kind: string
  severity: 'bad' | 'warn'
  object: string
  text: string
  cure: string
  since_ms: number
  link?: string
  silenced_until_ms?: number
  explained_by?: string
}

export interface Key {
  id: string
  name: string
  owner: string
  enabled: boolean
  created_ms: number
  expires_ms?: number
  old_secret_until_ms?: number /* until then the secret before works, too */
  models: string[]
  endpoints: string[]
  networks: string[]
  rights: string[]
  priority: number
  limits: Record<string, number>
  in_flight: number
  used_ms?: number
  version: number
}

export type LogLine = { time?: string; level?: string; msg?: string; missed?: number } & Record<string, unknown>

export interface NodeLink {
  up_ms: number
  peer: string
  group: string
  post_quantum: boolean
  rtt_us: number
  lanes: number
  streams: number
  bytes_in: number
  bytes_out: number
  silent_ms: number
  clock_off_ms: number
}

export interface Node {
  id: string
  name: string
  state: 'waiting' | 'approved' | 'refused' | 'revoked'
  drained: boolean
  mode: 'reverse' | 'direct'
  url?: string
  labels: Record<string, string>
  told: { version?: string; hostname?: string; os?: string; arch?: string; address?: string }
  fingerprint: string
  created_ms?: number
  decided_ms?: number
  decided_by?: string
  seen_ms?: number
  certificate_ends_ms?: number
  down_since_ms?: number
  last_error?: string
  epoch: number
  linked: boolean
  health?: EndpointState
  reason?: string
  models?: number
  link?: NodeLink
  registration?: { version?: string; allow?: { console?: 'off' | 'view' | 'full' } }
}

export interface Directive {
  id: string
  op: string
  state: 'queued' | 'sent' | 'accepted' | 'refused' | 'running' | 'succeeded' | 'failed' | 'cancelled' | 'timed_out' | 'expired' | 'superseded' | 'unknown'
  reason: string
  by: string
  code: string
  message: string
  detail: object | null
  issued_ms: number
}

export interface NodeEvent {
  at_ms: number
  what: string
  detail: string
}

export interface Finding {
  code: string
  severity: 'error' | 'warning' | 'info'
  what: string
  where: string
  cure: string
  node: string
}

export interface Invite {
  id: string
  name: string
  created_ms: number
  expires_ms: number
  used: boolean
  fingerprint?: string
}

export interface Root {
  name: string
  pin: string
  ends_ms: number
  issues: boolean
  trusted: boolean
}

/* A change of the fleet's root that is under way. */
export interface Rotation {
  stage: 'make' | 'trust_both' | 'issue' | 'prove' | 'trust_new' | 'retire' | 'back'
  emergency: boolean
  old: string
  new: string
  since_ms: number
  nodes: number
  missing: number
  waits_for: { name: string; why: string; linked?: boolean; invite?: string; node?: string }[]
  skipped: string[]
  fault?: string
}

export interface Certificates {
  roots: Root[]
  hub: { ends_ms: number; ca: string }
  not_back: string[]
  rotation?: Rotation
}

export type Topic = 'fleet' | 'node' | 'request' | 'key' | 'user' | 'session' | 'alert' | 'config' | 'mode' | 'audit' | 'hub'

export interface HubEvent {
  id: number
  at_ms: number
  topic: Topic
  data: Record<string, unknown>
}
