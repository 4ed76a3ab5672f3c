/* Chart: values over time. title; times: Unix ms, oldest first (it is drawn again when times or series is another array); series: at
 * most five, each with values (undefined is a gap) and a line style of its own; format: of values; say: the chart in one sentence;
 * at: of times, where they are not seconds of today (the axis has its last five characters). With a table of the same values for who
 * wants it. The library is loaded when the first chart is shown. */
import { useEffect, useRef, useState } from 'preact/hooks'
import { clock } from '../pure/format'
import { T } from '../text'
import { Problem } from './problem'

export interface Series {
  label: string
  values: (number | undefined)[]
}

interface Props {
  title: string
  times: number[]
  series: Series[]
  format(v: number | undefined): string
  say: string
  at?(ms: number): string
}

const DASHES = [undefined, [6, 3], [2, 3], [8, 3, 2, 3], [1, 4]]
const COLOURS = ['--ok-line', '--busy-line', '--accent-line', '--warn-line', '--muted-line']
const HEIGHT = 200
const TABLE_ROWS = 60

export function Chart({ title, times, series, format, say, at: timeText }: Props) {
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<{ setData(d: unknown): void; setSize(s: { width: number; height: number }): void; destroy(): void } | undefined>(
    undefined,
  )
  const [fault, setFault] = useState<unknown>(undefined)
  const [asTable, setAsTable] = useState(false)
  const data = [times.map((t) => t / 1000), ...series.map((s) => s.values.map((v) => v ?? null))]
  const newest = useRef(data)
  newest.current = data
  const labels = series.map((s) => s.label).join('|')

  useEffect(() => {
    const at = box.current
    if (!at || asTable) return
    let gone = false
    let watch: ResizeObserver | undefined
    const colour = (name: string): string => getComputedStyle(at).getPropertyValue(name).trim()
    void import('./plot')
      .then(({ makePlot }) => {
        if (gone) return
        const axis = {
          stroke: colour('--text-dim'),
          grid: { stroke: colour('--line'), width: 1 },
          ticks: { stroke: colour('--line'), width: 1 },
          font: '12px system-ui',
        }
        plot.current = makePlot(
          {
            width: at.clientWidth || 600,
            height: HEIGHT,
            legend: { live: true },
            cursor: { drag: { x: false, y: false } },
            axes: [
              { ...axis, values: (_: unknown, vs: number[]) => vs.map((v) => timeText?.(v * 1000).slice(-5) ?? clock(v * 1000).slice(-8, -3)) },
              { ...axis, size: 70, values: (_: unknown, vs: (number | null)[]) => vs.map((v) => format(v ?? undefined)) },
            ],
            series: [
              { value: (_: unknown, v: number | null) => (v === null ? '–' : (timeText ?? clock)(v * 1000)) },
              ...series.map((s, i) => ({
                label: s.label,
                stroke: colour(COLOURS[i % COLOURS.length] ?? '--ok-line'),
                width: 1.5,
                dash: DASHES[i % DASHES.length],
                spanGaps: false,
                points: { show: false },
                value: (_: unknown, v: number | null) => format(v ?? undefined),
              })),
            ],
          },
          newest.current,
          at,
        )
        watch = new ResizeObserver(() => plot.current?.setSize({ width: at.clientWidth, height: HEIGHT }))
        watch.observe(at)
      })
      .catch(setFault)
    return () => {
      gone = true
      watch?.disconnect()
      plot.current?.destroy()
      plot.current = undefined
    }
  }, [labels, asTable])

  useEffect(() => plot.current?.setData(newest.current), [times, series])

  return (
    <figure class="chart">
      <figcaption class="row">
        <strong>{title}</strong> <span class="extra">{say}</span>
        <span class="grow" />
        <button type="button" class="button quiet" aria-pressed={asTable} onClick={() => setAsTable(!asTable)}>
          {T.asTable}
        </button>
      </figcaption>
      {fault !== undefined && <Problem error={fault} />}
      {asTable ? (
        <div class="table-box" role="region" aria-label={title} tabIndex={0}>
          <table>
            <thead>
              <tr>
                <th scope="col">{T.time}</th>
                {series.map((s) => (
                  <th scope="col" class="num">
                    {s.label}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {times
                .map((t, i) => ({ t, i }))
                .slice(-TABLE_ROWS)
                .reverse()
                .map(({ t, i }) => (
                  <tr>
                    <th scope="row">{(timeText ?? clock)(t)}</th>
                    {series.map((s) => (
                      <td class="num">{format(s.values[i])}</td>
                    ))}
                  </tr>
                ))}
            </tbody>
          </table>
        </div>
      ) : (
        <div class="plot" ref={box} role="img" aria-label={say} />
      )}
    </figure>
  )
}
