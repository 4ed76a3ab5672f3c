/* csv.ts - tables out of the page (RFC 4180), and money as people read it. */

/* A text that a spreadsheet would take for a formula gets a quote in front: names come from outside. */
export function cell(v: unknown): string {
  if (v === null || v === undefined) return ''
  if (typeof v === 'number' || typeof v === 'boolean') return String(v)
  let text = typeof v === 'string' ? v : JSON.stringify(v)
  if (/^[=+\-@\t\r]/.test(text)) text = "'" + text
  return /[",\r\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text
}

export function csv(columns: string[], rows: Record<string, unknown>[]): string {
  return [columns.join(','), ...rows.map((r) => columns.map((c) => cell(r[c])).join(','))].join('\r\n') + '\r\n'
}

export const NO_CURRENCY = 'XXX' /* ISO 4217: none in particular */

/* Two decimals; more where the amount is so small that they would say nothing. */
export function amount(n: number | null | undefined, currency = NO_CURRENCY): string {
  if (typeof n !== 'number' || !Number.isFinite(n)) return '–'
  const small = n !== 0 && Math.abs(n) < 0.995
  const text = n.toLocaleString('en', { minimumFractionDigits: 2, maximumFractionDigits: small ? 6 : 2 })
  return !currency || currency === NO_CURRENCY ? text : text + ' ' + currency
}
