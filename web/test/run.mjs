/* run.mjs - the unit tests of what needs no page: node web/test/run.mjs [NAME...] runs all, or those whose file name contains NAME. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const here = dirname(fileURLToPath(import.meta.url))
const wanted = process.argv.slice(2)
const tests = readdirSync(here).filter((f) => f.endsWith('.test.ts') && (!wanted.length || wanted.some((w) => f.includes(w))))
const dir = mkdtempSync(join(tmpdir(), 'drover-web-'))
try {
  await build({
    absWorkingDir: here,
    entryPoints: tests,
    outdir: dir,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node18',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    logLevel: 'warning',
  })
  const files = tests.map((f) => join(dir, f.replace(/\.ts$/, '.mjs')))
  process.exitCode = spawnSync(process.execPath, ['--test', ...files], { stdio: 'inherit' }).status ?? 1
} finally {
  rmSync(dir, { recursive: true, force: true })
}
