// The fair queue: who is next where a place is full, over all workers, and what those that wait are told. The fake holds each
// request until it is told to answer, so that what counts is the order in which requests come to it.
import test from 'node:test';
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFake } from './fakes/index.js';
import { freePort, startDrover, until } from './lib/drover.js';

const CHAT = '/v1/chat/completions';
const DONE = { id: 'c', object: 'chat.completion', model: 'm', choices: [{ index: 0, message: { role: 'assistant', content: 'Hi.' }, finish_reason: 'stop' }] };
const CHUNKS = 'data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"Hi."},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n';

/** A runtime that answers one request per `next()`, and all that come after `open()`. */
async function gated(models = ['m']) {
  const held = [];
  let open = false;
  const go = (request, response) => (JSON.parse(request.body).stream
    ? response.whole(200, 'text/event-stream', CHUNKS) : response.json(200, DONE));
  const fake = await startFake('openai', { models,
    answer: async (request, response) => {
      if (!open) await new Promise((turn) => held.push(turn));
      return go(request, response);
    } });
  fake.next = () => held.shift()();
  fake.open = () => { open = true; for (const turn of held.splice(0)) turn(); };
  /** Who came, in the order in which they did: each says its name as the prompt. */
  fake.order = () => fake.inferences.map((r) => JSON.parse(r.body).messages[0].content);
  return fake;
}

/** A Drover in front of such runtimes with room for so many each. */
async function house({ room = 1, fakes = [], workers = 4, park_timeout = '60s', limits = {}, ...config } = {}) {
  const all = fakes.length ? fakes : [await gated()], port = await freePort();
  const endpoints = all.map((f, i) => ({ name: `e${i}`, url: f.url, max_concurrent: room }));
  const drover = await startDrover({ endpoints, listen: [{ address: `127.0.0.1:${port}`, auth: 'key' }], models: ['m'],
    config: { workers, gateway: { park_max: 64, park_timeout }, limits, ...config } });
  const sent = [];
  return {
    drover, fake: all[0], fakes: all, endpoints,
    /** Sends a request of that name; its answer is read to the end: {name, status, place, retry, text}. */
    ask(name, { key, stream = false, signal, model = 'm' } = {}) {
      const answer = fetch((key ? `http://127.0.0.1:${port}` : drover.url) + CHAT, { method: 'POST', signal: signal ?? AbortSignal.timeout(20000),
        headers: { 'Content-Type': 'application/json', ...(key ? { Authorization: `Bearer ${key}` } : {}) },
        body: JSON.stringify({ model, stream, messages: [{ role: 'user', content: name }] }) })
        .then(async (r) => ({ name, status: r.status, place: r.headers.get('drover-queue-place'), queued: r.headers.get('drover-queue-ms'),
          retry: r.headers.get('retry-after'), text: await r.text() }));
      answer.catch(() => {}); // looked at later
      sent.push(answer);
      return answer;
    },
    answers: () => Promise.all(sent),
    async figure(name) { return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(await (await drover.get('/metrics')).text())?.[1]); },
    waiting(n) { return until(`${n} to wait`, async () => (await this.figure('drover_requests_queued')) === n); },
    came: (n) => until(`${n} at the runtimes`, () => all.reduce((sum, f) => sum + f.inferences.length, 0) === n),
    /** The first one, which all others wait for. */
    async fill(name = 'in', options) { this.ask(name, options); await this.came(1); },
    /** One after the other, each behind those that wait already; their answers. */
    async line(names, options) {
      const these = [];
      for (const name of names) {
        const n = await this.figure('drover_requests_queued');
        these.push(this.ask(name, options));
        await this.waiting(n + 1);
      }
      return these;
    },
    async key(name, ...options) {
      const { code, stdout, stderr } = await drover.cli('key', 'add', name, ...options);
      assert.equal(code, 0, stderr);
      return stdout.trim();
    },
    async close() {
      for (const f of all) f.open();
      try {
        await Promise.allSettled(sent);
        await drover.stop();
      } finally {
        for (const f of all) await f.close();
      }
    },
  };
}

const times = (n, name) => Array.from({ length: n }, (_, i) => `${name}${i + 1}`);
async function at(options, run) {
  const h = await house(options);
  try {
    await run(h);
  } finally {
    await h.close();
  }
}

test('over all workers nobody overtakes those that wait', () => at({}, async (h) => {
  const early = times(10, 'early'), late = times(10, 'late');
  await h.fill();
  await h.line(early);
  for (const [i, name] of late.entries()) { // one comes whenever there is room
    h.fake.next();
    h.ask(name);
    await h.came(i + 2);
  }
  h.fake.open();
  const answers = await h.answers();
  assert.deepEqual(answers.map((a) => a.status), Array(21).fill(200));
  assert.deepEqual(h.fake.order().slice(0, 11), ['in', ...early]);
  assert.deepEqual(h.fake.order().slice(11).sort(), [...late].sort());
  const place = Object.fromEntries(answers.map((a) => [a.name, a.place]));
  assert.equal(place.in, null, 'it did not wait');
  assert.deepEqual(early.map((name) => place[name]), early.map((_, i) => String(i + 1)));
  assert.equal(await h.figure('drover_requests_queued'), 0);
}));

test('a greedy key does not starve a polite one', () => at({}, async (h) => {
  const greedy = await h.key('greedy', '--concurrent', '100', '--requests', '6000', '--burst', '100', '--tokens', '10000000'), polite = await h.key('polite');
  await h.fill('in', { key: greedy });
  for (const name of times(40, 'g')) h.ask(name, { key: greedy });
  await h.waiting(40);
  h.ask('p', { key: polite });
  await h.waiting(41);
  assert.match(await (await h.drover.get('/metrics')).text(), /^drover_queue_waiting\{node="e0",runtime="[^"]*"\} 41$/m);
  h.fake.open();
  const answers = await h.answers();
  assert.deepEqual(answers.map((a) => a.status), Array(42).fill(200));
  assert.equal(h.fake.order().indexOf('p'), 2, `after the one in service and one more: ${h.fake.order()}`);
  assert.equal(answers.find((a) => a.name === 'p').place, '2');
}));

test('also where it came by another model of the same endpoint, and requests without a key are one principal', async () => {
  const fake = await gated(['m', 'other']);
  await at({ fakes: [fake] }, async (h) => {
    const polite = await h.key('polite');
    await h.fill();
    for (const name of times(20, 'g')) h.ask(name);
    await h.waiting(20);
    h.ask('p', { key: polite, model: 'other' });
    await h.waiting(21);
    h.fake.open();
    await h.answers();
    assert.equal(h.fake.order().indexOf('p'), 2, `${h.fake.order()}`);
  });
});

test('a key\'s share grows with its priority', () => at({}, async (h) => {
  const high = await h.key('high', '--priority', '50'), usual = await h.key('usual');
  await h.fill();
  for (const name of times(8, 'u')) h.ask(name, { key: usual });
  await h.waiting(8);
  for (const name of times(8, 'h')) h.ask(name, { key: high });
  await h.waiting(16);
  h.fake.open();
  await h.answers();
  const order = h.fake.order().slice(1).map((name) => name[0]).join('');
  assert.equal(order, 'uh' + 'hhhuhhhh' + 'u'.repeat(6), 'four turns for one');
}));

test('with room for two, two are served at a time, in order', () => at({ room: 2 }, async (h) => {
  h.ask('in');
  h.ask('in');
  await h.came(2);
  await h.line(times(6, 'w'));
  for (let n = 3; n <= 8; n++) {
    assert.equal(h.fake.inferences.length, n - 1);
    h.fake.next();
    await h.came(n);
  }
  assert.deepEqual(h.fake.order(), ['in', 'in', ...times(6, 'w')]);
}));

test('one waits for its slug, and takes whichever of its endpoints has room first', async () => {
  const fakes = [await gated(['m', 'only']), await gated()];
  await at({ fakes }, async (h) => {
    h.ask('in');
    await h.came(1);
    h.ask('in');
    await h.came(2);
    await h.line(['only'], { model: 'only' });
    await h.line(['either', 'next']);
    fakes[1].next();
    await h.came(3);
    assert.deepEqual(fakes[1].order(), ['in', 'either']);
    fakes[0].next();
    await h.came(4);
    assert.deepEqual(fakes[0].order(), ['in', 'only']);
    fakes[0].next();
    await h.came(5);
    assert.deepEqual(fakes[0].order(), ['in', 'only', 'next']);
  });
});

test('one that leaves while it waits frees its place, and pays nothing', () => at({}, async (h) => {
  const leaver = await h.key('leaver'), other = await h.key('other'), gone = new AbortController();
  await h.fill();
  const left = times(5, 'gone').map((name) => h.ask(name, { key: leaver, signal: gone.signal }));
  await h.waiting(5);
  await h.line(times(3, 'o'), { key: other });
  gone.abort();
  await Promise.allSettled(left);
  await h.waiting(3);
  await h.line(['l'], { key: leaver }); // its next one comes as if those had never been
  h.fake.open();
  await until('all to be served', () => h.fake.inferences.length === 5);
  assert.deepEqual(h.fake.order(), ['in', 'o1', 'l', 'o2', 'o3']);
}));

test('order and places outlast new settings', () => at({}, async (h) => {
  const late = await gated(['new']);
  try {
    await h.fill();
    await h.line(times(4, 'w'));
    h.drover.configure({ endpoints: [...h.endpoints, { name: 'late', url: late.url }] });
    h.drover.process.kill('SIGHUP');
    await until('the new model', async () => (await h.drover.modelIds()).includes('new'));
    await h.line(['last']);
    h.fake.next();
    await h.came(2);
    h.drover.configure({ endpoints: [{ ...h.endpoints[0], max_concurrent: 3 }, { name: 'late', url: late.url }] });
    h.drover.process.kill('SIGHUP');
    await h.came(4); // more room: the next two go
    h.fake.open();
    await h.answers();
    assert.deepEqual(h.fake.order().slice(0, 2), ['in', 'w1']);
    assert.deepEqual(h.fake.order().slice(2, 4).sort(), ['w2', 'w3']);
    assert.equal(h.fake.order().length, 6);
  } finally {
    late.open();
    await late.close();
  }
}));

test('a revoked key\'s requests leave the queue', () => at({}, async (h) => {
  const bad = await h.key('bad');
  await h.fill();
  await h.line(times(3, 'b'), { key: bad });
  await h.line(['w']);
  assert.equal((await h.drover.cli('key', 'revoke', 'bad')).code, 0);
  await h.waiting(1);
  h.fake.open();
  const answers = await h.answers();
  assert.deepEqual(answers.filter((a) => a.name[0] === 'b').map((a) => a.status), [401, 401, 401]);
  assert.deepEqual(h.fake.order(), ['in', 'w']);
}));

test('those that wait when it stops are still served, in order', () => at({}, async (h) => {
  await h.fill();
  await h.line(times(3, 'w'));
  h.drover.process.kill('SIGTERM');
  await until('it to stop', () => h.drover.log.includes('stopping'));
  h.fake.open();
  assert.deepEqual((await h.answers()).map((a) => a.status), [200, 200, 200, 200]);
  assert.deepEqual(h.fake.order(), ['in', ...times(3, 'w')]);
}));

test('whose time runs out is told place, wait, and when to come again', () => at({ park_timeout: '4s' }, async (h) => {
  await h.fill();
  await h.line(times(2, 'w'));
  const late = await h.line(['w3', 'w4']);
  for (let n = 2; n <= 3; n++) { // two turns, at least 1.1 s apart
    await sleep(1100);
    h.fake.next();
    await h.came(n);
  }
  for (const a of await Promise.all(late)) {
    assert.equal(a.status, 503);
    const { message } = JSON.parse(a.text).error;
    assert.match(message, /waited gateway\.park_timeout \(4 s\): place [12] of the queue after \d+ s, about \d+ s from its turn: every endpoint/);
    const told = /about (\d+) s/.exec(message)[1];
    assert.equal(a.retry, told);
    assert.ok(Number(told) >= 2, message);
  }
}));

test('a stream that waits is told its place in comments', () => at({ limits: { stream: { heartbeat: '1s' } } }, async (h) => {
  await h.fill();
  await h.line(['w']);
  const stream = h.ask('s', { stream: true });
  await h.waiting(2);
  await sleep(2500);
  h.fake.open();
  const answer = await stream;
  assert.equal(answer.status, 200);
  assert.equal(answer.place, '2');
  assert.match(answer.text, /^: queued, place 2\n/);
  assert.match(answer.text, /"content":"Hi\."/);
  assert.match(answer.text, /data: \[DONE\]\n\n$/);
}));

test('who waits at a fallback stays there when something in the fleet changes', () => at({ models: [{ slug: 'brave', targets: ['nobody/none'], fallback: ['m'] }] }, async (h) => {
  await h.fill();
  await h.line(['w'], { model: 'brave' });
  h.drover.configure({ endpoints: [...h.endpoints, { name: 'more', url: 'http://127.0.0.1:9', kind: 'openai' }] });
  assert.equal((await h.drover.cli('reload')).code, 0);
  await until('the new one', async () => (await h.drover.cliJson('endpoints')).endpoints.some((e) => e.name === 'more' && e.state === 'down'));
  await h.waiting(1);
  h.fake.open();
  assert.deepEqual((await h.answers()).map((a) => a.status), [200, 200]);
}));
