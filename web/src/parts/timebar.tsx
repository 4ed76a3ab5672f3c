/* TimeBar: where the time of a request went. parts: name, ms, pattern ('queue' | 'wait' | 'think' | 'answer'), and whether it still
 * grows. Each part is a pattern as well as a shade; screen readers get it as a sentence. */
import { duration } from '../pure/format'
import { T } from '../text'

export interface TimePart {
  name: string
  ms: number
  pattern: 'queue' | 'wait' | 'think' | 'answer'
  going?: boolean
}

export function TimeBar({ parts }: { parts: TimePart[] }) {
  const all = parts.reduce((n, p) => n + p.ms, 0) || 1
  const words = parts.map((p) => (p.going ? T.partSoFar(p.name, duration(p.ms)) : T.partTook(p.name, duration(p.ms))))
  return (
    <div class="timebar">
      <div class="bar" role="img" aria-label={T.sentence(words)}>
        {parts
          .filter((p) => p.ms > 0)
          .map((p) => (
            <span class={'part ' + p.pattern} style={{ flexGrow: String(Math.max(p.ms / all, 0.01)) }} />
          ))}
      </div>
      <p class="legend" aria-hidden="true">
        {parts.map((p, i) => (
          <span>
            <span class={'swatch ' + p.pattern} /> {words[i]}
          </span>
        ))}
      </p>
    </div>
  )
}
