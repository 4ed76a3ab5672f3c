// What scanners make of the TLS listeners: sslscan, testssl.sh and openssl s_client look at the one for clients and the one for nodes.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { command, freePort, startDrover } from './lib/drover.js';

const dir = mkdtempSync(path.join(tmpdir(), 'drover-scan-'));
const [cert, key] = ['cert.pem', 'key.pem'].map((f) => path.join(dir, f));
let hub;
const ports = {};

before(async () => {
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=localhost',
    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', cert], { stdio: 'pipe' });
  for (const name of ['clients', 'nodes']) ports[name] = await freePort();
  hub = await startDrover({ config: { hub: { name: 'home' } }, listen: [{ address: `127.0.0.1:${ports.clients}`, tls: { cert, key } },
    { address: `127.0.0.1:${ports.nodes}`, tls: 'ca', client_cert: 'required', roles: ['link'] }] });
});
after(async () => {
  await hub?.stop();
  rmSync(dir, { recursive: true, force: true });
});

const versions = { clients: ['1.2', '1.3'], nodes: ['1.3'] };
for (const name of ['clients', 'nodes'])
  test(`sslscan: ${name}`, async () => {
    const { stdout } = await command('sslscan', ['--no-colour', '--xml=-', `127.0.0.1:${ports[name]}`], { ms: 60000 });
    const all = (tag) => [...stdout.matchAll(new RegExp(`<${tag} ([^>]*)/?>`, 'g'))].map(([, text]) => Object.fromEntries([...text.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, k, v]) => [k, v])));
    assert.deepEqual(all('protocol').filter((p) => p.enabled === '1').map((p) => p.version), versions[name]);
    const ciphers = all('cipher');
    assert.ok(ciphers.length >= 3, stdout);
    for (const c of ciphers) assert.match(c.cipher, /GCM|CHACHA20/, 'authenticated encryption only');
    for (const c of ciphers.filter((one) => one.sslversion !== 'TLSv1.3')) assert.match(c.cipher, /^ECDHE/, 'forward secret');
    assert.deepEqual(all('heartbleed').filter((h) => h.vulnerable !== '0'), []);
    assert.deepEqual(all('renegotiation').map((r) => r.supported), ['0']);
  });

test('testssl.sh finds nothing in the protocols, and no known weakness', { timeout: 240000 }, async () => {
  const found = await Promise.all(Object.entries(ports).map(async ([name, port]) => {
    const file = path.join(dir, `${name}.json`);
    const { stdout } = await command('testssl', ['--quiet', '--color', '0', '--warnings', 'off', '-p', '-U', '--jsonfile', file, `127.0.0.1:${port}`], { ms: 200000 });
    return [name, JSON.parse(readFileSync(file, 'utf8')), stdout];
  }));
  for (const [name, all, text] of found) {
    const told = (id) => all.find((f) => f.id === id)?.finding;
    assert.match(told('TLS1_3') ?? '', /^offered/, text);
    assert.match(told('TLS1_2') ?? '', name === 'nodes' ? /not offered/ : /^offered/);
    for (const id of ['SSLv2', 'SSLv3', 'TLS1', 'TLS1_1']) assert.match(told(id) ?? '', /^not offered/, id);
    assert.ok(all.length > 15, text);
    /* optimal_proto: whether its openssl ends before the alert comes that says a certificate is wanted */
    assert.deepEqual(all.filter((f) => !['OK', 'INFO', 'DEBUG'].includes(f.severity) && f.id !== 'optimal_proto'), []);
  }
});

test('openssl s_client: the chain of the link listener is the fleet\'s, and nobody without a certificate gets in', async () => {
  const root = path.join(dir, 'root.pem');
  const shake = async (...more) => command('openssl', ['s_client', '-connect', `127.0.0.1:${ports.nodes}`, '-ign_eof', ...more], { ms: 10000 });
  const shown = await shake('-showcerts');
  const chain = `${shown.stdout}`.match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g);
  assert.equal(chain.length, 2);
  writeFileSync(root, chain[1]);
  const checked = await shake('-CAfile', root, '-verify_return_error', '-verify_hostname', 'hub.home.drover.internal');
  assert.match(checked.stdout, /Verify return code: 0 \(ok\)/);
  assert.match(checked.stdout, /Acceptable client certificate CA names|No client certificate CA names sent/);
  assert.doesNotMatch(checked.stdout, /HTTP\/1\.1 200/, 'without a certificate there is no answer');
  assert.match(checked.stderr + checked.stdout, /certificate required/i);
  const old = await shake('-tls1_2');
  assert.notEqual(old.code, 0);
});
