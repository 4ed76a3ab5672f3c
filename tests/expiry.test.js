// A node whose certificate ends while it is linked: what runs goes on, nothing new is sent there, and all is well once it was renewed. That
// the hub takes it for ended is written into its records, since no real leaf ends within a test.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { DatabaseSync } from 'node:sqlite';
import path from 'node:path';
import { startFake } from './fakes/index.js';
import { home, serve } from './lib/daemon.js';
import { command, DROVER, freePort, startDrover, until } from './lib/drover.js';

let place, hub, node, fake;
const cli = async (...words) => {
  const { code, stdout, stderr } = await command(DROVER, [...words, '--config', place.file]);
  assert.equal(code, 0, stderr);
  return stdout;
};
const attic = async () => JSON.parse(await cli('node', 'show', 'attic', '--json'));
const chat = (more = {}) => fetch(`${place.url}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ model: 'far', messages: [{ role: 'user', content: 'Hello' }], ...more }) });
/** Stops the hub, says in its records when the certificate ends, and starts it again. */
async function endsIn(seconds) {
  hub.kill('SIGTERM');
  await hub.ended;
  const db = new DatabaseSync(path.join(place.dir, 'data/drover.db'));
  const { changes } = db.prepare('UPDATE node SET not_after_s = ?').run(Math.floor(Date.now() / 1000) + seconds);
  db.close();
  assert.equal(changes, 1);
  hub = serve(place);
  await until('its link', async () => (await command(DROVER, ['status', '--config', place.file])).code === 0 && (await attic()).linked, 30000, 100);
}

before(async () => {
  fake = await startFake('openai', { models: ['far'], reply: Array.from({ length: 40 }, (_, i) => `${i} `), delayMs: 250 });
  fake.name = 'box';
  place = home(await freePort(), { hub: { name: 'home' } });
  place.write({ listen: [{ address: `127.0.0.1:${place.port}` }, { address: `127.0.0.1:${await freePort()}`, tls: 'ca', client_cert: 'optional', roles: ['link'] }] });
  hub = serve(place);
  await until('the hub', async () => (await command(DROVER, ['status', '--config', place.file])).code === 0);
  node = await startDrover({ endpoints: [fake], models: ['far'] });
  assert.equal((await node.cli('join', /'(.*)'/.exec(await cli('hub', 'invite', '--name', 'attic'))[1])).code, 0);
  await until('its model', async () => (await chat()).status === 200);
});
after(async () => {
  hub?.kill('SIGKILL');
  await hub?.ended;
  await node?.stop();
  await fake?.close();
  place?.remove();
});

test('a stream that runs when the certificate ends is finished, and nothing new goes there', { timeout: 90000 }, async () => {
  await endsIn(6);
  await until('its model', async () => (await chat()).status === 200, 20000, 100);
  const answer = await chat({ stream: true });
  assert.equal(answer.status, 200);
  const whole = answer.text();
  await until('the end of the certificate', async () => (await chat()).status === 503, 15000, 100);
  const { linked, health, reason } = await attic();
  assert.deepEqual([linked, health], [true, 'down']);
  assert.match(reason, /its certificate has ended/);
  assert.match(await whole, /\[DONE\]/);
  assert.ok(JSON.parse((await command(DROVER, ['doctor', '--json', '--config', place.file])).stdout).findings.some((f) => /certificate/.test(f.code)));
});

test('once it is good again new work goes there at once', { timeout: 60000 }, async () => {
  await endsIn(86400 * 5);
  await until('work', async () => (await chat()).status === 200, 20000, 100);
  assert.equal((await attic()).health, 'up');
});

test('an hour after the end its link is cut', { timeout: 60000 }, async () => {
  hub.kill('SIGTERM');
  await hub.ended;
  const db = new DatabaseSync(path.join(place.dir, 'data/drover.db'));
  db.prepare('UPDATE node SET not_after_s = ?').run(Math.floor(Date.now() / 1000) - 3601);
  db.close();
  hub = serve(place);
  await until('the cut', async () => (await command(DROVER, ['status', '--config', place.file])).code === 0 &&
    JSON.parse(await cli('node', 'history', 'attic', '--json')).events.some((e) => /its certificate ended an hour ago/.test(JSON.stringify(e))), 30000, 200);
  assert.match(node.log, /certificate ended an hour ago/);
});
