// The proxies that are compared: how each is configured, found and started. All run in the foreground on one core,
// with one worker, keep-alive on both sides, no logging of requests and nothing written to a disk.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync, openSync, closeSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export const ROOT = path.resolve(import.meta.dirname, '..');
export const WORK = path.join(ROOT, 'build/bench');
const PREFIX = path.join(WORK, 'root'); // what tools/deps.sh unpacked
export const PROXY_CORE = 0;
export const LOAD_CORE = 1;

// An unpacked program is started without the wrapper in build/bench/bin: a shell would be measured with the cold start.
function unpacked(name) {
  const file = path.join(PREFIX, 'usr/sbin', name);
  if (!existsSync(file)) return { file: `/usr/sbin/${name}`, env: {} };
  const lib = path.join(PREFIX, 'usr/lib');
  const dirs = readdirSync(lib).filter((d) => d.endsWith('-linux-gnu')).map((d) => path.join(lib, d));
  return { file, env: { LD_LIBRARY_PATH: dirs.join(':') } };
}

const nginx = {
  ...unpacked('nginx'),
  version: ['-v'],
  // One connection per stream can be kept upstream, so that no row pays for new ones; a body never goes to a file.
  config: (dir, port, upstream) => ['nginx.conf', `worker_processes 1;
daemon off;
pid ${dir}/nginx.pid;
error_log ${dir}/error.log warn;
events { worker_connections 8192; }
http {
  access_log off;
  keepalive_timeout 300s;
  keepalive_requests 100000000;
  client_max_body_size 64m;
  client_body_buffer_size 1m;
  client_body_temp_path ${dir}/body;
  proxy_temp_path ${dir}/proxy;
  fastcgi_temp_path ${dir}/fastcgi;
  uwsgi_temp_path ${dir}/uwsgi;
  scgi_temp_path ${dir}/scgi;
  upstream mock { server 127.0.0.1:${upstream}; keepalive 1024; keepalive_requests 100000000; keepalive_timeout 300s; }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 300s;
    }
  }
}
`],
  args: (dir, file) => ['-p', dir, '-e', `${dir}/error.log`, '-c', file],
};

const haproxy = {
  ...unpacked('haproxy'),
  version: ['-v'],
  config: (dir, port, upstream) => ['haproxy.cfg', `global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-keep-alive 300s
  option http-no-delay
  option http-keep-alive
  http-reuse always
frontend api
  bind 127.0.0.1:${port} backlog 4096
  default_backend mock
backend mock
  server mock 127.0.0.1:${upstream} pool-purge-delay 300s
`],
  args: (dir, file) => ['-db', '-f', file],
};

// Routing, metering and metrics are on, as they come; the model is found by asking the endpoint. Only limits that would
// end a bench on purpose are raised: connections from one address, requests on one connection.
const drover = {
  file: process.env.DROVER_BIN ?? path.join(ROOT, 'build/drover'), // run.mjs measures a copy: a build may replace it
  env: {},
  version: ['version'],
  config: (dir, port, upstream) => {
    for (const sub of ['data', 'run']) mkdirSync(path.join(dir, sub), { recursive: true, mode: 0o700 });
    return ['drover.yaml', JSON.stringify({
      data_dir: path.join(dir, 'data'), run_dir: path.join(dir, 'run'),
      listen: [{ address: `127.0.0.1:${port}`, auth: 'none' }],
      workers: 1,
      discovery: { local: false, containers: false },
      endpoints: [{ name: 'mock', url: `http://127.0.0.1:${upstream}`, kind: 'openai' }],
      limits: { conn: { max: 8192, per_loopback: 8192, new_per_loopback_per_s: 100000, new_per_loopback_burst: 100000,
        requests_per_connection: 1000000 } },
      log: { level: 'warn' },
    }, null, 2)];
  },
  args: (dir, file) => ['serve', '--config', file],
};

const changed = (change) => ({
  ...drover,
  config: (dir, port, upstream) => {
    const [file, text] = drover.config(dir, port, upstream), config = JSON.parse(text);
    change(config);
    return [file, JSON.stringify(config, null, 2)];
  },
});

// The same before a runtime that speaks nothing but Anthropic's API.
const anthropic = changed((config) => { config.endpoints[0].dialects = ['anthropic']; });

// The same, asked with a key that has every limit a key can have, each too large to be met. A disk that others use, too, stands still for
// tenths of a second: rows of so long may wait, where as it comes requests of keys would be refused.
export const QUEUE_ROWS = 100000;
const keyed = changed((config) => { config.limits.ledger = { queue_rows: QUEUE_ROWS }; });

export const PROXIES = { drover, nginx, haproxy };
export const VARIANTS = { ...PROXIES, anthropic, keyed };
const KEY_LIMITS = { requests_per_min: 2000000000, requests_burst: 1000000, concurrent: 100000, tokens_per_min: 1e15, tokens_per_day: 1e15,
  tokens_per_month: 1e16 };

export async function freePort() {
  const server = net.createServer();
  await new Promise((go) => server.listen(0, '127.0.0.1', go));
  const { port } = server.address();
  await new Promise((go) => server.close(go));
  return port;
}

export function versionOf(name) {
  const p = PROXIES[name];
  const { stdout, stderr } = spawnSync(p.file, p.version, { env: { ...process.env, ...p.env }, encoding: 'utf8' });
  return (/\d+\.\d+[\w.+~-]*/.exec(`${stdout}${stderr}`) ?? ['?'])[0];
}

/** One question over a Drover's admin socket: what it answered, as JSON. */
export const askAdmin = (p, method, route, body) => new Promise((go, fail) => {
  const data = body && JSON.stringify(body);
  http.request({ socketPath: path.join(p.dir, 'run/drover.sock'), method, path: `/drover/v1/${route}`, agent: false,
    headers: { host: 'localhost', ...(data ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(data) } : {}) } }, (r) => {
    let text = '';
    r.on('data', (d) => { text += d; }).on('end', () => (r.statusCode < 300 ? go(JSON.parse(text)) : fail(new Error(`${route}: ${r.statusCode} ${text}`))));
  }).on('error', fail).end(data);
});

/** Gives a Drover that has started a key, which the load generator is to send. */
export async function giveKey(p) {
  p.key = (await askAdmin(p, 'POST', 'keys', { name: 'bench', limits: KEY_LIMITS })).key;
  return p;
}

/** Writes the configuration; returns what is needed to start the proxy: {dir, file, args, env, port, log}. */
export async function prepare(name, upstream) {
  const p = VARIANTS[name], dir = path.join(WORK, 'run', name), port = await freePort();
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  const [file, text] = p.config(dir, port, upstream);
  writeFileSync(path.join(dir, file), text, { mode: 0o600 });
  return { name, dir, port, file: p.file, args: p.args(dir, path.join(dir, file)), env: { ...process.env, ...p.env },
    log: path.join(dir, 'output.log') };
}

const running = new Set();
process.on('exit', () => { for (const child of running) child.kill('SIGKILL'); });
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));

export function launch(core, file, args, { env = process.env, log, stdout = 'ignore' } = {}) {
  const out = log ? openSync(log, 'a') : 'ignore';
  const child = spawn('taskset', ['-c', `${core}`, file, ...args], { env, stdio: ['ignore', log ? out : stdout, log ? out : 'inherit'] });
  if (log) closeSync(out);
  running.add(child);
  child.ended = new Promise((go) => child.on('close', (code) => { running.delete(child); go(code); }));
  return child;
}

/** Ends a process that launch() started, and waits for it. */
export async function end(child) {
  if (!running.has(child)) return;
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
  await child.ended;
  clearTimeout(timer);
}

/** Starts a proxy and waits until `ready(port)` says that a request gets its answer. */
export async function start(name, upstream, ready, core = PROXY_CORE) {
  const p = await prepare(name, upstream);
  const child = launch(core, p.file, p.args, p);
  for (let i = 0; i < 400; i++, await sleep(25)) {
    if (!running.has(child)) throw new Error(`${name} has ended at once; see ${path.relative(ROOT, p.log)}`);
    if (await ready(p.port)) return { name, dir: p.dir, port: p.port, child, pid: child.pid, log: p.log };
  }
  await end(child);
  throw new Error(`${name} gives no answer; see ${path.relative(ROOT, p.log)}`);
}
