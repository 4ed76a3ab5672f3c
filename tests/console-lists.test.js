// Lists at the console in a real browser: columns and views that are kept, rows that are picked and acted on together, and all requests of
// a key stopped at once.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { startFake } from './fakes/index.js';
import { addPeople, look, person, settled, show, startBrowser, TWO, withPage } from './lib/browser.js';
import { startDrover, until } from './lib/drover.js';

let browser, fake, hub, admin;

before(async () => {
  browser = await startBrowser();
  fake = await startFake('openai', { models: ['coder', 'other'] });
  fake.name = 'box';
  hub = await startDrover({ endpoints: [fake], models: ['coder'], prepare: (dir) => addPeople(dir, { sam: 'admin', vera: 'viewer' }) });
  admin = await person(hub, 'sam');
});
after(async () => {
  await browser?.close();
  await hub?.stop();
  await fake?.close();
});

const button = (page, name) => page.getByRole('button', { name, exact: true });
const heads = (page) => page.locator('main thead th').allTextContents();
const ask = (model, headers = {}) => hub.post('/v1/chat/completions', { model, messages: [{ role: 'user', content: 'hi' }] }, { headers });
const makeKeys = (names) => Promise.all(names.map(async (name) => (await admin.ask('POST', 'keys', { name })).json));
const keyNames = async () => (await admin.ask('GET', 'keys')).json.keys.map((k) => k.name);

test('columns are chosen, filters and columns saved under a name, and both outlive the page', async () => {
  for (const model of ['coder', 'coder', 'other']) assert.equal((await ask(model)).status, 200);
  await withPage(browser, hub, { as: 'sam' }, async (page) => {
    await show(page, hub, '#/pulse');
    await page.locator('tr.data').nth(2).waitFor();
    const all = await heads(page);
    await button(page, 'Columns').click();
    const flaws = await look(page, 'columns', TWO);
    await page.getByRole('dialog').getByLabel('Thinking', { exact: true }).uncheck();
    await page.getByRole('dialog').getByLabel(/^Queue/).uncheck();
    await button(page, 'Close').last().click();
    await button(page, 'Columns (2 hidden)').waitFor();
    assert.equal((await heads(page)).length, all.length - 2);
    assert.match(page.url(), /hide=/);
    await page.getByLabel('Model', { exact: true }).selectOption('other');
    await until('one row', async () => await page.locator('tr.data').count() === 1);

    await button(page, 'Views').click();
    flaws.push(...await look(page, 'views-none', TWO));
    await page.getByLabel('Name of the view').fill('others, short');
    await page.keyboard.press('Enter');
    await page.getByText('View saved: others, short').first().waitFor();
    await page.getByLabel('View', { exact: true }).waitFor();
    await show(page, hub, '#/fleet');
    await show(page, hub, '#/pulse');
    await page.locator('tr.data').nth(2).waitFor();
    assert.equal((await heads(page)).length, all.length - 2, 'the columns stay as chosen, the filter does not');
    await button(page, 'Columns (2 hidden)').click();
    await page.getByRole('dialog').getByRole('button', { name: 'Show all', exact: true }).click();
    await button(page, 'Close').last().click();
    await until('all columns', async () => (await heads(page)).length === all.length);

    await page.reload();
    await settled(page);
    await page.locator('tr.data').nth(2).waitFor();
    await page.getByLabel('View', { exact: true }).selectOption('others, short');
    await until('the view', async () => await page.locator('tr.data').count() === 1 && (await heads(page)).length === all.length - 2);
    assert.match(page.url(), /model=other/);
    flaws.push(...await look(page, 'view-used', TWO));
    await button(page, 'Views').click();
    flaws.push(...await look(page, 'views', TWO));
    await button(page, 'Delete others, short').click();
    await page.getByText('View deleted: others, short').first().waitFor();
    await page.keyboard.press('Escape');
    assert.equal(await page.getByLabel('View', { exact: true }).count(), 0);
    assert.deepEqual(flaws, []);
  });
});

test('keys are picked by mouse and keyboard, and revoked together: shown first, what fails can be tried again', async () => {
  await makeKeys(['keep', 'old-1', 'old-2', 'old-3', 'old-4']);
  await withPage(browser, hub, { as: 'sam', expects: [/status of 503/] }, async (page) => {
    await show(page, hub, '#/keys?sort=name');
    const picked = () => page.locator('tr.picked').count();
    await page.getByLabel('Pick old-1', { exact: true }).check();
    await page.getByRole('status').filter({ hasText: '1 picked' }).waitFor();
    await page.locator('tr.data', { hasText: 'old-2' }).locator('.row-open').focus();
    await page.keyboard.press('x');
    await until('two', async () => await picked() === 2);
    await page.keyboard.press('x');
    await until('one', async () => await picked() === 1);
    await page.keyboard.press('Shift+ArrowDown');
    await until('three', async () => await picked() === 3);
    assert.match(await page.evaluate(() => document.activeElement.textContent), /old-3/);
    await page.getByLabel('Pick old-4', { exact: true }).focus();
    await page.keyboard.press('Space');
    await until('four', async () => await picked() === 4);
    const flaws = await look(page, 'keys-picked', TWO);

    // A filter hides some; they stay picked, and that is told.
    await page.getByRole('searchbox').fill('old-1');
    await page.getByText('4 picked, 3 of them hidden by the filter').waitFor();
    await page.getByRole('searchbox').fill('');

    await button(page, 'Revoke those').click();
    const dialog = page.getByRole('dialog');
    for (const name of ['old-1', 'old-2', 'old-3', 'old-4']) await dialog.getByRole('row', { name: new RegExp(name) }).waitFor();
    assert.equal(await dialog.getByText('keep', { exact: true }).count(), 0);
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Cancel', 'the safe choice has the focus');
    const go = dialog.getByRole('button', { name: /^Revoke 4 keys/ });
    assert.equal(await go.getAttribute('aria-disabled'), 'true');
    flaws.push(...await look(page, 'revoke-many', TWO));
    await dialog.getByRole('textbox').fill('4');

    // One of them fails the first time.
    const victim = (await admin.ask('GET', 'keys')).json.keys.find((k) => k.name === 'old-3');
    let refused = 0;
    await page.route(`**/drover/v1/keys/${victim.id}`, async (route) => {
      if (route.request().method() !== 'DELETE' || refused++) return route.continue();
      return route.fulfill({ status: 503, contentType: 'application/json', body: JSON.stringify({ error: { code: 'store_unavailable', message: 'the disk is full' } }) });
    });
    await go.click();
    await dialog.getByText('1 of 4 could not be revoked').waitFor();
    await dialog.getByRole('row', { name: /old-3/ }).getByText('the disk is full').waitFor();
    assert.deepEqual((await keyNames()).filter((n) => n.startsWith('old')), ['old-3']);
    flaws.push(...await look(page, 'revoke-many-failed', TWO));
    await dialog.getByRole('button', { name: 'Try the 1 again' }).click();
    await page.getByText('4 keys revoked').first().waitFor();
    await until('none of them', async () => (await keyNames()).every((n) => !n.startsWith('old')));
    assert.equal(await page.getByRole('group', { name: 'Picked keys' }).count(), 0);
    assert.ok((await keyNames()).includes('keep'));
    assert.deepEqual(flaws, []);
  });
});

test('all that goes on with a key is stopped from one of its requests; who may not is told', async () => {
  const [{ key, id }] = await makeKeys(['greedy']);
  fake.options.reply = Array.from({ length: 2000 }, (_, i) => ` w${i}`);
  fake.options.delayMs = 25;
  try {
    const streams = await Promise.all([1, 2, 3].map(() => hub.post('/v1/chat/completions', { model: 'coder', stream: true, messages: [{ role: 'user', content: 'go on' }] },
      { headers: { authorization: `Bearer ${key}` }, signal: AbortSignal.timeout(60000) })));
    const texts = streams.map((s) => s.text()), first = streams[0].headers.get('x-request-id');
    await withPage(browser, hub, { as: 'vera' }, async (page) => {
      await show(page, hub, `#/pulse?open=${first}`);
      await page.getByRole('button', { name: /^Stop all of greedy/ }).waitFor();
      assert.equal(await page.getByRole('button', { name: /^Stop all of greedy/ }).getAttribute('aria-disabled'), 'true');
    });
    await withPage(browser, hub, { as: 'sam' }, async (page) => {
      await show(page, hub, `#/pulse?open=${first}`);
      await button(page, 'Stop all of greedy').click();
      const dialog = page.getByRole('dialog');
      await dialog.getByText(/^3 requests/).waitFor();
      assert.deepEqual(await look(page, 'stop-all', TWO), []);
      await dialog.getByRole('button', { name: 'Stop what goes on' }).click();
      await page.getByText('Stopping what goes on for greedy').first().waitFor();
      for (const text of texts) assert.match(await text, /operator stopped the requests of this key/);
      await show(page, hub, `#/keys?open=${id}`);
      await button(page, 'Revoke greedy').first().waitFor();
      await until('nothing goes on', async () => await page.getByRole('button', { name: 'Stop what goes on' }).count() === 0);
    });
  } finally {
    fake.options.reply = ['Hel', 'lo'];
    fake.options.delayMs = 0;
  }
});
