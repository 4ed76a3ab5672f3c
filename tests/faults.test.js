// What the machine does to a daemon: descriptors, disks and runtimes give out, signals come, memory must not grow.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startFake } from './fakes/index.js';
import { DROVER, command, freePort, startDrover, until } from './lib/drover.js';
import { home, serve } from './lib/daemon.js';
import { allSse, chatText, rawPost } from './lib/http.js';
import { cpu, random, rss, talk } from './lib/wire.js';

const CHAT = '/v1/chat/completions', MODEL = 'm', MIB = 1 << 20, REPLY = ['Hel', 'lo', ', ', 'world', '.'];
// AddressSanitizer keeps freed memory for a while; where memory is measured it may keep little.
const env = { ASAN_OPTIONS: [process.env.ASAN_OPTIONS, 'quarantine_size_mb=1', 'thread_local_quarantine_size_kb=64'].filter(Boolean).join(':') };
const ask = (more) => ({ model: MODEL, messages: [{ role: 'user', content: 'hi' }], ...more });
const request = (more) => { const b = JSON.stringify(ask(more)); return `POST ${CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: ${b.length}\r\n\r\n${b}`; };
const ok = async (url) => (await fetch(`${url}/healthz`, { signal: AbortSignal.timeout(5000) })).status === 200;

let fake;
before(async () => { fake = await startFake('openai', { models: [MODEL] }); });
after(async () => { await fake?.close(); });
const withDrover = (options, body) => async () => {
  for (const fault of ['delayMs', 'firstDelayMs']) delete fake.options[fault];
  fake.options.reply = REPLY;
  const drover = await startDrover({ endpoints: [fake], models: [MODEL], env, ...options });
  try {
    await body(drover);
  } finally {
    await drover.stop();
  }
};
const bare = { endpoints: [] };
const atHome = (config, body) => async () => {
  const place = home(await freePort(), config);
  const children = [];
  try {
    await body(place, async (options) => {
      const child = serve(place, options);
      children.push(child);
      await until('drover to answer', () => { if (child.result) throw new Error(`ended: ${child.log}`); return ok(place.url); }, 20000);
      return child;
    });
  } finally {
    for (const child of children) if (!child.result) { child.kill('SIGKILL'); await child.ended; }
    place.remove();
  }
};

/** The lines of a log that say why a start failed, and that nothing else went wrong. */
function refusal(child, result) {
  assert.equal(result.code, 1, child.log);
  assert.ok(!/Sanitizer|runtime error/.test(child.log), child.log);
  const said = child.log.trim().split('\n');
  assert.ok(said.length <= 5, `a clear line, not a wall: ${child.log}`);
  return child.log;
}

// --- descriptors ----------------------------------------------------------------------------------------------------

test('without free descriptors it sheds, rests, tells, and recovers', withDrover({}, async (drover) => {
  const { pid } = drover.process;
  let used = 48;
  try { used = readdirSync(`/proc/${pid}/fd`).length; } catch { /* not ours to look at: a release build hides it */ }
  const sockets = [];
  execFileSync('prlimit', ['--pid', String(pid), `--nofile=${used + 8}:`]);
  for (let i = 0; i < 60; i++) {
    const socket = net.connect(drover.port, '127.0.0.1');
    socket.on('error', () => {});
    sockets.push(socket);
  }
  await until('the log to tell of it', () => /accepting paused/.test(drover.log), 10000);
  const was = await cpu(pid), lines = drover.log.split('\n').length;
  await sleep(3000);
  const spent = (await cpu(pid)) - was, said = drover.log.split('\n').length - lines;
  assert.ok(spent < 1.5, `${spent} s of processor time in 3 s of waiting`);
  assert.ok(said < 60, `${said} lines in 3 s`); // one a second for each worker's listener, and some for probes
  for (const socket of sockets) socket.destroy();
  await until('an answer', () => ok(drover.url), 15000);
  execFileSync('prlimit', ['--pid', String(pid), '--nofile=1024:']);
  await until('a chat', async () => (await drover.post(CHAT, ask())).status === 200, 30000);
}));

// --- the log --------------------------------------------------------------------------------------------------------

test('a full disk under the log does not stop it', atHome({ log: { level: 'debug' } }, async (place, start) => {
  const full = openSync('/dev/full', 'w');
  const child = await start({ stderr: full });
  closeSync(full);
  for (let i = 0; i < 200; i++) assert.ok(await ok(place.url));
  child.kill('SIGHUP');
  await sleep(200);
  assert.ok(await ok(place.url));
  child.kill('SIGTERM');
  assert.equal((await child.ended).code, 0);
}));

test('a log that nobody reads does not stop it', atHome({ log: { level: 'debug' } }, async (place, start) => {
  const child = await start();
  child.stderr.pause();
  child.stdout.pause();
  for (let i = 0; i < 1500; i++) assert.ok(await ok(place.url));
  child.stderr.resume();
  child.stdout.resume();
  child.kill('SIGTERM');
  assert.equal((await child.ended).code, 0);
}));

// --- signals --------------------------------------------------------------------------------------------------------

test('SIGTERM: running streams finish, idle connections close, nothing new comes in', withDrover({}, async (drover) => {
  Object.assign(fake.options, { delayMs: 150, reply: Array.from({ length: 15 }, (_, i) => `${i} `) });
  const idle = net.connect(drover.port, '127.0.0.1');
  let idleClosed = false;
  idle.on('close', () => { idleClosed = true; });
  idle.on('error', () => {});
  idle.resume();
  idle.write('GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
  const count = fake.inferences.length;
  const response = await drover.post(CHAT, ask({ stream: true }));
  assert.equal(response.status, 200);
  await until('the request', () => fake.inferences.length > count);
  const reading = allSse(response);
  await sleep(300);
  drover.process.kill('SIGTERM');
  await until('the idle connection to close', () => idleClosed, 3000);
  await until('new ones to be refused', async () => (await talk(drover.port, 'GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n', { ms: 1000 })).bytes.length === 0, 3000);
  assert.equal(drover.process.result, undefined, 'the stream is still running');
  const events = await reading;
  assert.equal(events.at(-1).data, '[DONE]');
  assert.equal(chatText(events), fake.options.reply.join(''));
  const { code } = await drover.process.ended;
  assert.equal(code, 0);
}));

test('SIGTERM: a request that is being sent is still answered', withDrover({}, async (drover) => {
  const text = request();
  const talking = talk(drover.port, [text.slice(0, -5), 800, text.slice(-5)]);
  await sleep(300);
  drover.process.kill('SIGTERM');
  const got = await talking;
  assert.equal(got.list[0]?.status, 200, got.bytes.toString());
  assert.ok(got.closed);
  assert.equal(got.list[0].headers.connection?.[0], 'close');
  assert.equal((await drover.process.ended).code, 0);
}));

test('SIGTERM twice ends at once', withDrover({}, async (drover) => {
  fake.options.firstDelayMs = 20000;
  const count = fake.inferences.length;
  const socket = rawPost(drover.port, CHAT, JSON.stringify(ask({ stream: true })));
  socket.resume();
  await until('the request', () => fake.inferences.length > count);
  drover.process.kill('SIGTERM');
  await sleep(500);
  assert.equal(drover.process.result, undefined, 'it waits for the stream');
  const began = performance.now();
  drover.process.kill('SIGTERM');
  const { code, signal } = await drover.process.ended;
  assert.ok(performance.now() - began < 5000);
  assert.equal(signal, null);
  assert.equal(code, 0);
  await fake.closed(fake.inferences.at(-1));
  socket.destroy();
}));

test('limits.stop.drain ends what does not end', withDrover({ config: { limits: { stop: { drain: '1s' } } } }, async (drover) => {
  fake.options.firstDelayMs = 20000;
  const count = fake.inferences.length;
  const socket = rawPost(drover.port, CHAT, JSON.stringify(ask()));
  socket.resume();
  await until('the request', () => fake.inferences.length > count);
  drover.process.kill('SIGTERM');
  const began = performance.now();
  assert.equal((await drover.process.ended).code, 0);
  assert.ok(performance.now() - began < 8000);
  socket.destroy();
}));

test('SIGHUP with a bad file keeps the settings, whatever is wrong with it', withDrover({}, async (drover) => {
  const bad = { 'not YAML': '{{{{', 'empty list': '[]', 'an unknown key': '{"nonsense":1}', 'a bad value': '{"gateway":{"body_max":"0B"}}', 'NULs': '\0\0\0', 'a deep one': '['.repeat(5000),
    'two of one key': 'log: {level: info}\nlog: {level: debug}\n', 'an anchor': 'a: &a [1]\nb: *a\n', 'large': `{"name":"${'x'.repeat(2 * MIB)}"}`, 'not UTF-8': '{"name":"\xff"}' };
  for (const [what, text] of Object.entries(bad)) {
    const at = drover.log.length;
    writeFileSync(drover.file, text, 'latin1');
    drover.process.kill('SIGHUP');
    await until(`a complaint about ${what}`, () => /refused/.test(drover.log.slice(at)));
    assert.equal((await drover.post(CHAT, ask())).status, 200, what);
  }
  drover.configure({ models: [{ slug: 'again', targets: [`${fake.name}/${MODEL}`] }] });
  drover.process.kill('SIGHUP');
  await until('the good file', async () => (await drover.modelIds()).includes('again'));
}));

test('a storm of SIGHUP does no harm', withDrover({}, async (drover) => {
  for (let i = 0; i < 100; i++) {
    drover.process.kill('SIGHUP');
    if (i % 10 === 0) assert.equal((await drover.post(CHAT, ask())).status, 200);
  }
  await until('the model', async () => (await drover.modelIds()).includes(MODEL));
  assert.equal((await drover.post(CHAT, ask())).status, 200);
}));

// --- starting -------------------------------------------------------------------------------------------------------

test('a second daemon on the same directories says so', atHome({}, async (place, start) => {
  await start();
  const other = home(await freePort());
  other.write({ data_dir: path.join(place.dir, 'data'), run_dir: path.join(place.dir, 'run') });
  try {
    const second = serve(other);
    const said = refusal(second, await second.ended);
    assert.match(said, /already|in use|is running/i);
    assert.ok(await ok(place.url));
    assert.equal((await command(DROVER, ['status', '--config', place.file])).code, 0, 'the socket is still the first one\'s');
  } finally {
    other.remove();
  }
}));

test('the same configuration started twice says so', atHome({}, async (place, start) => {
  await start();
  const second = serve(place);
  assert.match(refusal(second, await second.ended), /already|in use|is running/i);
  assert.ok(await ok(place.url));
  assert.equal((await command(DROVER, ['status', '--config', place.file])).code, 0);
}));

test('a port in use is named', atHome({}, async (place, start) => {
  const server = http.createServer((_, response) => response.end('mine')).listen(place.port, '127.0.0.1');
  await new Promise((go) => server.once('listening', go));
  try {
    const child = serve(place);
    const said = refusal(child, await child.ended);
    assert.match(said, new RegExp(String(place.port)));
    assert.match(said, /in use/i);
    assert.equal(await (await fetch(place.url)).text(), 'mine');
  } finally {
    server.close();
  }
}));

test('a port of another drover is not shared', atHome({}, async (place, start) => {
  await start();
  const other = home(place.port); // its own directories, the same port
  try {
    const second = serve(other);
    const said = refusal(second, await second.ended);
    assert.match(said, /in use/i);
  } finally {
    other.remove();
  }
}));

test('after SIGKILL it starts again in the same place', atHome({}, async (place, start) => {
  const first = await start();
  const socket = path.join(place.dir, 'run', 'admin.sock');
  first.kill('SIGKILL');
  await first.ended;
  assert.ok(!existsSync(path.dirname(socket)) || readdirSync(path.dirname(socket)).length > 0, 'a stale socket is there');
  const second = await start();
  assert.equal((await command(DROVER, ['status', '--config', place.file])).code, 0);
  second.kill('SIGTERM');
  assert.equal((await second.ended).code, 0);
}));

test('what is not a socket in the place of the admin socket is not removed', atHome({}, async (place, start) => {
  const first = await start();
  const names = readdirSync(path.join(place.dir, 'run')).filter((n) => n.endsWith('.sock'));
  assert.equal(names.length, 1);
  first.kill('SIGTERM');
  await first.ended;
  const file = path.join(place.dir, 'run', names[0]);
  writeFileSync(file, 'precious');
  const second = serve(place);
  const result = await Promise.race([second.ended, sleep(3000)]);
  if (!result) second.kill('SIGKILL');
  assert.ok(existsSync(file) && readFileSync(file, 'utf8') === 'precious', 'the file is as it was');
  refusal(second, result);
}));

// --- memory ---------------------------------------------------------------------------------------------------------

test('memory stays flat over 5,000 small requests', withDrover({}, async (drover) => {
  const { pid } = drover.process;
  const text = request();
  const some = async (n) => { // 20 connections, each with n / 20 requests in turn
    await Promise.all(Array.from({ length: 20 }, () => new Promise((go, fail) => {
      const socket = net.connect(drover.port, '127.0.0.1');
      let left = n / 20, tail = '';
      socket.on('error', fail);
      socket.on('close', () => (left > 0 ? fail(new Error('closed')) : go()));
      socket.on('data', (data) => {
        tail += data.toString('latin1');
        if (!/"cached_tokens":\d+\}\}\}/.test(tail)) return;
        assert.match(tail, /^HTTP\/1.1 200 /);
        tail = '';
        if (--left > 0) socket.write(text);
        else socket.end();
      });
      socket.write(text);
    })));
    assert.equal(fake.inferences.length, n);
    fake.requests.length = 0;
  };
  fake.requests.length = 0;
  await some(1000);
  const was = await rss(pid);
  await some(5000);
  const grown = (await rss(pid)) - was;
  assert.ok(grown < 16 * MIB, `memory grew by ${(grown / MIB).toFixed(1)} MiB`);
}));

test('memory stays flat over 500 aborted streams, and nothing of them is left', withDrover({}, async (drover) => {
  Object.assign(fake.options, { delayMs: 20, reply: Array.from({ length: 200 }, () => 'word ') });
  const { pid } = drover.process;
  const r = random(7);
  const some = async (n) => {
    let at = 0;
    await Promise.all(Array.from({ length: 25 }, async () => {
      while (at++ < n) {
        const socket = rawPost(drover.port, CHAT, JSON.stringify(ask({ stream: true })));
        socket.resume();
        await sleep(r.below(60));
        if (r.below(2)) socket.destroy();
        else socket.resetAndDestroy();
      }
    }));
    await until('all of them to be gone', () => fake.inferences.every((q) => q.closedAt || q.done));
    fake.requests.length = 0;
  };
  await some(100);
  const was = await rss(pid);
  await some(500);
  const grown = (await rss(pid)) - was;
  assert.ok(grown < 16 * MIB, `memory grew by ${(grown / MIB).toFixed(1)} MiB`);
  delete fake.options.delayMs;
  assert.equal((await drover.post(CHAT, ask())).status, 200);
  const text = await (await drover.get('/metrics')).text();
  const flight = [...text.matchAll(/^(\w*(?:in_flight|running|active)\w*)(?:\{[^}]*\})? ([\d.e+-]+)$/gm)].filter((m) => Number(m[2]) !== 0);
  assert.deepEqual(flight.map((m) => m[0]), [], 'gauges of what runs');
}));

test('200 connections that end at random points do no harm', withDrover({}, async (drover) => {
  Object.assign(fake.options, { delayMs: 5 });
  const r = random(11), text = request({ stream: true });
  await Promise.all(Array.from({ length: 200 }, async (_, i) => {
    await sleep(i * 3);
    const socket = net.connect(drover.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.resume();
    const cut = r.below(text.length * 2), wait = r.below(50), how = r.below(3);
    if (cut > 0) socket.write(text.slice(0, cut));
    await sleep(wait);
    if (how === 0) socket.destroy();
    else if (how === 1) socket.resetAndDestroy();
    else { socket.end(); await sleep(50); socket.destroy(); }
  }));
  await until('all of them to be gone', () => fake.inferences.every((q) => q.closedAt || q.done));
  assert.equal((await drover.post(CHAT, ask())).status, 200);
}));

// --- runtimes -------------------------------------------------------------------------------------------------------

test('a runtime that is killed in mid-stream: its stream ends with an error, and it is taken again when it is back', async () => {
  const port = await freePort(), index = new URL('./fakes/index.js', import.meta.url).href;
  const code = `import { startFake } from ${JSON.stringify(index)}; await startFake('openai', { port: ${port}, models: ['mortal'], delayMs: 100, reply: Array(100).fill('x ') });`;
  const runtime = () => spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: 'ignore', cwd: fileURLToPath(new URL('.', import.meta.url)) });
  let child = runtime();
  const gone = () => new Promise((go) => child.once('close', go));
  const drover = await startDrover({ env, endpoints: [{ name: 'mortal', url: `http://127.0.0.1:${port}`, kind: 'openai' }], models: ['mortal'] });
  try {
    const stream = await drover.post(CHAT, { model: 'mortal', messages: [], stream: true });
    const whole = talk(drover.port, request({ model: 'mortal', stream: true }), { ms: 15000 });
    const reading = allSse(stream);
    await sleep(600);
    const end = gone();
    child.kill('SIGKILL');
    await end;
    const events = await reading;
    assert.ok(events.some((e) => e.data && e.data !== '[DONE]' && JSON.parse(e.data).error?.message), JSON.stringify(events.slice(-3)));
    assert.ok(!events.some((e) => e.data && e.data !== '[DONE]' && JSON.parse(e.data).choices?.[0]?.finish_reason));
    assert.ok((await whole).bytes.includes('"error"'));
    const failed = await drover.post(CHAT, { model: 'mortal', messages: [] });
    assert.ok([404, 502, 503].includes(failed.status), String(failed.status));
    assert.equal(typeof (await failed.json()).error.message, 'string');
    child = runtime();
    await until('it to be taken again', async () => {
      const response = await drover.post(CHAT, { model: 'mortal', messages: [] });
      await response.text();
      return response.status === 200;
    }, 60000, 200);
  } finally {
    child.kill('SIGKILL');
    await drover.stop();
  }
});
