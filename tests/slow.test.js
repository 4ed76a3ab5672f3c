// Hundreds of clients that are slow on purpose (slowhttptest, in each of its four modes) beside a polite one. The polite one always gets
// its answer; the slow ones are ended by the limits; memory stays within bounds, and afterwards everything is as before.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFake } from './fakes/index.js';
import { startDrover, until } from './lib/drover.js';

const CONNECTIONS = 300, SECONDS = 9, READ_SECONDS = 40, FEW = 8 /* our own */, RSS_MAX_KIB = 48 << 10, TOOL = 'slowhttptest';
const missing = spawnSync(TOOL, ['-h']).error ? `${TOOL} is not installed; ./dev deps test installs it` : false;
let fake, drover, polite;

before(async () => {
  fake = await startFake('openai', { models: ['coder'], reply: Array.from({ length: 10 }, () => 'word ') });
  fake.name = 'fake';
  drover = await startDrover({ endpoints: [fake], models: ['coder'],
    config: { limits: { head: { deadline: '2s' }, body: { idle: '3s' }, stream: { client_stall: '2s' }, conn: { keepalive_idle: '3s' } } },
    // What ASan keeps of freed memory shall not look like a leak.
    env: { ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:quarantine_size_mb=4` } });
  polite = beginPolite();
  await until('the first answers', () => polite.n > 5);
});
after(async () => {
  await polite?.end();
  await drover?.stop();
  await fake?.close();
});

/** One client that asks on and on: {n, slowestMs, faults, end()}. Every third request comes on a connection of its own. */
function beginPolite() {
  const it = { n: 0, slowestMs: 0, faults: [], over: false, async end() { it.over = true; await it.ended; } };
  it.ended = (async () => {
    while (!it.over) {
      const began = performance.now(), stream = it.n % 2 === 0;
      try {
        const response = await drover.post('/v1/chat/completions', { model: 'coder', stream, messages: [{ role: 'user', content: 'hi' }] },
          { headers: it.n % 3 ? {} : { Connection: 'close' }, signal: AbortSignal.timeout(5000) });
        const text = await response.text();
        if (response.status !== 200 || !text.includes(stream ? '[DONE]' : 'word word')) it.faults.push(`${response.status}: ${text.slice(0, 300)}`);
      } catch (error) {
        it.faults.push(`after ${Math.round(performance.now() - began)} ms: ${error.cause?.message ?? error.message}`);
      }
      it.slowestMs = Math.max(it.slowestMs, performance.now() - began);
      it.n++;
      await sleep(20);
    }
  })();
  return it;
}

const rssKib = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${drover.process.pid}/status`, 'utf8'))[1]);
const connections = async () => (await drover.cliJson('status')).connections;
async function hits() {
  const text = await (await drover.get('/metrics')).text(), all = {};
  for (const [, limit, n] of text.matchAll(/^drover_limit_hits_total\{limit="([^"]+)"\} (\d+)$/gm)) all[limit] = Number(n);
  return all;
}

/** Runs the tool, to its end or until `enough` has come true: what it reported, without colours. */
async function slow(mode, target, seconds, args, enough) {
  const child = spawn(TOOL, [mode, '-c', CONNECTIONS, '-r', 150, '-l', seconds, '-p', 3, '-u', drover.url + target, ...args].map(String),
    { stdio: ['ignore', 'pipe', 'pipe'], cwd: drover.dir });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (d) => { text += d; });
  const ended = new Promise((go, fail) => child.on('error', fail).on('close', go));
  const timer = setTimeout(() => child.kill('SIGKILL'), (seconds + 12) * 1000);
  try {
    await (enough ? Promise.race([enough(), ended]) : ended);
  } finally {
    child.kill('SIGTERM');
    await ended;
    clearTimeout(timer);
  }
  return text.replace(/\x1b\[[\d;]*[A-Za-z]/g, '');
}

// What each asks for, and the limits that end it. The last is ended by standing still, or, where the kernel took all answers at once, by
// having nothing to say; then no limit counts it.
const modes = [
  { mode: '-H', name: 'slow heads', target: '/v1/models', args: ['-i', 1, '-x', 24], limits: ['limits.head.deadline'] },
  { mode: '-B', name: 'slow bodies', target: '/v1/audio/transcriptions', args: ['-i', 1, '-s', 8192, '-x', 10, '-f',
    'multipart/form-data; boundary=x'],
    limits: ['limits.body.min_rate', 'limits.body.idle'] },
  { mode: '-R', name: 'ranges without end', target: '/v1/models', args: ['-t', 'GET', '-a', 1, '-b', 3000], limits: ['limits.head.field',
    'limits.head.total'] },
  { mode: '-X', name: 'slow readers', args: ['-k', 10, '-n', 1, '-z', 5, '-w', 10, '-y', 20], limits: ['limits.stream.client_stall'],
    mayIdle: true },
];
for (const { mode, name, target, args, limits, mayIdle } of modes)
  test(`${CONNECTIONS} connections with ${name} hold nobody up, and are ended`, { skip: missing, timeout: 60000 }, async (t) => {
    const was = { hits: await hits(), rss: rssKib(), n: polite.n };
    let most = 0;
    polite.slowestMs = 0;
    const watch = setInterval(() => { most = Math.max(most, rssKib()); }, 50);
    // These clients would hold on for as long as the tool runs: that they are ended must be seen before.
    const allEnded = async () => {
      await until('most of them to be there', async () => await connections() > CONNECTIONS / 2, 15000);
      await until('them to be ended', async () => await connections() <= FEW, 25000, 200);
    };
    const report = await slow(mode, target ?? await largestScript(), mayIdle ? READ_SECONDS : SECONDS, args,
      mayIdle && allEnded).finally(() => clearInterval(watch));
    const now = await hits(), told = polite.n - was.n, ended = limits.reduce((n, l) => n + (now[l] ?? 0) - (was.hits[l] ?? 0), 0);
    t.diagnostic(`polite: ${told} answers, the slowest in ${Math.round(polite.slowestMs)} ms; ended by ${limits.join(', ')}: ${ended}; memory ${was.rss} KiB, ` +
      `at most ${most}`);
    if (!mayIdle) assert.match(report, /No open connections left/, report); // the tool saw its end, too
    assert.deepEqual(polite.faults, []);
    assert.ok(told > 30 && polite.slowestMs < 3000, `the polite client got ${told} answers, the slowest after ${polite.slowestMs} ms`);
    if (!mayIdle) assert.ok(ended >= CONNECTIONS * 0.95, `${ended} were ended by ${limits}: ${JSON.stringify(now)}`);
    assert.ok(most - was.rss < RSS_MAX_KIB, `it grew by ${most - was.rss} KiB`);
    await until('the connections to be gone', async () => await connections() <= FEW, 5000, 100);
    await until('nothing under way', async () => (await drover.cliJson('status')).in_flight <= 1, 5000);
  });

test('afterwards it is as before', { skip: missing }, async () => {
  const n = polite.n;
  await until('more answers', () => polite.n > n + 10, 5000);
  assert.deepEqual(polite.faults, []);
  const status = await drover.cliJson('status');
  assert.deepEqual([status.records.state, status.records.rows_lost, status.endpoints_up], ['well', 0, 1]);
});

/** The largest file of the console, which is the most that somebody without a key can ask for. */
async function largestScript() {
  const names = new Set(), text = async (route) => (await drover.get(route)).text();
  const read = (body) => { for (const [name] of body.matchAll(/[\w-]+-[A-Z0-9]{8}\.js/g)) names.add(name); };
  read(await text('/console/'));
  for (const name of names) read(await text(`/console/assets/${name}`)); // also those it finds on the way
  let largest = { bytes: 0 };
  for (const name of names) {
    const bytes = (await text(`/console/assets/${name}`)).length;
    if (bytes > largest.bytes) largest = { bytes, name };
  }
  return `/console/assets/${largest.name}`;
}
