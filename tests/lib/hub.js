// A hub as a node sees it: enrolment, renewal and links over TLS, with everything it hears written down and every answer open to be changed.
import { createHash, randomBytes } from 'node:crypto';
import https from 'node:https';
import { WebSocketServer } from 'ws';
import { Link, SUBPROTOCOL } from './link.js';
import { authority, certKey, csrKey, fingerprint, invite, newKey, pin } from './pki.js';

const token = (kind) => `${kind}_${randomBytes(32).toString('hex')}`;
const body = (request) => new Promise((go) => {
  let text = '';
  request.on('data', (d) => { text += d; });
  request.on('end', () => go(JSON.parse(text)));
});

/**
 *   fleet, hubId      names
 *   port              0: any
 *   ca, dns           another authority; more names of the hub's certificate
 *   leafS             seconds a node's certificate is good for
 *   welcome           more members of it
 *   enrol(request, n) what to do with the n-th enrolment: {status, json, headers}, 'lose' to cut the connection after deciding, or nothing for yes
 *   upgrade(request)  a status to refuse a link with, {status, headers}, or nothing
 *   registered(m)     the payload of registered; default: accepted
 *   bearersKept       how many of a node's tokens are good; default: 2
 *   roots             what a renewal's answer says of roots: {trust, trust_sequence, bundle}
 */
export async function startHub(options = {}) {
  const hub = {
    fleet: 'home', hubId: 'hub', leafS: 7 * 86400, leafFromS: -300, welcome: {}, ...options,
    enrolments: [], renewals: [], links: [], lanes: [], upgrades: [], epoch: 40, connections: 0,
  };
  hub.ca = options.ca ?? authority(hub.fleet);
  const key = newKey();
  hub.chain = hub.ca.issue({ spki: key.spki, uri: `drover://${hub.fleet}/hub/${hub.hubId}`, dns: [`${hub.hubId}.${hub.fleet}.drover.internal`, ...(hub.dns ?? [])] });
  hub.joinToken = token('drjt');
  hub.bearers = new Map(); // node id -> tokens that are good
  const nodes = new Map(); // key -> answer, so that asking again gives the same node

  function issue(nodeId, spki) {
    const bearer = token('drst');
    hub.bearers.set(nodeId, [bearer, ...(hub.bearers.get(nodeId) ?? [])].slice(0, hub.bearersKept ?? 2));
    return { chain: hub.ca.issue({ spki, uri: `drover://${hub.fleet}/node/${nodeId}`, fromS: hub.leafFromS, toS: hub.leafS, usage: ['client'] }), trust: hub.ca.pem,
      trust_sequence: 1, token: bearer };
  }

  async function enrol(request, response) {
    const asked = await body(request);
    const spki = csrKey(asked.csr), id = fingerprint(spki);
    hub.enrolments.push({ ...asked, fingerprint: id, headers: request.headers });
    const say = (status, json, headers = {}) => response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(json));
    const verdict = hub.enrol?.(asked, hub.enrolments.length);
    if (verdict === 'wait') return say(202, { state: 'waiting', fingerprint: id, retry_s: 1 });
    if (verdict?.status) return say(verdict.status, verdict.json ?? { error: { code: 'x', message: 'no' } }, verdict.headers);
    if (!nodes.has(id)) {
      const nodeId = `${asked.name}-${createHash('sha256').update(id).digest('hex').slice(0, 6)}`;
      nodes.set(id, { state: 'approved', fleet: hub.fleet, hub_id: hub.hubId, node_id: nodeId, name: asked.name, ...issue(nodeId, spki), urls: [hub.url], renew_grace_s: 2592000 });
    }
    if (verdict === 'lose') return request.socket.destroy();
    return say(200, { ...nodes.get(id), ...verdict });
  }

  const bearerIsGood = (request) => hub.bearers.get(request.headers['drover-node'])?.includes((request.headers.authorization ?? '').slice(7)) ?? false;

  async function renew(request, response) {
    const asked = await body(request);
    const cert = request.socket.getPeerCertificate?.();
    hub.renewals.push({ at: Date.now(), node: request.headers['drover-node'], cert: cert?.raw && fingerprint(certKey(cert.raw)), authorized: request.socket.authorized });
    if (!bearerIsGood(request)) return response.writeHead(401).end('{}');
    if (hub.refuseRenewal) return response.writeHead(503).end('{}');
    return response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ ...issue(request.headers['drover-node'], csrKey(asked.csr)), ...hub.roots }));
  }

  const server = https.createServer({ key: key.pem, cert: hub.chain, ca: hub.ca.pem, requestCert: true, rejectUnauthorized: false, minVersion: 'TLSv1.3' }, (request, response) => {
    if (request.method === 'POST' && request.url === '/drover/v1/enrol') return enrol(request, response);
    if (request.method === 'POST' && request.url === '/drover/v1/enrol/renew') return renew(request, response);
    return response.writeHead(404).end('{}');
  });
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => (offered.has(SUBPROTOCOL) ? SUBPROTOCOL : false) });

  server.on('secureConnection', () => { hub.connections++; });
  server.on('tlsClientError', () => {});
  server.on('upgrade', (request, socket, head) => {
    const cert = socket.getPeerCertificate();
    const seen = { at: Date.now(), headers: request.headers, url: request.url, authorized: socket.authorized, uri: cert?.subjectaltname, serial: cert?.serialNumber };
    hub.upgrades.push(seen);
    socket.on('error', () => {});
    const verdict = hub.upgrade?.(request) ?? (!bearerIsGood(request) || request.url !== '/link/v1' ? 401 : undefined);
    if (verdict) {
      const { status, headers = {} } = typeof verdict === 'number' ? { status: verdict } : verdict;
      socket.end(`HTTP/1.1 ${status} No\r\n${Object.entries(headers).map(([k, v]) => `${k}: ${v}\r\n`).join('')}Content-Length: 2\r\nConnection: close\r\n\r\n{}`);
      return;
    }
    sockets.handleUpgrade(request, socket, head, (ws) => accept(ws, seen));
  });

  function accept(ws, seen) {
    const site = seen.headers['drover-node'];
    if (seen.headers['drover-lane']) {
      hub.lanes.push(new Link(ws, { site }));
      return;
    }
    const link = new Link(ws, { site, onControl: greet });
    Object.assign(link, { upgrade: seen, at: Date.now() });
    hub.links.push(link);
  }

  function greet(m, link) {
    if (hub.silent) return;
    if (m.kind === 'hello') {
      link.hello = m.payload;
      link.say('welcome', { epoch: ++hub.epoch, link_id: `l${hub.epoch}`, hub_id: hub.hubId, fleet_id: hub.fleet, features: ['lanes', 'echo'], heartbeat_ms: 1000, metrics_ms: 1000,
        clock: new Date().toISOString(), ...hub.welcome }, { re: m.msg_id });
    } else if (m.kind === 'register_agent') {
      link.register = m.payload;
      const payload = hub.registered?.(m.payload) ?? { accepted: true, name: m.payload.name };
      link.say('registered', payload, { re: m.msg_id });
      if (!payload.accepted) link.ws.close(4005, 'registration refused');
    }
  }

  await new Promise((go) => server.listen(options.port ?? 0, '127.0.0.1', go));
  hub.port = server.address().port;
  hub.url = `https://127.0.0.1:${hub.port}`;
  hub.line = (more = {}) => invite({ pin: pin(hub.ca.spki), token: hub.joinToken, fleet: hub.fleet, urls: [hub.url], ...more });
  hub.leafPin = pin(key.spki);
  hub.keyFile = key;
  /** The n-th link, once it has told its first heartbeat. */
  hub.linked = async (n = 1, ms = 20000) => {
    const end = Date.now() + ms;
    while (hub.links.length < n) {
      if (Date.now() > end) throw new Error(`no link number ${n} within ${ms} ms; upgrades: ${hub.upgrades.length}, enrolments: ${hub.enrolments.length}`);
      await new Promise((go) => setTimeout(go, 20));
    }
    const link = hub.links[n - 1];
    await link.waitFor('heartbeat', { ms });
    return link;
  };
  hub.stop = async () => {
    for (const link of [...hub.links, ...hub.lanes]) link.ws.terminate();
    server.closeAllConnections();
    await new Promise((go) => server.close(go));
  };
  return hub;
}
