// Work at the console in a real browser: by keyboard alone, two people at one key, in Live, with a role that may little, and with names
// that are meant to do harm.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { startFake } from './fakes/index.js';
import { addPeople, look, PASS, person, show, startBrowser, TWO, withPage } from './lib/browser.js';
import { startDrover, until } from './lib/drover.js';

const PERMISSION = 'the key of the fleet';
let browser, fake, hub, admin;

before(async () => {
  browser = await startBrowser();
  fake = await startFake('openai', { models: ['coder'] });
  fake.name = 'box';
  hub = await startDrover({ endpoints: [fake], models: ['coder'], prepare: (dir) => addPeople(dir, { sam: 'admin', kim: 'admin', olga: 'operator', vera: 'viewer' }) });
  admin = await person(hub, 'sam');
});
after(async () => {
  await browser?.close();
  await hub?.stop();
  await fake?.close();
});

const button = (page, name) => page.getByRole('button', { name, exact: true });
const heading = (page, name) => page.getByRole('heading', { level: 1, name }).waitFor();
const makeKey = async (body) => (await admin.ask('POST', 'keys', body)).json;
const keyNamed = async (name) => (await admin.ask('GET', 'keys')).json.keys.find((k) => k.name === name);
const ask = { model: 'coder', messages: [{ role: 'user', content: 'hi' }] };

/** Presses Tab until the focus is on it; there must be a way. */
async function tabTo(page, locator) {
  await locator.waitFor();
  for (let i = 0; i < 80; i++) {
    if (await locator.evaluate((e) => e === document.activeElement)) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`Tab does not lead to ${locator}`);
}
async function press(page, locator, key = 'Enter') {
  await tabTo(page, locator);
  await page.keyboard.press(key);
}

test('by keyboard alone: sign in, make a key, stop a request, find a log line, revoke the key', async () => {
  await withPage(browser, hub, {}, async (page) => {
    await page.goto(`${hub.url}/console/`);
    await page.getByLabel('Name').waitFor();
    await until('the focus in the first field', () => page.getByLabel('Name').evaluate((e) => e === document.activeElement));
    await page.keyboard.type('sam');
    await tabTo(page, page.getByLabel('Passphrase'));
    await page.keyboard.type(PASS);
    await page.keyboard.press('Enter');
    await heading(page, 'Fleet');
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the content');
    await page.keyboard.press('g');
    await page.keyboard.press('k');
    await heading(page, 'Keys & usage');
    await button(page, 'New key').first().waitFor();
    await page.keyboard.press('n');
    await page.getByRole('dialog', { name: 'New key' }).waitFor();
    await page.keyboard.type('laptop');
    await tabTo(page, page.getByLabel('Ends'));
    await page.keyboard.type('never');
    await press(page, button(page, 'Next'));
    await press(page, button(page, 'Next'));
    await page.getByText('Name at least one model').waitFor();
    await press(page, page.getByLabel('Every model, also those to come'), 'Space');
    if (await page.getByText('Name at least one endpoint').isVisible()) await press(page, page.getByLabel('Every endpoint, also those to come'), 'Space');
    await press(page, button(page, 'Next'));
    await page.getByText('Step 3 of 4').waitFor();
    await press(page, button(page, 'Next'));
    await page.getByText('laptop works until somebody revokes it.').waitFor();
    await press(page, button(page, 'Make key laptop'));
    await page.getByText('This is the only time this key is shown.').waitFor();
    const text = (await page.getByRole('region', { name: 'Key', exact: true }).innerText()).trim();
    await press(page, page.getByLabel('I have kept the key'), 'Space');
    await press(page, page.locator('footer').getByRole('button', { name: 'Close' }));
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    assert.doesNotMatch(await page.content(), /sk-drv-/);

    Object.assign(fake.options, { reply: Array.from({ length: 2000 }, (_, i) => ` w${i}`), delayMs: 25 });
    const stream = await hub.post('/v1/chat/completions', { ...ask, stream: true }, { headers: { authorization: `Bearer ${text}` } });
    assert.equal(stream.status, 200);
    const whole = stream.text();
    await page.keyboard.press('g');
    await page.keyboard.press('p');
    await heading(page, 'Pulse');
    await page.locator('tr.data').first().waitFor();
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    await button(page, 'Stop request').waitFor();
    const dialog = page.getByRole('dialog');
    await until('the question', async () => { /* a page heard of the key a moment after it shows the button */
      if (!(await dialog.isVisible())) await page.keyboard.press('s');
      return dialog.isVisible();
    }, 15000, 250);
    await dialog.getByText('Asked by laptop').waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Cancel', 'the safe choice has the focus');
    await press(page, dialog.getByRole('button', { name: 'Stop request' }));
    await page.getByText('is being stopped').first().waitFor();
    assert.match(await whole, /operator stopped/);
    Object.assign(fake.options, { reply: ['Hel', 'lo'], delayMs: 0 });

    await page.keyboard.press('g');
    await page.keyboard.press('c');
    await heading(page, 'Console');
    await page.locator('.line').first().waitFor();
    await page.keyboard.press('/');
    await page.keyboard.type('listening');
    await page.locator('.line mark').first().waitFor();
    await page.keyboard.press('Escape');

    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press('g');
    await page.keyboard.press('k');
    await heading(page, 'Keys & usage');
    await page.locator('tr.data').first().waitFor();
    await page.keyboard.press('j');
    await page.keyboard.press('Enter');
    await press(page, button(page, 'Revoke laptop').last());
    await page.getByRole('dialog').waitFor();
    const revoke = page.getByRole('dialog').getByRole('button', { name: /^Revoke laptop/ });
    assert.equal(await revoke.getAttribute('aria-disabled'), 'true');
    await tabTo(page, page.getByLabel('Type laptop to go on'));
    await page.keyboard.type('laptop');
    await press(page, revoke);
    await page.getByText('Key laptop is revoked.').waitFor();
    assert.equal((await hub.post('/v1/chat/completions', ask, { headers: { authorization: `Bearer ${text}` } })).status, 401);
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Help' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.keyboard.press('Control+k');
    await page.getByRole('combobox').waitFor();
    await page.keyboard.type('sign out');
    await page.getByRole('option', { name: 'Sign out', selected: true }).waitFor();
    await page.keyboard.press('Enter');
    await button(page, 'Sign in').waitFor();
  });
});

test('of two people who change one key the second is told, and decides', async () => {
  await makeKey({ name: 'shared', owner: 'first owner' });
  await withPage(browser, hub, { as: 'sam' }, async (one) => {
    await withPage(browser, hub, { as: 'kim', expects: [/status of 412/] }, async (two) => {
      for (const page of [one, two]) {
        await show(page, hub, '#/keys');
        await button(page, 'Change key shared').click();
        await page.getByRole('dialog').waitFor();
      }
      await one.getByLabel('Owner').fill('what sam says');
      await button(one, 'Save shared').click();
      await one.getByText('Key shared is changed.').waitFor();
      await two.getByLabel('Owner').fill('what kim says');
      await two.getByLabel('Priority').fill('7');
      await button(two, 'Save shared').click();
      const dialog = two.getByRole('dialog', { name: 'shared was changed meanwhile' });
      await dialog.waitFor();
      const table = await dialog.locator('table').innerText();
      for (const words of ['first owner', 'what sam says', 'what kim says']) assert.ok(table.includes(words), table);
      assert.equal((await keyNamed('shared')).owner, 'what sam says', 'nothing was overwritten');
      assert.deepEqual(await look(two, 'keys-conflict', TWO), []);
      await dialog.getByRole('button', { name: 'Save mine on top' }).click();
      await two.getByText('Key shared is changed.').waitFor();
    });
    const now = await keyNamed('shared');
    assert.deepEqual([now.owner, now.priority], ['what kim says', 7]);
    await one.getByText('what kim says').or(one.locator('tr.data', { hasText: 'shared' })).first().waitFor();
  });
});

test('what a role may not do is explained, and the hub refuses it, too', async () => {
  const forbidden = async (page, rows) => {
    for (const [method, route] of rows)
      assert.equal(await page.evaluate(async ([m, r]) => (await fetch(`/drover/v1/${r}`, { method: m, headers: { 'drover-console': '1', 'content-type': 'application/json' }, ...(m === 'GET' ? {} : { body: '{}' }) })).status,
        [method, route]), 403, `${method} ${route}`);
  };
  const key = await makeKey({ name: 'not-yours' });
  await withPage(browser, hub, { as: 'vera', expects: [/status of 403/] }, async (page) => {
    await show(page, hub, '#/fleet');
    assert.equal(await button(page, 'Look at all runtimes now').count(), 0);
    assert.deepEqual(await look(page, 'fleet-viewer', TWO), []);
    for (const [hash, words] of [['#/keys?tab=keys', 'Keys are made and seen by administrators.'], ['#/keys?tab=budgets', 'Budgets are part of keys'], ['#/settings?tab=all', 'is for administrators'],
      ['#/settings?tab=people', 'is for administrators'], ['#/settings?tab=audit', 'is for administrators'], ['#/console', 'not for every role']]) {
      await show(page, hub, hash);
      await page.locator('main').getByText(words).first().waitFor();
      assert.deepEqual(await look(page, `viewer${hash.replace(/\W+/g, '-')}`, TWO), []);
    }
    await page.getByRole('button', { name: /DEV/ }).click();
    await page.getByText('An administrator can change it.').waitFor();
    assert.equal(await button(page, 'Go to LIVE').count(), 0);
    await page.keyboard.press('Escape');
    await forbidden(page, [['GET', 'keys'], ['POST', 'keys'], ['DELETE', `keys/${key.id}`], ['GET', 'users'], ['GET', 'audit'], ['GET', 'logs?lines=1'], ['PUT', 'mode'], ['POST', 'endpoints/refresh'], ['GET', 'settings']]);
  });
  await withPage(browser, hub, { as: 'olga', expects: [/status of 403/] }, async (page) => {
    await show(page, hub, '#/console');
    await page.locator('.line').first().waitFor();
    await show(page, hub, '#/fleet');
    await button(page, 'Look at all runtimes now').click();
    await page.getByText('Looking at all runtimes').waitFor();
    await forbidden(page, [['GET', 'keys'], ['POST', 'keys'], ['GET', 'users'], ['PUT', 'mode']]);
  });
});

test('a key gets a new secret; the one before works for a while, or ends at once', async () => {
  const first = await makeKey({ name: 'turning' });
  const locked = (key) => hub.post('/v1/chat/completions', ask, { headers: { authorization: `Bearer ${key}` } });
  await withPage(browser, hub, { as: 'sam' }, async (page) => {
    const text = async () => (await page.getByRole('region', { name: 'Key', exact: true }).innerText()).trim();
    const kept = async () => {
      await page.getByLabel('I have kept the key').check();
      await page.locator('footer').getByRole('button', { name: 'Close' }).click();
      await page.getByRole('dialog').waitFor({ state: 'detached' });
      assert.doesNotMatch(await page.content(), /sk-drv-/);
    };
    await show(page, hub, `#/keys?open=${first.id}`);
    await button(page, 'New secret').click();
    const dialog = page.getByRole('dialog', { name: 'Give turning a new secret' });
    assert.equal(await dialog.getByLabel('The secret now in use works').inputValue(), '24h');
    assert.deepEqual(await look(page, 'key-rotate', TWO), []);
    await dialog.getByRole('button', { name: 'Give turning a new secret' }).click();
    await page.getByText('The secret before works until').first().waitFor();
    const second = await text();
    await page.keyboard.press('Escape');
    await page.getByText('Say that you have kept the key first').waitFor();
    await kept();
    for (const key of [first.key, second]) assert.equal((await locked(key)).status, 200);
    await page.locator('tr.detail').getByText('Secret before works until').waitFor();
    await button(page, 'New secret').click();
    await dialog.getByText('Three at a time there are not').waitFor();
    assert.deepEqual(await dialog.locator('option').allInnerTexts(), ['no longer: it got out']);
    await dialog.getByRole('button', { name: 'Give turning a new secret' }).click();
    await page.getByText('The secret before works no longer.').waitFor();
    const third = await text();
    await kept();
    assert.deepEqual(await Promise.all([first.key, second, third].map(async (key) => (await locked(key)).status)), [401, 401, 200]);
  });
});

test('in Live what is risky asks for the permission key; Dev comes back with it', async () => {
  await makeKey({ name: 'doomed' });
  await withPage(browser, hub, { as: 'sam', expects: [/status of 403/] }, async (page) => {
    await show(page, hub, '#/settings?tab=mode');
    await page.getByLabel('New permission key').fill(PERMISSION);
    await page.getByLabel('The same again').fill(PERMISSION);
    await button(page, 'Set a permission key').click();
    await page.getByText('The permission key is set.').waitFor();
    await page.locator('main').getByRole('button', { name: 'Go to LIVE' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Go to LIVE' }).click();
    await page.getByText('The hub is in LIVE.').waitFor();
    assert.deepEqual(await look(page, 'mode-live', TWO), []);
    await show(page, hub, '#/keys');
    await button(page, 'Revoke key doomed').click();
    await page.getByLabel('Type doomed to go on').fill('doomed');
    await page.getByRole('dialog').getByRole('button', { name: /^Revoke doomed/ }).click();
    const asked = page.getByRole('dialog', { name: 'Locked in Live' });
    await asked.waitFor();
    assert.deepEqual(await look(page, 'locked', TWO), []);
    await asked.getByLabel('Permission key').fill('not this one');
    await asked.getByRole('button', { name: 'Use it once' }).click();
    await asked.waitFor({ state: 'detached' });
    await page.getByRole('dialog').getByRole('alert').or(page.getByRole('dialog').getByText(/permission key|locked/i)).first().waitFor();
    assert.ok(await keyNamed('doomed'), 'a wrong one changes nothing');
    await page.getByRole('dialog').getByRole('button', { name: /^Revoke doomed/ }).click();
    await asked.getByLabel('Permission key').fill(PERMISSION);
    await asked.getByRole('button', { name: 'Use it once' }).click();
    await page.getByText('Key doomed is revoked.').waitFor();
    assert.equal(await keyNamed('doomed'), undefined);
    await page.getByRole('button', { name: /LIVE/ }).first().click();
    await page.getByRole('dialog').getByLabel('Permission key').fill(PERMISSION);
    await button(page, 'Go to DEV').click();
    await page.getByText('The hub is in DEV.').waitFor();
    assert.doesNotMatch(await page.evaluate(() => JSON.stringify([{ ...localStorage }, location.href])), new RegExp(PERMISSION));
  });
});

test('names and answers that are meant to do harm are text, and the page keeps its shape', async () => {
  const evil = ['<script>globalThis.pwned=1</script>', '"><img src=x onerror=globalThis.pwned=1>', 'safe\u202Egnp.exe', `${'long-'.repeat(30)}name`, '{{7*7}}${7*7}'];
  const box = await startFake('openai', { models: evil, reply: ['# <img src=x onerror=globalThis.pwned=1>\n\n', '<script>globalThis.pwned=1</script>\n\n[go](javascript:globalThis.pwned=1) ', '[out](http://192.0.2.1/) ',
    '![see](http://192.0.2.1/x.png)\n\n', '<iframe srcdoc="<script>parent.pwned=1</script>"></iframe>\u202E reversed\u2069'] });
  box.name = 'box';
  const other = await startDrover({ endpoints: [box], prepare: (dir) => addPeople(dir, { sam: 'admin' }) });
  try {
    await until('its models', async () => (await other.modelIds()).length >= 3);
    const slugs = await other.modelIds(), sam = await person(other, 'sam');
    for (const name of ['<b onmouseover=globalThis.pwned=1>', 'a\u202Eb', 'w'.repeat(64), "'; drop table keys; --"]) {
      const made = await sam.ask('POST', 'keys', { name, owner: '<svg onload=globalThis.pwned=1>' });
      if (made.status === 201) await other.post('/v1/chat/completions', { ...ask, model: slugs[0] }, { headers: { authorization: `Bearer ${made.json.key}`, 'user-agent': evil[0] } });
    }
    await other.post('/v1/chat/completions', { ...ask, model: evil[1] + 'no' });
    await fetch(`${other.url}/drover/v1/session`, { method: 'POST', body: JSON.stringify({ name: 'sam', passphrase: PASS }), headers: { 'drover-console': '1', 'content-type': 'application/json', 'user-agent': evil[1] } });
    await withPage(browser, other, { as: 'sam' }, async (page) => {
      const sound = async (name) => {
        assert.deepEqual(await look(page, `hostile-${name}`, TWO), []);
        assert.equal(await page.evaluate(() => globalThis.pwned), undefined, name);
        assert.deepEqual(await page.evaluate(() => [...document.querySelectorAll('main script, main img, main iframe, main svg[onload], a[href^="javascript:" i]')].map((e) => e.outerHTML)), [], name);
      };
      for (const [name, hash] of [['fleet', '#/fleet?open=box'], ['pulse', '#/pulse'], ['keys', '#/keys'], ['usage', '#/keys?tab=usage&by=slug'], ['sessions', '#/keys?tab=sessions'],
        ['audit', '#/settings?tab=audit'], ['console', '#/console'], ['events', '#/console?from=events']]) {
        await show(page, other, hash);
        await sound(name);
      }
      await show(page, other, `#/fleet?open=${encodeURIComponent('<img src=x onerror=globalThis.pwned=1>')}&q=${encodeURIComponent(evil[0])}`);
      await sound('address');
      await show(page, other, '#/fleet');
      await page.keyboard.press('Control+k');
      await page.getByRole('option', { name: /script/ }).first().waitFor();
      await sound('palette');
      await page.keyboard.press('Escape');
      await show(page, other, '#/pulse?tab=try');
      await page.getByLabel('Prompt').fill('<script>globalThis.pwned=1</script>');
      await button(page, 'Send').click();
      await page.getByText('Ended by').first().waitFor();
      await sound('answer');
      assert.ok((await page.locator('.answer-view').innerText()).includes('<script>globalThis.pwned=1</script>'), 'it is there, as text');
    });
  } finally {
    await other.stop();
    await box.close();
  }
});
