// How the records scale: fills a data directory with rows of the ledger and their sums per day, starts Drover on it, and measures how long
// what the console asks for takes, and how long from exec to the first answer. Not part of any test: it writes gigabytes.
//
//   bench/run.sh --records [--rows N] [--start-rows N] [--keep] [--report]
//
// The tables are made by Drover itself and the keys by its admin API; only the rows are written by us, with SQL: nobody waits for five million
// requests. They are spread over a year, as many each day, over 300 keys (a few of which ask most), 24 slugs of which a key asks for three, and
// two endpoints per slug. The numbers are drawn from the row's own, so that each run measures the same.
import { spawn } from 'node:child_process';
import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { replaceSection } from './page.mjs';
import { PROXIES, ROOT, WORK, askAdmin, freePort, versionOf } from './proxies.mjs';

const DAYS = 365, KEYS = 300, SLUGS = 24, ENDPOINTS = 6, ASKED = 9, STARTS = 7, GOAL_MS = 300;
const running = new Set();
process.on('exit', () => { for (const child of running) child.kill('SIGKILL'); });

function options(argv) {
  const o = { rows: 5e6, startRows: 1e6, keep: false, report: false };
  while (argv.length) {
    const arg = argv.shift();
    if (arg === '--rows') o.rows = Number(argv.shift());
    else if (arg === '--start-rows') o.startRows = Number(argv.shift());
    else if (arg === '--keep') o.keep = true;
    else if (arg === '--report') o.report = true;
    else throw new Error(`unknown option ${arg}; see bench/records.mjs`);
  }
  return o;
}

async function place(name) {
  const dir = path.join(WORK, 'run', name), port = await freePort();
  rmSync(dir, { recursive: true, force: true });
  for (const sub of ['data', 'run']) mkdirSync(path.join(dir, sub), { recursive: true, mode: 0o700 });
  const file = path.join(dir, 'drover.yaml');
  writeFileSync(file, JSON.stringify({ data_dir: path.join(dir, 'data'), run_dir: path.join(dir, 'run'),
    listen: [{ address: `127.0.0.1:${port}`, auth: 'none' }],
    discovery: { local: false, containers: false }, telemetry: { retain: `${DAYS + 30}d` }, log: { level: 'warn' } }), { mode: 0o600 });
  return { dir, port, file, db: path.join(dir, 'data/drover.db') };
}

/** Starts Drover; ms: from the call of spawn to the first 200 of /healthz. */
async function start(at) {
  const began = performance.now(), child = spawn(PROXIES.drover.file, ['serve', '--config', at.file], { stdio: ['ignore', 'ignore',
    'inherit'] });
  running.add(child);
  child.gone = new Promise((go) => child.on('close', (code, signal) => { running.delete(child); go(signal ?? code); }));
  while (!(await healthy(at.port))) {
    if (!running.has(child)) throw new Error('drover has ended at once');
    if (performance.now() - began > 60000) throw new Error('drover gives no answer');
    await sleep(1);
  }
  return { child, ms: performance.now() - began };
}

async function end(child, signal = 'SIGTERM') {
  child.kill(signal);
  await child.gone;
}

const healthy = (port) => new Promise((go) => {
  http.get({ host: '127.0.0.1', port, path: '/healthz', agent: false }, (r) => r.resume().on('end',
    () => go(r.statusCode === 200))).on('error', () => go(false));
});

/** One question over the admin socket: ms to the end of its answer. */
async function timed(at, route) {
  const began = performance.now();
  await askAdmin(at, 'GET', route);
  return performance.now() - began;
}

/** Numbers below n from row i, different ones for each salt; low ones come more often with a higher power. */
const draw = (salt, n) => `(((i * 2654435761 + ${salt} * 40503) % 4294967296 * 69069 / 65536) % ${n})`;
const skewed = (salt, n) => `CAST(${n} * (${draw(salt, 1000)} / 1000.0) * (${draw(salt + 1, 1000)} / 1000.0) AS INTEGER)`;

function fill(at, rows, keys) {
  const db = new DatabaseSync(at.db), now = Date.now(), today = Math.floor(now / 86400000), from = (today - DAYS + 1) * 86400000;
  db.exec('PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -262144; PRAGMA temp_store = MEMORY; BEGIN;');
  db.exec('CREATE TEMP TABLE who (n INTEGER PRIMARY KEY, id TEXT NOT NULL);');
  const who = db.prepare('INSERT INTO who VALUES (?, ?)');
  ['', ...keys].forEach((id, n) => who.run(n, id));
  db.prepare(`WITH RECURSIVE number(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM number WHERE i < ? - 1),
    drawn AS (SELECT i, ${skewed(1, keys.length + 1)} AS k, ${skewed(3, 3)} AS s, ${draw(5, 2)} AS e, ${draw(6, 100)} AS luck, ${draw(7, 4000)} AS tin,
      ${draw(8, 800)} AS tout FROM number),
    row AS (SELECT i, k, (k * 7 + s) % ${SLUGS} AS slug, e, luck, tin + 20 AS tin, CASE WHEN luck < 3 THEN 0 ELSE tout + 1 END AS tout FROM drawn)
    INSERT INTO request (ended_ms, id, key_id, slug, model, endpoint, runtime, dialect, api, stream, status, result, attempts, tokens_in, tokens_cached,
      tokens_out, tokens_reasoning, in_source, out_source, queue_us, first_us, total_us, bytes_in, bytes_out, cost, cost_source)
    SELECT ? + CAST(i * ? AS INTEGER), printf('%016x%08x', i * 11400714819323, i), who.id, printf('slug-%02d', slug), printf('vendor/some-model-%02db-instruct', slug),
      printf('host-%d', (slug + e) % ${ENDPOINTS}), 'vllm', 'openai', '/v1/chat/completions', luck % 2, CASE WHEN luck < 3 THEN 502 ELSE 200 END,
      CASE WHEN luck < 3 THEN 2 ELSE 0 END, 1, tin, tin / 2, tout, 0, 1, 1, luck * 10, 30000 + tin * 10, 40000 + tout * 20000, tin * 4, tout * 200,
      CASE WHEN luck < 90 THEN tin + 3 * tout END, CASE WHEN luck < 90 THEN 1 ELSE 0 END
    FROM row JOIN who ON who.n = k`).run(rows, from, (now - from) / rows);
  db.exec(`INSERT INTO usage_day (day, key_id, slug, model, endpoint, requests, failed, tokens_in, tokens_cached, tokens_out, tokens_reasoning, total_us, cost, cost_unknown)
    SELECT ended_ms / 86400000, key_id, slug, model, endpoint, count(*), sum(result <> 0), sum(tokens_in), sum(tokens_cached), sum(tokens_out),
      sum(tokens_reasoning), sum(total_us), COALESCE(sum(cost), 0), sum(cost IS NULL) FROM request GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5; COMMIT;
    PRAGMA journal_mode = WAL;`);
  const sums = db.prepare('SELECT count(*) AS n FROM usage_day').get().n;
  db.close();
  return { rows, sums, bytes: statSync(at.db).size };
}

async function made(name, rows) {
  process.stderr.write(`-- ${rows.toLocaleString('en-US')} rows\n`);
  const at = await place(name), { child } = await start(at), keys = [];
  for (let i = 0; i < KEYS; i++) keys.push((await askAdmin(at, 'POST', 'keys', { name: `team-${i}` })).id);
  await end(child);
  return { at, size: fill(at, rows, keys) };
}

const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

async function starts(at, signal) {
  const list = [];
  for (let i = 0; i <= STARTS; i++) { // the first comes after what filled it
    const { child, ms } = await start(at);
    if (i) list.push(ms);
    await end(child, signal);
  }
  return list;
}

const QUESTIONS = [
  ...['key', 'model', 'slug', 'endpoint', 'day'].flatMap((by) => [30, DAYS].map((days) => ({ what: `usage by ${by}, ${days} days`,
    route: `usage?by=${by}&days=${days}` }))),
  { what: 'the last 100 requests', route: 'requests?limit=100' },
  { what: 'a page of requests that looks in vain', route: 'requests?limit=100&status=418' },
  { what: '100 requests of half a year ago', route: `requests?limit=100&to_ms=${Date.now() - 182 * 86400000}` },
];

const o = options(process.argv.slice(2)), lines = [], count = (n) => n.toLocaleString('en-US');
const take = (what, list) => {
  const m = median(list), most = Math.max(...list);
  lines.push({ what, first: list[0], median: m, most, ok: most <= GOAL_MS });
  console.log(`${what.padEnd(44)} first ${list[0].toFixed(1).padStart(7)} ms, median ${m.toFixed(1).padStart(7)}, most ${most.toFixed(1).padStart(7)}`);
};

const small = await made('records-start', o.startRows);
take(`start, ${count(o.startRows)} rows, ended in order`, await starts(small.at, 'SIGTERM'));
take(`start, ${count(o.startRows)} rows, killed before`, await starts(small.at, 'SIGKILL'));
const large = await made('records', o.rows), { child } = await start(large.at);
for (const { what, route } of QUESTIONS) {
  const list = [];
  for (let i = 0; i < ASKED; i++) list.push(await timed(large.at, route));
  take(what, list);
}
await end(child);
if (!o.keep) for (const { at } of [small, large]) rmSync(at.dir, { recursive: true, force: true });

const cpus = os.cpus(), load = os.loadavg()[0];
const result = { date: new Date().toISOString().slice(0, 10), version: versionOf('drover'), cpu: `${cpus[0].model}, ${cpus.length} cores`,
  load, small: small.size, large: large.size, lines };
writeFileSync(path.join(WORK, 'records.json'), `${JSON.stringify(result, null, 1)}\n`);
if (o.report) {
  const size = (s) => `${count(s.rows)} rows and ${count(s.sums)} sums per day, ${count(Math.round(s.bytes / 1e6))} MB`;
  replaceSection(path.join(ROOT, 'docs/benchmarks.md'), 'records', `Measured on ${result.date}; drover ${result.version}; ${result.cpu}, load ${load.toFixed(1)}${load > cpus.length ? ' (other programs had a part of the\nmachine: provisional)' : ''}; the file in the system's cache. Questions: ${size(large.size)}. Starts: ${size(small.size)}.

| what | first ms | median ms | most ms | goal |
| --- | ---: | ---: | ---: | --- |
${lines.map((l) => `| ${l.what} | ${l.first.toFixed(1)} | ${l.median.toFixed(1)} | ${l.most.toFixed(1)} | ${l.ok ? 'met' : `missed: ${GOAL_MS} ms`} |`).join('\n')}`);
}
process.exitCode = lines.every((l) => l.ok) ? 0 : 1;
