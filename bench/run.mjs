// Measures Drover, nginx and HAProxy in one run: the proxies on one core, the mock runtime (mock.c) and the load
// generator (load.c) on the other, in interleaved rounds (A B C, B C A, ...), so that whatever else the machine does
// meets all of them alike. The figure that decides is processor time per request or per frame: it does not depend on
// whether the load generator keeps up. Prints a table and leaves everything in build/bench/result.json.
import { execFile } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { LOAD_CORE, PROXIES, PROXY_CORE, VARIANTS, WORK, end, giveKey, launch, prepare, start, versionOf } from './proxies.mjs';
import { textTables } from './table.mjs';

const run = promisify(execFile);
const LOAD = path.join(WORK, 'bin/load');

function options(argv) {
  const o = { quick: false, only: Object.keys(PROXIES), rows: '', rounds: 0 };
  while (argv.length) {
    const arg = argv.shift();
    if (arg === '--quick') o.quick = true;
    else if (arg === '--only') o.only = argv.shift().split(',');
    else if (arg === '--rows') o.rows = argv.shift();
    else if (arg === '--rounds') o.rounds = Number(argv.shift());
    else throw new Error(`unknown option ${arg}; see bench/run.sh`);
  }
  o.rounds ||= o.quick ? 2 : 5;
  return o;
}

/** Sets of rows; every proxy is started anew for each set in each round. */
function rowSets({ quick, rows }) {
  const sizes = quick ? [1, 256] : [1, 32, 256], connections = quick ? [64] : [1, 64, 256];
  const [warm, time] = quick ? [0.2, 0.4] : [0.3, 1];
  const bodies = [], set = (id, list) => ({ id, list: list.filter((r) => r.id.includes(rows)) });
  for (const kib of sizes)
    for (const model of ['first', 'last'])
      for (const c of connections)
        bodies.push({ id: `${kib}k-${model}-c${c}`, unit: 'request', kib, model, c,
          args: ['-b', kib * 1024, '-m', model, '-c', c, '-w', warm, '-d', time] });
  const paced = (c) => ({ id: `sse-paced-c${c}`, unit: 'frame', c, pace: 50,
    args: ['-s', 256, '-r', 50, '-c', c, '-w', quick ? 0.8 : 1.5, '-d', quick ? 1 : 3] });
  return [
    set('bodies', bodies),
    set('burst', [{ id: 'sse-64-c64', unit: 'frame', c: 64, args: ['-s', 64, '-c', 64, '-w', warm, '-d', time] }]),
    set('paced400', [paced(400)]),
    set('paced1000', [paced(1000)]),
  ].filter((s) => s.list.length);
}

/** Translation: Drover alone, each client's API against plain pass-through of the same request to the same mock. `by`: which
 *  configuration of Drover serves it. */
function translationRows({ quick, rows }) {
  const [warm, time] = quick ? [0.2, 0.4] : [0.3, 1], list = [];
  const shapes = [{ id: '1k', what: '1 KiB, whole', unit: 'request', args: ['-b', 1024, '-c', 64, '-w', warm, '-d', time] },
    { id: '32k', what: '32 KiB, whole', unit: 'request', args: ['-b', 32 * 1024, '-c', 64, '-w', warm, '-d', time] },
    { id: 'burst', what: '64 deltas at once', unit: 'frame', args: ['-s', 64, '-c', 64, '-w', warm, '-d', time] },
    { id: 'paced', what: '400 streams at 50/s', unit: 'frame', pace: 50, args: ['-s', 256, '-r', 50, '-c', 400, '-w', quick ? 0.8 : 1.5, '-d', quick ? 1 : 3] }];
  for (const shape of shapes) {
    list.push({ ...shape, id: `tr-${shape.id}-chat`, way: 'pass', by: 'drover' });
    for (const api of ['messages', 'ollama', 'responses'])
      list.push({ ...shape, id: `tr-${shape.id}-${api}`, way: `${api} to chat`, by: 'drover', args: [...shape.args, '-a', api] });
    list.push({ ...shape, id: `tr-${shape.id}-back`, way: 'chat to messages', by: 'anthropic', args: [...shape.args, '-t'] });
  }
  return list.filter((r) => r.id.includes(rows));
}

/** What a key costs: Drover alone, the same small requests with one that has all limits and without any. */
function keyRows({ quick, rows }) {
  const [warm, time] = quick ? [0.2, 0.4] : [0.3, 1];
  return [1, 64, 256].map((c) => ({ id: `key-1k-c${c}`, unit: 'request', kib: 1, model: 'first', c,
    args: ['-b', 1024, '-c', c, '-w', warm, '-d', time] })).filter((r) => r.id.includes(rows));
}

async function load(args) {
  const { stdout } = await run('taskset', ['-c', `${LOAD_CORE}`, LOAD, ...args.map(String)]).catch((e) => e);
  try {
    return JSON.parse(stdout);
  } catch {
    return { faults: 1, fault: 'the load generator measured nothing' };
  }
}

const translates = async (port) => {
  const r = await load(['-p', port, '-n', 1, '-t']);
  return r.requests === 1 && r.faults === 0;
};

const answers = async (port) => {
  const r = await load(['-p', port, '-n', 1]);
  return r.requests === 1 && r.faults === 0;
};

/** What one run says about one row: the figures of the table. */
function sample(row, r) {
  if (r.faults || !r.requests && row.unit === 'request' || !r.frames && row.unit === 'frame')
    return { lost: `${r.faults} faults, first: ${r.fault ?? 'no answer'}` };
  const units = row.unit === 'request' ? r.requests : r.frames;
  return {
    cpuUs: r.proxy_cpu_ns / 1e3 / units, workersUs: r.workers_ns / 1e3 / units, storeUs: r.store_ns / 1e3 / units, perSecond: units / r.seconds, busy: r.proxy_cpu_ns / 1e9 / r.seconds,
    waiting: r.proxy_wait_ns / 1e9 / r.seconds,
    loadBusy: (r.mock_cpu_ns + r.load_cpu_ns) / 1e9 / r.seconds,
    p50Us: r.latency_p50_us, p99Us: r.latency_p99_us, ttftP50Us: r.ttft_p50_us, ttftP99Us: r.ttft_p99_us,
    jitterP50Us: r.jitter_p50_us, jitterP99Us: r.jitter_p99_us, pssKib: r.pss_kib, rssKib: r.rss_kib, reconnects: r.reconnects,
  };
}

const DISTURBED = 0.05; // from this share of waiting on a sample is taken again ...
let extra;               // ... while this many seconds last

/** One sample, taken again (twice at most) when some other program had the proxy's core meanwhile. */
async function measure(row, p, mock) {
  let best;
  for (let i = 0; i < 3; i++) {
    const began = performance.now();
    const s = sample(row, await load([...row.args, ...(p.key ? ['-K', p.key] : []), '-p', p.port, '-P', p.pid, '-Q', mock.pid]));
    if (i) extra -= (performance.now() - began) / 1000;
    if (s.lost) return s;
    if (!best || s.waiting < best.waiting) best = s;
    if (s.waiting <= DISTURBED || extra <= 0) break;
  }
  return best;
}

const median = (list) => {
  const s = [...list].sort((a, b) => a - b), m = s.length >> 1;
  return s.length % 2 ? s[m] : (s[m - 1] + s[m]) / 2;
};

/** Medians of the rounds, and the spread of what decides: (largest - smallest) / median. Where at least half of the
 *  rounds were left in peace, the others are set aside. */
function summary(all) {
  const lost = all.find((s) => s.lost);
  if (lost) return { lost: lost.lost };
  const calm = all.filter((s) => !(s.waiting > DISTURBED)), samples = calm.length * 2 >= all.length ? calm : all;
  const out = {};
  for (const key of Object.keys(samples[0])) out[key] = median(samples.map((s) => s[key]));
  const decisive = samples.map((s) => s.cpuUs ?? s.answeredMs ?? s.pssKib);
  out.spread = (Math.max(...decisive) - Math.min(...decisive)) / median(decisive);
  return out;
}

async function coldStart(name, mock) {
  const p = await prepare(name, mock.port);
  const { stdout } = await run('taskset', ['-c', `${LOAD_CORE}`, LOAD, '-p', p.port, '-k', '-A', PROXY_CORE, '--', p.file,
    ...p.args].map(String), { env: p.env }).catch((e) => e);
  try {
    const r = JSON.parse(stdout.trim().split('\n').at(-1));
    return { answeredMs: r.answered_ms, listeningMs: r.listening_ms };
  } catch {
    return { lost: 'no answer within 10 s' };
  }
}

/** Memory of a proxy that has just answered one request, after a moment of rest. */
async function idleMemory(name, mock) {
  const p = await start(name, mock.port, answers);
  await sleep(1000);
  const r = await load(['-p', p.port, '-n', 1, '-P', p.pid]);
  await end(p.child);
  return r.pss_kib ? { pssKib: r.pss_kib, rssKib: r.rss_kib } : { lost: r.fault };
}

async function startMock() {
  const child = launch(LOAD_CORE, path.join(WORK, 'bin/mock'), [], { stdout: 'pipe' });
  const port = await new Promise((go, fail) => {
    child.stdout.once('data', (d) => go(Number(d)));
    child.once('close', () => fail(new Error('the mock runtime has ended')));
  });
  return { child, port, pid: child.pid };
}

const o = options(process.argv.slice(2));
extra = o.quick ? 5 : 90;
const names = o.only.filter((n) => {
  if (existsSync(PROXIES[n]?.file ?? '')) return true;
  console.error(`-- ${n} is not there (${PROXIES[n]?.file ?? 'unknown'}); its column stays empty`);
  return false;
});
if (os.cpus().length < 2) throw new Error('two cores are needed');
mkdirSync(path.join(WORK, 'run'), { recursive: true });
if (names.includes('drover')) {
  const copy = path.join(WORK, 'bin/drover');
  copyFileSync(PROXIES.drover.file, copy);
  PROXIES.drover.file = VARIANTS.anthropic.file = VARIANTS.keyed.file = copy;
}
const began = Date.now(), sets = rowSets(o), samples = {}, translation = names.includes('drover') ? translationRows(o) : [];
const keyed = names.includes('drover') ? keyRows(o) : [];
const take = (row, name, s) => ((samples[row] ??= {})[name] ??= []).push(s);
const mock = await startMock();
const dead = new Set();

for (let round = 0; round < o.rounds; round++) {
  const order = names.map((_, i) => names[(i + round) % names.length]);
  for (const set of sets) {
    process.stderr.write(`-- round ${round + 1} of ${o.rounds}: ${set.id} (${Math.round((Date.now() - began) / 1000)} s)\n`);
    const proxies = [];
    for (const name of order)
      try {
        proxies.push(await start(name, mock.port, answers));
      } catch (e) {
        if (!dead.has(name)) console.error(`-- ${e.message}`);
        dead.add(name);
        for (const row of set.list) take(row.id, name, { lost: e.message });
      }
    for (const row of set.list)
      for (const p of proxies)
        take(row.id, p.name, await measure(row, p, mock));
    for (const p of proxies) await end(p.child);
  }
  if (translation.length) {
    process.stderr.write(`-- round ${round + 1} of ${o.rounds}: translation (${Math.round((Date.now() - began) / 1000)} s)\n`);
    const by = { drover: await start('drover', mock.port, answers), anthropic: await start('anthropic', mock.port, translates) };
    for (const row of translation) take(row.id, 'drover', await measure(row, by[row.by], mock));
    for (const p of Object.values(by)) await end(p.child);
  }
  if (keyed.length) {
    process.stderr.write(`-- round ${round + 1} of ${o.rounds}: keys (${Math.round((Date.now() - began) / 1000)} s)\n`);
    const pair = [await start('drover', mock.port, answers), await giveKey(await start('keyed', mock.port, answers))];
    for (const row of keyed)
      for (const p of round % 2 ? [...pair].reverse() : pair) take(row.id, p.name, await measure(row, p, mock));
    for (const p of pair) await end(p.child);
  }
  if (!o.rows)
    for (const name of order) {
      for (let i = 0; i < 3; i++) take('cold', name, await coldStart(name, mock));
      if (round < (o.quick ? 1 : 3)) take('idle', name, await idleMemory(name, mock).catch((e) => ({ lost: e.message })));
    }
}
// The harness alone, without a proxy: what the other core could do at most.
for (const row of sets.flatMap((s) => s.list))
  if (!o.quick || row.unit === 'frame') take(row.id, 'none', sample(row, await load([...row.args, '-p', mock.port, '-P', mock.pid, '-Q', mock.pid])));
await end(mock.child);

const setting = (name) => {
  try {
    return readFileSync(`/proc/sys/net/ipv4/${name}`, 'utf8').trim();
  } catch {
    return '?';
  }
};
const cpu = /model name\s*:\s*(.*)/.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? os.arch();
const result = {
  date: new Date().toISOString().slice(0, 10), quick: o.quick, rounds: o.rounds, seconds: Math.round((Date.now() - began) / 1000),
  kernel: `${os.type()} ${os.release().split('-')[0]}`, congestion: setting('tcp_congestion_control'), cpu: `${cpu}, ${os.cpus().length} cores`,
  versions: Object.fromEntries(names.map((n) => [n, versionOf(n)])),
  rows: [...sets.flatMap((s) => s.list), { id: 'cold' }, { id: 'idle' }].filter((r) => samples[r.id]).map(({ args, ...row }) => ({ ...row,
    results: Object.fromEntries(Object.entries(samples[row.id]).map(([name, list]) => [name, summary(list)])) })),
  keyed: keyed.map(({ args, ...row }) => ({ ...row, results: Object.fromEntries(Object.entries(samples[row.id]).map(([name, list]) => [name, summary(list)])) })),
  translation: translation.map(({ args, ...row }) => ({ ...row, result: summary(samples[row.id].drover) })),
};
const whole = !o.rows && names.length === Object.keys(PROXIES).length; // only such a result may become the report
const file = whole ? 'result.json' : 'partial.json';
writeFileSync(path.join(WORK, file), `${JSON.stringify(result, null, 1)}\n`);
console.log(textTables(result));
console.error(`-- ${result.seconds} s; everything is in build/bench/${file}${whole ? '; bench/run.sh --report writes docs/benchmarks.md' : ''}`);
