/* snippets.ts - a request as lines to copy: curl and the vendors' SDKs. Keys are never in them: they name a variable. */

const base = (): string => location.origin

/* For a POSIX shell: closed, a quote, opened again. */
const quoted = (text: string): string => "'" + text.replace(/'/g, "'\\''") + "'"

export function curl(path: string, body: unknown): string {
  return `curl ${quoted(base() + path)} \\\n  -H 'content-type: application/json' \\\n  -H "authorization: Bearer $DROVER_KEY" \\\n  -d ${quoted(JSON.stringify(body))}`
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
  return [
    { id: 'curl', name: 'curl', text: curl('/v1/chat/completions', { model, messages: [{ role: 'user', content: prompt }] }) },
    {
      id: 'openai-python',
      name: 'OpenAI, Python',
      text: `import os\nfrom openai import OpenAI\n\nclient = OpenAI(base_url="${url}/v1", api_key=os.environ["DROVER_KEY"])\nanswer = client.chat.completions.create(\n    model=${m},\n    messages=[{"role": "user", "content": ${p}}],\n)\nprint(answer.choices[0].message.content)`,
    },
    {
      id: 'openai-js',
      name: 'OpenAI, JavaScript',
      text: `import OpenAI from "openai";\n\nconst client = new OpenAI({ baseURL: "${url}/v1", apiKey: process.env.DROVER_KEY });\nconst answer = await client.chat.completions.create({\n  model: ${m},\n  messages: [{ role: "user", content: ${p} }],\n});\nconsole.log(answer.choices[0].message.content);`,
    },
    {
      id: 'anthropic',
      name: 'Anthropic, Python',
      text: `import os\nfrom anthropic import Anthropic\n\nclient = Anthropic(base_url="${url}", api_key=os.environ["DROVER_KEY"])\nanswer = client.messages.create(\n    model=${m},\n    max_tokens=1024,\n    messages=[{"role": "user", "content": ${p}}],\n)\nprint(answer.content[0].text)`,
    },
    {
      id: 'ollama',
      name: 'Ollama, Python',
      text: `import os\nfrom ollama import Client\n\nclient = Client(host="${url}", headers={"authorization": "Bearer " + os.environ["DROVER_KEY"]})\nanswer = client.chat(model=${m}, messages=[{"role": "user", "content": ${p}}])\nprint(answer.message.content)`,
    },
  ]
}
