// Whether the ledger keeps up: requests of a key as fast as one load generator and this machine allow, while the rows that wait for the store,
// those that were lost and the memory are looked at four times a second. Every row must be there at the end.
//
//   bench/run.sh --ledger [SECONDS]
//
// Drover may use all cores here, with one worker, as it would where it runs; the load generator and the mock runtime share one of them.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { LOAD_CORE, QUEUE_ROWS, WORK, askAdmin, end, giveKey, launch, start } from './proxies.mjs';

const run = promisify(execFile), seconds = Number(process.argv[2] ?? 20), KEPT_MIB = 8 /* of freed memory: base/mem.h */, ROW_MIB = 1 / 1024;
const load = async (...args) => JSON.parse((await run('taskset', ['-c', `${LOAD_CORE}`, path.join(WORK, 'bin/load'),
  ...args.map(String)]).catch((e) => e)).stdout);
const rssMib = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;

const mock = launch(LOAD_CORE, path.join(WORK, 'bin/mock'), [], { stdout: 'pipe' });
const upstream = await new Promise((go) => mock.stdout.once('data', (d) => go(Number(d))));
const p = await giveKey(await start('keyed', upstream, async (port) => (await load('-p', port, '-n', 1)).requests === 1,
  `0-${os.cpus().length - 1}`));
const records = async () => (await askAdmin(p, 'GET', 'status')).records;

await load('-p', p.port, '-c', 64, '-d', 1, '-K', p.key); // its memory, and its caches, as they will be
const before = await records(), memory = [rssMib(p.pid)];
let waiting = 0, over = false;
const watch = (async () => {
  while (!over) {
    waiting = Math.max(waiting, (await records()).rows_waiting);
    memory.push(rssMib(p.pid));
    await sleep(250);
  }
})();
const r = await load('-p', p.port, '-P', p.pid, '-c', 64, '-w', 0, '-d', seconds, '-K', p.key);
over = true;
await watch;
let now = await records();
for (let i = 0; i < 100 && now.rows_waiting; i++, now = await records()) await sleep(100);
const rows = now.rows_written - before.rows_written, listed = (await askAdmin(p, 'GET', 'usage?by=day')).rows.reduce((n,
  day) => n + day.requests, 0);
await end(p.child);
await end(mock);

const growth = Math.max(...memory) - memory[0];
const wrong = [
  r.faults && `${r.faults} requests failed: ${r.fault}`, now.rows_waiting && `${now.rows_waiting} rows still wait`, now.rows_lost && `${now.rows_lost} rows are lost`,
  rows < r.requests && `${r.requests} requests and ${rows} rows`, listed < now.rows_written && `the sums have ${listed} of ${now.rows_written} requests`,
  waiting >= QUEUE_ROWS && `${waiting} rows waited`, growth > KEPT_MIB + waiting * ROW_MIB && `memory grew by ${growth.toFixed(1)} MiB`,
].filter(Boolean);
console.log(`${Math.round(r.requests / r.seconds)} requests/s for ${r.seconds.toFixed(0)} s, ${rows} rows; at most ${waiting} waited, ${now.rows_lost} lost; memory ${memory[0].toFixed(1)} MiB, ` +
  `at most ${Math.max(...memory).toFixed(1)}, ${memory.at(-1).toFixed(1)} at the end\nCPU: store ${(r.store_ns / 1e3 / r.requests).toFixed(2)} us a row ` +
  `(${Math.round(1e9 * r.requests / r.store_ns)} rows per second of it), worker ${(r.workers_ns / 1e3 / r.requests).toFixed(2)} us a request`);
for (const text of wrong) console.error(`-- ${text}`);
process.exitCode = wrong.length ? 1 : 0;
