/* snippets.ts - a request as lines to copy: curl and the vendors' SDKs. Keys are never in them: they name a variable. */

const base = (): string => location.origin

/* For a POSIX shell: closed, a quote, opened again. */
const quoted = (text: string): string => "'" + text.replace(/'/g, "'\\''") + "'"

const lines = (...list: string[]): string => list.join('\n')

export function curl(path: string, body: unknown): string {
  return lines(
    `curl ${quoted(base() + path)} \\`,
    `  -H 'content-type: application/json' \\`,
    `  -H "authorization: Bearer $DROVER_KEY" \\`,
    `  -d ${quoted(JSON.stringify(body))}`,
  )
}

export interface Snippet {
  id: string
  name: string
  text: string
}

export function snippets(model: string, prompt: string): Snippet[] {
  const m = JSON.stringify(model)
  const p = JSON.stringify(prompt)
  const url = base()
  const openaiPython = lines(
    'import os',
    'from openai import OpenAI',
    '',
    `client = OpenAI(base_url="${url}/v1", api_key=os.environ["DROVER_KEY"])`,
    'answer = client.chat.completions.create(',
    `    model=${m},`,
    `    messages=[{"role": "user", "content": ${p}}],`,
    ')',
    'print(answer.choices[0].message.content)',
  )
  const openaiJs = lines(
    'import OpenAI from "openai";',
    '',
    `const client = new OpenAI({ baseURL: "${url}/v1", apiKey: process.env.DROVER_KEY });`,
    'const answer = await client.chat.completions.create({',
    `  model: ${m},`,
    `  messages: [{ role: "user", content: ${p} }],`,
    '});',
    'console.log(answer.choices[0].message.content);',
  )
  const anthropicPython = lines(
    'import os',
    'from anthropic import Anthropic',
    '',
    `client = Anthropic(base_url="${url}", api_key=os.environ["DROVER_KEY"])`,
    'answer = client.messages.create(',
    `    model=${m},`,
    '    max_tokens=1024,',
    `    messages=[{"role": "user", "content": ${p}}],`,
    ')',
    'print(answer.content[0].text)',
  )
  const ollamaPython = lines(
    'import os',
    'from ollama import Client',
    '',
    `client = Client(host="${url}", headers={"authorization": "Bearer " + os.environ["DROVER_KEY"]})`,
    `answer = client.chat(model=${m}, messages=[{"role": "user", "content": ${p}}])`,
    'print(answer.message.content)',
  )
  return [
    { id: 'curl', name: 'curl', text: curl('/v1/chat/completions', { model, messages: [{ role: 'user', content: prompt }] }) },
    { id: 'openai-python', name: 'OpenAI, Python', text: openaiPython },
    { id: 'openai-js', name: 'OpenAI, JavaScript', text: openaiJs },
    { id: 'anthropic', name: 'Anthropic, Python', text: anthropicPython },
    { id: 'ollama', name: 'Ollama, Python', text: ollamaPython },
  ]
}
