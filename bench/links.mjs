// What a link costs: the same requests to a mock runtime behind one Drover, and behind a node that is linked to it (reverse, TLS, loopback).
// Both of the node's and the hub's processor time count. Interleaved rounds; prints a table. links.mjs [ROUNDS]
import { execFile, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { LOAD_CORE, PROXY_CORE, ROOT, WORK, launch } from './proxies.mjs';

const run = promisify(execFile);
const DROVER = path.join(ROOT, 'build/release/drover'), LOAD = path.join(WORK, 'bin/load');
const rounds = Number(process.argv[2] ?? 5);
const TICK = 1e6 / Number((await run('getconf', ['CLK_TCK'])).stdout);
const cpuUs = (pid) => { const f = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' '); return (Number(f[11]) + Number(f[12])) * TICK; };

const top = mkdtempSync(path.join(tmpdir(), 'drover-links-'));
const children = [];
process.on('exit', () => { for (const c of children) c.kill('SIGKILL'); rmSync(top, { recursive: true, force: true }); });

function daemon(name, port, config) {
  const dir = path.join(top, name), file = path.join(dir, 'drover.yaml');
  for (const sub of ['data', 'run']) mkdirSync(path.join(dir, sub), { recursive: true, mode: 0o700 });
  writeFileSync(file, JSON.stringify({ data_dir: `${dir}/data`, run_dir: `${dir}/run`, workers: 1, discovery: { local: false, containers: false },
    listen: [{ address: `127.0.0.1:${port}` }, ...(config.listen ?? [])], limits: { conn: { per_loopback: 8192, new_per_loopback_per_s: 100000, new_per_loopback_burst: 100000 } },
    ...Object.fromEntries(Object.entries(config).filter(([k]) => k !== 'listen')) }));
  const child = spawn('taskset', ['-c', `${PROXY_CORE}`, DROVER, 'serve', '--config', file], { stdio: 'ignore' });
  children.push(child);
  return { pid: child.pid, port, file };
}

const mock = launch(LOAD_CORE, path.join(WORK, 'bin/mock'), [], { stdout: 'pipe' });
children.push(mock);
const upstream = await new Promise((go) => mock.stdout.once('data', (d) => go(Number(d))));
const endpoints = [{ name: 'mock', url: `http://127.0.0.1:${upstream}`, kind: 'openai' }];
const direct = daemon('direct', 21430, { endpoints });
const hub = daemon('hub', 21431, { hub: { name: 'home' }, listen: [{ address: '127.0.0.1:21443', tls: 'ca', client_cert: 'optional', roles: ['link'] }] });
const node = daemon('node', 21432, { endpoints, name: 'far' });
await sleep(3000);
const line = (await run(DROVER, ['hub', 'invite', '--config', hub.file])).stdout.match(/'(.*)'/)[1];
await run(DROVER, ['join', line, '--config', node.file]);
await sleep(2000);

const shapes = [
  { what: '1 KiB requests, c=1', unit: 'request', args: ['-b', 1024, '-c', 1] }, { what: '1 KiB requests, c=64', unit: 'request', args: ['-b', 1024, '-c', 64] },
  { what: '256 KiB requests, c=16', unit: 'request', args: ['-b', 262144, '-c', 16] }, { what: '64 deltas at once, c=64', unit: 'frame', args: ['-s', 64, '-c', 64] },
  { what: '200 streams at 50/s', unit: 'frame', args: ['-s', 128, '-r', 50, '-c', 200] },
];
const ways = { direct: [direct], link: [hub, node] };
const samples = shapes.map(() => ({ direct: [], link: [] }));
const median = (l) => l.sort((a, b) => a - b)[l.length >> 1];
for (let round = 0; round < rounds; round++)
  for (const [i, shape] of shapes.entries())
    for (const way of round % 2 ? ['link', 'direct'] : ['direct', 'link']) {
      const pids = ways[way].map((d) => d.pid);
      const before = pids.map(cpuUs);
      const { stdout } = await run('taskset', ['-c', `${LOAD_CORE}`, LOAD, ...shape.args, '-w', 0, '-d', shape.args.includes('-r') ? 3 : 2, '-p', ways[way][0].port].map(String)).catch((e) => e);
      const r = JSON.parse(stdout);
      await sleep(200);
      const spent = pids.reduce((sum, pid, k) => sum + cpuUs(pid) - before[k], 0), n = shape.unit === 'request' ? r.requests : r.frames;
      if (r.faults) console.error(`${way}, ${shape.what}: ${r.faults} faults, first: ${r.fault}`);
      samples[i][way].push({ us: spent / n, perSecond: n / r.seconds, p50: r.latency_p50_us || r.ttft_p50_us, p99: r.latency_p99_us || r.jitter_p99_us });
    }
console.log('| shape | CPU us per unit, direct | through a link | ratio | per second, direct | link | p99 us, direct | link |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |');
for (const [i, shape] of shapes.entries()) {
  const of = (way, what) => median(samples[i][way].map((s) => s[what]));
  console.log(`| ${shape.what} | ${of('direct', 'us').toFixed(1)} | ${of('link', 'us').toFixed(1)} | ${(of('link', 'us') / of('direct', 'us')).toFixed(2)}x | ${Math.round(of('direct', 'perSecond'))} | ${
    Math.round(of('link', 'perSecond'))} | ${Math.round(of('direct', 'p99'))} | ${Math.round(of('link', 'p99'))} |`);
}
process.exit(0);
