// The daemon as a bare process, for tests that startDrover (drover.js) is too polite for: odd descriptors, a second start,
// a directory that is used again, an end by SIGKILL.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DROVER } from './drover.js';

const running = new Set();
process.on('exit', () => { for (const child of running) child.kill('SIGKILL'); });

/** A directory with a configuration file: {dir, file, port, url, write(config), remove()}. */
export function home(port, config = {}) {
  const dir = mkdtempSync(path.join(tmpdir(), 'drover-'));
  for (const sub of ['data', 'run']) mkdirSync(path.join(dir, sub), { mode: 0o700 });
  const it = {
    dir, port, file: path.join(dir, 'drover.yaml'), url: `http://127.0.0.1:${port}`,
    write(more = {}) {
      writeFileSync(it.file, JSON.stringify({ data_dir: path.join(dir, 'data'), run_dir: path.join(dir, 'run'), listen: [{ address: `127.0.0.1:${port}`, auth: 'none' }],
        discovery: { local: false, containers: false }, ...config, ...more }));
    },
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
  it.write();
  return it;
}

/** `drover serve` on a home: the child with .log (text so far) and .ended (a promise of {code, signal}). stderr: a descriptor instead of the log; within: a command that runs it. */
export function serve(place, { stderr = 'pipe', env = {}, within = [] } = {}) {
  const { DROVER_BIN: _, ...rest } = process.env;
  const [program, ...args] = [...within, DROVER, 'serve', '--config', place.file];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', stderr], env: { ...rest, ...env } });
  running.add(child);
  child.log = '';
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (data) => { child.log += data; });
  child.ended = new Promise((go) => child.on('close', (code, signal) => {
    running.delete(child);
    child.result = { code, signal };
    go(child.result);
  }));
  return child;
}
