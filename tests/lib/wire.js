// HTTP as bytes on a socket: scripts of writes and pauses, and a reader that takes nothing on trust.
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export const END = Symbol('end of sending'), RESET = Symbol('reset'), PAUSE = Symbol('read no more');

/** Plays a script on a socket: text or bytes are written, numbers are milliseconds to wait, functions give more script. */
export async function play(socket, script) {
  for (const step of [].concat(script)) {
    if (socket.destroyed) return;
    if (typeof step === 'number') await sleep(step);
    else if (step === END) socket.end();
    else if (step === RESET) socket.resetAndDestroy();
    else if (step === PAUSE) socket.pause();
    else if (typeof step === 'function') await play(socket, await step());
    else if (!socket.write(typeof step === 'string' ? Buffer.from(step, 'latin1') : step))
      await new Promise((go) => { socket.once('drain', go); socket.once('close', go); });
  }
}

/**
 * The responses in `bytes`: {list: [{status, headers, body, whole, head}], rest}. Interim ones are in the list. `heads`
 * holds the method of each request, for HEAD. The grammar is the strict one: what does not follow it is in `rest`.
 */
export function responses(bytes, closed = false, heads = []) {
  const list = [];
  let at = 0;
  while (at < bytes.length) {
    const end = bytes.indexOf('\r\n\r\n', at, 'latin1');
    if (end < 0) break;
    const head = bytes.toString('latin1', at, end);
    const [line, ...fields] = head.split('\r\n');
    const status = /^HTTP\/1\.[01] (\d{3}) [\x20-\x7e]*$/.exec(line)?.[1];
    const bad = fields.find((f) => !/^[!#$%&'*+.^_`|~0-9A-Za-z-]+: ?[\t\x20-\x7e\x80-\xff]*$/.test(f));
    if (!status || bad !== undefined) break;
    const headers = {};
    for (const f of fields) {
      const colon = f.indexOf(':'), name = f.slice(0, colon).toLowerCase();
      (headers[name] ??= []).push(f.slice(colon + 1).trim());
    }
    const one = { status: Number(status), headers, head, body: Buffer.alloc(0), whole: false };
    at = end + 4;
    list.push(one);
    if (one.status < 200 || one.status === 204 || one.status === 304 || heads[list.length - 1] === 'HEAD') {
      one.whole = true;
    } else if (headers['transfer-encoding']) {
      const parts = [];
      for (;;) {
        const eol = bytes.indexOf('\r\n', at, 'latin1');
        const size = eol < 0 ? NaN : parseInt(bytes.toString('latin1', at, eol), 16);
        if (!(size >= 0) || bytes.length < eol + 2 + size + 2) { at = bytes.length; break; }
        parts.push(bytes.subarray(eol + 2, eol + 2 + size));
        at = eol + 2 + size + 2;
        if (size === 0) { one.whole = true; break; }
      }
      one.body = Buffer.concat(parts);
    } else if (headers['content-length']) {
      const length = Number(headers['content-length'][0]);
      one.body = bytes.subarray(at, at + length);
      one.whole = one.body.length === length;
      at += one.body.length;
    } else {
      one.body = bytes.subarray(at);
      one.whole = closed;
      at = bytes.length;
    }
  }
  return { list, rest: bytes.subarray(at) };
}

/**
 * Connects, plays `script` and collects what comes: {list, rest, bytes, closed, reset, ms}. Returns when the peer closed,
 * when `enough(list)` holds, or after `ms`. `then` is a second script, played once `enough` holds; its answer is waited
 * for likewise, with `enough2`.
 */
export function talk(port, script, { ms = 5000, enough, method } = {}) {
  return new Promise((go) => {
    const socket = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const received = [], began = performance.now();
    let over = false;
    const end = (closed, reset = false) => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      socket.destroy();
      const bytes = Buffer.concat(received);
      go({ ...responses(bytes, closed, method ? [method] : []), bytes, closed, reset, ms: performance.now() - began });
    };
    const timer = setTimeout(() => end(false), ms);
    socket.setNoDelay(true);
    socket.on('error', () => end(true, true));
    socket.on('end', () => end(true));
    socket.on('close', () => end(true));
    socket.on('data', (data) => {
      received.push(data);
      if (enough?.(responses(Buffer.concat(received)).list)) end(false);
    });
    socket.on('connect', () => play(socket, script).catch(() => {}));
  });
}

/** The resident memory of a process in bytes. */
export async function rss(pid) {
  const { readFile } = await import('node:fs/promises');
  return Number(/VmRSS:\s+(\d+) kB/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))[1]) * 1024;
}

/** The processor time a process has used, in seconds. */
export async function cpu(pid) {
  const { readFile } = await import('node:fs/promises');
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  const [utime, stime] = stat.slice(stat.lastIndexOf(')') + 2).split(' ').slice(11, 13).map(Number);
  return (utime + stime) / 100;
}

/** Numbers that are the same in each run. */
export function random(seed) {
  let a = seed >>> 0;
  const next = () => { // mulberry32
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  return { next, below: (n) => Math.floor(next() * n), of: (list) => list[Math.floor(next() * list.length)] };
}
