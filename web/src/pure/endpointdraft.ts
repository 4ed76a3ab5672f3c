/* endpointdraft.ts - an endpoint as a form, and what is sent of it. */

export interface EndpointSettings {
  name: string
  url: string
  kind: string
  key: string | null /* told only as set or not */
  max_concurrent: number | null
  weight: number
  models: { include: string[]; exclude: string[] }
  tls: { insecure: boolean }
}

export interface EndpointForm {
  name: string
  url: string
  kind: string
  key: string
  dropKey: boolean
  most: string
  weight: string
  include: string
  exclude: string
  insecure: boolean
}

export const NEW: EndpointForm = {
  name: '',
  url: '',
  kind: 'auto',
  key: '',
  dropKey: false,
  most: '',
  weight: '',
  include: '',
  exclude: '',
  insecure: false,
}

export const formOf = (s: EndpointSettings): EndpointForm => ({
  ...NEW,
  name: s.name,
  url: s.url,
  kind: s.kind,
  most: s.max_concurrent === null ? '' : String(s.max_concurrent),
  weight: s.weight === 100 ? '' : String(s.weight),
  include: s.models.include.join(', '),
  exclude: s.models.exclude.join(', '),
  insecure: s.tls.insecure,
})

const words = (text: string): string[] | null => {
  const all = text
    .split(/[,\s]+/)
    .map((x) => x.trim())
    .filter(Boolean)
  return all.length ? all : null
}
/* A number as a number, what is none as it is: the hub says what is wrong with it. */
const number = (text: string): number | string | null => {
  const t = text.trim()
  return !t ? null : /^\d{1,9}$/.test(t) ? Number(t) : t
}

/* All members; null is the default. */
function whole(f: EndpointForm): Record<string, unknown> {
  return {
    name: f.name.trim(),
    url: f.url.trim(),
    kind: f.kind,
    max_concurrent: number(f.most),
    weight: number(f.weight),
    models: { include: words(f.include), exclude: words(f.exclude) },
    tls: { insecure: f.insecure },
    ...(f.dropKey ? { key: null } : f.key ? { key: f.key } : {}),
  }
}

/* What is sent: to add, without what is not set; to change, what differs. */
export function body(f: EndpointForm, was?: EndpointForm): Record<string, unknown> {
  const all = whole(f)
  const before = was && whole(was)
  const out: Record<string, unknown> = {}
  for (const [k, v] of Object.entries(all)) {
    const same = before ? JSON.stringify(before[k]) === JSON.stringify(v) : v === null
    if (!same) out[k] = v
  }
  if (!f.url.trim().startsWith('https:') && !before) delete out.tls
  return out
}

export const isChanged = (f: EndpointForm, was?: EndpointForm): boolean => Object.keys(body(f, was)).length > 0
