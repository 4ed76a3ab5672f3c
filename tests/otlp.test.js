// Traces and metrics for an OpenTelemetry collector: their shape, the client's traceparent, and collectors that are down, slow, full
// or gone. The fake collector checks every body against the JSON encoding of OTLP as it comes.
import test, { after, before, beforeEach } from 'node:test';
import assert from 'node:assert/strict';
import http from 'node:http';
import path from 'node:path';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFake } from './fakes/index.js';
import { freePort, startDrover, until } from './lib/drover.js';
import { allSse } from './lib/http.js';

const CHAT = '/v1/chat/completions', PARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const TRACE = '0af7651916cd43dd8448eb211c80319c';

/* --- the collector ------------------------------------------------------------------------------------------------ */

const KEYS = {
  resourceSpans: ['resource', 'scopeSpans'], scopeSpans: ['scope', 'spans'], resource: ['attributes'], scope: ['name', 'version'],
  span: ['traceId', 'spanId', 'parentSpanId', 'traceState', 'flags', 'name', 'kind', 'startTimeUnixNano', 'endTimeUnixNano', 'attributes', 'status'],
  resourceMetrics: ['resource', 'scopeMetrics'], scopeMetrics: ['scope', 'metrics'], metric: ['name', 'unit', 'description', 'histogram'],
  point: ['attributes', 'startTimeUnixNano', 'timeUnixNano', 'count', 'sum', 'min', 'max', 'bucketCounts', 'explicitBounds'],
};
const only = (value, kind) => assert.deepEqual(Object.keys(value).filter((k) => !KEYS[kind].includes(k)), [], `members of ${kind}`);
const u64 = (v) => assert.match(v, /^\d{1,20}$/, 'a 64-bit integer is a text');

function checkAttributes(list) {
  const seen = new Set();
  for (const { key, value, ...rest } of list) {
    assert.deepEqual(rest, {});
    assert.equal(seen.has(key), false, `${key} twice`);
    seen.add(key);
    const [[kind, v], ...more] = Object.entries(value);
    assert.deepEqual(more, []);
    if (kind === 'stringValue') assert.ok(typeof v === 'string' && v, key);
    else if (kind === 'intValue') assert.match(v, /^-?\d+$/);
    else assert.equal(typeof v, { boolValue: 'boolean', doubleValue: 'number' }[kind], key);
  }
}

function checkSpan(s) {
  only(s, 'span');
  assert.match(s.traceId, /^(?!0{32})[0-9a-f]{32}$/);
  assert.match(s.spanId, /^(?!0{16})[0-9a-f]{16}$/);
  if (s.parentSpanId !== undefined) assert.match(s.parentSpanId, /^(?!0{16})[0-9a-f]{16}$/);
  assert.ok([2, 3].includes(s.kind) && s.name.length && Number.isInteger(s.flags) && s.flags & 0x100 && s.flags & 1);
  u64(s.startTimeUnixNano);
  u64(s.endTimeUnixNano);
  assert.ok(BigInt(s.startTimeUnixNano) <= BigInt(s.endTimeUnixNano));
  assert.ok(Math.abs(Number(BigInt(s.endTimeUnixNano) / 1000000n) - Date.now()) < 60000, 'now');
  if (s.status) assert.deepEqual(s.status, { code: 2 });
  checkAttributes(s.attributes);
}

function checkPoint(p) {
  only(p, 'point');
  for (const v of [p.startTimeUnixNano, p.timeUnixNano, p.count, ...p.bucketCounts]) u64(v);
  assert.equal(p.bucketCounts.length, p.explicitBounds.length + 1);
  assert.equal(p.bucketCounts.reduce((n, c) => n + Number(c), 0), Number(p.count));
  assert.ok(p.min <= p.max && p.sum >= p.min);
  checkAttributes(p.attributes);
}

const attributes = (list) => Object.fromEntries(list.map(({ key, value: v }) => [key, v.intValue !== undefined ? Number(v.intValue) : Object.values(v)[0]]));

class Collector {
  bodies = []; // {path, headers, spans, metrics, at}
  broken = [];
  answer = () => ({ status: 200, json: {} });
  #server = http.createServer((request, response) => this.#take(request, response));

  async #take(request, response) {
    let text = '';
    for await (const piece of request) text += piece;
    const body = { path: request.url, method: request.method, headers: request.headers, at: performance.now(), text };
    try {
      assert.equal(request.method, 'POST');
      assert.equal(request.headers['content-type'], 'application/json');
      Object.assign(body, this.#read(request.url, JSON.parse(text)));
    } catch (error) {
      this.broken.push(error);
    }
    this.bodies.push(body);
    const { status, json, headers, hang } = this.answer(body, this.bodies.filter((b) => b.path === body.path).length);
    if (hang) return;
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers });
    response.end(json === undefined ? '' : JSON.stringify(json));
    body.taken = status === 200;
  }

  #read(url, root) {
    if (url.endsWith('/v1/traces')) {
      assert.deepEqual(Object.keys(root), ['resourceSpans']);
      const spans = [];
      for (const r of root.resourceSpans) {
        only(r, 'resourceSpans');
        checkAttributes(r.resource.attributes);
        this.resource = attributes(r.resource.attributes);
        for (const s of r.scopeSpans) {
          only(s, 'scopeSpans');
          only(s.scope, 'scope');
          s.spans.forEach(checkSpan);
          spans.push(...s.spans.map((span) => ({ ...span, a: attributes(span.attributes) })));
        }
      }
      assert.ok(spans.length);
      return { spans };
    }
    assert.match(url, /\/v1\/metrics$/);
    const metrics = {};
    for (const s of root.resourceMetrics[0].scopeMetrics) {
      only(s, 'scopeMetrics');
      for (const m of s.metrics) {
        only(m, 'metric');
        assert.equal(m.histogram.aggregationTemporality, 2);
        m.histogram.dataPoints.forEach(checkPoint);
        metrics[m.name] = m.histogram.dataPoints.map((p) => ({ ...p, a: attributes(p.attributes) }));
      }
    }
    return { metrics };
  }

  get spans() { return this.bodies.filter((b) => b.taken).flatMap((b) => b.spans ?? []); }
  get metrics() { return this.bodies.filter((b) => b.taken && b.metrics).at(-1)?.metrics ?? {}; }
  async listen(port = 0) {
    await new Promise((go) => this.#server.listen(port, '127.0.0.1', go));
    this.port = this.#server.address().port;
    this.url = `http://127.0.0.1:${this.port}`;
    return this;
  }
  async close() {
    this.#server.closeAllConnections();
    await new Promise((go) => this.#server.close(go));
  }
}

/* --- the daemon --------------------------------------------------------------------------------------------------- */

let fake, flaky, collector, drover;
const otlp = (more) => ({ telemetry: { otlp: { url: `${collector.url}/otel`, key_file: path.join(drover?.dir ?? '', 'otlp.key'), key_header: 'x-team', key_scheme: 'plain',
  headers: ['X-Scope-OrgID: one: two'], interval: '200ms', ...more } } });

before(async () => {
  fake = await startFake('vllm', { models: ['m'] });
  flaky = await startFake('vllm', { models: ['m'] });
  collector = await new Collector().listen();
  drover = await startDrover({
    endpoints: [{ name: 'good', url: fake.url, kind: 'vllm' }, { name: 'flaky', url: flaky.url, kind: 'vllm', priority: 5 }],
    config: { name: 'hub-1', models: [{ slug: 'one', targets: ['good/m'] }, { slug: 'two', targets: ['flaky/m', 'good/m'] }] }, models: ['one', 'two'],
    prepare: (dir) => writeFileSync(path.join(dir, 'otlp.key'), 'team-key\n', { mode: 0o600 }),
  });
  drover.configure(otlp());
  assert.equal((await drover.cli('reload')).code, 0);
});
after(async () => {
  await drover?.stop();
  await fake?.close();
  await flaky?.close();
  await collector?.close();
  assert.deepEqual(collector?.broken, []);
});
beforeEach(async () => {
  collector.answer = () => ({ status: 200, json: {} });
  await until('what is left of the test before', async () => !(await figure('drover_otlp_waiting') > 0));
  collector.bodies.length = 0;
});

const ask = (model, headers, more) => drover.post(CHAT, { model, messages: [{ role: 'user', content: 'a very secret prompt' }], ...more }, { headers });
const spans = (n) => until(`${n} spans`, () => collector.spans.length >= n && collector.spans);
const figure = async (name) => Number((await (await drover.get('/metrics')).text()).match(new RegExp(`^${name} (\\d+)$`, 'm'))?.[1]);
const settled = (what, probe) => until(what, probe, 20000);

test('a request is a trace of a span for itself and one for its attempt', async () => {
  const answer = await (await ask('one')).json();
  assert.equal(answer.object, 'chat.completion');
  const [server, client, ...more] = await spans(2);
  assert.deepEqual(more, []);
  assert.equal(server.kind, 2);
  assert.equal(server.name, `POST ${CHAT}`);
  assert.equal(server.parentSpanId, undefined);
  assert.equal(client.parentSpanId, server.spanId);
  assert.equal(client.traceId, server.traceId);
  assert.equal(client.name, 'chat m');
  const { a } = server;
  assert.deepEqual([a['gen_ai.operation.name'], a['gen_ai.provider.name'], a['gen_ai.request.model'], a['gen_ai.response.model'], a['gen_ai.usage.input_tokens'],
    a['gen_ai.usage.output_tokens'], a['http.response.status_code'], a['drover.result'], a['drover.endpoint'], a['error.type']],
  ['chat', 'vllm', 'one', 'm', 21, 5, 200, 'ok', 'good', undefined]);
  assert.deepEqual([client.a['server.address'], client.a['server.port'], client.a['http.response.status_code']], ['127.0.0.1', fake.port, 200]);
  assert.deepEqual([collector.resource['service.name'], collector.resource['service.instance.id']], ['drover', 'hub-1']);
  assert.match(collector.resource['service.version'], /^\d+\.\d+/);
  const { headers, path: target, text } = collector.bodies.find((b) => b.spans);
  assert.equal(target, '/otel/v1/traces');
  assert.equal(headers['x-team'], 'team-key');
  assert.equal(headers['x-scope-orgid'], 'one: two');
  assert.match(headers['user-agent'], /^drover\/\d/);
  assert.equal(text.includes('secret') || text.includes('Hello') || text.includes('world'), false, 'nothing that was said');
  assert.equal(drover.log.includes('team-key'), false);
  assert.equal((await drover.cli('config', 'show')).stdout.includes('team-key'), false);
});

test('a stream is timed, an attempt that failed is a span of its own', async () => {
  flaky.options.failWith = 503;
  assert.ok((await allSse(await ask('two', {}, { stream: true }))).length > 5);
  delete flaky.options.failWith;
  const [server, failed, went] = await spans(3);
  assert.equal(server.a['gen_ai.request.stream'], true);
  assert.ok(server.a['gen_ai.response.time_to_first_chunk'] > 0);
  assert.equal(server.a['drover.attempts'], 2);
  assert.equal(server.status, undefined);
  assert.deepEqual([failed.a['drover.endpoint'], failed.a['error.type'], failed.status], ['flaky', '503', { code: 2 }]);
  assert.deepEqual([went.a['drover.endpoint'], went.a['error.type'], went.a['drover.attempt']], ['good', undefined, 2]);
  assert.ok(BigInt(failed.endTimeUnixNano) <= BigInt(went.startTimeUnixNano));
  assert.deepEqual(failed.parentSpanId, server.spanId);
  await sleep(1100); // the place is avoided for a second
});

test('what reaches no runtime has one span, with what was wrong', async () => {
  assert.equal((await ask('no-such')).status, 404);
  const [server, ...more] = await spans(1);
  assert.deepEqual(more, []);
  assert.deepEqual([server.a['drover.result'], server.a['error.type'], server.status], ['rejected', '404', undefined]);
});

test("the client's trace goes on, and the runtime gets it with the attempt's span", async () => {
  await (await ask('one', { traceparent: PARENT, tracestate: 'a=1,b=2' })).text();
  const [server, client] = await spans(2), sent = fake.inferences.at(-1).headers;
  assert.equal(server.traceId, TRACE);
  assert.equal(server.parentSpanId, 'b7ad6b7169203331');
  assert.equal(server.flags, 0x301);
  assert.equal(server.traceState, 'a=1,b=2');
  assert.equal(sent.traceparent, `00-${TRACE}-${client.spanId}-01`);
  assert.equal(sent.tracestate, 'a=1,b=2');
  await (await ask('one')).text();
  const fresh = (await spans(4)).at(-1);
  assert.match(fake.inferences.at(-1).headers.traceparent, new RegExp(`^00-${fresh.traceId}-${fresh.spanId}-03$`));
});

test('a later version is read as far as it is known; a bad traceparent is ignored, tracestate with it', async () => {
  await (await ask('one', { traceparent: `cc-${TRACE}-b7ad6b7169203331-01-more`, tracestate: 'a=1' })).text();
  assert.match(fake.inferences.at(-1).headers.traceparent, new RegExp(`^00-${TRACE}-`));
  const bad = [`ff-${TRACE}-b7ad6b7169203331-01`, `00-${TRACE.toUpperCase()}-b7ad6b7169203331-01`, `00-${'0'.repeat(32)}-b7ad6b7169203331-01`, `00-${TRACE}-01`, 'x',
    `${PARENT}-x`];
  for (const traceparent of bad) {
    await (await ask('one', { traceparent, tracestate: 'a=1' })).text();
    const { headers } = fake.inferences.at(-1);
    assert.match(headers.traceparent, /^00-[0-9a-f]{32}-[0-9a-f]{16}-03$/, traceparent);
    assert.equal(headers.traceparent.includes(TRACE), false, traceparent);
    assert.equal(headers.tracestate, undefined, traceparent);
  }
  assert.equal((await spans(2 * (bad.length + 1))).filter((s) => s.kind === 2 && s.parentSpanId).length, 1);
});

test('an unsampled trace is passed on unsampled and counted, but not told', async () => {
  const count = () => (collector.metrics['gen_ai.server.request.duration'] ?? []).filter((p) => p.a['gen_ai.request.model'] === 'one')
    .reduce((n, p) => n + Number(p.count), 0);
  await (await ask('one')).text();
  await spans(2);
  const was = await until('metrics', count);
  await (await ask('one', { traceparent: PARENT.replace(/01$/, '00') })).text();
  assert.match(fake.inferences.at(-1).headers.traceparent, new RegExp(`^00-${TRACE}-[0-9a-f]{16}-00$`));
  await until('the count', () => count() > was);
  assert.equal(collector.spans.some((s) => s.traceId === TRACE), false);
});

test('the histograms of the conventions are sums since the start', async () => {
  await allSse(await ask('one', {}, { stream: true }));
  await spans(2);
  const m = await until('all metrics', () => Object.keys(collector.metrics).length >= 5 && collector.metrics);
  for (const name of ['gen_ai.server.request.duration', 'gen_ai.server.time_to_first_token', 'gen_ai.client.operation.duration',
    'gen_ai.client.operation.time_to_first_chunk', 'gen_ai.client.token.usage']) assert.ok(m[name]?.length, name);
  const tokens = Object.fromEntries(m['gen_ai.client.token.usage'].filter((p) => p.a['server.port'] === fake.port).map((p) => [p.a['gen_ai.token.type'], p]));
  assert.equal(tokens.input.sum, 21 * Number(tokens.input.count));
  assert.equal(tokens.output.sum, 5 * Number(tokens.output.count));
  assert.ok(m['gen_ai.client.operation.duration'].some((p) => p.a['error.type'] === '503'));
  for (const p of Object.values(m).flat()) assert.ok(p.a['gen_ai.operation.name'] && p.a['gen_ai.provider.name']);
});

test('429 and 503 are tried again, when the collector said so; nothing is lost', async () => {
  let refused = 0, first;
  collector.answer = (body, n) => {
    if (!body.spans || refused >= 2) return { status: 200, json: {} };
    first ??= body;
    return ++refused === 1 ? { status: 429, headers: { 'Retry-After': '1' } } : { status: 503, headers: { 'Retry-After': '1' } };
  };
  await (await ask('one')).text();
  await settled('the third attempt', () => collector.spans.length === 2);
  const tries = collector.bodies.filter((b) => b.spans);
  assert.equal(tries.length, 3);
  assert.equal(tries[2].text, tries[0].text, 'the same body');
  for (const i of [1, 2]) assert.ok(tries[i].at - tries[i - 1].at >= 950, 'not before');
  assert.ok(await figure('drover_otlp_retries_total') >= 2);
});

test('another refusal is for good; a part that was not wanted is counted', async () => {
  const name = 'drover_otlp_spans_total\\{outcome="refused"\\}', was = await figure(name);
  collector.answer = (body) => (body.spans ? { status: 400, json: { message: 'no' } } : { status: 200, json: {} });
  await (await ask('one')).text();
  await settled('the refusal', async () => await figure(name) === was + 2);
  assert.equal(collector.bodies.filter((b) => b.spans).length, 1);
  collector.answer = (body) => ({ status: 200, json: body.spans ? { partialSuccess: { rejectedSpans: '1', errorMessage: 'one too many' } } : {} });
  const sent = await figure('drover_otlp_spans_total\\{outcome="sent"\\}');
  await (await ask('one')).text();
  await settled('the rest', async () => await figure(name) === was + 3);
  assert.equal(await figure('drover_otlp_spans_total\\{outcome="sent"\\}'), sent + 1);
  assert.match(drover.log, /did not take all of it.*one too many/);
});

test('a collector that is down costs no request anything; what waits is bounded, and arrives when it is back', async () => {
  const { port } = collector, dropped = 'drover_otlp_spans_total\\{outcome="dropped"\\}', was = await figure(dropped);
  await collector.close();
  drover.configure({ ...otlp(), limits: { otlp: { queue_rows: 64 } } });
  assert.equal((await drover.cli('reload')).code, 0);
  const N = 300;
  for (let i = 0; i < N; i += 20)
    for (const answer of await Promise.all(Array.from({ length: 20 }, () => ask('one')))) assert.equal((await answer.json()).object, 'chat.completion');
  await until('drops', async () => await figure(dropped) > was);
  assert.ok(await figure('drover_otlp_waiting') <= 64 + 64, 'bounded');
  const next = await new Collector().listen(port);
  Object.assign(next, { bodies: [] });
  const old = collector;
  collector = next;
  collector.broken = old.broken;
  await settled('what waited', async () => await figure('drover_otlp_waiting') === 0 && collector.spans.length > 0);
  const lost = (await figure(dropped) - was) / 2, told = collector.spans.filter((s) => s.kind === 2).length;
  assert.equal(told + lost, N);
  assert.match(drover.log, /the collector takes what is exported to it again/);
  drover.configure(otlp());
  assert.equal((await drover.cli('reload')).code, 0);
});

test('a collector that hangs is left after a while, and does not hold the end of the daemon', async () => {
  collector.answer = () => ({ hang: true });
  const dir = drover.dir, mine = await startDrover({ endpoints: [{ name: 'good', url: fake.url, kind: 'vllm' }], models: ['m'],
    config: { telemetry: { otlp: { url: collector.url, interval: '100ms' } } } });
  assert.ok(dir);
  await (await mine.post(CHAT, { model: 'm', messages: [] })).text();
  await until('the call', () => collector.bodies.length > 0);
  const at = performance.now();
  await mine.stop();
  assert.ok(performance.now() - at < 8000);
});

test('what waits at the end is sent before the daemon goes', async () => {
  const mine = await startDrover({ endpoints: [{ name: 'good', url: fake.url, kind: 'vllm' }], models: ['m'],
    config: { telemetry: { otlp: { url: collector.url, interval: '10m' } } } });
  for (let i = 0; i < 5; i++) await (await mine.post(CHAT, { model: 'm', messages: [] })).text();
  assert.equal(collector.spans.length, 0);
  await mine.stop();
  assert.equal(collector.spans.length, 10);
  assert.equal(Number(collector.metrics['gen_ai.server.request.duration'][0].count), 5);
});

test('a collector that wants nothing is told once at the end, not again and again', async () => {
  for (const status of [307, 400, 404, 500]) {
    let n = 0;
    collector.answer = () => { n++; return { status, json: {} }; };
    const mine = await startDrover({ endpoints: [{ name: 'good', url: fake.url, kind: 'vllm' }], models: ['m'],
      config: { telemetry: { otlp: { url: collector.url, interval: '10m' } } } });
    await (await mine.post(CHAT, { model: 'm', messages: [] })).text();
    await mine.stop();
    assert.ok(n <= 4, `${n} calls after a ${status}`);
  }
  collector.answer = undefined;
});

test('without a collector nothing changes: fields go on as they came, and there are no figures', async () => {
  drover.configure({ telemetry: { otlp: null } });
  assert.equal((await drover.cli('reload')).code, 0);
  await until('the new settings', async () => {
    await (await ask('one', { traceparent: 'anything', tracestate: 'x=y' })).text();
    return fake.inferences.at(-1).headers.traceparent === 'anything';
  });
  assert.equal(fake.inferences.at(-1).headers.tracestate, 'x=y');
  const port = await freePort(), mine = await startDrover({ endpoints: [{ name: 'good', url: fake.url, kind: 'vllm' }], models: ['m'],
    listen: [{ address: `127.0.0.1:${port}` }] });
  assert.equal((await (await mine.get('/metrics')).text()).includes('drover_otlp'), false);
  await mine.stop();
});
