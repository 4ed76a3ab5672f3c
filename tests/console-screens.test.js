// Every screen of the console in a real browser: empty, full, with faults and without its hub; light and dark, on a desk and on a phone;
// looked at by axe, and kept under build/screenshots. And with names that are meant to do harm.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFake } from './fakes/index.js';
import { addPeople, look, person, shot, show, startBrowser, TWO, withPage, ZOOM } from './lib/browser.js';
import { startDrover, until } from './lib/drover.js';

const MAIN = { fleet: '#/fleet', pulse: '#/pulse', try: '#/pulse?tab=try', console: '#/console', keys: '#/keys', usage: '#/keys?tab=usage', budgets: '#/keys?tab=budgets',
  settings: '#/settings', alerts: '#/alerts' };
const REST = { events: '#/console?from=events', sessions: '#/keys?tab=sessions', people: '#/settings?tab=people', mode: '#/settings?tab=mode', records: '#/settings?tab=records',
  audit: '#/settings?tab=audit', look: '#/settings?tab=look', about: '#/settings?tab=about' };
const FAILED = /status of 500/;
let browser;

before(async () => { browser = await startBrowser(); });
after(() => browser?.close());

const button = (page, name) => page.getByRole('button', { name, exact: true });
const chat = (hub, key, model, more = {}, signal = AbortSignal.timeout(20000)) => hub.post('/v1/chat/completions', { model, messages: [{ role: 'user', content: 'Tell me something.' }], ...more },
  { signal, headers: { authorization: `Bearer ${key}` } });

/** Goes through screens; gives back what is wrong with them. */
async function tour(page, hub, screens, state, ways) {
  const all = [];
  for (const [name, hash] of Object.entries(screens)) {
    await show(page, hub, hash);
    all.push(...await look(page, `${name}-${state}`, ways));
  }
  return all;
}

test('an empty hub says on each screen why it is empty and what to do', async () => {
  const hub = await startDrover({ prepare: (dir) => addPeople(dir, { sam: 'admin' }) });
  try {
    await withPage(browser, hub, { as: 'sam' }, async (page) => {
      assert.deepEqual(await tour(page, hub, MAIN, 'empty', TWO), []);
      for (const [hash, words, act] of [['#/fleet', 'No endpoint yet', 'Look at all runtimes now'], ['#/pulse', 'No requests yet', 'Try a model'], ['#/keys', 'No keys yet', 'New key'],
        ['#/keys?tab=usage', 'Nothing was asked', 'Look at the last year'], ['#/keys?tab=budgets', 'No key has a budget'], ['#/alerts', 'Nothing fires.']]) {
        await show(page, hub, hash);
        await page.locator('main').getByText(words).first().waitFor();
        if (act) assert.ok(await page.locator('main').getByRole('button', { name: act }).count(), act);
      }
    });
  } finally {
    await hub.stop();
  }
});

test('a full hub: every screen and dialog; then with faults', async () => {
  const fakes = {
    big: await startFake('vllm', { models: [{ id: 'Qwen/Qwen3-Coder', context: 131072 }] }),
    desk: await startFake('ollama', { models: ['qwen3:8b', 'nomic-embed-text:latest'] }),
    spare: await startFake('llamacpp', { models: ['gemma-3-27b'] }),
    attic: await startFake('openai', { models: ['phi-4'] }),
  };
  for (const [name, fake] of Object.entries(fakes)) fake.name = name;
  const leave = new AbortController();
  const hub = await startDrover({ endpoints: Object.values(fakes), models: ['Qwen/Qwen3-Coder', 'qwen3:8b', 'gemma-3-27b', 'phi-4', 'coder'],
    config: { name: 'hub-1', models: [{ slug: 'coder', targets: ['big/Qwen/Qwen3-Coder', 'desk/qwen3:8b'] }] },
    prepare: (dir) => addPeople(dir, { sam: 'admin', vera: 'viewer', olga: 'operator' }) });
  try {
    await fakes.attic.close();
    const admin = await person(hub, 'sam'), day = 86400000;
    const key = async (body) => (await admin.ask('POST', 'keys', body)).json.key;
    const web = await key({ name: 'web-app', owner: 'Web team', models: ['coder', 'qwen3*'], limits: { tokens_per_day: 500000, requests_per_min: 120, requests_burst: 100 } });
    const ci = await key({ name: 'ci-bot', owner: 'Build', limits: { tokens_per_month: 2000000 } });
    await key({ name: 'workshop', expires_ms: Date.now() + 2 * day });
    for (const [who, model] of [[web, 'coder'], [ci, 'coder'], [web, 'qwen3:8b'], [ci, 'gemma-3-27b'], [web, 'coder'], [ci, 'no-such-model']]) await (await chat(hub, who, model)).text();
    fakes.spare.options.failWith = 500;
    await (await chat(hub, ci, 'gemma-3-27b')).text();
    for (const fake of [fakes.big, fakes.desk]) Object.assign(fake.options, { reasoning: 'The question is short, so the answer may be, too. ', reply: Array.from({ length: 4000 }, (_, i) => ` word${i}`), delayMs: 60 });
    const going = await Promise.all(['coder', 'coder', 'qwen3:8b', 'coder', 'qwen3:8b'].map((model, i) => chat(hub, i % 2 ? web : ci, model, { stream: true, max_tokens: 5000 }, leave.signal)));
    for (const r of going) assert.equal(r.status, 200, r.status === 200 ? '' : await r.text());
    // Beside the long ones, short ones that come and go.
    delete fakes.spare.options.failWith;
    const trickle = (async () => {
      for (let i = 0; !leave.signal.aborted; i++) {
        fakes.spare.options.reply = Array.from({ length: 10 + 7 * (i % 5) }, (_, n) => ` word${n}`);
        await (await chat(hub, ci, 'gemma-3-27b')).text();
        await sleep(200 + 100 * (i % 4));
      }
    })().catch(() => {});
    const reading = going.map((r) => r.body.pipeTo(new WritableStream()).catch(() => {}));
    await until('what is down', async () => (await hub.cliJson('endpoints')).endpoints.some((e) => e.name === 'attic' && e.state === 'down'), 30000);
    await until('the alert', async () => (await admin.ask('GET', 'alerts')).json.alerts.length > 0);
    await withPage(browser, hub, { as: 'sam', expects: [FAILED] }, async (page) => {
      const all = [...await tour(page, hub, MAIN, 'full'), ...await tour(page, hub, MAIN, 'full', [ZOOM]), ...await tour(page, hub, REST, 'full', TWO)];
      await show(page, hub, '#/fleet?open=big&figure=tokens&why=Qwen%2FQwen3-Coder');
      await page.getByText('Who would answer Qwen').first().waitFor();
      all.push(...await look(page, 'fleet-open', TWO));
      await show(page, hub, '#/pulse');
      await page.locator('tr.data .row-open').first().click();
      await button(page, 'Stop request').or(button(page, 'Copy id')).first().waitFor();
      all.push(...await look(page, 'pulse-open', TWO));
      await show(page, hub, '#/keys');
      await page.locator('tr.data .row-open').first().click();
      all.push(...await look(page, 'keys-open', TWO));
      await show(page, hub, '#/fleet');
      await page.keyboard.press('Control+k');
      await page.getByRole('combobox', { name: 'Search or run…' }).fill('coder');
      all.push(...await look(page, 'palette', TWO));
      await page.keyboard.press('Escape');
      await page.keyboard.press('?');
      await page.getByRole('heading', { name: 'Marks' }).waitFor();
      all.push(...await look(page, 'help', TWO));
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'DEV' }).click();
      all.push(...await look(page, 'mode-dialog', TWO));
      await page.keyboard.press('Escape');
      await show(page, hub, '#/fleet?figure=tokens');
      await page.locator('.uplot').waitFor();
      await page.evaluate(() => document.activeElement.blur());
      await shot(page, 'readme-fleet');
      await page.emulateMedia({ colorScheme: 'dark' });
      await show(page, hub, '#/pulse?state=live&model=coder');
      await page.locator('tr.data', { hasText: 'answering' }).first().getByRole('button').click();
      await page.locator('tr.detail').waitFor();
      await shot(page, 'readme-pulse');
      await page.emulateMedia({ colorScheme: 'light', forcedColors: 'active' });
      for (const name of ['fleet', 'pulse', 'keys']) {
        await show(page, hub, MAIN[name]);
        await shot(page, `${name}-forced-colours`);
      }
      await page.emulateMedia({ forcedColors: 'none' });
      await page.route(/\/drover\/v1\/(?!session$|events$)/, (route) => route.fulfill({ status: 500, contentType: 'application/json', body: '{"error":{"code":"internal","message":"It was made to fail."}}' }));
      await page.reload();
      for (const [name, hash] of Object.entries(MAIN)) {
        await show(page, hub, hash);
        if (name !== 'console') await page.locator('main').getByText('It was made to fail.').first().waitFor();
        all.push(...await look(page, `${name}-error`, TWO));
      }
      assert.deepEqual(all, []);
    });
    leave.abort();
    await Promise.all([trickle, ...reading]);
  } finally {
    leave.abort();
    await hub.stop();
    for (const fake of Object.values(fakes)) await fake.close();
  }
});
