import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backoffMs, Link, SILENCE_MS, type Phase } from '../src/app/link'

/* A network and a clock in the hands of the test. */
function world() {
  const sockets: { on: { open(): void; text(t: string): void; close(): void }; sent: any[]; closed: boolean }[] = []
  const timers: { at: number; fn: () => void }[] = []
  const seen: any[] = []
  let now = 0
  let phase: Phase = 'off'
  const link = new Link(
    {
      open(on) {
        const s = { on, sent: [] as any[], closed: false }
        sockets.push(s)
        return { send: (t) => s.sent.push(JSON.parse(t)), close: () => (s.closed = true) }
      },
      later(ms, fn) {
        const t = { at: now + ms, fn }
        timers.push(t)
        return () => {
          const i = timers.indexOf(t)
          if (i >= 0) timers.splice(i, 1)
        }
      },
      random: () => 0.5,
    },
    {
      phase: (p) => (phase = p),
      event: (e) => seen.push(e.id),
      anew: () => seen.push('anew'),
      message: (kind, value) => seen.push([kind, value]),
    },
  )
  return {
    link,
    sockets,
    seen,
    timers,
    phase: () => phase,
    last: () => sockets[sockets.length - 1]!,
    say: (m: unknown) => sockets[sockets.length - 1]!.on.text(JSON.stringify(m)),
    pass(ms: number) {
      now += ms
      for (const t of timers.filter((x) => x.at <= now)) {
        timers.splice(timers.indexOf(t), 1)
        t.fn()
      }
    },
  }
}
const event = (id: number): object => ({ event: { id, at_ms: 1, topic: 'fleet', data: {} } })

test('the subscription is said first, then hellos and events are heard', () => {
  const w = world()
  w.link.want(['events', 'live'], 'info')
  w.link.start()
  assert.equal(w.phase(), 'connecting')
  w.last().on.open()
  assert.deepEqual(w.last().sent, [{ subscribe: ['events', 'live'] }])
  w.say({ hello: { boot: 'a', last: 7 } })
  w.say(event(8))
  w.say({ live: { total: 0 } })
  assert.deepEqual(w.seen, [8, ['live', { total: 0 }]])
})
test('after a loss it resumes behind the last event it has seen', () => {
  const w = world()
  w.link.want(['events'], 'info')
  w.link.start()
  w.last().on.open()
  w.say({ hello: { boot: 'a', last: 7 } })
  w.say(event(9))
  w.last().on.close()
  assert.equal(w.phase(), 'waiting')
  w.pass(backoffMs(0, 0.5))
  assert.equal(w.sockets.length, 2)
  w.last().on.open()
  assert.deepEqual(w.last().sent, [{ subscribe: ['events'], since: 9 }])
  w.say({ hello: { boot: 'a', last: 11 } })
  w.say(event(9)) /* sent twice: heard once */
  w.say(event(10))
  assert.deepEqual(w.seen, [9, 10])
})
test('a hub that started anew makes everything be fetched again, and its numbers count', () => {
  const w = world()
  w.link.start()
  w.last().on.open()
  w.say({ hello: { boot: 'a', last: 900 } })
  w.last().on.close()
  w.pass(60_000)
  w.last().on.open()
  w.say({ hello: { boot: 'b', last: 2 } })
  w.say(event(3))
  assert.deepEqual(w.seen, ['anew', 3])
})
test('a gap makes everything be fetched again, and what it covers is not waited for', () => {
  const w = world()
  w.link.start()
  w.last().on.open()
  w.say({ hello: { boot: 'a', last: 1 } })
  w.say({ gap: { from: 2, to: 50 } })
  w.say(event(50))
  w.say(event(51))
  assert.deepEqual(w.seen, ['anew', 51])
})
test('waiting doubles, is bounded, and starts again after a hello', () => {
  assert.equal(backoffMs(0, 0.5), 500)
  assert.equal(backoffMs(1, 0.5), 1000)
  assert.equal(backoffMs(30, 0.5), 15_000)
  assert.ok(backoffMs(3, 0) < backoffMs(3, 1))
  const w = world()
  w.link.start()
  for (let i = 0; i < 4; i++) {
    w.last().on.close()
    w.pass(20_000)
  }
  assert.equal(w.sockets.length, 5)
  w.last().on.open()
  w.say({ hello: { boot: 'a', last: 1 } })
  w.last().on.close()
  w.pass(499)
  assert.equal(w.sockets.length, 5)
  w.pass(1)
  assert.equal(w.sockets.length, 6)
})
test('silence while figures are due is a loss', () => {
  const w = world()
  w.link.want(['events', 'figures'], 'info')
  w.link.start()
  w.last().on.open()
  w.say({ hello: { boot: 'a', last: 1 } })
  w.pass(SILENCE_MS - 1)
  w.say({ figures: {} })
  w.pass(SILENCE_MS - 1)
  assert.equal(w.phase(), 'open')
  w.pass(1)
  assert.equal(w.phase(), 'waiting')
  assert.ok(w.last().closed)
})
test('what an earlier socket still says is not heard', () => {
  const w = world()
  w.link.start()
  const old = w.last()
  old.on.open()
  w.say({ hello: { boot: 'a', last: 1 } })
  old.on.close()
  w.pass(1000)
  old.on.text(JSON.stringify(event(5)))
  old.on.close()
  assert.equal(w.sockets.length, 2)
  assert.deepEqual(w.seen, [])
})
test('stopping is the end of it; starting again resumes', () => {
  const w = world()
  w.link.start()
  w.last().on.open()
  w.say({ hello: { boot: 'a', last: 4 } })
  w.link.stop()
  assert.equal(w.phase(), 'off')
  assert.ok(w.last().closed)
  w.pass(100_000)
  assert.equal(w.sockets.length, 1)
  w.link.start()
  w.last().on.open()
  assert.equal(w.last().sent[0].since, 4)
})
test('a change of what is wanted is said at once, the same is not said again', () => {
  const w = world()
  w.link.want(['events'], 'info')
  w.link.start()
  w.last().on.open()
  w.link.want(['events', 'log'], 'warn')
  w.link.want(['events', 'log'], 'warn')
  assert.deepEqual(w.last().sent.slice(1), [{ subscribe: ['events', 'log'], log_level: 'warn' }])
})
test('trying now while waiting does not wait', () => {
  const w = world()
  w.link.start()
  w.last().on.close()
  w.link.start()
  assert.equal(w.sockets.length, 2)
  w.pass(60_000)
  assert.equal(w.sockets.length, 2)
})
test('what is no JSON, or no object, does no harm', () => {
  const w = world()
  w.link.start()
  w.last().on.open()
  for (const t of ['', '{', 'null', '3', '"x"', '[]']) w.last().on.text(t)
  assert.deepEqual(w.seen, [])
})
