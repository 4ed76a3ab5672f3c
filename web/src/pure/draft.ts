/* draft.ts - what a person chose to try, as a request of one of three dialects. */

export type Dialect = 'openai' | 'anthropic' | 'ollama'

export interface Draft {
  dialect: Dialect
  model: string
  system: string
  temperature: string /* as typed; empty: the model's own */
  maxTokens: string
  thinking: '' | 'off' | 'on'
  budget: string /* tokens of thinking; Anthropic's dialect only */
}

export interface Turn {
  role: 'user' | 'assistant'
  content: string
}

export const emptyDraft: Draft = { dialect: 'openai', model: '', system: '', temperature: '', maxTokens: '', thinking: '', budget: '' }
const ANTHROPIC_USUAL = 4096 /* max_tokens is required there */
const BUDGET_USUAL = 2048

const number = (text: string): number | undefined => {
  const n = Number(text.trim().replace(',', '.'))
  return text.trim() && Number.isFinite(n) ? n : undefined
}

export interface DraftFaults {
  temperature?: 'range'
  maxTokens?: 'whole'
  budget?: 'whole' | 'over'
}

export function check(d: Draft): DraftFaults {
  const out: DraftFaults = {}
  const t = number(d.temperature)
  if (d.temperature.trim() && (t === undefined || t < 0 || t > 2)) out.temperature = 'range'
  const whole = (text: string): boolean => !text.trim() || (Number.isInteger(number(text)) && (number(text) ?? 0) > 0)
  if (!whole(d.maxTokens)) out.maxTokens = 'whole'
  if (d.dialect === 'anthropic' && d.thinking === 'on') {
    if (!whole(d.budget)) out.budget = 'whole'
    else if ((number(d.budget) ?? BUDGET_USUAL) >= (number(d.maxTokens) ?? ANTHROPIC_USUAL)) out.budget = 'over'
  }
  return out
}

export function request(d: Draft, turns: Turn[]): { path: string; body: Record<string, unknown> } {
  const temperature = number(d.temperature)
  const most = number(d.maxTokens)
  const system = d.system.trim() ? [{ role: 'system', content: d.system }] : []
  if (d.dialect === 'anthropic')
    return {
      path: '/v1/messages',
      body: {
        model: d.model,
        max_tokens: most ?? ANTHROPIC_USUAL,
        stream: true,
        ...(d.system.trim() && { system: d.system }),
        ...(temperature !== undefined && { temperature }),
        ...(d.thinking === 'on' && { thinking: { type: 'enabled', budget_tokens: number(d.budget) ?? BUDGET_USUAL } }),
        ...(d.thinking === 'off' && { thinking: { type: 'disabled' } }),
        messages: turns,
      },
    }
  if (d.dialect === 'ollama') {
    const options = { ...(temperature !== undefined && { temperature }), ...(most !== undefined && { num_predict: most }) }
    return {
      path: '/api/chat',
      body: {
        model: d.model,
        stream: true,
        ...(d.thinking && { think: d.thinking === 'on' }),
        ...(Object.keys(options).length && { options }),
        messages: [...system, ...turns],
      },
    }
  }
  return {
    path: '/v1/chat/completions',
    body: {
      model: d.model,
      stream: true,
      stream_options: { include_usage: true },
      ...(temperature !== undefined && { temperature }),
      ...(most !== undefined && { max_tokens: most }),
      ...(d.thinking && { reasoning_effort: d.thinking === 'on' ? 'medium' : 'none' }),
      messages: [...system, ...turns],
    },
  }
}
