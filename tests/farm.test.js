// Five hundred nodes, each with its own certificate and link (bench/nodes.c), at one hub that is killed and comes back: all find it again,
// and whoever asks it for something meanwhile is not kept waiting by them.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFake } from './fakes/index.js';
import { home, serve } from './lib/daemon.js';
import { command, DROVER, freePort, until } from './lib/drover.js';

const N = 500, SIMULATOR = path.join(path.dirname(DROVER), 'bench_nodes');
let place, hub, fake, farm, log = '';

const up = () => Number(/"up":(\d+)[^]*$/.exec(log.trim().split('\n').at(-1))?.[1] ?? 0);
const chat = async () => {
  const answer = await fetch(`${place.url}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ model: 'near', messages: [{ role: 'user', content: 'Hello' }] }) });
  const { status } = answer;
  await answer.text();
  return status;
};
const isReady = () => until('the hub', async () => (await fetch(`${place.url}/healthz`).catch(() => undefined))?.status === 200, 20000, 20);

before(async () => {
  assert.ok(existsSync(SIMULATOR), `${SIMULATOR} is built with everything else`);
  fake = await startFake('vllm', { models: ['near'] });
  const port = await freePort(), links = await freePort();
  place = home(port, { hub: { name: 'home' }, endpoints: [{ name: 'near', url: fake.url }],
    listen: [{ address: `127.0.0.1:${port}` }, { address: `127.0.0.1:${links}`, tls: 'ca', client_cert: 'optional', roles: ['link'] }],
    limits: { conn: { per_loopback: 4096, new_per_loopback_per_s: 10000, new_per_loopback_burst: 10000 } } });
  place.links = `https://127.0.0.1:${links}`;
  hub = serve(place);
  await isReady();
  farm = spawn(SIMULATOR, [path.join(place.dir, 'run/drover.sock'), place.links, String(N), '240'], { stdio: ['ignore', 'pipe', 'inherit'] });
  farm.stdout.on('data', (d) => { log += d; });
});
after(async () => {
  farm?.kill('SIGKILL');
  hub?.kill('SIGKILL');
  await hub?.ended;
  await fake?.close();
  place?.remove();
});

test('five hundred join and link', { timeout: 120000 }, async () => {
  await until('all of them', () => up() === N, 90000, 200);
  const { nodes } = JSON.parse((await command(DROVER, ['node', 'ls', '--json', '--config', place.file])).stdout);
  assert.equal(nodes.filter((n) => n.linked).length, N);
});

test('after a restart of the hub all are back, and requests go on meanwhile', { timeout: 180000 }, async () => {
  await until('the near one', async () => (await chat()) === 200);
  hub.kill('SIGKILL');
  await hub.ended;
  await until('them to see it', () => up() < N, 20000, 100);
  hub = serve(place);
  await isReady();
  await until('the near one', async () => (await chat()) === 200, 15000);
  let asked = 0, back = false;
  const asking = (async () => {
    while (!back && asked < 3000) {
      assert.equal(await chat(), 200);
      asked++;
      await sleep(20);
    }
  })();
  await until('all of them', () => up() === N, 90000, 200).finally(() => { back = true; });
  await asking;
  assert.ok(asked > 0);
  const { nodes } = JSON.parse((await command(DROVER, ['node', 'ls', '--json', '--config', place.file])).stdout);
  assert.deepEqual([nodes.length, nodes.filter((n) => n.linked).length], [N, N]);
});
