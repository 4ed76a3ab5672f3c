// The console in a real browser, at its door: the first run up to a streamed answer of a real llama-server, signing in and out, and
// sessions that end.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { addPeople, look, PASS, person, settled, show, signIn, startBrowser, withPage } from './lib/browser.js';
import { startDrover, startLlama, until } from './lib/drover.js';

let browser, llama, hub;

before(async () => {
  llama = await startLlama({ args: ['-n', '60'] }); // its random weights know no end by themselves
  hub = await startDrover({ endpoints: [{ name: 'llama', url: llama.url, kind: 'auto' }], models: ['tiny'] });
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  await hub?.stop();
  await llama?.stop();
});

const button = (page, name) => page.getByRole('button', { name, exact: true });
const REFUSED = /status of 401/;

async function looked(page, name) {
  assert.deepEqual(await look(page, name), []);
}

test('a newcomer comes from the printed link to a streamed answer by what the page says', async () => {
  await withPage(browser, hub, {}, async (page) => {
    await page.goto(`${hub.url}/`);
    await page.getByText('This hub has no administrator yet').waitFor();
    await looked(page, 'setup-no-link');
  });
  const link = /http:\S+#setup=\S{43}/.exec((await hub.cli('user', 'setup')).stdout)[0];
  await withPage(browser, hub, {}, async (page) => {
    await page.goto(link);
    await page.getByText('Step 1 of 4').waitFor();
    assert.doesNotMatch(page.url(), /setup=/, 'the token is not in the address any more');
    await looked(page, 'setup-1-who');
    await button(page, 'Make the account').click();
    await page.getByText('A passphrase has 8 to 1024 bytes.').waitFor();
    await looked(page, 'setup-1-faults');
    await page.getByLabel('Name').fill('sam');
    await page.getByLabel('Passphrase').fill(PASS);
    await button(page, 'Make the account').click();
    await page.getByText('Step 2 of 4').waitFor();
    await page.getByText('1 runtime answers.').waitFor();
    assert.match(await page.locator('.found').innerText(), /llama/);
    await looked(page, 'setup-2-found');
    await button(page, 'Next').click();
    await looked(page, 'setup-3-key');
    await button(page, 'Make key first').click();
    const key = await page.getByRole('region', { name: 'Key', exact: true }).innerText();
    assert.match(key, /^sk-drv-/);
    assert.equal(await page.getByRole('button', { name: /^Next/ }).getAttribute('aria-disabled'), 'true', 'not before the key is kept');
    await button(page, 'Send it for me').click();
    const answer = page.getByRole('region', { name: 'Answer', exact: true }).last();
    await until('an answer', async () => /\S/.test((await answer.innerText()).replace('Waiting for the first token.', '')));
    await page.getByText('measured in this page').waitFor();
    await looked(page, 'setup-3-answer');
    await page.getByLabel('I have kept the key').check();
    await page.getByRole('button', { name: /^Next/ }).click();
    await page.getByText('Step 4 of 4').waitFor();
    await looked(page, 'setup-4-done');
    assert.doesNotMatch(await page.content(), /sk-drv-/, 'the key has left the page');
    await button(page, 'Go to Fleet').click();
    await page.getByText('First steps').waitFor();
    await settled(page);
    const rows = (await hub.cliJson('usage', '--by', 'key')).rows;
    assert.ok(rows.some((r) => r.name === 'first' && r.requests === 1), JSON.stringify(rows));
    assert.equal((await hub.post('/v1/chat/completions', { model: 'tiny', max_tokens: 1, messages: [{ role: 'user', content: 'x' }] }, { headers: { authorization: `Bearer ${key.trim()}` } })).status, 200);
    assert.doesNotMatch(JSON.stringify(await page.evaluate(() => [{ ...localStorage }, { ...sessionStorage }, location.href])), /sk-drv-/, 'nor is it anywhere else');
  });
});

test('signing in, with what is wrong said; signing out', async () => {
  await withPage(browser, hub, { expects: [REFUSED] }, async (page) => {
    await page.goto(`${hub.url}/console/#/keys`);
    await button(page, 'Sign in').waitFor();
    await looked(page, 'signin');
    await button(page, 'Sign in').click();
    await page.getByText('Type your name.').waitFor();
    await signIn(page, 'sam', 'not this one');
    await page.getByText('This name and passphrase do not go together').waitFor();
    await looked(page, 'signin-wrong');
    assert.equal(await page.getByLabel('Name').inputValue(), 'sam', 'what was typed stays');
    await signIn(page, 'sam');
    await page.getByRole('heading', { level: 1, name: 'Keys & usage' }).waitFor();
    assert.match(page.url(), /#\/keys/, 'one gets where one wanted to go');
    await page.reload();
    await page.getByRole('heading', { level: 1, name: 'Keys & usage' }).waitFor();
    await page.locator('summary', { hasText: 'sam' }).click();
    await button(page, 'Sign out').click();
    await button(page, 'Sign in').waitFor();
    assert.equal((await page.request.get(`${hub.url}/drover/v1/status`)).status(), 401);
  });
});

test('a session that ends elsewhere ends here within seconds, and the page says why', async () => {
  addPeople(hub.dir, { vera: 'viewer' });
  const admin = await person(hub, 'sam');
  await withPage(browser, hub, { as: 'vera', expects: [REFUSED, /WebSocket/] }, async (page) => {
    await show(page, hub, '#/fleet');
    const { json } = await admin.ask('GET', 'sessions');
    const began = performance.now();
    for (const s of json.sessions.filter((x) => x.user === 'vera')) assert.equal((await admin.ask('DELETE', `sessions/${s.id}`)).status, 200);
    await button(page, 'Sign in').waitFor();
    assert.ok(performance.now() - began < 5000, 'within 5 s');
    assert.match(await page.getByRole('status').first().innerText(), /\w+ \w+/);
    await looked(page, 'signin-ended');
  });
  await withPage(browser, hub, { as: 'vera', expects: [REFUSED, /WebSocket/] }, async (page) => {
    await show(page, hub, '#/pulse');
    assert.equal((await hub.cli('user', 'rm', 'vera')).code, 0);
    await button(page, 'Sign in').waitFor({ timeout: 5000 });
    assert.notEqual(await page.locator('main.entrance [role=status]').innerText(), '');
  });
});
