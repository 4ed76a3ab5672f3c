/* plot.ts - the chart library behind a door of its own, so that it is loaded only where a chart is shown (parts/chart.tsx). */
import uPlot from 'uplot'

export function makePlot(
  options: object,
  data: unknown,
  at: HTMLElement,
): { setData(d: unknown): void; setSize(s: { width: number; height: number }): void; destroy(): void } {
  return new uPlot(options as uPlot.Options, data as uPlot.AlignedData, at) as never
}
