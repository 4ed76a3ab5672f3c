import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bytes, clock, count, countdown, duration, percent, percentile, rate, remaining, seconds, tokens, utc } from '../src/pure/format'
import { cutMiddle, visible } from '../src/pure/visible'

test('unknown stays unknown', () => {
  for (const f of [count, rate, duration, seconds, bytes, tokens, clock, utc]) {
    assert.equal(f(undefined), '–')
    assert.equal(f(null), '–')
    assert.equal(f(NaN), '–')
  }
  assert.equal(percent(1, 0), '–')
})
test('durations change their unit where people do', () => {
  assert.equal(duration(0), '0 ms')
  assert.equal(duration(999), '999 ms')
  assert.equal(duration(999.6), '1.0 s')
  assert.equal(duration(1234), '1.2 s')
  assert.equal(duration(9960), '10 s')
  assert.equal(duration(59_499), '59 s')
  assert.equal(duration(60_000), '1 min')
  assert.equal(duration(61_000), '1 min 1 s')
  assert.equal(duration(660_000), '11 min')
  assert.equal(duration(3_600_000), '1 h')
  assert.equal(duration(7_260_000), '2 h 1 min')
  assert.equal(duration(90_000_000), '1 d 1 h')
  assert.equal(duration(-5), '0 ms')
})
test('what remains counts down in its last hour', () => {
  assert.equal(remaining(3_599_000), '59:59')
  assert.equal(remaining(3_600_000), '1 h')
  assert.equal(remaining(90_061_000), '1 d 1 h')
  assert.equal(remaining(-1), '0:00')
})
test('figures', () => {
  assert.equal(count(1234567), '1,234,567')
  assert.equal(rate(0), '0')
  assert.equal(rate(0.256), '0.26')
  assert.equal(rate(18.24), '18.2')
  assert.equal(rate(2140.4), '2,140')
  assert.equal(percent(1, 500), '0.2 %')
  assert.equal(percent(0, 5), '0 %')
  assert.equal(tokens(32768), '32k')
  assert.equal(tokens(40000), '40,000')
  assert.equal(bytes(500), '500 B')
  assert.equal(bytes(2048), '2.0 KiB')
  assert.equal(bytes(44 * 2 ** 30), '44.0 GiB')
  assert.equal(countdown(119_001), '2:00')
  assert.equal(countdown(-1), '0:00')
})
test('percentiles by nearest rank', () => {
  assert.equal(percentile([], 0.5), undefined)
  assert.equal(percentile([3, 1, 2], 0.5), 2)
  assert.equal(percentile([3, 1, 2], 0.95), 3)
})
test('hidden and turning characters are marked, joiners stay', () => {
  assert.equal(visible('a\u202eb'), 'a⟨U+202E⟩b')
  assert.equal(visible('a\u200bb\u0000\u001b[31m'), 'a⟨U+200B⟩b⟨U+0000⟩⟨U+001B⟩[31m')
  assert.equal(visible('\u{e0041}'), '⟨U+E0041⟩')
  assert.equal(visible('👩\u200d💻\n\tx'), '👩\u200d💻\n\tx')
})
test('long names are cut in the middle, by characters', () => {
  assert.equal(cutMiddle('short', 10), 'short')
  assert.equal(cutMiddle('abcdefghij', 5), 'ab…ij')
  assert.equal([...cutMiddle('🐑'.repeat(20), 7)].length, 7)
})
