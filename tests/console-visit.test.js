// A node's console through its hub, in a real browser: that of a real node works, and a hostile page gets nothing of the hub's or of another node's.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { chmodSync } from 'node:fs';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { addPeople, launchOptions, look, person, settled, show, startBrowser, TWO, withPage } from './lib/browser.js';
import { startFake } from './fakes/index.js';
import { freePort, startDrover, until } from './lib/drover.js';
import { Member, admin, enrol } from './lib/peers.js';

let browser, hub, fake, node, mean, other, id, linkPort;
const asked = []; // of the nodes of our own
const files = new Map();

const serve = (name) => (request, response) => {
  asked.push(`${name} ${request.method} ${request.url}`);
  const file = files.get(request.url) ?? { type: 'text/plain', text: `secret of ${name}` };
  response.writeHead(200, { 'content-type': file.type, 'set-cookie': 'drover-session=evil; Path=/', 'access-control-allow-origin': '*', 'content-security-policy': "default-src * 'unsafe-inline'" }).end(file.text);
};
async function member(name) {
  const m = await Member.join(linkPort, await enrol(hub.dir, linkPort, name), { on: serve(name), instance: name });
  await m.register({ allow: { inference: true, console: 'full' } });
  return m;
}

before(async () => {
  browser = await startBrowser();
  linkPort = await freePort();
  hub = await startDrover({ config: { hub: { name: 'home' } }, listen: [{ address: `127.0.0.1:${linkPort}`, tls: 'ca', client_cert: 'optional', roles: ['link'] }, { address: '[::1]:0', auth: 'none' }],
    prepare: (dir) => addPeople(dir, { sam: 'admin', vera: 'viewer' }) });
  const { line } = (await admin(hub.dir, 'POST', 'invites', { name: 'attic' })).body;
  fake = await startFake('openai', { models: ['coder'] });
  fake.name = 'box';
  node = await startDrover({ endpoints: [fake], models: ['coder'], config: { name: 'attic', join: { token: line, allow: { console: 'full' } } },
    prepare: (dir) => chmodSync(path.join(dir, 'drover.yaml'), 0o600) });
  [mean, other] = await Promise.all([member('mean'), member('other')]);
  const sam = await person(hub, 'sam');
  await until('the node to be linked', async () => {
    const n = (await sam.ask('GET', 'nodes/attic')).json;
    id = n.id;
    return n.linked && n.registration?.allow.console === 'full';
  });
});
after(async () => {
  await browser?.close();
  await mean?.leave();
  await other?.leave();
  await node?.stop();
  await fake?.close();
  await hub?.stop();
});

test('the console of a node is opened from its page, works there, and leads back', async () => {
  // To a page without an origin its own style sheet is another's, and axe copies such a one into the page, which the policy forbids.
  const ofAxe = [/Applying inline style/, /Couldn't load preload assets/, /style-src-elem inline/];
  await withPage(browser, hub, { as: 'sam', expects: ofAxe }, async (page) => {
    await show(page, hub, `#/fleet?node=${id}`);
    await page.getByRole('button', { name: 'Open the console of attic' }).click();
    const note = page.getByRole('note');
    await note.getByText('You look at the node attic through its hub, as administrator.').waitFor();
    assert.match(new URL(page.url()).pathname, new RegExp(`^/node/${id}/~[\\w-]{43}/console/$`));
    await page.getByRole('row', { name: /box/ }).first().waitFor();
    await settled(page);
    assert.deepEqual(await look(page, 'visit', TWO), []);
    for (const screen of ['pulse', 'console', 'keys', 'settings', 'alerts']) {
      await page.evaluate((h) => { location.hash = h; }, `#/${screen}`);
      await settled(page);
      assert.match(await page.title(), /attic/);
    }
    await page.evaluate(() => { location.hash = '#/console'; });
    await page.getByText(/no contact/i).waitFor({ state: 'detached' });
    await page.locator('summary', { hasText: 'hub:sam' }).click();
    await page.locator('.menu-box').getByText('hub:sam').waitFor();
    assert.equal(await page.getByRole('button', { name: 'Sign out' }).count(), 0);
    const storage = await page.evaluate(() => [() => document.cookie, () => localStorage.length, () => indexedDB.open('x')].map((f) => { try { return f(); } catch (e) { return e.name; } }));
    assert.deepEqual(storage, ['SecurityError', 'SecurityError', 'SecurityError'], 'a page without an origin');
    await note.getByRole('link', { name: 'Back to the hub' }).click();
    await page.waitForURL(`${hub.url}/console/#/fleet?node=${id}`);
    await page.getByRole('button', { name: 'Open the console of attic' }).waitFor();
  });
});

test('a visit that ends says so, and leads back', async () => {
  await withPage(browser, hub, { as: 'vera', expects: [/401|WebSocket|ERR_/] }, async (page) => {
    await show(page, hub, `#/fleet?node=${id}`);
    await page.getByRole('button', { name: 'Open the console of attic' }).click();
    await page.getByRole('note').waitFor();
    const sam = await person(hub, 'sam');
    for (const s of (await sam.ask('GET', 'sessions')).json.sessions.filter((x) => x.user === 'vera')) await sam.ask('DELETE', `sessions/${s.id}`);
    await page.getByRole('heading', { name: 'This visit has ended' }).waitFor();
    await page.getByRole('link', { name: 'Back to the hub' }).click();
    await page.getByRole('heading', { name: /Sign in/ }).waitFor();
  });
});

/** What a page of a node tries, each by name: "no", or what it got. */
const HOSTILE = `
const tries = {}, at = location.pathname, victim = new URLSearchParams(location.search).get('victim');
const fails = () => 'no';
const read = (url, o) => fetch(url, o).then((r) => r.text().then((t) => r.status + ' ' + r.type + ' ' + t.slice(0, 60)), fails).catch(fails);
const here = at.slice(0, at.indexOf('/console/') + 1);
const sync = (f) => { try { const v = f(); return v === undefined || v === null || v === '' ? 'no' : String(v); } catch { return 'no'; } };
const socket = (url) => new Promise((go) => { try { const s = new WebSocket(url); s.onmessage = (m) => go(m.data); s.onerror = () => go('no'); setTimeout(() => go('no'), 3000); } catch { go('no'); } });
const loads = (tag, attr, url) => new Promise((go) => { const e = document.createElement(tag); e.onload = () => go('loaded'); e.onerror = () => go('no'); e[attr] = url; document.body.append(e); setTimeout(() => go('no'), 3000); });
const ws = 'ws://' + location.host;
const attempt = async (name, f) => { try { tries[name] = await f(); } catch { tries[name] = 'no'; } };
(async () => {
  await attempt('own', () => read(here + 'mine'));
  await attempt('api', () => read('/drover/v1/session', { credentials: 'include' }));
  await attempt('apiHeader', () => read('/drover/v1/status', { credentials: 'include', headers: { 'drover-console': '1' } }));
  await attempt('act', () => read('/drover/v1/endpoints/refresh', { method: 'POST', credentials: 'include', headers: { 'drover-console': '1' } }));
  await attempt('blind', () => read('/drover/v1/endpoints/refresh', { method: 'POST', mode: 'no-cors', credentials: 'include', body: '{}' }));
  await attempt('models', () => read('/v1/models', { credentials: 'include' }));
  await attempt('chat', () => read('/v1/chat/completions', { method: 'POST', credentials: 'include', headers: { 'content-type': 'application/json', 'drover-console': '1' }, body: '{}' }));
  await attempt('console', () => read('/console/'));
  await attempt('events', () => socket(ws + '/drover/v1/events'));
  await attempt('other', () => read(victim + 'mine'));
  await attempt('otherBlind', () => read(victim + 'act', { method: 'POST', mode: 'no-cors', body: 'x' }));
  await attempt('otherSocket', () => socket(ws + victim + 'drover/v1/events'));
  await attempt('otherDoor', () => read(victim.replace(/~.*/, '')));
  await attempt('away', () => read('http://127.0.0.1:1/leak?x'));
  await attempt('image', () => loads('img', 'src', victim + 'image'));
  await attempt('script', () => loads('script', 'src', '/console/'));
  await attempt('frame', () => new Promise((go) => { const f = document.createElement('iframe'); f.onload = () => go(sync(() => f.contentDocument.body.innerHTML)); f.src = '/console/'; document.body.append(f); setTimeout(() => go('no'), 2000); }));
  await attempt('cookie', () => sync(() => document.cookie));
  await attempt('setCookie', () => sync(() => { document.cookie = 'drover-session=evil; Path=/'; return 'set'; }));
  await attempt('storage', () => sync(() => localStorage.length));
  await attempt('session', () => sync(() => sessionStorage.length));
  await attempt('worker', () => Promise.resolve().then(() => navigator.serviceWorker.register(here + 'sw.js')).then(() => 'registered', fails));
  await attempt('inline', () => sync(() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.body.append(s); return window.ran; }));
  await attempt('opener', () => sync(() => window.opener));
  await attempt('popup', () => sync(() => window.open('/console/')));
  tries.origin = self.origin;
  window.tries = tries;
})();
`;

/** The hostile page at that address of the hub: what its tries came to, as text, but for its own path, which it must be given. */
async function tries(shown, at) {
  const cookies = [];
  let got;
  await withPage(shown, at, { as: 'sam', expects: [/./] }, async (page) => {
    await show(page, at, '#/fleet');
    const visit = (name) => page.evaluate(async (n) => (await (await fetch(`/drover/v1/nodes/${n}/visit`, { method: 'POST', headers: { 'drover-console': '1' } })).json()).path, name);
    const victim = (await visit('other')).slice(0, -'console/'.length), mine = await visit('mean');
    const query = `?victim=${encodeURIComponent(victim)}`;
    files.set('/console/evil.js', { type: 'text/javascript', text: HOSTILE });
    files.set(`/console/${query}`, { type: 'text/html', text: '<!doctype html><title>mean</title><body><script src="evil.js"></script>' });
    cookies.push(await page.context().cookies());
    asked.length = 0;
    await page.evaluate((to) => location.assign(to), mine + query);
    await page.waitForFunction(() => globalThis.tries, null, { timeout: 30000 });
    const { own, origin, ...rest } = await page.evaluate(() => globalThis.tries);
    assert.match(own, /^200 cors secret of mean$/, 'its own path is there for it');
    assert.equal(origin, 'null');
    got = Object.entries(rest).filter(([, v]) => v !== 'no').map(([k, v]) => `${k}: ${v}`);
    cookies.push(await page.context().cookies());
    await page.goto(`${at.url}/console/#/fleet`);
    await settled(page);
    await page.getByRole('row', { name: /mean/ }).first().waitFor();
    assert.equal(await page.evaluate(() => JSON.stringify({ ...localStorage }).includes('evil')), false);
  });
  assert.deepEqual(cookies[1], cookies[0], 'the hub\'s cookie is as it was, and no other was set');
  return got;
}

test('a hostile page of a node gets nothing of the hub\'s, nor of another node\'s', async () => {
  assert.deepEqual(await tries(browser, hub), []);
  assert.deepEqual(asked.filter((a) => a.startsWith('other')), [], 'no request of it has reached the other node, though it was told its ticket');
});

test('nor where the policy has no word for the hub\'s address, so that it may ask, and gets no answer', async () => {
  const sixth = { ...hub, url: (await hub.cliJson('status')).listen.find((a) => a.startsWith('http://[::1]')) };
  const chromium6 = await chromium.launch(launchOptions('--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE ::1'));
  try {
    const ofOther = (text) => /^(other|image)/.test(text); // whoever knows a ticket may use it; a node is told its own alone
    const rest = (await tries(chromium6, sixth)).filter((text) => !ofOther(text));
    assert.deepEqual(rest, ['blind: 0 opaque '], 'a request whose answer nobody may read: it was refused, as one of another page');
  } finally {
    await chromium6.close();
  }
});
