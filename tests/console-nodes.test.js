// Adding and looking after nodes at the console, in a real browser. Most machines are the test's own: they enrol, and have no link.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { addPeople, look, person, show, startBrowser, TWO, withPage } from './lib/browser.js';
import { startFake } from './fakes/index.js';
import { startDrover, until } from './lib/drover.js';
import { enrol, linkOf, machine, tokenOf } from './lib/machine.js';

const PERMISSION = 'the key of the fleet'; // made up here
let browser, hub, link, admin;

before(async () => {
  browser = await startBrowser();
  hub = await startDrover({ config: { hub: { name: 'home' } }, listen: [{ address: '127.0.0.1:0', tls: 'ca', client_cert: 'optional', roles: ['link'] }],
    prepare: (dir) => addPeople(dir, { sam: 'admin', olga: 'operator', vera: 'viewer' }) });
  link = await linkOf(hub);
  admin = await person(hub, 'sam');
});
after(async () => {
  await browser?.close();
  await hub?.stop();
});

const button = (where, name) => where.getByRole('button', { name, exact: true });
const nodeNamed = async (name) => (await admin.ask('GET', `nodes/${name}`)).json;

test('an invitation at the console: the line, the wait, the node', async () => {
  await withPage(browser, hub, { as: 'sam' }, async (page) => {
    await show(page, hub, '#/fleet');
    await page.getByText('No other machine has joined yet.').waitFor();
    assert.deepEqual(await look(page, 'nodes-empty', TWO), []);
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press('a');
    const dialog = page.getByRole('dialog', { name: 'Add a node' });
    await dialog.getByLabel('What it shall be called').fill('attic');
    assert.deepEqual(await look(page, 'nodes-add', TWO), []);
    await button(dialog, 'Make the line').click();
    const shown = dialog.getByRole('region', { name: 'The line to run there' });
    await shown.waitFor();
    const line = /^drover join '(drover:\/\/join\/1\/[\w-]+)'$/.exec((await shown.innerText()).trim())[1];
    await dialog.getByText('Waiting for it to call…').waitFor();
    await dialog.getByText(/^Ends in 5\d:\d\d\.$/).waitFor();
    assert.deepEqual(await look(page, 'nodes-line', TWO), []);
    assert.equal((await enrol(link, machine(hub.dir), { token: tokenOf(line) })).status, 200);
    await dialog.getByText('attic has joined; waiting for its link…').waitFor();
    await dialog.locator('footer').getByRole('button', { name: 'Close' }).click();
    await dialog.waitFor({ state: 'detached' });
    assert.doesNotMatch(await page.content(), /drover:\/\/join/, 'the line is gone with the dialog');
    await page.getByRole('row', { name: /attic.*not linked yet/ }).waitFor();
  });
});

test('a node with models, from the line to the diagnosis when it is gone', async () => {
  const fake = await startFake('openai', { models: ['coder', 'mini'] });
  fake.name = 'box';
  const machine1 = await startDrover({ endpoints: [fake], models: ['coder', 'mini'] });
  try {
    await withPage(browser, hub, { as: 'sam' }, async (page) => {
      await show(page, hub, '#/fleet?add=1');
      const dialog = page.getByRole('dialog', { name: 'Add a node' });
      await dialog.getByLabel('What it shall be called').fill('tower');
      await button(dialog, 'Make the line').click();
      const shown = dialog.getByRole('region', { name: 'The line to run there' });
      await shown.waitFor();
      const line = /'(.*)'/.exec(await shown.innerText())[1];
      const joined = await machine1.cli('join', line);
      assert.equal(joined.code, 0, joined.stderr);
      await dialog.getByText('tower is linked, with 2 models.').waitFor();
      await dialog.locator('footer').getByRole('button', { name: 'Close' }).click();
      await page.locator('tr.data', { hasText: /tower.*up/ }).first().waitFor();
      const tower = await nodeNamed('tower');
      await show(page, hub, `#/fleet?node=${tower.id}`);
      const open = page.getByRole('region', { name: 'tower', exact: true });
      await open.getByText(/it dials the hub, from 127\.0\.0\.1, for/).waitFor();
      await open.getByText('0 requests over 1 connection', { exact: true }).waitFor();
      assert.deepEqual(await look(page, 'nodes-linked', TWO), []);
      await button(open, 'Directives').click();
      await open.getByText('It was asked nothing yet.').waitFor();
      await button(open, 'Look at its endpoints').click();
      await open.getByRole('row', { name: /look at its endpoints again.*done/ }).waitFor(); // by the live event
      await button(open, 'Set its log level').click();
      const level = page.getByRole('dialog', { name: 'Set the log level of tower' });
      await level.getByLabel('Level').selectOption('info');
      assert.deepEqual(await look(page, 'nodes-level', TWO), []);
      await button(level, 'Set its log level').click();
      await open.getByRole('row', { name: /set the level of its log.*refused.*join\.allow\.config/ }).waitFor();
      await button(open, 'Restart tower').click();
      const anew = page.getByRole('dialog', { name: 'Restart tower' });
      await anew.getByText('What runs there has half a minute to end.').waitFor();
      await button(anew, 'Cancel').click();
      assert.deepEqual(await look(page, 'nodes-directives', TWO), []);
      await button(open, 'Directives').click();
      await show(page, hub, '#/fleet?open=tower');
      await page.getByRole('link', { name: 'a node of this hub' }).click();
      await open.waitFor();
      await machine1.stop();
      await page.locator('tr.data', { hasText: /tower.*no link/ }).first().waitFor();
      await open.getByText(/^no link since/).waitFor();
      await open.getByText(/see whether the machine is on/).waitFor();
      assert.deepEqual(await look(page, 'nodes-lost', TWO), []);
    });
  } finally {
    if (!machine1.process.result) await machine1.stop();
    await fake.close();
  }
});

test('a machine that came by itself is compared and let in, and another refused', async () => {
  await withPage(browser, hub, { as: 'sam' }, async (page) => {
    await show(page, hub, '#/fleet');
    await page.getByRole('row', { name: /attic/ }).waitFor();
    const m = machine(hub.dir), other = machine(hub.dir);
    assert.equal((await enrol(link, m, { name: 'cellar' })).status, 202);
    const card = page.getByRole('region', { name: 'cellar wants to be a node' });
    await card.waitFor(); // by the live event, without a reload
    await card.getByText(m.fingerprint.match(/.{4}/g).join(' ')).waitFor();
    assert.deepEqual(await look(page, 'nodes-waiting', TWO), []);
    await button(card, 'Approve cellar').click();
    const dialog = page.getByRole('dialog', { name: 'Approve cellar' });
    await page.waitForFunction(() => document.activeElement?.textContent === 'Cancel'); // the safe choice has the focus
    await button(dialog, 'Approve cellar').click();
    await card.waitFor({ state: 'detached' });
    assert.equal((await enrol(link, m, { name: 'cellar' })).status, 200);
    await page.getByRole('row', { name: /cellar.*not linked yet/ }).waitFor();

    const hostile = '<img src=x onerror=alert(1)>\u202egnp.exe';
    assert.equal((await enrol(link, other, { name: 'stranger', hostname: hostile, os: '"><script>alert(1)</script>' })).status, 202);
    await page.getByText(/<img src=x onerror=alert\(1\)>/).waitFor();
    assert.doesNotMatch(await page.getByRole('region', { name: 'stranger wants to be a node' }).innerText(), /\u202e/, 'what turns text around is shown, not obeyed');
    await button(page, 'Refuse stranger').click();
    await button(page.getByRole('dialog'), 'Refuse stranger').click();
    await page.getByRole('row', { name: /stranger.*refused/ }).waitFor();
    assert.equal((await enrol(link, other, { name: 'stranger' })).status, 403);
  });
});

test('a node is drained, resumed, renamed, labelled, looked into and put out', async () => {
  await withPage(browser, hub, { as: 'sam' }, async (page) => {
    const attic = await nodeNamed('attic');
    await show(page, hub, `#/fleet?node=${attic.id}`);
    const open = page.getByRole('region', { name: 'attic', exact: true });
    await open.getByText(attic.fingerprint.match(/.{4}/g).join(' ')).waitFor();
    await page.evaluate(() => document.activeElement.blur());
    await page.keyboard.press('d');
    await button(page.getByRole('dialog'), 'Drain attic').click();
    await page.getByRole('row', { name: /attic.*drained/ }).waitFor();
    await button(open, 'Resume attic').click();
    await page.getByRole('row', { name: /attic.*not linked yet/ }).waitFor();

    await button(open, 'Labels').click();
    const labels = page.getByRole('dialog', { name: 'Set labels of attic' });
    await labels.getByLabel('Labels').fill('site=under the roof\nno good=1');
    await labels.getByText('cannot read "no good=1"').first().waitFor();
    await labels.getByLabel('Labels').fill('site=under the roof');
    await button(labels, 'Set labels of attic').click();
    await labels.waitFor({ state: 'detached' });
    assert.deepEqual((await nodeNamed('attic')).labels, { site: 'under the roof' });
    await button(open, 'Rename').click();
    const rename = page.getByRole('dialog', { name: 'Rename attic' });
    await rename.getByLabel('New name').fill('loft');
    await button(rename, 'Rename attic').click();
    await page.locator('tr.data', { hasText: 'loft' }).waitFor();
    const loft = page.getByRole('region', { name: 'loft', exact: true });
    await button(loft, 'History').click();
    await loft.getByRole('cell', { name: 'labelled' }).waitFor();
    assert.deepEqual(await look(page, 'nodes-open', TWO), []);

    await button(loft, 'Put loft out').click();
    const out = page.getByRole('dialog', { name: 'Put loft out' });
    const go = out.getByRole('button', { name: /^Put loft out/ });
    assert.equal(await go.getAttribute('aria-disabled'), 'true', 'the name comes first');
    await out.getByLabel('Type loft to go on').fill('loft');
    await go.click();
    await page.getByRole('row', { name: /loft.*put out/ }).waitFor();
    assert.equal((await nodeNamed(attic.id)).state, 'revoked');
    await button(loft, 'Remove loft').click();
    await page.getByLabel('Type loft to go on').fill('loft');
    await page.getByRole('dialog').getByRole('button', { name: /^Remove loft/ }).click();
    await page.locator('tr.data', { hasText: 'loft' }).waitFor({ state: 'detached' });
  });
});

test('an invitation is taken back', async () => {
  await admin.ask('POST', 'invites', { name: 'barn' });
  await withPage(browser, hub, { as: 'sam' }, async (page) => {
    await show(page, hub, '#/fleet');
    await page.getByText('for barn').waitFor();
    await button(page, 'Take the invitation barn back').click();
    await page.getByText('for barn').waitFor({ state: 'detached' });
  });
});

test('in Live letting in asks for the permission key', async () => {
  const m = machine(hub.dir);
  assert.equal((await enrol(link, m, { name: 'barge' })).status, 202);
  assert.equal((await admin.ask('PUT', 'mode/key', { permission_key: PERMISSION })).status, 200);
  assert.equal((await admin.ask('PUT', 'mode', { mode: 'live' })).status, 200);
  try {
    await withPage(browser, hub, { as: 'sam', expects: [/403/] }, async (page) => {
      await show(page, hub, '#/fleet');
      await button(page, 'Approve barge').click();
      await button(page.getByRole('dialog', { name: 'Approve barge' }), 'Approve barge').click();
      const key = page.getByRole('dialog').filter({ has: page.getByLabel('Permission key') }).last();
      await key.getByLabel('Permission key').fill(PERMISSION);
      await page.keyboard.press('Enter');
      await page.locator('tr.data', { hasText: /barge.*not linked yet/ }).waitFor();
    });
    assert.equal((await nodeNamed('barge')).state, 'approved');
  } finally {
    assert.equal((await hub.cli('mode', 'dev')).code, 0);
  }
});

test('who may not is told so, and the API says the same', async () => {
  assert.equal((await enrol(link, machine(hub.dir), { name: 'shed' })).status, 202);
  for (const name of ['vera', 'olga'])
    await withPage(browser, hub, { as: name }, async (page) => {
      const cellar = await nodeNamed('cellar');
      await show(page, hub, `#/fleet?node=${cellar.id}&add=1`);
      const open = page.getByRole('region', { name: 'cellar', exact: true });
      await open.waitFor();
      assert.equal(await button(page, 'Add a node').count(), 0);
      assert.equal(await page.getByRole('dialog').count(), 0, 'the address opens nothing that is not theirs');
      assert.equal(await page.getByRole('button', { name: /^Approve shed/ }).getAttribute('aria-disabled'), 'true');
      assert.equal(await open.getByRole('button', { name: /^Put cellar out/ }).getAttribute('aria-disabled'), 'true');
      assert.equal(await open.getByRole('button', { name: /^Drain cellar/ }).getAttribute('aria-disabled'), name === 'vera' ? 'true' : null);
      if (name === 'vera') assert.deepEqual(await look(page, 'nodes-viewer', TWO), []);
    });
});

test('while the fleet\'s root is replaced the page says how far that is and who is missing', async () => {
  const other = await startDrover({ config: { hub: { name: 'home' } }, listen: [{ address: '127.0.0.1:0', tls: 'ca', client_cert: 'optional', roles: ['link'] }],
    prepare: (dir) => addPeople(dir, { vera: 'viewer' }) });
  try {
    const at = await linkOf(other);
    await enrol(at, machine(other.dir), { name: 'loft', token: tokenOf((await other.cliJson('hub', 'invite', '--name', 'loft')).line) });
    await withPage(browser, other, { as: 'vera' }, async (page) => {
      await show(page, other, '#/fleet');
      const part = page.getByRole('region', { name: 'Certificates' });
      await part.getByText(/^ca-\d{4}-1, ends in /).first().waitFor();
      assert.equal(await part.getByRole('group').count(), 0);
      await other.cliJson('cert', 'rotate-ca');
      const now = part.getByRole('group', { name: 'The root is being replaced' });
      await now.getByText('1 missing, of 1 node.').waitFor();
      await now.getByText('loft has not fetched the new root yet, and is not linked').waitFor();
      assert.deepEqual(await look(page, 'nodes-certs', TWO), []);
      await other.cliJson('cert', 'rotate-ca', '--force');
      await part.getByText('loft: each needs an invitation of its own').waitFor({ timeout: 30000 });
      await now.waitFor({ state: 'detached', timeout: 30000 });
    });
  } finally {
    await other.stop();
  }
});

test('where this is no hub, it is said how it becomes one', async () => {
  const plain = await startDrover({ prepare: (dir) => addPeople(dir, { sam: 'admin' }) });
  try {
    await withPage(browser, plain, { as: 'sam' }, async (page) => {
      await show(page, plain, '#/fleet');
      await until('the button', () => button(page, 'Add a node').isVisible());
      await button(page, 'Add a node').click();
      await page.getByRole('dialog').getByText('hub:\n  name: home').waitFor();
      assert.deepEqual(await look(page, 'nodes-no-hub', TWO), []);
    });
  } finally {
    await plain.stop();
  }
});
