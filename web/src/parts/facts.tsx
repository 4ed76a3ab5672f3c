/* Facts: a list of names and values. rows: [name, value]; those whose value is undefined are left out. */
import type { ComponentChildren } from 'preact'

export function Facts({ rows }: { rows: [string, ComponentChildren | undefined][] }) {
  return (
    <dl class="facts-list">
      {rows
        .filter(([, v]) => v !== undefined)
        .map(([name, value]) => (
          <div>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  )
}
