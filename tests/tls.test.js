// TLS on both sides: Drover as the server, and a runtime behind https. Keys and certificates are made here and now.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import https from 'node:https';
import tls from 'node:tls';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DROVER, freePort, startDrover, until } from './lib/drover.js';

const dir = mkdtempSync(path.join(tmpdir(), 'drover-tls-'));
const [cert, key] = ['cert.pem', 'key.pem'].map((f) => path.join(dir, f));
let drover, runtime, port, upstream;
const seen = [];

before(async () => {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=localhost',
    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', cert], { stdio: 'pipe' });
  runtime = https.createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (request, response) => {
    let body = '';
    request.on('data', (d) => { body += d; });
    request.on('end', () => {
      if (request.url === '/v1/models') return response.end(JSON.stringify({ object: 'list', data: [{ id: 'safe', object: 'model', created: 1, owned_by: 'somebody' }] }));
      if (request.url !== '/v1/chat/completions') return response.writeHead(404).end('{}');
      seen.push(body);
      if (!JSON.parse(body).stream) return response.end(JSON.stringify({ id: 'x', object: 'chat.completion', choices: [{ index: 0, message: { role: 'assistant', content: 'hello' }, finish_reason: 'stop' }] }));
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      let n = 0;
      const timer = setInterval(() => {
        if (n++ < 5) return response.write(`data: {"choices":[{"index":0,"delta":{"content":"${n}"},"finish_reason":null}]}\n\n`);
        response.end('data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n');
        clearInterval(timer);
      }, 20);
    });
  });
  await new Promise((go) => runtime.listen(0, '127.0.0.1', go));
  upstream = `https://127.0.0.1:${runtime.address().port}`;
  port = await freePort();
  drover = await startDrover({ models: ['safe'], listen: [{ address: `127.0.0.1:${port}`, tls: { cert, key } }],
    endpoints: [{ name: 'safe', url: upstream, tls: { ca: cert } }, { name: 'stranger', url: upstream }] });
});
after(async () => {
  await drover?.stop();
  runtime?.close();
  runtime?.closeAllConnections();
  rmSync(dir, { recursive: true, force: true });
});

const ask = (body) => new Promise((go, fail) => {
  const request = https.request({ port, host: '127.0.0.1', method: 'POST', path: '/v1/chat/completions', ca: readFileSync(cert), servername: 'localhost',
    headers: { 'content-type': 'application/json' } }, (response) => {
    let text = '';
    response.on('data', (d) => { text += d; });
    response.on('end', () => go({ status: response.statusCode, text }));
    response.on('error', fail);
  });
  request.on('error', fail);
  request.end(JSON.stringify(body));
});

test('a chat crosses TLS on both sides, whole and streamed, small and large', async () => {
  assert.match((await ask({ model: 'safe', messages: [] })).text, /hello/);
  const large = 'x'.repeat(700_000);
  assert.equal((await ask({ model: 'safe', messages: [{ role: 'user', content: large }] })).status, 200);
  assert.ok(seen.at(-1).includes(large));
  const { text } = await ask({ model: 'safe', messages: [], stream: true });
  assert.equal(text.match(/"content"/g).length, 5);
  assert.match(text, /\[DONE\]/);
});

test('a runtime whose certificate nobody vouches for is down, and says why', async () => {
  await until('the stranger to be down', async () => (await drover.cliJson('endpoints')).endpoints.find((e) => e.name === 'stranger')?.state === 'down');
  const e = (await drover.cliJson('endpoints')).endpoints.find((x) => x.name === 'stranger');
  assert.match(e.reason, /certificate/);
});

test('a client that speaks no TLS gets nothing, and TLS 1.1 is refused', async () => {
  await assert.rejects(fetch(`http://127.0.0.1:${port}/healthz`, { signal: AbortSignal.timeout(5000) }));
  await assert.rejects(new Promise((go, fail) => {
    const socket = tls.connect({ port, host: '127.0.0.1', maxVersion: 'TLSv1.1', minVersion: 'TLSv1', rejectUnauthorized: false, ciphers: 'ALL@SECLEVEL=0' }, go);
    socket.on('error', fail);
  }));
});

test('an address that other machines reach wants TLS and a key, and answers to its addresses and listed names', async () => {
  const open = await freePort(), listen = [{ address: `0.0.0.0:${open}`, auth: 'key', names: ['gpu.example.net'], tls: { cert, key } }];
  const inCharge = (dir) => execFileSync(DROVER, ['user', 'add', 'boss', '--role', 'admin', '--passphrase-file', '-', '--config', path.join(dir, 'drover.yaml')],
    { input: 'a passphrase of some words\n', stdio: 'pipe' });
  await assert.rejects(startDrover({ listen, ms: 4000 }), /nobody is in charge yet.*drover user add NAME --role admin/);
  const mine = await startDrover({ listen, prepare: inCharge });
  try {
    const made = await mine.cli('key', 'add', 'far');
    const get = (host, headers) => new Promise((go, fail) => https.get({ host: '127.0.0.1', port: open, path: '/v1/models', rejectUnauthorized: false,
      agent: false, headers: { host, ...headers } }, (response) => { response.resume(); go(response.statusCode); }).on('error', fail));
    const mayCome = { authorization: `Bearer ${made.stdout.trim()}` };
    for (const host of ['gpu.example.net', `192.0.2.7:${open}`, `[2001:db8::7]:${open}`, 'localhost']) {
      assert.equal(await get(host, mayCome), 200, host);
      assert.equal(await get(host), 401, host);
    }
    const signedIn = await new Promise((go, fail) => https.request({ host: '127.0.0.1', port: open, path: '/drover/v1/session', method: 'POST', rejectUnauthorized: false, agent: false,
      headers: { host: 'gpu.example.net', 'content-type': 'application/json', 'drover-console': '1' } }, (r) => go(r.resume())).on('error', fail)
      .end(JSON.stringify({ name: 'boss', passphrase: 'a passphrase of some words' })));
    assert.equal(signedIn.statusCode, 201);
    assert.match(signedIn.headers['set-cookie'][0], /^__Host-drover=\w{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=28800; Secure$/);
    assert.match(signedIn.headers['strict-transport-security'], /max-age/);
    for (const host of ['evil.example', '192.0.2', '192.0.2.7.evil.example']) assert.equal(await get(host, mayCome), 421, host);
    for (const listen of [{ address: `0.0.0.0:${open}` }, { address: `0.0.0.0:${open}`, auth: 'key' }, { address: `0.0.0.0:${open}`, tls: { cert, key } }]) {
      mine.configure({ listen: [listen] });
      assert.match((await mine.cli('config', 'check')).stderr, /that needs auth: key and tls/);
    }
  } finally {
    await mine.stop();
  }
});
