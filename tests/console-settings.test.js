// Settings changed at the console, in a real browser: staged, checked, applied, discarded; by keyboard; with faults at their fields; by
// two people at once; and locked where something else sets them.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { addPeople, look, person, show, signIn, startBrowser, TWO, withPage } from './lib/browser.js';
import { startDrover, until } from './lib/drover.js';

const PERMISSION = 'the key of the fleet';
let browser, hub, admin;

before(async () => {
  browser = await startBrowser();
  hub = await startDrover({ config: { gateway: { deadline: '4m' } }, env: { DROVER_GATEWAY_PARK_MAX: '50' },
    prepare: (dir) => addPeople(dir, { sam: 'admin', kim: 'admin' }) });
  admin = await person(hub, 'kim');
});
after(async () => {
  await browser?.close();
  await hub?.stop();
});

const button = (page, name) => page.getByRole('button', { name, exact: true });
const bar = (page) => page.getByRole('region', { name: 'Staged changes' });
const setting = async (name) => (await admin.ask('GET', 'settings')).json.settings.find((s) => s.name === name);
const patch = async (body) => admin.ask('PATCH', 'settings', body, { 'if-match': `"${(await admin.ask('GET', 'settings')).json.version}"` });
const open = (page, name) => show(page, hub, `#/settings?tab=all&q=${name}&open=${name}`);
/** The controls of the open row of a setting. */
const editor = (page, name) => page.getByRole('group', { name: `Change ${name}` });
async function tabTo(page, locator) {
  await locator.waitFor();
  for (let i = 0; i < 80; i++) {
    if (await locator.evaluate((e) => e === document.activeElement)) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`Tab does not lead to ${locator}`);
}

test('each kind has its control; all are staged, checked, and applied together', async () => {
  await withPage(browser, hub, { as: 'sam' }, async (page) => {
    await open(page, 'gateway.stall_timeout');
    assert.equal(await bar(page).count(), 0);
    const timeout = editor(page, 'gateway.stall_timeout');
    assert.deepEqual([await timeout.getByLabel('Number').inputValue(), await timeout.getByLabel('Unit').inputValue()], ['5', 'm']);
    await timeout.getByLabel('Number').fill('90');
    await timeout.getByLabel('Unit').selectOption('s');
    await bar(page).getByText('1 change', { exact: true }).waitFor();
    await open(page, 'gateway.body_max');
    await editor(page, 'gateway.body_max').getByLabel('Number').fill('128');
    await open(page, 'discovery.mdns');
    await editor(page, 'discovery.mdns').getByLabel('on').check();
    await open(page, 'discovery.lan');
    await editor(page, 'discovery.lan').getByLabel('Entries').click();
    await page.keyboard.type('10.0.0.1\n192.168.1.0/24\n');
    await open(page, 'log.level');
    await editor(page, 'log.level').getByLabel('Value').selectOption('warn');
    await open(page, 'gateway.retry_max');
    await editor(page, 'gateway.retry_max').getByLabel('Value').fill('4');
    await open(page, 'telemetry.energy_price');
    await editor(page, 'telemetry.energy_price').getByLabel('Value').fill('0.31');
    await open(page, 'limits.body.buffered_total');
    await editor(page, 'limits.body.buffered_total').getByLabel('Value in %').fill('20');
    await open(page, 'workers');
    await editor(page, 'workers').getByLabel('Value').fill('3');
    await bar(page).getByText('9 changes').waitFor();
    assert.equal((await setting('gateway.retry_max')).value, '2', 'staged is not sent');
    await button(page, 'Check').click();
    await bar(page).getByText('It can be applied. 9 settings change:').waitFor();
    await bar(page).getByText('from: console; after a restart').waitFor();
    assert.deepEqual(await look(page, 'settings-checked', TWO), []);
    assert.equal((await setting('gateway.retry_max')).value, '2', 'nor is what is checked');
    await button(page, 'Apply').click();
    await page.getByText('9 settings are changed; 1 of them applies after a restart of the hub.').waitFor();
    await bar(page).waitFor({ state: 'detached' });
    assert.equal(await page.evaluate(() => document.activeElement !== document.body && !!document.activeElement.closest('#tab-panel')), true, 'the focus is where the work was');
  });
  const now = await Promise.all(['gateway.stall_timeout', 'gateway.body_max', 'discovery.mdns', 'discovery.lan', 'log.level', 'gateway.retry_max', 'telemetry.energy_price',
    'limits.body.buffered_total', 'workers'].map(async (n) => (await setting(n)).value));
  assert.deepEqual(now, ['90s', '128MiB', 'true', '["10.0.0.1", "192.168.1.0/24"]', 'warn', '4', '0.31', '20%', '3']);
  assert.equal((await patch({ unset: ['gateway.body_max', 'discovery.mdns', 'discovery.lan', 'log.level', 'gateway.retry_max', 'telemetry.energy_price',
    'limits.body.buffered_total', 'workers'] })).status, 200);
});

test('by keyboard alone: find a setting, change it, take the change back, discard', async () => {
  await withPage(browser, hub, { as: 'sam' }, async (page) => {
    await show(page, hub, '#/settings');
    await page.keyboard.press('/');
    await page.keyboard.type('retry_max');
    await page.keyboard.press('Escape');
    assert.equal(await page.getByRole('searchbox').inputValue(), '', 'Escape empties the field first');
    await page.keyboard.type('retry_max');
    await until('one row', async () => await page.locator('tr.data').count() === 1);
    await tabTo(page, page.locator('tr.data .row-open'));
    await page.keyboard.press('Enter');
    await tabTo(page, editor(page, 'gateway.retry_max').getByLabel('Value'));
    await page.keyboard.press('Control+a');
    await page.keyboard.type('6');
    await bar(page).getByText('1 change', { exact: true }).waitFor();
    await tabTo(page, button(page, 'Undo this change'));
    await page.keyboard.press('Enter');
    await bar(page).waitFor({ state: 'detached' });
    assert.equal(await editor(page, 'gateway.retry_max').getByLabel('Value').inputValue(), '2');
    await page.keyboard.press('Shift+Tab');
    await tabTo(page, editor(page, 'gateway.retry_max').getByLabel('Value'));
    await page.keyboard.press('Control+a');
    await page.keyboard.type('7');
    await page.locator('tr.data', { hasText: 'staged' }).waitFor();
    await tabTo(page, button(page, 'Check'));
    // What has the focus is not covered by the bar.
    for (let i = 0; i < 30; i++) {
      await page.keyboard.press('Shift+Tab');
      const covered = await page.evaluate(() => {
        const e = document.activeElement, r = e.getBoundingClientRect(), b = document.querySelector('.staged');
        if (!b || b.contains(e) || !r.height || r.bottom < 0) return false;
        return !e.contains(document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2)) && r.top > b.getBoundingClientRect().top;
      });
      assert.equal(covered, false, await page.evaluate(() => document.activeElement.outerHTML.slice(0, 200)));
    }
    await tabTo(page, button(page, 'Discard'));
    await page.keyboard.press('Enter');
    await bar(page).waitFor({ state: 'detached' });
    assert.equal((await setting('gateway.retry_max')).value, '2');
  });
});

test('a complaint stands at its field, leads there, and goes when the value is changed; nothing else is applied', async () => {
  await withPage(browser, hub, { as: 'sam', expects: [/status of 400/] }, async (page) => {
    await open(page, 'gateway.park_timeout');
    await editor(page, 'gateway.park_timeout').getByLabel('Number').fill('99');
    await editor(page, 'gateway.park_timeout').getByLabel('Unit').selectOption('h');
    await open(page, 'discovery.lan');
    await editor(page, 'discovery.lan').getByLabel('Entries').fill('10.0.0.0/8');
    await open(page, 'gateway.retry_max');
    await editor(page, 'gateway.retry_max').getByLabel('Value').fill('5');
    await button(page, 'Check').click();
    await bar(page).getByText('more than 1h, the most there may be').waitFor();
    await bar(page).getByRole('button', { name: 'gateway.park_timeout' }).click();
    const number = editor(page, 'gateway.park_timeout').getByLabel('Number');
    await until('the focus in the control', () => number.evaluate((e) => e === document.activeElement));
    assert.equal(await number.getAttribute('aria-invalid'), 'true');
    assert.match(await number.evaluate((e) => e.getAttribute('aria-describedby').split(' ').map((id) => document.getElementById(id).textContent).join()), /more than 1h/);
    assert.deepEqual(await look(page, 'settings-complaint', TWO), []);
    await button(page, 'Apply').click();
    await bar(page).getByText('nothing was changed').waitFor();
    assert.equal((await setting('gateway.retry_max')).value, '2');
    await bar(page).getByRole('button', { name: 'discovery.lan' }).click();
    await until('the focus there', () => editor(page, 'discovery.lan').getByLabel('Entries').evaluate((e) => e === document.activeElement));
    await editor(page, 'discovery.lan').getByLabel('Entries').fill('');
    await open(page, 'gateway.park_timeout');
    await editor(page, 'gateway.park_timeout').getByLabel('Unit').selectOption('s');
    assert.equal(await editor(page, 'gateway.park_timeout').getByLabel('Number').getAttribute('aria-invalid'), null);
    await bar(page).getByText('2 changes').waitFor();
    await button(page, 'Apply').click();
    await page.getByText('2 settings are changed.').waitFor();
    assert.deepEqual([(await setting('gateway.park_timeout')).value, (await setting('gateway.retry_max')).value], ['99s', '5']);
    await open(page, 'gateway.park_timeout');
    await button(page, 'Back to the default: 10m').click();
    await button(page, 'Apply').click();
    await page.getByText('1 setting is changed.').waitFor();
    assert.equal((await setting('gateway.park_timeout')).origin, 'default');
    assert.equal((await patch({ unset: ['gateway.retry_max'] })).status, 200);
  });
});

test('what something else sets is seen, locked, with the reason', async () => {
  await withPage(browser, hub, { as: 'sam' }, async (page) => {
    for (const [name, words] of [['gateway.deadline', /drover\.yaml, line \d+, sets it and wins/], ['gateway.park_max', /DROVER_GATEWAY_PARK_MAX sets it and wins/],
      ['data_dir', /cannot be changed from a web page/]]) {
      await open(page, name);
      await page.locator('tr.detail').getByText(words).waitFor();
      assert.equal(await editor(page, name).count(), 0);
      assert.equal(await page.locator('tr.data').filter({ hasText: name }).first().getByText('cannot be changed here').count(), 1);
    }
    await show(page, hub, '#/settings?tab=all&changed=1');
    assert.ok((await page.locator('tr.data').count()) < 12);
    await page.locator('tr.data', { hasText: 'gateway.deadline' }).waitFor();
  });
});

test('of two at once the second is told, keeps the changes, looks, and applies', async () => {
  await withPage(browser, hub, { as: 'sam', expects: [/status of 412/] }, async (page) => {
    await open(page, 'gateway.retry_max');
    await editor(page, 'gateway.retry_max').getByLabel('Value').fill('3');
    assert.equal((await patch({ set: { 'telemetry.retain': '30d' } })).status, 200);
    await button(page, 'Apply').click();
    await bar(page).getByText('Somebody changed the settings meanwhile').waitFor();
    assert.equal((await setting('gateway.retry_max')).value, '2');
    await button(page, 'Check').click();
    await bar(page).getByText('It can be applied. 1 setting changes:').waitFor();
    await button(page, 'Apply').click();
    await page.getByText('1 setting is changed.').waitFor();
    assert.deepEqual([(await setting('gateway.retry_max')).value, (await setting('telemetry.retain')).value], ['3', '30d']);
  });
});

test('staged changes outlast a look at another screen, and end with the session', async () => {
  await withPage(browser, hub, { as: 'sam', expects: [/status of 401/] }, async (page) => {
    await open(page, 'gateway.stall_timeout');
    await editor(page, 'gateway.stall_timeout').getByLabel('Number').fill('77');
    await show(page, hub, '#/fleet');
    await show(page, hub, '#/settings?tab=all');
    await bar(page).getByText('1 change', { exact: true }).waitFor();
    await button(page, 'Discard').click();
    await page.getByText('The staged changes are gone; nothing was changed.').waitFor();
    await open(page, 'gateway.stall_timeout');
    await editor(page, 'gateway.stall_timeout').getByLabel('Number').fill('78');
    await page.context().clearCookies();
    await button(page, 'Check').click();
    await page.getByLabel('Passphrase').waitFor();
    await signIn(page, 'kim');
    await show(page, hub, '#/settings?tab=all');
    await page.locator('tr.data').first().waitFor();
    assert.equal(await bar(page).count(), 0, 'nobody takes over what another has staged');
  });
});

test('in Live applying asks for the permission key, checking does not', async () => {
  assert.equal((await admin.ask('PUT', 'mode/key', { permission_key: PERMISSION })).status, 200);
  assert.equal((await admin.ask('PUT', 'mode', { mode: 'live' })).status, 200);
  await withPage(browser, hub, { as: 'sam', expects: [/status of 403/] }, async (page) => {
    await open(page, 'gateway.retry_max');
    await editor(page, 'gateway.retry_max').getByLabel('Value').fill('8');
    await button(page, 'Check').click();
    await bar(page).getByText('It can be applied. 1 setting changes:').waitFor();
    await button(page, 'Apply').click();
    const asked = page.getByRole('dialog', { name: 'Locked in Live' });
    await asked.getByLabel('Permission key').fill(PERMISSION);
    await asked.getByRole('button', { name: 'Use it once' }).click();
    await page.getByText('1 setting is changed.').waitFor();
    assert.equal((await setting('gateway.retry_max')).value, '8');
  });
});
