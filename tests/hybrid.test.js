// Post-quantum key exchange (X25519MLKEM768) with an OpenSSL that has it, also where this system's has not: the library of Debian sid that
// the real llama-server came with, through that tree's own loader. The other side is Node, with a library of its own.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import https from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { home, serve } from './lib/daemon.js';
import { command, DROVER, freePort, ROOT, until } from './lib/drover.js';

const GROUP = 'X25519MLKEM768';
const dir = mkdtempSync(path.join(tmpdir(), 'drover-hybrid-'));
const [cert, key] = ['cert.pem', 'key.pem'].map((f) => path.join(dir, f));
const arch = { x64: ['x86_64-linux-gnu', 'ld-linux-x86-64.so.2'], arm64: ['aarch64-linux-gnu', 'ld-linux-aarch64.so.1'] }[process.arch];
const lib = path.join(ROOT, 'build/sid/usr/lib', arch[0]), loader = path.join(lib, arch[1]);
const newer = existsSync(loader) ? [loader, '--library-path', lib] : []; // without that tree: this system's own must have it
const places = [], daemons = [];

const started = async (config, within = newer) => {
  const place = home(await freePort(), config), daemon = serve(place, { within });
  places.push(place);
  daemons.push(daemon);
  await until('the daemon', async () => {
    if (daemon.result) throw new Error(daemon.log);
    return (await command(DROVER, ['status', '--config', place.file])).code === 0;
  });
  return { place, daemon };
};
const cli = async (place, ...words) => {
  const { code, stdout, stderr } = await command(DROVER, [...words, '--config', place.file]);
  assert.equal(code, 0, stderr);
  return stdout;
};
/** What becomes of a handshake with these groups alone: 'TLSv1.3', or the error's code. */
const shake = (port, groups) => new Promise((go) => {
  const socket = tls.connect({ host: '127.0.0.1', port, ecdhCurve: groups, rejectUnauthorized: false });
  socket.on('secureConnect', () => { go(socket.getProtocol()); socket.destroy(); });
  socket.on('error', (e) => go(e.code));
});

before(() => {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=localhost',
    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', cert], { stdio: 'pipe' });
});
after(async () => {
  for (const daemon of daemons) daemon.kill('SIGKILL');
  await Promise.all(daemons.map((d) => d.ended));
  for (const place of places) place.remove();
  rmSync(dir, { recursive: true, force: true });
});

test('a listener takes the hybrid group from clients, and others from those who have none', async () => {
  const port = await freePort();
  await started({ listen: [{ address: `127.0.0.1:${port}`, tls: { cert, key } }] });
  for (const groups of [GROUP, 'X25519', 'P-256', `X25519:${GROUP}`]) assert.equal(await shake(port, groups), 'TLSv1.3', groups);
});

test('a runtime that takes nothing else is reached', async () => {
  const runtime = https.createServer({ cert: readFileSync(cert), key: readFileSync(key), ecdhCurve: GROUP, minVersion: 'TLSv1.3' },
    (request, response) => response.end(JSON.stringify({ object: 'list', data: [{ id: 'safe', object: 'model', created: 1, owned_by: 'somebody' }] })));
  await new Promise((go) => runtime.listen(0, '127.0.0.1', go));
  try {
    const { place } = await started({ endpoints: [{ name: 'safe', url: `https://127.0.0.1:${runtime.address().port}`, kind: 'openai', tls: { ca: cert } }] });
    await until('it', async () => JSON.parse(await cli(place, 'endpoints', '--json')).endpoints[0].state === 'up');
  } finally {
    runtime.close();
    runtime.closeAllConnections();
  }
});

test('a link with pq: required is hybrid, and takes nobody without', async () => {
  const port = await freePort();
  const hub = await started({ pq: 'required', hub: { name: 'home' }, listen: [{ address: `127.0.0.1:${await freePort()}` }, { address: `127.0.0.1:${port}`, tls: 'ca', client_cert: 'optional', roles: ['link'] }] });
  const node = await started({ pq: 'required' });
  const line = /'(.*)'/.exec(await cli(hub.place, 'hub', 'invite', '--name', 'attic'))[1];
  await cli(node.place, 'join', line);
  const one = async () => JSON.parse(await cli(hub.place, 'node', 'show', 'attic', '--json'));
  await until('its link', async () => (await one()).linked);
  assert.equal((await one()).link.post_quantum, true);
  assert.equal(await shake(port, GROUP), 'TLSv1.3');
  for (const groups of ['X25519', 'P-256', 'X25519:P-256']) assert.match(await shake(port, groups), /^ERR_SSL|ECONNRESET/, groups);
});

test('pq: required is refused at the start where the library cannot, with the cure', async (t) => {
  const { daemon } = await (async () => {
    const place = home(await freePort(), { pq: 'required', hub: { name: 'home' }, listen: [{ address: `127.0.0.1:${await freePort()}`, tls: 'ca', client_cert: 'optional', roles: ['link'] }] });
    places.push(place);
    return { daemon: serve(place) };
  })();
  daemons.push(daemon);
  const started = await until('a word', () => daemon.result ?? (/listening/.test(daemon.log) ? 'started' : undefined));
  if (started === 'started') return t.diagnostic('this system\'s OpenSSL has the hybrid group');
  assert.equal(started.code, 1, daemon.log);
  assert.match(daemon.log, /pq: required/);
  assert.match(daemon.log, /X25519MLKEM768/);
});
