/* settingvalue.ts - a setting's value as a control shows it, and back: a number with its unit, the lines of a list. */

const MIN = 60_000
const UNITS: Record<string, readonly (readonly [unit: string, times: number])[]> = {
  duration: [
    ['ms', 1],
    ['s', 1000],
    ['m', MIN],
    ['h', 60 * MIN],
    ['d', 1440 * MIN],
  ],
  size: [
    ['B', 1],
    ['KiB', 1024],
    ['MiB', 1024 ** 2],
    ['GiB', 1024 ** 3],
  ],
  rate: [
    ['B/s', 1],
    ['KiB/s', 1024],
    ['MiB/s', 1024 ** 2],
  ],
  pace: [
    ['/min', 1],
    ['/s', 60],
  ],
  percent: [['%', 1]],
}

export const unitsOf = (kind: string): readonly string[] => (UNITS[kind] ?? []).map(([unit]) => unit)

/* 1m30s is 90 s: one number, in the largest unit that it fills. What is no such value stays as it is, without a unit. */
export function splitValue(kind: string, value: string): { number: string; unit: string } {
  const units = UNITS[kind] ?? []
  const parts = [...value.matchAll(/(\d+)([^\d]+)/g)]
  const times = parts.map(([, n, unit]) => Number(n) * (units.find(([u]) => u === unit)?.[1] ?? NaN))
  const total = times.reduce((a, b) => a + b, 0)
  if (!parts.length || parts.map((p) => p[0]).join('') !== value || !Number.isSafeInteger(total))
    return { number: value, unit: units[0]?.[0] ?? '' }
  const own = parts.length === 1 ? units.find(([u]) => u === parts[0]?.[2]) : undefined
  const [unit, by] = own ?? [...units].reverse().find(([, b]) => total % b === 0) ?? ['', 1]
  return { number: String(total / by), unit }
}

/* A list as it stands in YAML's flow form, [a, "b, c"]. Words without quotes have no commas. */
export function listOf(value: string): string[] {
  const inner = /^\[(.*)\]$/s.exec(value.trim())?.[1] ?? ''
  return [...inner.matchAll(/"((?:[^"\\]|\\.)*)"|[^,\s][^,]*/g)].map(([word, quoted]) =>
    quoted === undefined ? word.trim() : (JSON.parse(`"${quoted}"`) as string),
  )
}

export const linesOf = (text: string): string[] =>
  text
    .split('\n')
    .map((l) => l.trim())
    .filter(Boolean)
