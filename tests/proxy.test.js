// The console of a node through its hub: /node/ID/~TICKET/... A real node behind the path, and two of our own that do what they like.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import WebSocket from 'ws';
import { PASS, addPeople, person } from './lib/browser.js';
import { home, serve } from './lib/daemon.js';
import { freePort, startDrover, until } from './lib/drover.js';
import { startFake } from './fakes/index.js';
import { allSse, chatText } from './lib/http.js';
import { Member, admin, enrol } from './lib/peers.js';
import { talk } from './lib/wire.js';

let hub, port, linkPort, fake, node, id, mean, other, sam, olga, vera;
const people = { sam: 'admin', olga: 'operator', vera: 'viewer', otto: 'viewer' };

/** What the nodes of our own were asked: {member, method, url, headers, body}. */
const asked = [];
const handlers = new Map(); // path -> (request, response)
const handler = (name) => (request, response) => {
  let body = '';
  request.on('data', (d) => { body += d; });
  request.on('end', () => {
    asked.push({ member: name, method: request.method, url: request.url, headers: request.headers, body });
    const special = handlers.get(request.url.split('?')[0]);
    if (special) special(request, response);
    else response.end(`${name} ${request.method} ${request.url}`);
  });
};
async function member(name, console = 'view') {
  const who = await enrol(hub.dir, linkPort, name);
  const m = await Member.join(linkPort, who, { on: handler(name), instance: `i-${name}` });
  await m.register({ allow: { inference: true, console } });
  return m;
}

before(async () => {
  linkPort = await freePort();
  hub = await startDrover({ config: { hub: { name: 'home' }, workers: 2 }, listen: [{ address: `127.0.0.1:${linkPort}`, tls: 'ca', client_cert: 'optional', roles: ['link'] }],
    prepare: (dir) => addPeople(dir, people) });
  port = Number(new URL(hub.url).port);
  const { line } = (await admin(hub.dir, 'POST', 'invites', { name: 'attic' })).body;
  fake = await startFake('openai', { models: ['coder'] });
  fake.name = 'box';
  node = await startDrover({ endpoints: [fake], models: ['coder'], config: { name: 'attic', workers: 2, join: { token: line, allow: { console: 'full' } } }, prepare: (dir) => chmodSync(path.join(dir, 'drover.yaml'), 0o600) });
  [mean, other] = await Promise.all([member('mean'), member('other')]);
  [sam, olga, vera] = await Promise.all(['sam', 'olga', 'vera'].map((name) => person(hub, name)));
  await until('the node to be linked', async () => {
    const n = (await sam.ask('GET', 'nodes/attic')).json;
    id = n.id;
    return n.linked && n.registration?.allow.console === 'full';
  });
});
after(async () => {
  await mean?.leave();
  await other?.leave();
  await node?.stop();
  await fake?.close();
  await hub?.stop();
});

/** Opens a node: its path without "console/". */
async function visit(who, name) {
  const { status, json } = await who.ask('POST', `nodes/${name}/visit`, {});
  assert.equal(status, 201, JSON.stringify(json));
  assert.match(json.path, /^\/node\/[\w.-]+\/~[\w-]{43}\/console\/$/);
  return json.path.slice(0, -'console/'.length);
}
const at = (where, options = {}) => fetch(hub.url + where, { redirect: 'manual', signal: AbortSignal.timeout(20000), ...options });
const bytes = (line, ...fields) => [line, `Host: 127.0.0.1:${port}`, 'Connection: close', ...fields, '', ''].join('\r\n');
/** One request in bytes: {status, headers, body}. */
async function raw(line, ...fields) {
  const { list } = await talk(port, bytes(line, ...fields), { ms: 10000 });
  assert.ok(list.length, line);
  return { ...list[0], text: list[0].body.toString() };
}

test('the console of a node, its files and its API, through the hub', async () => {
  const base = await visit(vera, 'attic');
  const page = await at(`${base}console/`, { headers: { accept: 'text/html' } });
  assert.equal(page.status, 200);
  const html = await page.text();
  const file = /src="([^"]+\.js)"/.exec(html)[1];
  assert.ok(!/(?:href|src)="\//.test(html), 'no file of it is looked for at the hub');
  const script = await at(new URL(file, `http://x${base}console/`).pathname);
  assert.equal(script.status, 200);
  assert.match(script.headers.get('content-type'), /javascript/);
  const status = await (await at(`${base}drover/v1/status`)).json();
  assert.equal(status.name, 'attic');
  const session = await (await at(`${base}drover/v1/session`, { headers: { origin: 'null' } })).json();
  assert.deepEqual([session.user, session.role, session.visit], ['hub:vera', 'viewer', true]);
  const root = await at(base, { headers: { accept: 'text/html' } });
  assert.deepEqual([root.status, root.headers.get('location')], [307, `${base}console/`], 'links are below the path');
});

test('every answer has the policy of a page without an origin', async () => {
  const base = await visit(vera, 'mean');
  handlers.set('/bad', (request, response) => response.writeHead(200, { 'content-type': 'text/html', 'set-cookie': ['drover-session=evil; Path=/', 'b=c'], 'content-security-policy': 'default-src *',
    'access-control-allow-origin': '*', 'access-control-allow-credentials': 'true', 'clear-site-data': '"*"', 'service-worker-allowed': '/', 'strict-transport-security': 'max-age=0',
    refresh: '0; url=/console/', 'cache-control': 'public, max-age=31536000', 'referrer-policy': 'unsafe-url', link: '</drover/v1/status>; rel=preload', 'www-authenticate': 'Basic' }).end('<p>hi'));
  for (const route of ['bad', 'plain', 'nothing/here']) {
    const r = await at(base + route);
    assert.equal(r.status, 200);
    const csp = r.headers.get('content-security-policy');
    assert.match(csp, /^sandbox allow-scripts allow-forms allow-modals allow-downloads; default-src 'none'; /);
    assert.ok(csp.includes(`connect-src ${hub.url}${base} ws://127.0.0.1:${port}${base};`), csp);
    assert.equal(r.headers.get('access-control-allow-origin'), 'null');
    assert.equal(r.headers.get('cache-control'), 'no-store');
    assert.equal(r.headers.get('referrer-policy'), 'no-referrer');
    for (const name of ['set-cookie', 'clear-site-data', 'service-worker-allowed', 'strict-transport-security', 'refresh', 'access-control-allow-credentials', 'link', 'www-authenticate'])
      assert.equal(r.headers.get(name), null, name);
  }
});

test('what the hub\'s people send as credentials, and what the hub would believe, stays at the hub', async () => {
  const base = await visit(olga, 'mean');
  asked.length = 0;
  const r = await at(`${base}drover/v1/x?y=1&z=/../`, { method: 'POST', body: '{"a":1}', headers: { 'content-type': 'application/json', cookie: olga.cookie, authorization: 'Bearer secret', 'x-api-key': 'k',
    'proxy-authorization': 'Basic x', forwarded: 'for=192.0.2.1', 'x-forwarded-for': '192.0.2.1', 'x-forwarded-host': 'h', 'x-forwarded-proto': 'https', via: '1.1 x', 'x-real-ip': '192.0.2.1',
    'drover-visit': 'admin fresh', 'drover-principal': 'root', 'drover-hops': '0', 'drover-role': 'admin', 'drover-who': 'root', 'drover-link': '1', 'drover-console': '1',
    'drover-permission-key': 'of the node', origin: 'null', referer: `${hub.url}${base}`, 'x-anything': '1' } });
  assert.equal(await r.text(), 'mean POST /drover/v1/x?y=1&z=/../');
  const { headers, body } = asked[0];
  assert.equal(body, '{"a":1}');
  assert.deepEqual([headers.host, headers['drover-visit'], headers['drover-principal'], headers['drover-hops'], headers['drover-permission-key']], ['node', 'operator fresh', 'olga', '1', 'of the node']);
  const known = ['host', 'connection', 'content-type', 'content-length', 'transfer-encoding', 'accept', 'accept-encoding', 'accept-language', 'user-agent', 'drover-visit', 'drover-principal', 'drover-hops', 'drover-permission-key'];
  assert.deepEqual(Object.keys(headers).filter((h) => !known.includes(h)), []);
});

test('who may: signed in, a role, a node that shows its console', async () => {
  assert.equal((await fetch(`${hub.url}/drover/v1/nodes/attic/visit`, { method: 'POST', headers: { 'drover-console': '1' } })).status, 401);
  assert.equal((await fetch(`${hub.url}/drover/v1/nodes/attic/visit`, { method: 'POST', headers: { cookie: vera.cookie } })).status, 403, 'no other site can make it be opened');
  assert.equal((await vera.ask('POST', 'nodes/nobody/visit')).status, 404);
  const inside = await admin(hub.dir, 'POST', 'nodes/attic/visit');
  assert.deepEqual([inside.status, inside.body.error.code], [400, 'bad_request'], 'a visit ends with a session, and the socket has none');
  await other.register({ allow: { inference: true, console: 'off' } });
  assert.equal((await vera.ask('POST', 'nodes/other/visit')).status, 403);
  await other.register({ allow: { inference: true } });
  assert.equal((await vera.ask('POST', 'nodes/other/visit')).status, 403, 'an older node says nothing of it');
  await other.register({ allow: { inference: true, console: 'view' } });
  const base = await visit(vera, 'other');
  assert.equal((await at(`${base}x`)).status, 200);
  await other.register({ allow: { inference: true, console: 'off' } });
  assert.equal((await at(`${base}x`)).status, 403, 'what is open already, too');
  await other.register({ allow: { inference: true, console: 'view' } });
  const acts = (await sam.ask('GET', 'audit?limit=50')).json.acts.filter((a) => a.action === 'node.visit');
  assert.deepEqual([acts[0].actor, acts[0].object, acts[0].detail], ['vera', other.who.id, 'viewer']);
});

test('an admin acts on a node that permits it, and the node writes down who it was', async () => {
  const base = await visit(sam, 'attic'); // signed in a moment ago
  const made = await at(`${base}drover/v1/keys`, { method: 'POST', headers: { 'content-type': 'application/json', origin: 'null', 'drover-console': '1' }, body: JSON.stringify({ name: 'made-from-afar', models: ['*'] }) });
  assert.equal(made.status, 201, await made.text());
  const act = await until('the row', async () => (await node.cliJson('audit', 'list')).acts.find((a) => a.action === 'key.make'));
  assert.equal(act.actor, 'hub:sam');
  assert.equal((await at(`${await visit(olga, 'attic')}drover/v1/keys`)).status, 403, 'an operator is no admin there either');
  for (const route of ['session', 'setup', 'users', 'session/confirm'])
    assert.equal((await at(`${base}drover/v1/${route}`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' })).status, 403, route);
});

test('its models are tried from there, and a stream comes as it is told', async () => {
  const base = await visit(vera, 'attic');
  const r = await at(`${base}v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json', 'drover-console': '1', origin: 'null' },
    body: JSON.stringify({ model: 'coder', stream: true, messages: [{ role: 'user', content: 'hi' }] }) });
  assert.deepEqual([r.status, r.headers.get('content-type').split(';')[0]], [200, 'text/event-stream']);
  assert.ok(chatText(await allSse(r)).length > 0);
  await until('the row of the node\'s ledger', async () => (await admin(node.dir, 'GET', 'requests')).body.requests.find((x) => x.key === 'hub:vera'));
});

test('an admin gives the passphrase again before opening a node that permits changes, when it was long ago', async () => {
  const ports = [await freePort(), await freePort()];
  const place = home(ports[0], { hub: { name: 'home' }, listen: [{ address: `127.0.0.1:${ports[0]}`, auth: 'none' }, { address: `127.0.0.1:${ports[1]}`, tls: 'ca', client_cert: 'optional', roles: ['link'] }] });
  addPeople(place.dir, { sam: 'admin', vera: 'viewer' });
  let child = serve(place), far;
  const up = () => until('the hub', async () => (await fetch(`${place.url}/healthz`)).ok);
  const link = async (who) => {
    far = await Member.join(ports[1], who, { on: handler('far') });
    await far.register({ allow: { inference: true, console: 'full' } });
  };
  try {
    await up();
    const who = await enrol(place.dir, ports[1], 'far'), here = await person(place, 'sam'), viewer = await person(place, 'vera');
    await link(who);
    assert.equal((await here.ask('POST', 'nodes/far/visit')).status, 201, 'signed in a moment ago');
    child.kill('SIGTERM');
    assert.equal((await child.ended).code, 0, child.log);
    child = serve(place); // sessions outlive it; that a passphrase was given lately does not
    await up();
    await link(who);
    const asks = await here.ask('POST', 'nodes/far/visit');
    assert.deepEqual([asks.status, asks.json.error.code], [403, 'reauth_required']);
    assert.equal((await viewer.ask('POST', 'nodes/far/visit')).status, 201, 'who only looks is not asked');
    assert.equal((await here.ask('POST', 'session/confirm', { passphrase: PASS })).status, 200);
    assert.equal((await here.ask('POST', 'nodes/far/visit')).status, 201);
    await far.leave();
  } finally {
    child.kill('SIGTERM');
    await child.ended;
    place.remove();
  }
});

test('paths, targets and methods that are none', async () => {
  const base = await visit(vera, 'mean');
  asked.length = 0;
  const rows = [
    [`GET ${base}../other/x HTTP/1.1`, 400], [`GET ${base}./x HTTP/1.1`, 400], [`GET ${base}%2e%2e/x HTTP/1.1`, 400], [`GET ${base}%2E./x HTTP/1.1`, 400],
    [`GET ${base}a%2fb HTTP/1.1`, 400], [`GET ${base}a%2Fb HTTP/1.1`, 400], [`GET ${base}a%5cb HTTP/1.1`, 400], [`GET ${base}a\\b HTTP/1.1`, 400], [`GET ${base}/x HTTP/1.1`, 400],
    [`GET ${base}a//b HTTP/1.1`, 400], [`GET ${base}..;/x HTTP/1.1`, 400], [`GET ${base}a%00b HTTP/1.1`, 400], [`GET ${base}a%zzb HTTP/1.1`, 400],
    [`GET http://127.0.0.1:${port}${base}x HTTP/1.1`, 400], [`GET //127.0.0.1:${port}${base}x HTTP/1.1`, 400],
    ['GET /node/ HTTP/1.1', 404], ['GET /node HTTP/1.1', 404], [`GET /node/${mean.who.id}/console/ HTTP/1.1`, 404], [`GET /node/${mean.who.id}/~x/console/ HTTP/1.1`, 404],
    [`GET ${base.slice(0, -1)} HTTP/1.1`, 404], ['GET /node/a%2fb/ HTTP/1.1', 400], ['GET /node/a%61/ HTTP/1.1', 404],
    [`TRACE ${base}x HTTP/1.1`, 405], [`OPTIONS ${base}x HTTP/1.1`, 405], [`POST /node/${mean.who.id}/ HTTP/1.1`, 405],
    [`GET /node/${mean.who.id}/~${'A'.repeat(43)}/x HTTP/1.1`, 401],
    [`GET ${base.replace(mean.who.id, other.who.id)}x HTTP/1.1`, 401], // the ticket of another node
    [`GET ${base.replace(mean.who.id, 'mean')}x HTTP/1.1`, 401],
  ];
  for (const [line, status] of rows) assert.equal((await raw(line)).status, status, line);
  assert.deepEqual(asked, [], 'none of them has reached a node');
  assert.equal((await raw(`GET ${base}x HTTP/1.1`)).status, 200);
  assert.equal((await raw(`GET ${base}x HTTP/1.1`, `Host: evil.example`)).status, 400);
  const { list } = await talk(port, `GET ${base}x HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n`);
  assert.equal(list[0].status, 421, 'a name that was rebound');
});

test('other pages: another origin, and the hub\'s own, get nothing below a ticket, and the node\'s page nothing of the hub', async () => {
  const base = await visit(vera, 'mean');
  for (const origin of ['http://evil.example', hub.url, 'https://127.0.0.1', 'NULL', '']) assert.equal((await raw(`GET ${base}x HTTP/1.1`, `Origin: ${origin}`)).status, 403, origin);
  assert.equal((await raw(`GET ${base}x HTTP/1.1`, 'Origin: null', 'Origin: http://evil.example')).status, 403);
  const cookie = `Cookie: ${vera.cookie}`;
  for (const fields of [['Origin: null', cookie], ['Sec-Fetch-Site: cross-site', cookie], ['Origin: null', cookie, 'Drover-Console: 1']]) {
    assert.equal((await raw('GET /drover/v1/status HTTP/1.1', ...fields)).status, 403, fields.join());
    assert.equal((await raw('POST /drover/v1/endpoints/refresh HTTP/1.1', 'Content-Length: 0', ...fields)).status, 403, fields.join());
    assert.equal((await raw('GET /v1/models HTTP/1.1', ...fields)).status, 403, fields.join());
  }
  const before = await raw('OPTIONS /drover/v1/status HTTP/1.1', 'Origin: null', 'Access-Control-Request-Method: GET');
  assert.notEqual(before.status, 204);
  assert.equal(before.headers['access-control-allow-origin'], undefined);
  const asks = await raw(`OPTIONS ${base}x HTTP/1.1`, 'Origin: null', 'Access-Control-Request-Method: POST', 'Access-Control-Request-Headers: drover-console');
  assert.equal(asks.status, 204);
  assert.deepEqual([asks.headers['access-control-allow-origin'], asks.headers['access-control-allow-credentials']], [['null'], undefined]);
});

test('without a ticket there is only a page of the hub\'s, for whoever asks', async () => {
  for (const where of [`/node/${id}/`, `/node/${id}`, '/node/nobody/']) {
    const r = await raw(`GET ${where} HTTP/1.1`, `Cookie: ${sam.cookie}`, 'Accept: text/html', 'Sec-Fetch-Site: cross-site', 'Sec-Fetch-Mode: navigate');
    assert.equal(r.status, 200);
    assert.match(r.text, new RegExp(`href="/console/#/fleet\\?node=${where.split('/')[2]}"`));
    assert.match(r.headers['content-security-policy'][0], /^default-src 'none'/);
  }
  const ended = await raw(`GET /node/${id}/~${'A'.repeat(43)}/console/ HTTP/1.1`, 'Accept: text/html,*/*');
  assert.deepEqual([ended.status, /href="\/console\/#/.test(ended.text)], [200, true], 'a person whose visit has ended is led back');
});

test('a node cannot send a browser away, and says what it likes only in its own name', async () => {
  const base = await visit(vera, 'mean');
  for (const [location, to] of [['/console/', `${base}console/`], ['http://node/a?b#c', `${base}a?b#c`], ['http://evil.example/', null], ['//evil.example/', null], ['../../console/', null],
    ['/../console/', null], ['/a\\b', null], ['javascript:alert(1)', null]]) {
    handlers.set('/go', (request, response) => response.writeHead(302, { location }).end());
    const r = await at(`${base}go`);
    assert.deepEqual([r.status, r.headers.get('location')], to ? [302, to] : [502, null], location);
  }
});

test('a stream of events passes as it comes, and ends on both sides when one leaves', async () => {
  const base = await visit(vera, 'mean');
  let left = 0, source;
  handlers.set('/events', (request, response) => {
    source = response;
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: one\n\n');
    response.on('close', () => { left++; });
  });
  const stop = new AbortController();
  const r = await at(`${base}events`, { signal: stop.signal });
  const reader = r.body.getReader();
  assert.equal(Buffer.from((await reader.read()).value).toString(), 'data: one\n\n');
  source.write('data: two\n\n');
  assert.equal(Buffer.from((await reader.read()).value).toString(), 'data: two\n\n');
  stop.abort();
  await until('the node to hear that the page has left', () => left === 1);
  const again = (await at(`${base}events`)).body.getReader();
  await again.read();
  source.end();
  assert.equal((await again.read()).done, true);
});

test('a page that does not read holds back the node and not the hub\'s memory', async () => {
  const base = await visit(vera, 'mean');
  let sent = 0, go = true;
  handlers.set('/flood', (request, response) => {
    response.writeHead(200, { 'content-type': 'application/octet-stream' });
    const more = () => {
      for (let room = true; room && go && !response.destroyed && sent < 256 << 20; sent += 65536) room = response.write(Buffer.alloc(65536));
    };
    response.on('drain', more).on('close', () => { go = false; });
    more();
  });
  const stop = new AbortController();
  await at(`${base}flood`, { signal: stop.signal });
  let last = -1;
  await until('the node to stand still', async () => {
    const same = sent === last && sent > 0;
    last = sent;
    await sleep(300);
    return same;
  });
  assert.ok(sent < 24 << 20, `${sent} bytes went out to a page that reads nothing`);
  stop.abort();
  await until('the end of it', () => !go);
});

test('WebSockets: both ways, with the origin of a sandbox; ended with the session', async () => {
  const who = await person(hub, 'vera'), base = await visit(who, 'attic');
  const ws = new WebSocket(`ws://127.0.0.1:${port}${base}drover/v1/events`, { origin: 'null', perMessageDeflate: false });
  const messages = [];
  ws.on('message', (m) => messages.push(JSON.parse(m))).on('error', () => {});
  const closed = new Promise((end) => ws.on('close', () => end(performance.now())));
  await until('hello', () => messages[0]?.hello);
  assert.equal(messages[0].hello.role, 'viewer');
  ws.send(JSON.stringify({ subscribe: ['figures'] }));
  await until('figures', () => messages.some((m) => m.figures));
  await new Promise((go) => new WebSocket(`ws://127.0.0.1:${port}${base}drover/v1/events`, { origin: 'http://evil.example' }).on('error', go).on('open', () => assert.fail('opened')));
  const from = performance.now();
  assert.equal((await who.ask('DELETE', 'session')).status, 200);
  assert.ok(await closed - from < 1000, 'within a second');
  assert.equal((await at(`${base}drover/v1/status`)).status, 401);
});

test('a node that is put out takes its visits with it, and another\'s go on', async () => {
  const shed = await member('shed'), base = await visit(vera, 'shed'), steady = await visit(vera, 'other');
  const open = (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: x\n\n');
  };
  handlers.set('/long', (request, response) => open(response));
  const [one, two] = await Promise.all([base, steady].map(async (b) => (await at(`${b}long`, { signal: AbortSignal.timeout(15000) })).body.getReader()));
  await Promise.all([one.read(), two.read()]);
  const from = performance.now();
  assert.equal((await sam.ask('POST', 'nodes/shed/revoke')).status, 200);
  await assert.rejects(one.read());
  assert.ok(performance.now() - from < 1500);
  assert.equal((await at(`${base}x`)).status, 404);
  assert.equal((await at(`${base}x`)).status, 401, 'and the ticket is forgotten');
  assert.equal((await at(`${steady}x`)).status, 200);
  await two.cancel();
  assert.equal(shed.main.end?.code ?? (await shed.main.ended).code, 4003);
});

test('a node without a link is told from one that is unknown; its visits go on when it is back', async () => {
  const barn = await member('barn'), base = await visit(vera, 'barn');
  await barn.leave();
  await until('the hub to see it', async () => !(await sam.ask('GET', 'nodes/barn')).json.linked);
  const away = await at(`${base}x`);
  assert.deepEqual([away.status, /no link/.test((await away.json()).error.message)], [503, true]);
  assert.equal((await vera.ask('POST', 'nodes/barn/visit')).status, 503);
  const back = await Member.join(linkPort, barn.who, { on: handler('barn'), instance: 'again' });
  await back.register({ allow: { inference: true, console: 'view' } });
  assert.equal(await (await at(`${base}x`)).text(), 'barn GET /x');
  await back.leave();
});

test('a session has eight visits: with one more the oldest ends', async () => {
  const who = await person(hub, 'vera'), all = [];
  for (let i = 0; i < 9; i++) all.push(await visit(who, 'mean'));
  assert.equal((await at(`${all[0]}x`)).status, 401);
  for (const base of all.slice(1)) assert.equal((await at(`${base}x`)).status, 200);
  const mine = await visit(vera, 'mean');
  assert.equal((await at(`${mine}x`)).status, 200, 'another session has its own');
});

test('what one visit may have open at one time', async () => {
  const base = await visit(vera, 'mean'), open = [], counts = {};
  mean.server.on('upgrade', (request, socket) => socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n'));
  handlers.set('/held', () => {});
  const dial = (lines) => new Promise((go, fail) => {
    const socket = net.connect(port, '127.0.0.1', () => socket.write(lines));
    open.push(socket);
    socket.on('error', fail).once('data', (d) => go({ status: Number(d.toString('latin1').split(' ')[1]), text: d.toString() }));
  });
  const upgrade = bytes(`GET ${base}live HTTP/1.1`).replace('Connection: close', 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==');
  for (const one of await Promise.all(Array.from({ length: 40 }, () => dial(upgrade)))) {
    counts[one.status] = (counts[one.status] ?? 0) + 1;
    if (one.status === 503) assert.match(one.text, /too many live connections/);
  }
  assert.ok(counts[101] <= 32 && counts[503] >= 8, JSON.stringify(counts)); // 16 on each of two workers
  for (let i = 0; i < 130; i++) void dial(bytes(`GET ${base}held HTTP/1.1`)).catch(() => {});
  const refused = await until('a refusal', async () => {
    const r = await raw(`GET ${base}x HTTP/1.1`);
    return r.status === 503 && r;
  });
  assert.match(refused.text, /too many requests of this visit/);
  assert.equal((await at(`${await visit(olga, 'mean')}x`)).status, 200, 'another visit goes on');
  for (const socket of open) socket.destroy();
  await until('room again', async () => (await raw(`GET ${base}x HTTP/1.1`)).status === 200);
});

test('the command line says where a node is opened', async () => {
  const told = await hub.cli('node', 'open', 'attic');
  assert.deepEqual([told.code, told.stdout], [0, `${hub.url}/node/${id}/\n`]);
  assert.deepEqual(await hub.cliJson('node', 'open', id), { url: `${hub.url}/node/${id}/` });
  await other.register({ allow: { inference: true, console: 'off' } });
  const off = await hub.cli('node', 'open', 'other');
  assert.deepEqual([off.code, off.stdout, /join\.allow\.console/.test(off.stderr)], [1, '', true]);
  await other.register({ allow: { inference: true, console: 'view' } });
});

test('no ticket is written down anywhere', async () => {
  const base = await visit(sam, 'mean'), ticket = base.split('~')[1].slice(0, -1);
  await at(`${base}x`);
  await raw(`GET ${base}%2e%2e/x HTTP/1.1`);
  handlers.set('/broken', (request, response) => response.socket.destroy());
  assert.equal((await at(`${base}broken`)).status, 502);
  const logs = await (await fetch(`${hub.url}/drover/v1/logs?lines=1000`, { headers: { cookie: sam.cookie } })).text();
  const figures = await (await hub.get('/metrics')).text();
  const acts = JSON.stringify((await sam.ask('GET', 'audit?limit=200')).json);
  for (const text of [hub.log, logs, figures, acts]) assert.ok(text.length && !text.includes(ticket));
  assert.ok(!asked.some((a) => JSON.stringify(a).includes(ticket)), 'nor told to the node');
});

test('a hub has 256 visits open, of all sessions together', async () => {
  const sessions = [];
  let last;
  for (let i = 0; i < 36 && last?.status !== 503; i++) {
    const who = await person(hub, Object.keys(people)[i % 4]);
    sessions.push(who);
    for (let n = 0; n < 8 && last?.status !== 503; n++) last = await who.ask('POST', 'nodes/mean/visit');
  }
  assert.deepEqual([last.status, last.json.error.code, /256 visits/.test(last.json.error.message)], [503, 'unavailable', true]);
  assert.ok(sessions.length > 25, `after ${sessions.length} sessions`);
  assert.equal((await sessions.at(-2).ask('DELETE', 'session')).status, 200);
  await until('its visits to have made room', async () => (await sessions.at(-1).ask('POST', 'nodes/mean/visit')).status === 201);
});
