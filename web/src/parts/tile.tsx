/* Tile: one figure. label; value: formatted, with its unit; points: up to 60 values for the line, undefined is a gap; say: the line
 * in words; warn: the figure is beyond what is well (word and shape, not colour only); onOpen: opens its detail. */
import { T } from '../text'

interface Props {
  label: string
  value: string
  unit?: string
  points?: (number | undefined)[]
  say?: string
  warn?: string
  stale?: boolean
  open?: boolean
  onOpen?(): void
}

const W = 120
const H = 24

export function line(points: (number | undefined)[], width: number, height: number): string {
  const most = Math.max(1e-9, ...points.map((v) => v ?? 0))
  let d = ''
  let pen = false
  points.forEach((v, i) => {
    if (v === undefined) {
      pen = false
      return
    }
    const x = ((i + 0.5) / points.length) * width
    const y = height - 2 - (v / most) * (height - 4)
    d += (pen ? 'L' : 'M') + x.toFixed(1) + ' ' + y.toFixed(1)
    pen = true
  })
  return d
}

export function Tile({ label, value, unit, points, say, warn, stale, open, onOpen }: Props) {
  const inner = (
    <>
      <span class="label">{label}</span>
      <span class="value">
        {stale && <span aria-hidden="true">○ </span>}
        {value}
        {unit && <span class="unit"> {unit}</span>}
        {warn && <span class="mark-warn"> ▲ {warn}</span>}
      </span>
      {points && (
        <svg class="spark" viewBox={`0 0 ${W} ${H}`} preserveAspectRatio="none" role="img" aria-label={say ?? T.lineOf(label)}>
          <path d={line(points, W, H)} />
        </svg>
      )}
    </>
  )
  return onOpen ? (
    <button type="button" class="tile" aria-expanded={open} onClick={onOpen}>
      {inner}
    </button>
  ) : (
    <div class="tile">{inner}</div>
  )
}
