/* Skeleton: stands in for what loads, same size as the content, only when it takes longer than 300 ms. rows: how many lines;
 * what: what is loading, said to screen readers. */
import { useEffect, useState } from 'preact/hooks'
import { T } from '../text'

export function Skeleton({ rows = 4, what }: { rows?: number; what: string }) {
  const [late, setLate] = useState(false)
  useEffect(() => {
    const t = setTimeout(() => setLate(true), 300)
    return () => clearTimeout(t)
  }, [])
  return (
    <div class={'skeleton' + (late ? ' late' : '')} role="status" aria-busy="true">
      <span class="hide-visually">{late ? T.loading(what) : ''}</span>
      {Array.from({ length: rows }, () => (
        <div class="bone" aria-hidden="true" />
      ))}
    </div>
  )
}
