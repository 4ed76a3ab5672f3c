// A machine that joins a hub, without Drover on it: a key, a request for a certificate, and the calls that a node makes.
import { execFileSync } from 'node:child_process';
import { createHash, createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import path from 'node:path';

let keys = 0;

/** A machine's key, its request for a certificate, and the fingerprint that people compare. dir: where the key lies. */
export function machine(dir) {
  const file = path.join(dir, `machine-${++keys}.key`);
  execFileSync('openssl', ['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', file], { stdio: 'pipe' });
  const csr = execFileSync('openssl', ['req', '-new', '-key', file, '-subj', '/CN=node'], { encoding: 'utf8', stdio: 'pipe' });
  const key = readFileSync(file, 'utf8');
  return { key, csr, fingerprint: createHash('sha256').update(createPublicKey(key).export({ type: 'spki', format: 'der' })).digest('hex') };
}

/** The token in the line of an invitation: behind the length and the pin. */
export const tokenOf = (line) => `drjt_${Buffer.from(line.split('/').pop(), 'base64url').subarray(34, 66).toString('hex')}`;

/** Where the nodes of a hub call: its first address with TLS. */
export const linkOf = async (hub) => (await hub.cliJson('status')).listen.find((a) => a.startsWith('https:'));

/** A request to a hub's listener for nodes: {status, headers, json, text}. */
export function call(link, method, route, body, { headers = {}, ...tls } = {}) {
  return new Promise((go, fail) => {
    const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
    const request = https.request(link + route, { method, rejectUnauthorized: false, agent: false, timeout: 15000, ...tls,
      headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...headers } }, (response) => {
      let got = '';
      response.on('data', (d) => { got += d; }).on('error', fail).on('end', () => {
        let json;
        try { json = JSON.parse(got); } catch { json = undefined; }
        go({ status: response.statusCode, headers: response.headers, json, text: got });
      });
    });
    request.on('error', fail).on('timeout', () => request.destroy(new Error('no answer')));
    request.end(text);
  });
}

/** Asks to be a node. */
export const enrol = (link, m, more = {}, options) =>
  call(link, 'POST', '/drover/v1/enrol', { v: 1, csr: m.csr, name: 'attic', version: '0.1.0', hostname: 'attic.lan', os: 'linux', arch: 'x86_64', mode: 'reverse', ...more }, options);
