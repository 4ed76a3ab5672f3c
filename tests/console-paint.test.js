// How fast the console is there, and how usable: Lighthouse in a real browser, and what the first visit costs.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';
import lighthouse from 'lighthouse';
import { startFake } from './fakes/index.js';
import { addPeople, launchOptions, person, settled, startBrowser, withPage } from './lib/browser.js';
import { freePort, startDrover } from './lib/drover.js';

const LEAST = 0.95, KIB = 1024;
let fake, hub;

before(async () => {
  fake = await startFake('openai', { models: ['coder'] });
  fake.name = 'box';
  hub = await startDrover({ endpoints: [fake], models: ['coder'], prepare: (dir) => addPeople(dir, { sam: 'admin' }) });
});
after(async () => {
  await hub?.stop();
  await fake?.close();
});

test('the first visit is small, and asks for few things', async () => {
  const browser = await startBrowser();
  try {
    await withPage(browser, hub, { as: 'sam' }, async (page) => {
      const wire = await page.context().newCDPSession(page), sizes = new Map();
      await wire.send('Network.enable');
      wire.on('Network.responseReceived', (e) => sizes.set(e.requestId, { url: e.response.url, type: e.type, bytes: 0 }));
      wire.on('Network.loadingFinished', (e) => { const s = sizes.get(e.requestId); if (s) s.bytes = e.encodedDataLength; });
      await page.goto(`${hub.url}/console/`);
      await settled(page);
      await page.getByRole('heading', { level: 1, name: 'Fleet' }).waitFor();
      const files = [...sizes.values()].filter((s) => !s.url.includes('/drover/v1/'));
      const of = (type) => files.filter((s) => s.type === type).reduce((n, s) => n + s.bytes, 0);
      assert.ok(of('Script') > 10 * KIB && of('Script') <= 60 * KIB, `script: ${of('Script')} bytes`);
      assert.ok(of('Stylesheet') <= 15 * KIB, `style: ${of('Stylesheet')} bytes`);
      const all = files.reduce((n, s) => n + s.bytes, 0);
      assert.ok(all <= 90 * KIB, `all files: ${all} bytes`);
      assert.ok(files.length <= 6, files.map((s) => s.url).join(' '));
    });
  } finally {
    await browser.close();
  }
});

test('Lighthouse gives at least 0.95 for performance and for accessibility', async (t) => {
  const dir = mkdtempSync(path.join(tmpdir(), 'chromium-')), port = await freePort();
  // Lighthouse opens its own page in the browser's own profile, which is where the session must be.
  const context = await chromium.launchPersistentContext(dir, launchOptions(`--remote-debugging-port=${port}`));
  try {
    const measure = async (what) => {
      let best;
      for (let i = 0; i < 3; i++) { // a machine that is busy with something else may spoil one
        const { lhr } = await lighthouse(`${hub.url}/console/`, { port, disableStorageReset: true, onlyCategories: ['performance', 'accessibility'], logLevel: 'error', output: 'json' });
        const { performance, accessibility } = lhr.categories, figure = (id) => `${id} ${lhr.audits[id].displayValue}`;
        const faults = Object.values(lhr.audits).filter((a) => accessibility.auditRefs.some((r) => r.id === a.id) && a.score === 0).map((a) => a.id);
        const now = { what, performance: performance.score, accessibility: accessibility.score, faults,
          figures: ['first-contentful-paint', 'largest-contentful-paint', 'total-blocking-time', 'cumulative-layout-shift', 'speed-index'].map(figure).join(', ') };
        if (!best || now.performance > best.performance) best = now;
        if (best.performance >= LEAST) break;
      }
      return best;
    };
    const door = await measure('the door');
    const [name, value] = (await person(hub, 'sam')).cookie.split('=');
    await context.addCookies([{ name, value, url: hub.url, httpOnly: true, sameSite: 'Strict' }]);
    const fleet = await measure('Fleet');
    for (const seen of [door, fleet]) {
      t.diagnostic(JSON.stringify(seen));
      assert.ok(seen.performance >= LEAST, JSON.stringify(seen));
      assert.ok(seen.accessibility >= LEAST, JSON.stringify(seen));
    }
  } finally {
    await context.close();
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
  }
});
