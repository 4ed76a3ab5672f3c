// Runtimes that are added, changed and removed at the console, in a real browser.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { addPeople, look, person, show, startBrowser, TWO, withPage } from './lib/browser.js';
import { startFake } from './fakes/index.js';
import { freePort, startDrover, until } from './lib/drover.js';

let browser, hub, admin;
const fakes = {};

before(async () => {
  browser = await startBrowser();
  fakes.box = await startFake('vllm', { models: ['coder', 'mini'] });
  fakes.fixed = await startFake('ollama', { models: ['llama3:latest'] });
  hub = await startDrover({ endpoints: [{ name: 'fixed', url: fakes.fixed.url }], models: ['llama3:latest'],
    prepare: (dir) => addPeople(dir, { sam: 'admin', olga: 'operator' }) });
  admin = await person(hub, 'sam');
});
after(async () => {
  await browser?.close();
  await hub?.stop();
  for (const fake of Object.values(fakes)) await fake.close();
});

const button = (where, name) => where.getByRole('button', { name, exact: true });
const one = async (name) => (await admin.ask('GET', 'endpoints')).json.endpoints.find((e) => e.name === name);

test('a runtime is looked at, added, and serves', () => withPage(browser, hub, { as: 'sam', expects: [/400/] }, async (page) => {
  await show(page, hub, '#/fleet');
  await button(page, 'Add a runtime').click();
  const dialog = page.getByRole('dialog', { name: 'Add a runtime' });
  await dialog.getByLabel('Address').fill(`http://127.0.0.1:${await freePort()}`);
  await button(dialog, 'Look first').click();
  await dialog.getByText(/Not recognised: 0 models/).waitFor();
  await dialog.getByLabel('Address').fill(fakes.box.url);
  assert.equal(await dialog.getByText(/Not recognised/).count(), 0, 'what was found was of another address');
  await button(dialog, 'Look first').click();
  await dialog.getByText(/vLLM .*: 2 models, after/).waitFor();
  await dialog.getByText('coder, mini').waitFor();
  await dialog.getByLabel('Name').fill('no name at all');
  await button(dialog, 'Add it').click();
  await dialog.getByText(/expected 1 to 64 letters/).waitFor();
  assert.deepEqual(await look(page, 'endpoint-add', TWO), []);
  await dialog.getByLabel('Name').fill('box');
  await dialog.getByLabel('API key').fill('sk-box');
  await button(dialog, 'Add it').click();
  await dialog.waitFor({ state: 'detached' });
  await page.getByText('box is added.').waitFor();
  await page.locator('tr.data', { hasText: /box.*up/ }).first().waitFor();
  assert.equal((await one('box')).origin, 'console');
}));

test('it is changed and removed there; what the file says is not', () => withPage(browser, hub, { as: 'sam', expects: [/400/] }, async (page) => {
  await until('it', async () => (await one('box'))?.state === 'up');
  await show(page, hub, '#/fleet?open=fixed');
  await page.getByText('the configuration file').waitFor();
  assert.equal(await page.getByRole('button', { name: 'Change…' }).count(), 0);
  await show(page, hub, '#/fleet?open=box');
  await button(page, 'Change…').click();
  const dialog = page.getByRole('dialog', { name: 'Change box' });
  assert.equal(await dialog.getByLabel('API key').inputValue(), '');
  await dialog.getByLabel('Requests at one time').fill('many');
  await button(dialog, 'Save').click();
  await dialog.getByText(/expected a whole number/).waitFor();
  await dialog.getByLabel('Requests at one time').fill('3');
  await dialog.getByLabel('Address').fill(`${fakes.box.url}/v1`);
  await button(dialog, 'Save').click();
  await dialog.getByText(/give the key again/).waitFor();
  await dialog.getByLabel('Address').fill(fakes.box.url);
  assert.deepEqual(await look(page, 'endpoint-change', TWO), []);
  await button(dialog, 'Save').click();
  await dialog.waitFor({ state: 'detached' });
  assert.equal((await one('box')).settings.max_concurrent, 3);
  await button(page, 'Remove…').click();
  const sure = page.getByRole('dialog', { name: 'Remove box?' });
  await sure.getByText('Its 2 models can no longer be asked for there.').waitFor();
  await button(sure, 'Remove').click();
  await sure.waitFor({ state: 'detached' });
  await until('it is gone', async () => !(await one('box')));
}));

test('two browsers: the second is told to look again', () => withPage(browser, hub, { as: 'sam', expects: [/412/] }, async (page) => {
  assert.equal((await admin.ask('POST', 'endpoints', { name: 'box', url: fakes.box.url })).status, 200);
  await until('it', async () => (await one('box'))?.state === 'up');
  await show(page, hub, '#/fleet?open=box&endpoint=box');
  const dialog = page.getByRole('dialog', { name: 'Change box' });
  await dialog.getByLabel('Weight').fill('7');
  const { version } = (await admin.ask('GET', 'endpoints')).json;
  assert.equal((await admin.ask('PATCH', 'endpoints/box', { weight: 9 }, { 'if-match': `"${version}"` })).status, 200);
  await button(dialog, 'Save').click();
  await dialog.getByText(/look again/).waitFor();
  assert.equal((await one('box')).settings.weight, 9);
}));

test('who is no administrator sees where each comes from, and no way to change it', () => withPage(browser, hub, { as: 'olga' }, async (page) => {
  await show(page, hub, '#/fleet?open=box&endpoint=box');
  await page.getByText('added here').waitFor();
  for (const name of ['Add a runtime', 'Change…', 'Remove…']) assert.equal(await page.getByRole('button', { name }).count(), 0);
  assert.equal(await page.getByRole('dialog').count(), 0);
}));
