// What a node serves to somebody who visits its console from the hub, over its link: a hub of our own asks, with whatever it likes.
import test, { afterEach } from 'node:test';
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmodSync } from 'node:fs';
import path from 'node:path';
import { addPeople } from './lib/browser.js';
import { startDrover, until } from './lib/drover.js';
import { startHub } from './lib/hub.js';

const open = [];
afterEach(async () => { for (const one of open.splice(0).reverse()) await one(); });

/** A node linked to a hub that does what it is told: {drover, link, ask(method, path, visit, more)}. */
async function linked(allow, config = {}) {
  const hub = await startHub();
  open.push(() => hub.stop());
  const drover = await startDrover({ config: { name: 'attic', workers: 2, join: { token: hub.line(), ...(allow ? { allow: { console: allow } } : {}) }, ...config },
    prepare: (dir) => {
      chmodSync(path.join(dir, 'drover.yaml'), 0o600);
      addPeople(dir, { nora: 'admin' });
    } });
  open.push(() => drover.stop());
  const link = await hub.linked();
  const ask = (method, route, visit, { headers = {}, ...more } = {}) =>
    link.http(method, route, { headers: { ...(visit === undefined ? {} : { 'drover-visit': visit, 'drover-principal': 'sam' }), ...headers }, ...more });
  return { drover, link, ask };
}
const code = (r) => r.json.error?.code;

test('to look is the default, whatever role the hub says', async () => {
  const { drover, link, ask } = await linked();
  assert.equal(link.register.allow.console, 'view');
  const page = await ask('GET', '/console/', 'admin');
  assert.equal(page.status, 200);
  assert.match(page.text, /<div id="app">/);
  const session = (await ask('GET', '/drover/v1/session', 'admin fresh')).json;
  assert.deepEqual([session.signed_in, session.user, session.role, session.visit, session.mode, session.session], [true, 'hub:sam', 'viewer', true, 'dev', undefined]);
  assert.equal((await ask('GET', '/drover/v1/status', 'viewer')).json.name, 'attic');
  for (const [method, route] of [['GET', 'keys'], ['GET', 'logs'], ['GET', 'audit'], ['POST', 'endpoints/refresh'], ['POST', 'reload']]) {
    const r = await ask(method, `/drover/v1/${route}`, 'admin fresh', method === 'POST' ? { body: {} } : {});
    assert.deepEqual([r.status, code(r)], [403, 'denied'], route);
  }
  assert.equal(drover.log.includes('hub:sam'), false);
  for (const [method, route] of [['POST', '/api/pull'], ['DELETE', '/api/delete'], ['POST', '/api/create'], ['POST', '/v1/unheard-of']]) {
    const r = await ask(method, route, 'admin fresh', { body: { name: 'x' } });
    assert.deepEqual([r.status, /not load, unload or fetch/.test(r.text)], [403, true], route);
  }
});

test('off is off: no page and no figure, and without a visit the console is not there at all', async () => {
  const { link, ask } = await linked('off');
  assert.equal(link.register.allow.console, 'off');
  for (const route of ['/console/', '/drover/v1/session', '/drover/v1/status', '/drover/v1/models']) {
    const r = await ask('GET', route, 'admin fresh');
    assert.deepEqual([r.status, /join\.allow\.console/.test(r.text)], [403, true], route);
  }
  for (const route of ['/console/', '/drover/v1/session', '/drover/v1/status']) assert.equal((await ask('GET', route)).status, 404, route);
  assert.equal((await ask('GET', '/drover/v1/models')).status, 200, 'the list of models has its own permission');
});

test('full: the role that the hub says and no more; acts are in the audit log as the hub\'s', async () => {
  const { drover, ask } = await linked('full');
  const key = { name: 'for-sam', models: ['*'] };
  for (const role of ['viewer', 'operator']) assert.equal((await ask('POST', '/drover/v1/keys', `${role} fresh`, { body: key })).status, 403, role);
  assert.equal((await ask('POST', '/drover/v1/endpoints/refresh', 'viewer', { body: {} })).status, 403);
  assert.equal((await ask('POST', '/drover/v1/endpoints/refresh', 'operator', { body: {} })).status, 202);
  const stale = await ask('POST', '/drover/v1/keys', 'admin', { body: key });
  assert.deepEqual([stale.status, code(stale), /passphrase/.test(stale.text)], [403, 'denied', true], 'not the fault that asks for a passphrase here');
  assert.equal((await ask('POST', '/drover/v1/keys', 'admin fresh', { body: key })).status, 201);
  const act = await until('the row', async () => (await drover.cliJson('audit', 'list')).acts.find((a) => a.action === 'key.make'));
  assert.equal(act.actor, 'hub:sam');
});

test('what decides who may be here is never a visitor\'s', async () => {
  const { drover, ask } = await linked('full');
  const acts = [['POST', 'session', { name: 'nora', passphrase: 'x' }], ['DELETE', 'session'], ['POST', 'session/confirm', { passphrase: 'x' }], ['DELETE', 'sessions/x'], ['POST', 'setup', {}], ['POST', 'setup/token', {}],
    ['POST', 'users', { name: 'eve', role: 'admin', passphrase: 'a long enough phrase' }], ['PUT', 'users/nora', { role: 'viewer' }], ['DELETE', 'users/nora'], ['PUT', 'mode', { mode: 'live' }],
    ['PUT', 'mode/key', {}], ['DELETE', 'join'], ['POST', 'join', {}], ['POST', 'backup', {}]];
  for (const [method, route, body] of acts) {
    const r = await ask(method, `/drover/v1/${route}`, 'admin fresh', body ? { body } : {});
    assert.deepEqual([r.status, code(r)], [403, 'denied'], `${method} ${route}: ${r.text}`);
  }
  for (const route of ['enrol', 'enrol/renew']) assert.equal((await ask('POST', `/drover/v1/${route}`, 'admin fresh', { body: {} })).status, 404, route);
  assert.equal((await ask('GET', '/link/v1', 'admin fresh')).status, 404);
  assert.equal((await drover.cliJson('user', 'list')).users.length, 1);
});

test('in Live the permission key of the node is asked for', async () => {
  const { drover, ask } = await linked('full');
  assert.equal((await drover.cli('mode', 'live')).code, 0);
  const locked = await ask('POST', '/drover/v1/keys', 'admin fresh', { body: { name: 'k', models: ['*'] } });
  assert.equal(locked.status, 403, locked.text);
  assert.equal(code(locked), 'locked');
});

test('a visit that is none, and paths of two meanings', async () => {
  const { ask } = await linked('full');
  for (const role of ['', 'root', 'admin stale', 'ADMIN', 'admin  fresh', 'none']) {
    const r = await ask('GET', '/drover/v1/status', role);
    assert.equal(r.status, 400, role);
  }
  for (const route of ['/console/../drover/v1/keys', '/console/%2e%2e/x', '/console//x', '/console/%2fx', '/console/%5cx']) assert.ok([400, 404].includes((await ask('GET', route, 'viewer')).status), route);
  const who = await ask('GET', '/drover/v1/session', 'viewer', { headers: { 'drover-who': 'nora', 'drover-role': 'admin', 'drover-fresh': '1', 'drover-peer': '::1' } });
  assert.deepEqual([who.json.user, who.json.role], ['hub:sam', 'viewer'], 'the door\'s own fields are never taken');
});

test('a visitor follows the live events over a WebSocket', async () => {
  const { link } = await linked();
  const s = link.request('GET', '/drover/v1/events', { headers: { 'drover-visit': 'operator', 'drover-principal': 'sam', connection: 'upgrade', upgrade: 'websocket', 'sec-websocket-version': '13',
    'sec-websocket-key': randomBytes(16).toString('base64') } });
  await s.until((got) => got.includes('"hello"'));
  const text = s.received.toString('latin1');
  assert.match(text, /^HTTP\/1\.1 101 /);
  assert.match(text, /"role":"viewer"/);
  s.reset();
});
