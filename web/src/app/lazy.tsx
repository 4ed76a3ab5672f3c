/* lazy.tsx - shows a part whose code comes over the network. */
import type { FunctionComponent } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { Problem } from '../parts/problem'
import { Skeleton } from '../parts/skeleton'
import { T } from '../text'

type Load = () => Promise<{ default: FunctionComponent }>
const had = new Map<Load, FunctionComponent>()

export function Lazy({ load, what }: { load: Load; what: string }) {
  const [, look] = useState(0)
  const [fault, setFault] = useState<unknown>(undefined)
  const part = had.get(load)
  const fetchPart = async (): Promise<void> => {
    try {
      had.set(load, (await load()).default)
      setFault(undefined)
      look((n) => n + 1)
    } catch {
      setFault(T.cannotLoadPart)
    }
  }
  useEffect(() => {
    if (!had.has(load)) void fetchPart()
  }, [load])
  if (part) {
    const Part = part
    return <Part />
  }
  /* A part that failed to load stays failed for this page (the browser keeps modules): only a reload helps. */
  if (fault !== undefined) return <Problem error={fault} retry={() => location.reload()} />
  return <Skeleton what={what} rows={8} />
}
