/* link.ts - the socket to the hub as a machine without a browser in it: when to connect, what to say, where to resume. events.ts
 * gives it a WebSocket and spreads what comes.
 *
 *     off --start--> connecting --open--> open --lost--> waiting --time--> connecting ...        stop: off
 *
 * It resumes behind the last event it has seen; a hub that started anew (another `boot`) begins at its own last event. Nothing
 * heard for SILENCE_MS while figures are due means the socket is dead, whatever the operating system thinks. */
import type { HubEvent } from './types'

export interface Wire {
  send(text: string): void
  close(): void
}

export interface LinkDeps {
  open(on: { open(): void; text(text: string): void; close(): void }): Wire
  later(ms: number, fn: () => void): () => void
  random(): number
}

export interface LinkEvents {
  phase(phase: Phase, retryInMs: number): void
  event(e: HubEvent): void
  anew(): void /* events were missed, or nobody knows: fetch again */
  message(kind: string, value: unknown, whole: Record<string, unknown>): void
}

export type Phase = 'off' | 'connecting' | 'open' | 'waiting'

export const SILENCE_MS = 10_000
const FIRST_MS = 500
const MOST_MS = 15_000

/* Doubles from half a second to 15, give or take 30 %: hubs that come back are not stormed. */
export function backoffMs(attempt: number, random: number): number {
  return Math.round(Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(attempt, 10)) * (0.7 + 0.6 * random))
}

export class Link {
  private phase: Phase = 'off'
  private wire: Wire | undefined
  private attempt = 0
  private boot: string | undefined
  private last: number | undefined
  private topics: string[] = []
  private logLevel = 'info'
  private cancelTimer: (() => void) | undefined
  private era = 0 /* numbers the sockets: what an earlier one still says is not heard */

  constructor(
    private deps: LinkDeps,
    private on: LinkEvents,
  ) {}

  start(): void {
    if (this.phase === 'off' || this.phase === 'waiting') this.connect()
  }

  stop(): void {
    this.leave('off', 0)
  }

  /* The whole of what is wanted; told at once if the socket is open. */
  want(topics: string[], logLevel: string): void {
    const same = topics.join() === this.topics.join() && logLevel === this.logLevel
    this.topics = topics
    this.logLevel = logLevel
    if (!same && this.phase === 'open') this.subscribe()
  }

  say(message: unknown): boolean {
    if (this.phase !== 'open' || !this.wire) return false
    this.wire.send(JSON.stringify(message))
    return true
  }

  private subscribe(): void {
    const message: Record<string, unknown> = { subscribe: this.topics }
    if (this.last !== undefined) message.since = this.last
    if (this.topics.includes('log')) message.log_level = this.logLevel
    this.say(message)
  }

  private connect(): void {
    const era = ++this.era
    const mine = (fn: () => void): void => {
      if (era === this.era) fn()
    }
    this.leave('connecting', 0, false)
    this.wire = this.deps.open({
      open: () =>
        mine(() => {
          this.set('open', 0)
          this.subscribe()
          this.heard()
        }),
      text: (text) => mine(() => this.text(text)),
      close: () => mine(() => this.lost()),
    })
  }

  private text(text: string): void {
    let m: unknown
    try {
      m = JSON.parse(text)
    } catch {
      return
    }
    if (m === null || typeof m !== 'object') return
    this.heard()
    const whole = m as Record<string, unknown>
    if (whole.hello) this.hello(whole.hello as { boot?: string; last?: number })
    else if (whole.event) this.event(whole.event as HubEvent)
    else if (whole.gap) {
      const to = (whole.gap as { to?: number }).to
      if (typeof to === 'number' && (this.last === undefined || to > this.last)) this.last = to
      this.on.anew()
    } else for (const [kind, value] of Object.entries(whole)) this.on.message(kind, value, whole)
  }

  private hello(h: { boot?: string; last?: number }): void {
    this.attempt = 0
    if (this.boot !== undefined && h.boot !== this.boot) {
      this.last = h.last
      this.on.anew()
    } else if (this.last === undefined) {
      this.last = h.last
    }
    this.boot = h.boot
  }

  private event(e: HubEvent): void {
    if (typeof e.id !== 'number' || (this.last !== undefined && e.id <= this.last)) return
    this.last = e.id
    this.on.event(e)
  }

  private heard(): void {
    this.cancelTimer?.()
    this.cancelTimer = this.topics.includes('figures') || this.attempt > 0 ? this.deps.later(SILENCE_MS, () => this.lost()) : undefined
  }

  private lost(): void {
    const ms = backoffMs(this.attempt++, this.deps.random())
    this.leave('waiting', ms)
    this.cancelTimer = this.deps.later(ms, () => this.connect())
  }

  private leave(to: Phase, ms: number, forget = true): void {
    this.cancelTimer?.()
    this.cancelTimer = undefined
    const wire = this.wire
    this.wire = undefined
    if (forget) this.era++
    wire?.close()
    this.set(to, ms)
  }

  private set(phase: Phase, ms: number): void {
    this.phase = phase
    this.on.phase(phase, ms)
  }
}
