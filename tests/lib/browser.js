// A real browser (Chromium) at the console: pages that watch themselves for faults, the axe rules, screenshots.
// CHROMIUM names another Chromium than Debian's.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { DROVER } from './drover.js';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
export const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
export const SHOTS = fileURLToPath(new URL('../../build/screenshots/', import.meta.url));
export const PASS = 'some words that nobody guesses'; // made up here, used nowhere else
export const PHONE = { width: 320, height: 640 }, DESK = { width: 1280, height: 800 };

/** How Chromium is started: it knows no name of any network, so that what is not on loopback is not found. Root has no use of its sandbox. */
export function launchOptions(...args) {
  if (!existsSync(CHROMIUM)) throw new Error(`${CHROMIUM} is missing; ./dev test installs it on Debian, elsewhere CHROMIUM names one`);
  return { executablePath: CHROMIUM, chromiumSandbox: process.getuid() !== 0,
    args: ['--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1', '--force-color-profile=srgb', ...args] };
}

export const startBrowser = () => chromium.launch(launchOptions());

/** Makes people in the directory of a hub, before or while it runs: {name: role}. */
export function addPeople(dir, people) {
  for (const [name, role] of Object.entries(people))
    execFileSync(DROVER, ['user', 'add', name, '--role', role, '--passphrase-file', '-', '--config', path.join(dir, 'drover.yaml')], { input: `${PASS}\n`, stdio: 'pipe' });
}

/** Calls of the admin API as a person, apart from any page: ask(method, route, body, headers) gives {status, json}. */
export async function person(hub, name) {
  let cookie;
  const ask = async (method, route, body, headers = {}) => {
    const response = await fetch(`${hub.url}/drover/v1/${route}`, { method, signal: AbortSignal.timeout(20000),
      headers: { 'drover-console': '1', ...(cookie && { cookie }), ...(body && { 'content-type': 'application/json' }), ...headers }, body: body && JSON.stringify(body) });
    cookie ??= response.headers.get('set-cookie')?.split(';')[0];
    const text = await response.text();
    return { status: response.status, json: text ? JSON.parse(text) : undefined };
  };
  assert.equal((await ask('POST', 'session', { name, passphrase: PASS })).status, 201);
  return { ask, get cookie() { return cookie; } };
}

/**
 * Runs `body(page)` on a page of its own: cookies, storage and all. Afterwards nothing may have gone wrong in it: no error, no breach of
 * the page's policy, no request to any other place than the hub.
 *   as       a person who is signed in already
 *   expects  patterns of console errors that the test provokes (Chromium reports every answer of 4xx and 5xx as one)
 */
export async function withPage(browser, hub, { as, expects = [], theme = 'light', size = DESK, ...more }, body) {
  const context = await browser.newContext({ viewport: size, colorScheme: theme, reducedMotion: 'reduce', locale: 'en-GB', timezoneId: 'UTC', ...more });
  context.setDefaultTimeout(15000);
  const faults = [];
  context.on('request', (r) => { if (!/^(data|blob):/.test(r.url()) && new URL(r.url()).origin !== hub.url) faults.push(`asked ${r.url()}`); });
  if (as) {
    const [name, value] = (await person(hub, as)).cookie.split('=');
    await context.addCookies([{ name, value, url: hub.url, httpOnly: true, sameSite: 'Strict' }]);
  }
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', (e) => console.error(`policy: ${e.violatedDirective} ${e.blockedURI} ${e.sample}`));
  });
  const page = await context.newPage();
  page.on('pageerror', (e) => faults.push(`error: ${e.stack ?? e.message}`));
  page.on('websocket', (ws) => { if (new URL(ws.url()).host !== new URL(hub.url).host) faults.push(`socket to ${ws.url()}`); });
  page.on('console', (m) => {
    if (['error', 'warning', 'assert'].includes(m.type()) && !expects.some((e) => e.test(m.text()))) faults.push(`${m.type()}: ${m.text()} (${m.location().url})`);
  });
  try {
    await body(page);
    assert.deepEqual(faults, []);
  } catch (error) {
    await shot(page, `failed${new URL(page.url()).hash.replace(/\W+/g, '-')}`).catch(() => {});
    if (faults.length) error.message += `\nfaults of the page:\n${faults.join('\n')}`;
    throw error;
  } finally {
    await context.close();
  }
}

/** Goes to a screen of the console by its address and waits until it is drawn. */
export async function show(page, hub, hash) {
  const there = page.url().startsWith(`${hub.url}/console/`);
  if (there) await page.evaluate((h) => { location.hash = h; }, hash);
  else await page.goto(`${hub.url}/console/${hash}`);
  await settled(page);
}

/** Nothing is loading any more: there is a heading, and no skeleton. */
export async function settled(page) {
  await page.locator('h1').first().waitFor();
  await page.waitForFunction(() => !document.querySelector('.skeleton') && ![...document.querySelectorAll('[aria-busy=true]')].length);
}

const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22a', 'wcag22aa'];

/**
 * What is wrong with the page as it stands, in words: what axe finds at WCAG 2.2 AA, and whether it must be scrolled sideways. The window is
 * made as high as the page meanwhile, so that no bar that stays in place covers what could be scrolled away from under it.
 */
export async function flaws(page) {
  const size = page.viewportSize();
  const height = await page.evaluate(() => Math.min(6000, document.documentElement.scrollHeight));
  if (height > size.height) await page.setViewportSize({ ...size, height: height + 100 });
  if (!await page.evaluate(() => 'axe' in globalThis)) await page.evaluate(AXE);
  const found = await page.evaluate(async (values) => {
    // target-size is new in 2.2, and axe leaves such rules off unless they are named.
    const { violations } = await globalThis.axe.run(document, { runOnly: { type: 'tag', values }, rules: { 'target-size': { enabled: true } }, resultTypes: ['violations'] });
    return violations.map((v) => `${v.id}: ${v.nodes.slice(0, 4).map((n) => `${n.target.join(' ')} (${[...n.any, ...n.all, ...n.none].map((a) => a.message).join('; ')})`).join(' | ')}`);
  }, TAGS);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) found.push(`the page is ${wide} px wider than the window`);
  await page.setViewportSize(size);
  return found;
}

const WAYS = [['desk-light', DESK, 'light'], ['desk-dark', DESK, 'dark'], ['phone-light', PHONE, 'light'], ['phone-dark', PHONE, 'dark']];
/** The least: each theme and each size once. */
export const TWO = [WAYS[0], WAYS[3]];
/** What 200 % zoom leaves of a desk. */
export const ZOOM = ['zoom-dark', { width: DESK.width / 2, height: DESK.height / 2 }, 'dark'];

/** Looks at the page on a desk and on a phone, light and dark; keeps a screenshot of each. Gives back its flaws, each with where it is. */
export async function look(page, name, ways = WAYS) {
  const all = [];
  for (const [way, size, colorScheme] of ways) {
    const as = `${name}-${way}`;
    await page.setViewportSize(size);
    await page.emulateMedia({ colorScheme });
    all.push(...(await flaws(page)).map((text) => `${as}: ${text}`));
    await shot(page, as);
  }
  await page.setViewportSize(DESK);
  await page.emulateMedia({ colorScheme: 'light' });
  return all;
}

/** Keeps what the page looks like under build/screenshots. */
export async function shot(page, name) {
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: path.join(SHOTS, `${name}.png`) });
}

/** Fills in the page's sign-in form. */
export async function signIn(page, name, passphrase = PASS) {
  await page.getByLabel('Name').fill(name);
  await page.getByLabel('Passphrase').fill(passphrase);
  await page.getByRole('button', { name: 'Sign in' }).click();
}
