/* views.ts - views of a list: a name for its filters, sort and columns, as they stand in the address. */

export interface View {
  name: string
  params: Record<string, string>
}

export const VIEWS_MOST = 20
export const NAME_MOST = 60

/* What was kept, and nothing else: somebody may have changed it, or another version of the console. */
export function readViews(text: string, allowed: readonly string[]): View[] {
  let had: unknown
  try {
    had = JSON.parse(text || '[]')
  } catch {
    return []
  }
  if (!Array.isArray(had)) return []
  const out: View[] = []
  for (const one of had as { name?: unknown; params?: unknown }[]) {
    if (!one || typeof one.name !== 'string' || !one.name || one.name.length > NAME_MOST || typeof one.params !== 'object' || !one.params) continue
    if (out.some((v) => v.name === one.name) || out.length === VIEWS_MOST) continue
    const params: Record<string, string> = {}
    for (const [k, v] of Object.entries(one.params)) if (allowed.includes(k) && typeof v === 'string' && v) params[k] = v
    out.push({ name: one.name, params })
  }
  return out
}

/* Under its name, in the place of one that had it. */
export function withView(views: View[], view: View): View[] {
  const others = views.filter((v) => v.name !== view.name)
  return [...others, view].sort((a, b) => a.name.localeCompare(b.name)).slice(0, VIEWS_MOST)
}

export const pickParams = (params: Readonly<Record<string, string>>, allowed: readonly string[]): Record<string, string> =>
  Object.fromEntries(allowed.filter((k) => params[k]).map((k) => [k, params[k] as string]))

export function sameParams(a: Record<string, string>, b: Record<string, string>): boolean {
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every((k) => a[k] === b[k])
}

/* Hidden columns in one word of the address: "queue.think"; "-": none, where nothing would mean as last time. */
export const NONE = '-'
export const readHidden = (word: string): string[] => (word === NONE ? [] : word.split('.').filter(Boolean))
export const writeHidden = (hidden: string[]): string => hidden.join('.') || NONE
