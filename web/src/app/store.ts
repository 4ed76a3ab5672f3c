/* store.ts - a value that parts of the page watch. Setting the same value again tells nobody. */
import { useEffect, useState } from 'preact/hooks'

export interface Store<T> {
  get(): T
  set(next: T): void
  watch(fn: (value: T) => void): () => void
}

export function store<T>(first: T): Store<T> {
  const watchers = new Set<(value: T) => void>()
  let value = first
  return {
    get: () => value,
    set(next) {
      if (Object.is(next, value)) return
      value = next
      for (const fn of [...watchers]) fn(value)
    },
    watch(fn) {
      watchers.add(fn)
      return () => watchers.delete(fn)
    },
  }
}

export function useStore<T>(s: Store<T>): T {
  const [, look] = useState(0)
  const value = s.get()
  useEffect(() => {
    if (!Object.is(s.get(), value)) look((n) => n + 1)
    return s.watch(() => look((n) => n + 1))
  }, [s])
  return value
}
