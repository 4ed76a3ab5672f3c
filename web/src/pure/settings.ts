/* settings.ts - settings as a list: groups, search, and the ways to set one. */

export interface Setting {
  name: string
  value: string
  default: string
  origin: 'default' | 'console' | 'file' | 'environment' | 'flag' | string
  line?: number
  restart: boolean
  type: string
  help: string
  changeable?: boolean /* the console may set it; then how: */
  kind?: string
  least?: string
  most?: string
  choices?: { word: string; means: string }[]
}

export const ORIGINS = ['default', 'console', 'file', 'environment', 'flag'] as const

/* gateway.body_max is of gateway; what stands alone is general. */
export const groupOf = (name: string): string => (name.includes('.') ? (name.split(/[.[]/)[0] ?? '') : '')

export const isChanged = (s: Setting): boolean => s.origin !== 'default' && s.value !== s.default

export interface SettingFilter {
  text: string
  group: string /* 'general' is what stands alone; '' is any */
  origin: string
  changed: boolean
}

export function passesSetting(f: SettingFilter): (s: Setting) => boolean {
  const terms = f.text.toLowerCase().split(/\s+/).filter(Boolean)
  return (s) => {
    const hay = `${s.name} ${s.help} ${s.value} ${envName(s.name)}`.toLowerCase()
    return (
      (!f.group || (groupOf(s.name) || 'general') === f.group) &&
      (!f.origin || s.origin === f.origin) &&
      (!f.changed || isChanged(s)) &&
      terms.every((t) => hay.includes(t))
    )
  }
}

export const envName = (name: string): string =>
  'DROVER_' +
  name
    .replace(/\[\]/g, '')
    .replace(/[^a-zA-Z0-9]+/g, '_')
    .toUpperCase()

/* Plain where YAML reads it back as the same text. */
const yamlValue = (v: string): string =>
  /^[A-Za-z0-9/_][A-Za-z0-9/_.-]*$/.test(v) || /^\[.*\]$/s.test(v) ? v : v === '' ? '""' : JSON.stringify(v)
const shellValue = (v: string): string => (/^[A-Za-z0-9_./:=-]+$/.test(v) ? v : "'" + v.replace(/'/g, "'\\''") + "'")

/* How to set it, with the value it has. A setting inside a list has no path of its own. */
export function waysToSet(s: Setting): { file: string; environment?: string; flag?: string; command?: string } {
  const parts = s.name.split('.')
  const inList = s.name.includes('[')
  const value = s.value || s.default
  const file =
    parts.map((p, i) => '  '.repeat(i) + p.replace(/\[\]$/, '') + ':' + (i === parts.length - 1 ? ' ' + yamlValue(value) : '')).join('\n') +
    '\n'
  if (inList) return { file }
  return {
    file,
    environment: `${envName(s.name)}=${shellValue(value)}`,
    flag: `drover serve --set ${shellValue(s.name + '=' + value)}`,
    ...(s.changeable && { command: `drover config set ${s.name} ${shellValue(value)}` }),
  }
}
