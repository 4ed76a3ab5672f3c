/* build.mjs - makes what the binary carries: node web/build.mjs [--fast] OUTDIR
 *
 * OUTDIR gets index.html, assets/NAME-HASH.EXT, for each a twin NAME.gz and NAME.br, and manifest.json: a list of
 *   { path: what the browser asks for, type: media type, file: name in OUTDIR, immutable: may be kept for ever, etag: without quotes }
 * The same sources give the same bytes. --fast leaves out the type check. Exits with 1 when types or a budget do not hold. */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'
import { build } from 'esbuild'

const here = dirname(fileURLToPath(import.meta.url))
const args = process.argv.slice(2)
const fast = args.includes('--fast')
const out = args.find((a) => !a.startsWith('--'))
if (!out) {
  console.error('usage: node web/build.mjs [--fast] OUTDIR')
  process.exit(2)
}

/* KB of 1024 bytes, gzip: what a browser gets over plain http. With brotli it is less. */
const budgets = { first: 90, firstJs: 60, css: 15, html: 5, icons: 10, screen: 20, chart: 24, all: 350, requests: 6 }

if (!fast) {
  const tsc = join(here, 'node_modules', 'typescript', 'bin', 'tsc')
  const checked = spawnSync(process.execPath, [tsc, '-p', join(here, 'tsconfig.json'), '--noEmit'], { stdio: 'inherit' })
  if (checked.status !== 0) process.exit(1)
}

const options = {
  absWorkingDir: here,
  outdir: 'out',
  write: false,
  bundle: true,
  splitting: true,
  format: 'esm',
  target: 'es2022',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  metafile: true,
  logLevel: 'warning',
}

/* What a file imports, directly or not, without what it loads later. */
function imports(inputs, from, seen = new Set()) {
  for (const i of inputs[from].imports) if (i.kind === 'import-statement' && !seen.has(i.path)) imports(inputs, i.path, seen.add(i.path))
  return seen
}

/* Fewer requests. Every screen, and what a screen loads later, is made to import the shell, and the shell all that Fleet is made of: that is then one shared file, and
 * the page loads it directly, not an entry file that would only import it. */
const alone = await build({ ...options, entryPoints: ['src/screens/fleet.tsx'] })
const common = [...imports(alone.metafile.inputs, 'src/screens/fleet.tsx')].filter((f) => f.startsWith('src/'))
const oneShell = {
  name: 'one-shell',
  setup(b) {
    const add = (path, files) => ({ contents: readFileSync(path, 'utf8') + files.map((f) => `\nimport '${f}'\n`).join(''), loader: 'tsx' })
    b.onLoad({ filter: /[\\/]src[\\/]screens[\\/][a-z]+\.tsx$/ }, ({ path }) => add(path, ['../main']))
    b.onLoad({ filter: /[\\/]src[\\/]screens[\\/]fleet[\\/](nodes|endpoint)\.tsx$/ }, ({ path }) => add(path, ['../../main']))
    b.onLoad({ filter: /[\\/]src[\\/]main\.tsx$/ }, ({ path }) =>
      add(
        path,
        common.map((f) => f.replace('src/', './')),
      ),
    )
  },
}

const made = await build({
  ...options,
  entryPoints: { main: 'src/main.tsx', app: 'src/style/index.css' },
  minify: true,
  charset: 'utf8',
  legalComments: 'none',
  entryNames: 'assets/[name]-[hash]',
  chunkNames: 'assets/[name]-[hash]',
  assetNames: 'assets/[name]-[hash]',
  plugins: [oneShell],
})

const outputs = new Map()
for (const f of made.outputFiles) outputs.set(f.path.slice(f.path.lastIndexOf('/assets/') + 1), f.contents)
const meta = new Map(Object.entries(made.metafile.outputs).map(([k, v]) => [k.slice(k.indexOf('assets/')), v]))

const entry = [...meta].find(([, m]) => m.entryPoint === 'src/main.tsx')
const shared = entry[1].imports.filter((i) => i.kind === 'import-statement')
if (shared.length !== 1 || entry[1].bytes > 200) throw new Error('main.tsx must be an import of the shell and nothing else')
const shell = shared[0].path.slice(shared[0].path.indexOf('assets/'))
const style = [...meta].find(([, m]) => m.entryPoint === 'src/style/index.css')[0]
outputs.delete(entry[0])

/* The files a screen needs beyond the shell, and beyond what it loads later still. */
function closure(name, seen = new Set()) {
  if (name === shell || name === entry[0] || seen.has(name)) return seen
  seen.add(name)
  for (const i of meta.get(name).imports) if (i.kind === 'import-statement') closure(i.path.slice(i.path.indexOf('assets/')), seen)
  return seen
}
const screens = [...meta]
  .filter(([, m]) => m.entryPoint?.startsWith('src/screens/'))
  .map(([name, m]) => ({ name, of: basename(m.entryPoint, '.tsx') }))
const fleet = screens.find((s) => s.of === 'fleet')

/* What the bundle holds of others, with their terms. */
const terms = Buffer.from(
  ['preact', 'uplot']
    .map((name) => `${name}\n\n${readFileSync(join(here, 'node_modules', name, 'LICENSE'), 'utf8').trim()}\n`)
    .join('\n\n'),
)
const termsFile = `assets/licences-${createHash('sha256').update(terms).digest('hex').slice(0, 8).toUpperCase()}.txt`

const icons = readFileSync(join(here, 'src/icons.svg'), 'utf8').replace(/>\s+</g, '><').trim()
const page = readFileSync(join(here, 'src/index.html'), 'utf8')
  .replace(/<!--[^]*?-->\n?/g, '')
  .replace(/\n\s*/g, '\n')
  .replace('%STYLE%', style)
  .replace('%SHELL%', shell)
  .replace('%FLEET%', fleet.name)
  .replace('%LICENCES%', termsFile)
  .replace('%ICONS%', icons)
const files = [{ path: '/console/', file: 'index.html', bytes: Buffer.from(page), immutable: false }]
for (const [name, bytes] of [...outputs].sort(([a], [b]) => (a < b ? -1 : 1)))
  files.push({ path: '/console/' + name, file: name, bytes: Buffer.from(bytes), immutable: true })

const types = {
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  txt: 'text/plain; charset=utf-8',
}
files.push({ path: '/console/' + termsFile, file: termsFile, bytes: terms, immutable: true })
const gz = new Map()
const manifest = []
let all = 0
rmSync(join(resolve(out), 'assets'), { recursive: true, force: true })
mkdirSync(join(resolve(out), 'assets'), { recursive: true })
for (const f of files) {
  const at = join(resolve(out), f.file)
  const zipped = gzipSync(f.bytes, { level: 9 })
  const brotli = brotliCompressSync(f.bytes, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: f.bytes.length },
  })
  zipped[9] = 255 /* RFC 1952: the system it was made on is unknown, whichever it was */
  writeFileSync(at, f.bytes)
  writeFileSync(at + '.gz', zipped)
  writeFileSync(at + '.br', brotli)
  gz.set(f.file, zipped.length)
  all += zipped.length
  const etag = createHash('sha256').update(f.bytes).digest('hex').slice(0, 32)
  manifest.push({ path: f.path, type: types[f.file.split('.').pop()], file: f.file, immutable: f.immutable, etag })
}
writeFileSync(join(resolve(out), 'manifest.json'), JSON.stringify(manifest, null, 2) + '\n')

const sum = (names) => [...names].reduce((n, name) => n + gz.get(name), 0)
const firstJs = gz.get(shell) + sum(closure(fleet.name))
const lines = [
  ['first visit: HTML, CSS, JS for Fleet', gz.get('index.html') + gz.get(style) + firstJs, budgets.first],
  ['  of it JS', firstJs, budgets.firstJs],
  ['  of it CSS', gz.get(style), budgets.css],
  ['  of it HTML with the icons', gz.get('index.html'), budgets.html],
  ['icons, as they are', Buffer.byteLength(icons), budgets.icons],
  ...screens.filter((s) => s !== fleet).map((s) => ['screen ' + s.of, sum(closure(s.name)), budgets.screen]),
  ...[...meta]
    .filter(([, m]) => m.entryPoint?.includes('uplot') || m.entryPoint?.endsWith('plot.ts'))
    .map(([name]) => ['charts, once asked for', sum(closure(name)), budgets.chart]),
  ['everything', all, budgets.all],
]
const requests = 3 + closure(fleet.name).size + 2 /* HTML, CSS, shell; Fleet; session, endpoints */
let over = requests > budgets.requests
console.log(`${String(requests).padStart(7)} of ${String(budgets.requests).padStart(3)}     requests to the first useful view`)
for (const [what, bytes, kb] of lines) {
  const bad = bytes > kb * 1024
  over ||= bad
  console.log(`${(bytes / 1024).toFixed(1).padStart(7)} of ${String(kb).padStart(3)} KB  ${what}${bad ? '  OVER BUDGET' : ''}`)
}
process.exit(over ? 1 : 0)
