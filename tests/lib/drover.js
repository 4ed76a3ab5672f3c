// Starts and stops the program under test, and the real llama-server, as a user would.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { tinyGguf } from '../tools/tiny-gguf.js';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const DROVER = process.env.DROVER_BIN ?? path.join(ROOT, 'build/drover');
export const LLAMA = process.env.LLAMA_SERVER ?? path.join(ROOT, 'build/llama-server');

const SANITIZER = /ERROR: (Address|Leak)Sanitizer|WARNING: (Thread|Memory)Sanitizer|: runtime error: |SUMMARY: \w+Sanitizer/;
const children = new Set();
process.on('SIGTERM', () => process.exit(1)); // the runner's time is up
process.on('exit', () => { for (const child of children) child.kill('SIGKILL'); });

/** A port of the loopback address that was free a moment ago. */
export async function freePort() {
  const server = net.createServer();
  await new Promise((go) => server.listen(0, '127.0.0.1', go));
  const { port } = server.address();
  await new Promise((go) => server.close(go));
  return port;
}

/** Polls `probe` until it gives something true; fails with `what` after `ms`. */
export async function until(what, probe, ms = 15000, every = 25) {
  let last;
  for (const end = performance.now() + ms; performance.now() < end; await sleep(every)) {
    try {
      const value = await probe();
      if (value) return value;
      last = value;
    } catch (error) {
      last = error;
    }
  }
  throw new Error(`waited ${ms} ms in vain for ${what}${last ? `: ${last.message ?? last}` : ''}`);
}

function start(program, args, options = {}) {
  if (!existsSync(program)) throw new Error(`${program} is missing; ./dev test makes it`);
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  children.add(child);
  child.log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => { child.log += data; });
  child.ended = new Promise((go) => child.on('close', (code, signal) => {
    children.delete(child);
    child.result = { code, signal };
    go(child.result);
  }));
  return child;
}

/** Runs a program to its end: {code, stdout, stderr}. */
export async function command(program, args, { ms = 20000, ...options } = {}) {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  let stdout = '', stderr = '';
  child.stdout.on('data', (data) => { stdout += data; });
  child.stderr.on('data', (data) => { stderr += data; });
  const timer = setTimeout(() => child.kill('SIGKILL'), ms);
  const code = await new Promise((go, fail) => child.on('error', fail).on('close', go));
  clearTimeout(timer);
  if (SANITIZER.test(stderr)) throw new Error(`a sanitizer complained about ${args.join(' ')}:\n${stderr}`);
  return { code, stdout, stderr };
}

/** This process's environment without what only the tests mean. */
function environment(extra) {
  const { DROVER_BIN: _, ...rest } = process.env;
  return { ...rest, ...extra };
}

/**
 * Starts `drover serve` on a free port with a configuration of its own and waits until it answers.
 *   endpoints  configuration entries, or fakes (taken as {name, url, kind: auto})
 *   config     more of the configuration, top level (wins over the defaults below)
 *   listen     entries of listen besides the plain one on its own port
 *   prepare    called with its directory before it starts
 *   models     ids that must be in /v1/models before it counts as started
 */
export async function startDrover({ endpoints = [], config = {}, listen = [], models = [], args = [], env = {}, ms = 20000, prepare } = {}) {
  const dir = mkdtempSync(path.join(tmpdir(), 'drover-'));
  const port = await freePort();
  const file = path.join(dir, 'drover.yaml');
  const drover = {
    dir, port, file, url: `http://127.0.0.1:${port}`,

    /** Writes the configuration (as JSON, which is YAML too). */
    configure(extra = {}) {
      writeFileSync(file, JSON.stringify({
        data_dir: path.join(dir, 'data'), run_dir: path.join(dir, 'run'),
        listen: [{ address: `127.0.0.1:${port}`, auth: 'none' }, ...listen],
        discovery: { local: false, containers: false },
        endpoints: endpoints.map((e) => (e.requests ? { name: e.name, url: e.url, kind: 'auto' } : e)),
        ...config, ...extra,
      }, null, 2));
    },
    /** `drover VERB ...` against this daemon. */
    cli: (...verb) => command(DROVER, [...verb, '--config', file], { env: environment(env) }),
    async cliJson(...verb) {
      const { code, stdout, stderr } = await drover.cli(...verb, '--json');
      if (code !== 0) throw new Error(`drover ${verb.join(' ')} exited ${code}: ${stderr || stdout}`);
      return JSON.parse(stdout);
    },
    // A request that hangs is a failure, not a hanging test.
    get: (route, options) => fetch(drover.url + route, { signal: AbortSignal.timeout(20000), ...options }),
    post: (route, body, options = {}) => fetch(drover.url + route, { method: 'POST',
      body: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body), signal: AbortSignal.timeout(20000), ...options,
      headers: { 'Content-Type': 'application/json', ...options.headers } }),
    async modelIds() {
      const list = await (await drover.get('/v1/models')).json();
      return list.data.map((m) => m.id);
    },
    /** Ends it with SIGTERM; a non-zero exit, a hang or a sanitizer's report fails the test. */
    async stop({ ms: limit = 15000 } = {}) {
      if (!drover.process.result) drover.process.kill('SIGTERM');
      const timer = setTimeout(() => drover.process.kill('SIGKILL'), limit);
      const { code, signal } = await drover.process.ended;
      clearTimeout(timer);
      rmSync(dir, { recursive: true, force: true });
      if (SANITIZER.test(drover.process.log)) throw new Error(`a sanitizer complained:\n${drover.process.log}`);
      if (code !== 0) throw new Error(`drover ended with ${signal ?? code}:\n${drover.process.log.slice(-4000)}`);
    },
    get log() { return drover.process.log; },
  };
  for (const sub of ['data', 'run']) mkdirSync(path.join(dir, sub), { mode: 0o700 });
  drover.configure();
  prepare?.(dir);
  drover.process = start(DROVER, ['serve', '--config', file, ...args], { env: environment(env) });
  try {
    await until('drover to answer', async () => {
      if (drover.process.result) throw new Error('it has ended');
      return (await drover.get('/healthz')).status === 200;
    }, ms);
    if (models.length) await until(`the models ${models.join(', ')}`, async () => {
      const ids = await drover.modelIds();
      if (models.every((m) => ids.includes(m))) return true;
      throw new Error(`there are only: ${ids.join(', ') || 'none'}`);
    }, ms);
  } catch (error) {
    drover.process.kill('SIGKILL');
    await drover.process.ended;
    error.message += `\n${drover.process.log.slice(-4000)}`;
    throw error;
  }
  return drover;
}

/**
 * Starts a real llama-server with the tiny model (tests/tools/tiny-gguf.js); its model id is `tiny`.
 *   template  a chat template (Jinja) instead of the model's own
 */
export async function startLlama({ context = 65536, parallel = 4, template, args = [] } = {}) {
  const dir = mkdtempSync(path.join(tmpdir(), 'llama-'));
  const model = path.join(dir, 'tiny.gguf'), jinja = path.join(dir, 'template.jinja');
  writeFileSync(model, tinyGguf());
  if (template) {
    writeFileSync(jinja, template);
    args = ['--jinja', '--chat-template-file', jinja, ...args];
  }
  const port = await freePort();
  const child = start(LLAMA, ['-m', model, '--alias', 'tiny', '--host', '127.0.0.1', '--port', String(port), '-c', String(context),
    '--parallel', String(parallel), '-t', '1', ...args]);
  const url = `http://127.0.0.1:${port}`;
  await until('llama-server to be ready', async () => {
    if (child.result) throw new Error(`it has ended:\n${child.log.slice(-4000)}`);
    return (await fetch(`${url}/health`)).status === 200;
  }, 30000);
  const slots = async () => (await fetch(`${url}/slots`)).json();
  return {
    url, port, process: child, slots,
    busy: async () => (await slots()).filter((s) => s.is_processing).length,
    async stop() {
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
      await child.ended;
      clearTimeout(timer);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
