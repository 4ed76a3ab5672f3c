// The console in a real browser while things happen: the hub is killed and comes back, and 200 streams of a real llama-server go by.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { startFake } from './fakes/index.js';
import { addPeople, look, show, startBrowser, TWO, withPage } from './lib/browser.js';
import { home, serve } from './lib/daemon.js';
import { command, DROVER, freePort, startDrover, startLlama, until } from './lib/drover.js';

const STREAMS = 200, ELEMENTS = 3000;
const GONE = [/ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_SOCKET_NOT_CONNECTED/, /WebSocket connection to/];
let browser;

before(async () => { browser = await startBrowser(); });
after(() => browser?.close());

const button = (page, name) => page.getByRole('button', { name, exact: true });

test('a hub that is killed and comes back: said, stale, recovered without a reload, nothing typed lost', async () => {
  const fake = await startFake('openai', { models: ['coder'] });
  const place = home(await freePort(), { endpoints: [{ name: 'box', url: fake.url, kind: 'auto' }] });
  let child = serve(place);
  try {
    await until('the hub', () => fetch(`${place.url}/healthz`).then((r) => r.ok));
    addPeople(place.dir, { sam: 'admin' });
    await withPage(browser, place, { as: 'sam', expects: GONE }, async (page) => {
      const screens = { fleet: '#/fleet', pulse: '#/pulse', console: '#/console', keys: '#/keys', usage: '#/keys?tab=usage', settings: '#/settings', alerts: '#/alerts' };
      const made = await command(DROVER, ['key', 'add', 'team', '--json', '--config', place.file]), { id } = JSON.parse(made.stdout);
      for (const hash of Object.values(screens)) await show(page, place, hash);
      await show(page, place, '#/pulse?tab=try');
      await page.getByLabel('Prompt').fill('half a thought');
      await page.evaluate(() => { globalThis.sameDocument = true; });
      child.kill('SIGKILL');
      await child.ended;
      const line = page.locator('.connection.down', { hasText: 'No contact with the hub' });
      await line.waitFor();
      assert.equal(await page.getByLabel('Prompt').inputValue(), 'half a thought');
      const flaws = [];
      for (const [name, hash] of Object.entries(screens)) {
        await show(page, place, hash);
        await line.waitFor();
        flaws.push(...await look(page, `${name}-reconnecting`, TWO));
      }
      assert.deepEqual(flaws, []);
      const bar = await line.boundingBox(), top = await page.locator('.topbar').boundingBox();
      assert.ok(Math.abs(bar.y - top.height) < 2, `under the top bar: ${bar.y}`);
      await show(page, place, '#/pulse');
      await page.getByText(/Cannot load/i).first().waitFor();
      assert.equal(await page.getByText('No requests yet').count(), 0, 'nobody knows whether there are none');
      // What acts on the hub is off and says why; what only looks works.
      await show(page, place, `#/keys?open=${id}`);
      const off = page.getByRole('button', { name: 'Turn off (no contact with the hub)' });
      await off.waitFor();
      assert.equal(await off.getAttribute('aria-disabled'), 'true');
      await page.getByRole('button', { name: 'Revoke team', exact: true }).first().click();
      const dialog = page.getByRole('dialog');
      await dialog.getByRole('textbox').fill('team');
      assert.equal(await dialog.getByRole('button', { name: 'Revoke team (no contact with the hub)' }).getAttribute('aria-disabled'), 'true');
      assert.deepEqual(await look(page, 'revoke-reconnecting', TWO), []);
      await page.keyboard.press('Escape');
      await show(page, place, '#/fleet');
      await page.locator('main').getByText(/as of \d/).first().waitFor();
      assert.ok(await page.locator('tr.data', { hasText: 'box' }).count(), 'what was known stays');

      child = serve(place);
      await until('the hub again', () => fetch(`${place.url}/healthz`).then((r) => r.ok));
      await line.waitFor({ state: 'hidden', timeout: 40000 });
      await page.locator('main').getByText(/as of \d/).first().waitFor({ state: 'hidden' });
      await until('requests of now', async () => {
        await fetch(`${place.url}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ model: 'coder', messages: [{ role: 'user', content: 'hi' }] }) });
        return true;
      });
      await show(page, place, `#/keys?open=${id}`);
      await button(page, 'Turn off').waitFor();
      await show(page, place, '#/pulse');
      await page.locator('tr.data', { hasText: 'coder' }).first().waitFor();
      await show(page, place, '#/pulse?tab=try');
      assert.equal(await page.getByLabel('Prompt').inputValue(), 'half a thought');
      assert.equal(await page.evaluate(() => globalThis.sameDocument), true, 'the page was not loaded again');
      await button(page, 'Send').click();
      await page.getByText('Ended by').first().waitFor();
    });
  } finally {
    child.kill('SIGTERM');
    await child.ended;
    place.remove();
    await fake.close();
  }
});

test('200 streams of a real llama-server: what the reader chose stays, and the page answers', async () => {
  const llama = await startLlama({ parallel: 4 });
  const hub = await startDrover({ endpoints: [{ name: 'llama', url: llama.url, kind: 'auto' }], models: ['tiny'], prepare: (dir) => addPeople(dir, { sam: 'admin' }) });
  try {
    const one = (max_tokens) => hub.post('/v1/chat/completions', { model: 'tiny', stream: true, max_tokens, messages: [{ role: 'user', content: 'Say something.' }] }, { signal: AbortSignal.timeout(120000) });
    for (let i = 0; i < 3; i++) await (await one(4)).text();
    await withPage(browser, hub, { as: 'sam', size: { width: 1280, height: 600 } }, async (page) => {
      await show(page, hub, '#/pulse');
      await page.locator('tr.data').nth(2).waitFor();
      let going = 0, ended = 0;
      const all = Array.from({ length: STREAMS }, async () => {
        const response = await one(40);
        going++;
        const text = await response.text();
        ended++;
        return { status: response.status, text };
      });
      await until('more rows than are drawn, some of them answering', () => going > 4 && page.locator('table[aria-rowcount]').count());
      await page.getByRole('searchbox').fill('tiny');
      await page.getByRole('button', { name: /^First token/ }).click();
      const row = page.locator('tr.data .row-open').nth(1);
      await row.click();
      await page.locator('tr.detail').waitFor();
      const region = page.getByRole('region', { name: 'Requests', exact: true });
      await region.evaluate((e) => { e.scrollTop = 240; });
      await until('the scrolling', () => region.evaluate((e) => e.scrollTop === 240));
      const seen = () => page.evaluate(() => ({ hash: location.hash, filter: document.querySelector('input[type=search]').value, sort: document.querySelector('th[aria-sort]:not([aria-sort=none])')?.textContent,
        open: document.querySelector('tr.detail [role=region]')?.getAttribute('aria-label'), scroll: document.querySelector('[role=region][aria-label=Requests]').scrollTop,
        first: document.querySelector('tr.data.open')?.dataset.at }));
      const before = await seen(), endedBefore = ended;
      assert.deepEqual([before.filter, before.scroll], ['tiny', 240]);
      assert.match(before.hash, /sort=.*open=|open=.*sort=/);
      let most = 0;
      const after = [];
      await until('a good part of them to end', async () => {
        most = Math.max(most, await page.evaluate(() => document.querySelectorAll('*').length));
        after.push(await seen());
        return ended >= Math.min(STREAMS, endedBefore + 60);
      }, 90000, 250);
      for (const now of after) assert.deepEqual(now, before);
      assert.ok(most <= ELEMENTS, `${most} elements in the page`);
      await button(page, 'Pause').click();
      await button(page, 'Go on').waitFor();
      await button(page, 'Go on').click();
      await button(page, 'Pause').waitFor();
      const answers = await Promise.all(all);
      assert.ok(answers.every((a) => a.status === 200 && a.text.includes('[DONE]')), JSON.stringify(answers.find((a) => a.status !== 200)));
      await page.getByRole('button', { name: /new above: show/ }).click().catch(() => {});
      await page.getByText('Nothing is being answered now.').waitFor();
      assert.ok((await page.evaluate(() => document.querySelectorAll('*').length)) <= ELEMENTS);
    });
  } finally {
    await hub.stop();
    await llama.stop();
  }
});
