// The link between hub and nodes, against peers that keep to no rule: docs/protocol.md, "Bad inputs". A well-behaved node is
// linked all the time, with streams that run; after each bad input it must be as well as before.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import * as F from './lib/frames.js';
import { freePort, startDrover, until } from './lib/drover.js';
import { home, serve } from './lib/daemon.js';
import { Member, Raw, admin, enrol, knock } from './lib/peers.js';

const linkListener = (port) => ({ address: `127.0.0.1:${port}`, tls: 'ca', client_cert: 'optional', roles: ['link'] });
let drover, port, steady, hostile;
const api = (method, route, body) => admin(drover.dir, method, route, body);
const node = async (who) => (await api('GET', `nodes/${who.id}`)).body;
const audit = async (action) => (await api('GET', 'audit?limit=500')).body.acts.filter((r) => r.action === action);

/** A handler that answers chats: `words` one after the other, `ms` apart, or as one answer. */
const chats = (words, ms = 1) => (request, response) => {
  let body = '';
  request.on('data', (d) => { body += d; });
  request.on('end', async () => {
    const { stream, model } = JSON.parse(body);
    const head = { id: 'c', created: 1, model };
    if (!stream) {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ ...head, object: 'chat.completion', choices: [{ index: 0, message: { role: 'assistant', content: words.join('') }, finish_reason: 'stop' }],
        usage: { prompt_tokens: 3, completion_tokens: words.length, total_tokens: 3 + words.length } }));
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const event = (delta, reason = null) => response.write(`data: ${JSON.stringify({ ...head, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: reason }] })}\n\n`);
    for (const word of words) {
      if (response.destroyed) return;
      event({ content: word });
      await sleep(ms);
    }
    event({}, 'stop');
    response.end('data: [DONE]\n\n');
  });
};
const ask = (model, more, options) => drover.post('/v1/chat/completions', { model, messages: [{ role: 'user', content: 'hi' }], ...more }, options);
const said = async (response) => (await response.json()).choices?.[0].message.content;

/** A stream of answers that runs until it is told to end: {text(), ended, controller}. */
async function running(model, more) {
  const controller = new AbortController(), response = await ask(model, { stream: true, ...more }, { signal: controller.signal });
  assert.equal(response.status, 200, await (response.status === 200 ? '' : response.text()));
  const it = { controller, body: '' };
  const first = Promise.withResolvers();
  it.ended = (async () => {
    for await (const chunk of response.body) {
      it.body += Buffer.from(chunk);
      first.resolve();
    }
  })().catch((error) => { it.error = error; }).finally(first.resolve);
  await first.promise;
  return it;
}
const models = async (m) => until(`the model ${m}`, async () => (await drover.modelIds()).includes(m));
const member = async (name, options) => {
  const m = await Member.join(port, await enrol(drover.dir, port, name), options);
  for (const one of options?.models ?? []) await models(one.key ?? one);
  await until('the workers to know it', async () => {
    const e = (await drover.cliJson('endpoints')).endpoints.find((x) => x.name === m.who.name);
    return e?.state === 'up' && (await drover.get('/healthz')).status === 200;
  });
  return m;
};
/** What is sent through an echo stream comes back. */
async function echoes(stream, text) {
  stream.write(text);
  let back = '';
  await until(`the echo of ${text}`, () => {
    for (let d; (d = stream.read()) !== null;) back += d;
    return back === text;
  }, 5000, 5);
}

before(async () => {
  port = await freePort();
  drover = await startDrover({ listen: [linkListener(port)], config: { hub: { name: 'home', heartbeat: '5s' }, workers: 2, log: { level: 'debug' } } });
  steady = await member('steady', { models: ['steady-model'], on: chats(['well']) });
  steady.echo = steady.main.open(F.ECHO);
  hostile = await enrol(drover.dir, port, 'hostile');
});
after(async () => {
  await steady?.leave().catch(() => {});
  await drover?.stop();
});

let checks = 0;
/** The bystander has kept its link, its stream and its answers. */
async function unharmed() {
  assert.equal(steady.main.end, undefined, 'the other link ended');
  await echoes(steady.echo, `still here ${++checks}`);
  assert.equal(await said(await ask('steady-model')), 'well');
}

/* --- before the upgrade ----------------------------------------------------------------------------------------------------------------- */

test('the gate refuses what is no link, each with its status', async (t) => {
  const unknown = { ...hostile, id: 'nobody-000000' };
  const gone = await enrol(drover.dir, port, 'gone');
  assert.equal((await api('POST', `nodes/${gone.id}/revoke`)).status, 200);
  const rows = [
    ['no subprotocol', hostile, { protocol: null }, 426],
    ['unknown subprotocols', hostile, { protocol: 'drover.link.9, chat' }, 426],
    ['an Origin', hostile, { headers: ['Origin: https://evil.example'] }, 403],
    ['WebSocket of another version', hostile, { version: 8 }, 426],
    ['a credential twice', hostile, { headers: [`Drover-Node: ${hostile.id}`] }, 400],
    ['a wrong token', hostile, { cert: false, token: `drst_${'0'.repeat(64)}` }, 401],
    ['a wrong token beside the right certificate', hostile, { token: `drst_${'0'.repeat(64)}` }, 401],
    ['no credentials', hostile, { cert: false, token: null, node: null }, 401],
    ['an unknown node', unknown, { cert: false }, 401],
    ['a revoked node', gone, {}, 401],
    ['a revoked node by its token', gone, { cert: false }, 401],
  ];
  let body401;
  for (const [name, who, options, status] of rows) {
    await t.test(name, async () => {
      const answer = await knock(port, who, options);
      assert.equal(answer.status, status, answer.body);
      if (status === 426) assert.deepEqual(['protocol', 'version'].map((h) => answer.headers[`sec-websocket-${h}`]), ['drover.link.1', '13']);
      if (status === 401) assert.equal(answer.body, body401 ??= answer.body, 'all are refused in the same words');
      await unharmed();
    });
  }
  const reasons = () => audit('node.link_refused').then((list) => list.map((r) => r.detail));
  await until('the true reasons in the audit log', async () => (await reasons()).filter((r) => r === 'revoked').length === 2);
  assert.ok(new Set(await reasons()).size >= 3);
  const { status } = await knock(port, hostile, { route: '/link/v2' });
  assert.equal(status, 404);
  assert.equal((await drover.get('/link/v1')).status, 404, 'a listener without the role');
});

test('a token alone is enough, as behind a proxy, and so is a certificate', async () => {
  for (const options of [{ cert: false }, { token: null, node: null }]) {
    const peer = await Raw.dial(port, hostile, options);
    await peer.up();
    peer.send(F.wsFrame(F.CLOSE, Buffer.from([3, 232])));
    await peer.closes(1000);
  }
});

test('an extension is offered in vain', async () => {
  const { status, headers, socket } = await knock(port, hostile, { headers: ['Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits'] });
  socket.destroy();
  assert.equal(status, 101);
  assert.equal(headers['sec-websocket-extensions'], undefined);
  assert.equal(headers['sec-websocket-protocol'], 'drover.link.1');
});

/* --- bad inputs ------------------------------------------------------------------------------------------------------------------------- */

const deep = (n) => JSON.parse(`${'{"a":'.repeat(n)}1${'}'.repeat(n)}`);
const registration = { models: [] };
/** The answer to one message of this payload on a link that is up. */
const refused = async (peer, code, pathOf, send) => {
  const re = send();
  const { payload, re: answered } = await peer.message('error', re);
  assert.equal(payload.code, code, payload.message);
  if (pathOf) assert.equal(payload.path, pathOf);
  if (re) assert.equal(answered, re);
  peer.say('heartbeat', { state: 'running', uptime_ms: 1 });
  await holds(peer);
};
/** The link answers yet. */
async function holds(peer) {
  const id = peer.stream ??= 99001;
  peer.stream += 2;
  peer.binary(F.open(id, { data: 'are you there', fin: true }));
  await peer.frame('the echo', (f) => f.type === F.DATA && f.id === id && f.data.length);
}
const beat = { state: 'running', uptime_ms: 1 };
/** Nobody complains of it. */
const accepted = async (peer, kind, payload) => {
  peer.say(kind, payload);
  await holds(peer);
  assert.equal(peer.log.some((e) => e.message?.kind === 'error'), false);
};
/**
 * Opens n echo streams that get no credit for what comes back (hello says 1 KiB), and fills them: the hub takes 96 KiB of each, then
 * reads no more, and the rest stays in the stream's window. Of the link's window that is 64 KiB each.
 */
const hoard = (peer, n, from = 1) => {
  for (let i = 0; i < n; i++) {
    const id = from + 2 * i;
    peer.binary(F.open(id));
    for (let sent = 0; sent < 160 << 10; sent += 32 << 10) peer.binary(F.data(id, Buffer.alloc(32 << 10, 'x')));
  }
};
const HOARD = { limits: { stream_window: 1024 } };

/* [name, up: the handshake is done first; what it does]. Numbers are those of the streams' rules and the messages' rules in docs/protocol.md. */
const rows = [
  ['a frame with RSV bits', true, async (p) => { p.send(F.wsFrame(F.TEXT, '{}', { rsv: 4 })); await p.closes(1002); }],
  ['a frame without a mask', true, async (p) => { p.send(F.wsFrame(F.TEXT, '{}', { mask: false })); await p.closes(1002); }],
  ['an unknown opcode', true, async (p) => { p.send(F.wsFrame(3, 'x')); await p.closes(1002); }],
  ['a ping of 126 bytes', true, async (p) => { p.send(F.wsFrame(F.PING, Buffer.alloc(126))); await p.closes(1002); }],
  ['a continuation of nothing', true, async (p) => { p.send(F.wsFrame(0, 'x')); await p.closes(1002); }],
  ['65 fragments', true, async (p) => {
    for (let i = 0; i < 65; i++) p.send(F.wsFrame(i ? 0 : F.TEXT, ' ', { fin: false }));
    await p.closes(1008);
  }],
  ['21 pings within a second', true, async (p) => { for (let i = 0; i < 30; i++) p.send(F.wsFrame(F.PING, '')); await p.closes(1008); }],
  ['a binary frame before registered', false, async (p) => { p.binary(F.open(1)); await p.closes(4002); }],
  ['a binary frame after hello', false, async (p) => { await p.hello(); p.binary(F.open(1)); await p.closes(4002); }],
  ['hello of another node', false, async (p) => {
    p.say('hello', p.helloPayload({ node_id: steady.who.id }));
    const { payload } = await p.message('error');
    assert.deepEqual([payload.code, payload.fatal], ['identity_mismatch', true]);
    await p.closes(4003);
    await until('the audit row', async () => (await audit('node.identity_mismatch')).length > 0);
  }],
  ['site_id of another node', true, (p) => refused(p, 'identity_mismatch', null, () => p.say('heartbeat', beat, { site_id: steady.who.id }))],
  ['site_id of another node in hello', false, async (p) => {
    p.say('hello', p.helloPayload(), { site_id: steady.who.id });
    assert.equal((await p.message('error')).payload.code, 'identity_mismatch');
    await p.closes(4003);
  }],
  ['a text of 300 KiB', true, async (p) => {
    p.send(F.wsFrame(F.TEXT, 'x'.repeat(1000), { length: 300 << 10 })); // the rest is never sent: nobody waits for it
    await p.closes(1009);
  }],
  ['a text of 300 KiB in pieces', true, async (p) => {
    for (let i = 0; i < 10; i++) p.send(F.wsFrame(i ? 0 : F.TEXT, 'x'.repeat(30 << 10), { fin: false }));
    await p.closes(1009);
  }],
  ['text that is no UTF-8', true, async (p) => { p.text(Buffer.from([0x7b, 0xc0, 0xaf, 0x7d])); await p.closes(1007); }],
  ...['[1,2]', '"x"', '{} {}', '', '{"a":}'].map((text) => [`the text ${text || 'of no bytes'}`, true,
    (p) => refused(p, 'bad_json', null, () => { p.seq++; p.text(text); })]),
  ['a member twice', true, (p) => refused(p, 'duplicate_member', null, () => {
    const text = JSON.stringify(F.envelope(hostile.id, ++p.seq, 'heartbeat', beat));
    p.text(`${text.slice(0, -1)},"kind":"goodbye"}`);
  })],
  ['a member twice, written otherwise', true, (p) => refused(p, 'duplicate_member', null, () => {
    const text = JSON.stringify(F.envelope(hostile.id, ++p.seq, 'heartbeat', beat));
    p.text(`${text.slice(0, -1)},"k\\u0069nd":"goodbye"}`);
  })],
  ['17 levels', true, (p) => refused(p, 'too_deep', null, () => { p.say('heartbeat', { ...beat, more: deep(15) }); })],
  ['16 levels, which are fine', true, (p) => accepted(p, 'heartbeat', { ...beat, more: deep(14) })],
  ['70,000 values', true, (p) => refused(p, 'too_large', null, () => { p.say('heartbeat', { ...beat, more: Array(70000).fill(1) }); })],
  ['a string of 65 KiB', true, (p) => refused(p, 'too_large', null, () => { p.say('heartbeat', { ...beat, more: 'x'.repeat(65 << 10) }); })],
  ['a number repeated', true, async (p) => { p.say('heartbeat', beat, { seq: p.seq }); await p.closes(4002); }],
  ['a number skipped', true, async (p) => { p.say('heartbeat', beat, { seq: p.seq + 2 }); await p.closes(4002); }],
  ['no number', true, (p) => refused(p, 'invalid_envelope', '/seq', () => p.say('heartbeat', beat, { seq: undefined }))],
  ['a message without an id', true, (p) => refused(p, 'invalid_envelope', '/msg_id', () => { p.say('heartbeat', beat, { msg_id: undefined }); })],
  ['a moment that is none', true, (p) => refused(p, 'invalid_envelope', '/ts', () => p.say('heartbeat', beat, { ts: 'yesterday' }))],
  ['a payload that is a list', true, (p) => refused(p, 'invalid_envelope', '/payload', () => p.say('heartbeat', []))],
  ['version 2 of the envelope', true, (p) => refused(p, 'invalid_envelope', '/v', () => { p.say('heartbeat', beat, { v: 2 }); })],
  ['five relays', true, (p) => refused(p, 'relay_loop', '/via', () => p.say('heartbeat', beat, { via: ['a', 'b', 'c', 'd', 'e'] }))],
  ['down from a node', true, (p) => refused(p, 'wrong_direction', '/direction', () => p.say('heartbeat', beat, { direction: 'down' }))],
  ['a kind that goes the other way', true, (p) => refused(p, 'wrong_direction', '/kind', () => p.say('welcome', {}))],
  ['an unknown kind', true, (p) => refused(p, 'unknown_kind', '/kind', () => p.say('frobnicate', {}))],
  ['an unknown member, which is ignored', true, (p) => accepted(p, 'heartbeat', { ...beat, mood: 'fine' })],
  ['an unknown word', true, (p) => refused(p, 'invalid_payload', '/payload/state', () => p.say('heartbeat', { ...beat, state: 'sleepy' }))],
  ['a count below zero', true, (p) => refused(p, 'invalid_payload', '/payload/queued_requests', () => p.say('heartbeat', { ...beat, queued_requests: -0.5 }))],
  ['a count of 2^60', true, (p) => refused(p, 'invalid_payload', '/payload/uptime_ms', () => p.say('heartbeat', { state: 'running', uptime_ms: 2 ** 60 }))],
  ['a count of 1e400', true, (p) => refused(p, 'invalid_payload', '/payload/uptime_ms', () => {
    p.text(JSON.stringify(F.envelope(hostile.id, ++p.seq, 'heartbeat', { state: 'running', uptime_ms: 0 })).replace('"uptime_ms":0', '"uptime_ms":1e400'));
  })],
  ['a needed member is missing', true, (p) => refused(p, 'invalid_payload', '/payload/uptime_ms', () => p.say('heartbeat', { state: 'running' }))],
  ['5,000 models in one registration', true, (p) => refused(p, 'too_large', '/payload/models', () =>
    p.say('register_agent', { models: Array.from({ length: 5000 }, (_, i) => ({ key: `m${i}` })) }))],
  ['heartbeats before registered', false, async (p) => {
    for (let i = 0; i < 3; i++) {
      const { payload } = await p.message('error', p.say('heartbeat', beat));
      assert.deepEqual([payload.code, payload.fatal], ['wrong_state', i === 2]);
    }
    await p.closes(4002);
  }],
  ['hello twice', true, (p) => refused(p, 'wrong_state', '/kind', () => p.say('hello', p.helloPayload()))],
  ['unknown metrics, which are dropped', true, (p) => accepted(p, 'metrics', { gauges: { 'a.name.nobody.knows': 1 }, counters: { x: 2 } })],
  ['the state of an agent, which this hub does not keep', true, (p) => refused(p, 'not_allowed', null, () => p.say('agent_status', { agent_id: 'a', state: 'connected' }))],
  ['ten invalid messages', true, async (p) => {
    for (let i = 0; i < 10; i++) p.say('frobnicate', {});
    const { payload } = await p.want('the last error', (e) => e.message?.payload.fatal && e.message);
    assert.equal(payload.code, 'unknown_kind');
    await p.closes(1008);
  }],
  ['300 messages at once', true, async (p) => {
    for (let i = 0; i < 300; i++) p.say('heartbeat', beat);
    const { payload } = await p.message('error');
    assert.deepEqual([payload.code, payload.fatal, payload.retry_ms], ['rate_limited', false, 1000]);
    await p.closes(4029);
  }],
  ['a frame of 7 bytes', true, async (p) => { p.binary(Buffer.from([2, 0, 0, 0, 0, 0, 1])); await p.closes(4002); }],
  ['an empty frame', true, async (p) => { p.send(F.wsFrame(F.BINARY, '')); await p.closes(4002); }],
  ['an unknown type', true, async (p) => { p.binary(F.frame({ type: 9, id: 1 })); await p.closes(4002); }],
  ['unknown flags', true, async (p) => { p.binary(F.frame({ type: F.DATA, flags: 2, id: 1 })); await p.closes(4002); }],
  ['FIN where there is none', true, async (p) => { p.binary(F.frame({ type: F.CREDIT, flags: 1 }, Buffer.from([0, 0, 1, 0]))); await p.closes(4002); }],
  ['reserved bits', true, async (p) => { p.binary(F.frame({ type: F.OPEN, reserved: 1, id: 1 }, Buffer.alloc(8))); await p.closes(4002); }],
  ['the top bit of an id', true, async (p) => { p.binary(F.frame({ type: F.OPEN, id: 0x80000001 }, Buffer.alloc(8))); await p.closes(4002); }],
  ['a reason of 201 bytes', true, async (p) => { p.binary(F.open(1), F.reset(1, 1, 'x'.repeat(201))); await p.closes(4002); }],
  ["OPEN with the hub's parity", true, async (p) => { p.binary(F.open(2)); await p.closes(4002); }],
  ['OPEN with a lower id', true, async (p) => { p.binary(F.open(7), F.open(5)); await p.closes(4002); }],
  ['OPEN with the same id', true, async (p) => { p.binary(F.open(7), F.open(7)); await p.closes(4002); }],
  ['OPEN beyond max_streams', true, async (p) => {
    for (let id = 1; id < 2 * 65; id += 2) p.binary(F.open(id));
    assert.equal((await p.resetOf(129)).code, F.CODE.BUSY);
    p.binary(F.data(127, 'hold', true)); // the others are as they were
    await p.frame('the echo', (f) => f.type === F.DATA && f.id === 127 && f.data.toString() === 'hold');
  }],
  ['OPEN of a service that is not offered', true, async (p) => {
    for (const [i, service] of [0, F.HTTP, 3, 200].entries()) {
      p.binary(F.open(1 + 2 * i, { service, data: 'GET / HTTP/1.1\r\n\r\n' }));
      assert.equal((await p.resetOf(1 + 2 * i)).code, F.CODE.REFUSED_SERVICE, `service ${service}`);
    }
    await holds(p);
  }],
  ['OPEN whose meta is longer than the frame', true, async (p) => {
    p.binary(F.open(1, { meta: '{}', metaLength: 100 }));
    assert.equal((await p.resetOf(1)).code, F.CODE.PROTOCOL);
    await holds(p);
  }],
  ['OPEN whose meta is longer than 4,096 bytes', true, async (p) => {
    p.binary(F.open(1, { meta: Buffer.alloc(4097, ' ') }));
    assert.equal((await p.resetOf(1)).code, F.CODE.PROTOCOL);
    await holds(p);
  }],
  ['OPEN of 4 bytes', true, async (p) => {
    p.binary(F.frame({ type: F.OPEN, id: 1 }, Buffer.alloc(4)));
    assert.equal((await p.resetOf(1)).code, F.CODE.PROTOCOL);
    await holds(p);
  }],
  ['DATA for a stream that never was', true, async (p) => { p.binary(F.data(5, 'x')); await p.closes(4002); }],
  ['DATA for a stream that the hub never opened', true, async (p) => { p.binary(F.data(4, 'x')); await p.closes(4002); }],
  ['CREDIT for a stream that never was', true, async (p) => { p.binary(F.credit(5, 1)); await p.closes(4002); }],
  ['RESET of a stream that never was', true, async (p) => { p.binary(F.reset(5, 1)); await p.closes(4002); }],
  ['DATA for a stream that has ended', true, async (p) => {
    p.binary(F.open(1, { data: 'x', fin: true }));
    await p.frame('its end', (f) => f.type === F.DATA && f.id === 1 && f.fin);
    for (let i = 0; i < 100; i++) p.binary(F.data(1, Buffer.alloc(32 << 10))); // 3.1 MiB: dropped, but counted, and given back in eighths of the window
    await holds(p);
    const back = p.log.reduce((sum, e) => sum + (e.frame?.type === F.CREDIT && e.frame.id === 0 ? e.frame.credit : 0), 0);
    assert.ok(back > 100 * (32 << 10) - (1 << 20), String(back));
  }],
  ['DATA after FIN', true, async (p) => {
    p.binary(F.open(1, { data: Buffer.alloc(4096), fin: true }), F.data(1, 'more')); // 1 KiB of window: its echo cannot have ended
    assert.equal((await p.resetOf(1)).code, F.CODE.PROTOCOL);
    await holds(p);
  }, HOARD],
  ["DATA beyond the stream's window", true, async (p) => {
    hoard(p, 1);
    for (let i = 0; i < 32; i++) p.binary(F.data(1, Buffer.alloc(32 << 10))); // a window may have grown to 1 MiB
    assert.equal((await p.resetOf(1)).code, F.CODE.FLOW_CONTROL);
    await holds(p);
  }, HOARD],
  ["DATA beyond the link's window", true, async (p) => {
    hoard(p, 60); // unread: some 3.8 of 4 MiB
    p.binary(F.open(1001), F.reset(1001, F.CODE.CANCEL));
    for (let i = 0; i < 60; i++) p.binary(F.data(1001, Buffer.alloc(32 << 10)));
    await p.closes(4009);
  }, HOARD],
  ['CREDIT of nothing', true, async (p) => { p.binary(F.credit(0, 0)); await p.closes(4009); }],
  ['CREDIT of 2^31', true, async (p) => { p.binary(F.credit(0, 2 ** 31)); await p.closes(4009); }],
  ["the link's credit overflows", true, async (p) => { p.binary(F.credit(0, 0x7fffffff), F.credit(0, 0x7fffffff)); await p.closes(4009); }],
  ["a stream's credit overflows", true, async (p) => { p.binary(F.open(1), F.credit(1, 0x7fffffff), F.credit(1, 0x7fffffff)); await p.closes(4009); }],
  ['DATA larger than max_frame', true, async (p) => {
    p.binary(F.open(1), F.data(1, Buffer.alloc((32 << 10) + 1)));
    assert.equal((await p.resetOf(1)).code, F.CODE.PROTOCOL);
    await holds(p);
  }],
  ['a message larger than 1 MiB', true, async (p) => { p.send(F.wsFrame(F.BINARY, F.data(1, 'x'), { length: (1 << 20) + 9 })); await p.closes(1009); }],
  ['streams opened and reset, 250 a second', true, async (p) => {
    let id = 1;
    const burst = () => { for (let i = 0; i < 250; i++, id += 2) p.binary(F.open(id), F.reset(id, F.CODE.CANCEL)); };
    burst();
    await holds(Object.assign(p, { stream: id })); // one second of it is a burst
    id += 2;
    await sleep(1050);
    burst();
    await p.closes(4011);
  }],
  ['550 OPENs at once', true, async (p) => { for (let i = 0; i < 550; i++) p.binary(F.open(1 + 2 * i)); await p.closes(4029); }],
  ['streams that nobody reads', true, async (p) => {
    hoard(p, 52); // unread: some 3.3 of 4 MiB
    const { id } = await p.frame('a stream to be given up', (f) => f.type === F.RESET && f.code === F.CODE.STALLED, 15000);
    assert.ok(id < 2 * 52);
    await sleep(1500); // until the level has fallen
    const left = 52 - new Set(p.log.filter((e) => e.frame?.type === F.RESET).map((e) => e.frame.id)).size;
    assert.ok(left > 0, 'not all of them have to go');
    await holds(p);
  }, HOARD],
];

for (const [name, isUp, run, hello] of rows) {
  test(`bad input: ${name}`, async () => {
    const peer = await Raw.dial(port, hostile);
    try {
      if (isUp) await peer.up({ hello, register: registration });
      await run(peer);
      await unharmed();
    } finally {
      peer.destroy();
    }
  });
}

test('who says nothing, and who says hello and no more, is sent away in time', { timeout: 30000 }, async () => {
  const silent = await Raw.dial(port, hostile), began = performance.now();
  await silent.closes(4004, 8000);
  const took = performance.now() - began;
  assert.ok(took > 4500 && took < 7000, `${took} ms`);
  const half = await Raw.dial(port, hostile);
  await half.hello();
  await half.closes(4004, 13000);
  await unharmed();
});

/* --- identity --------------------------------------------------------------------------------------------------------------------------- */

test('the same run links anew: the new link wins, what runs on the old one finishes', async () => {
  const old = await member('twice', { models: ['twice-model'], on: chats(Array(40).fill('tick '), 50) });
  const stream = await running('twice-model');
  let refusals = 0, stop = false;
  const pressure = (async () => { while (!stop) if ((await ask('twice-model', { stream: true }).then(async (r) => (await r.text(), r.status))) !== 200) refusals++; })();
  const fresh = await Member.join(port, old.who, { instance: old.instance, models: ['twice-model'], on: chats(['new']) });
  assert.ok(fresh.welcome.epoch > old.welcome.epoch);
  await until('the old link to be told', () => old.main.goaway);
  assert.equal(old.main.end, undefined);
  assert.equal(await said(await ask('twice-model')), 'new');
  stop = true;
  await pressure;
  assert.equal(refusals, 0, 'no request failed while one link took over from the other');
  await stream.ended;
  assert.equal(stream.body.match(/tick /g).length, 40);
  assert.match(stream.body, /\[DONE\]/);
  await old.leave();
  await fresh.leave();
});

test('a newer link of the same run that never gets up leaves the old one as it was', async () => {
  const old = await member('steadfast', { models: ['steadfast-model'], on: chats(['still me']) });
  for (let i = 0; i < 2; i++) {
    const peer = await Raw.dial(port, { ...old.who, instance: old.instance });
    await peer.hello();
    assert.equal(await said(await ask('steadfast-model')), 'still me');
    peer.destroy();
    await until('the old link to count again', async () => (await node(old.who)).health === 'up');
  }
  assert.equal(old.main.goaway, null);
  old.beat('maintenance');
  await until('its word to count', async () => (await ask('steadfast-model')).status === 503);
  await old.leave();
});

test('another machine with the same identity is refused while the first is alive', async () => {
  const first = await member('copied', { models: ['copied-model'], on: chats(['first']) });
  await assert.rejects(Member.join(port, first.who, { instance: randomUUID() }), (error) => error.code === 4010);
  const peer = await Raw.dial(port, { ...first.who, instance: randomUUID() });
  peer.say('hello', peer.helloPayload());
  const { payload } = await peer.message('error');
  assert.deepEqual([payload.code, payload.fatal, payload.retry_ms], ['duplicate_node', true, 60000]);
  await peer.closes(4010);
  await until('the audit row', async () => (await audit('node.duplicate')).length >= 2);
  assert.equal(await said(await ask('copied-model')), 'first');
  assert.equal(first.main.end, undefined);
  await first.leave();
});

test('an old link that has been silent for 25 s gives way to another machine (slow)', { timeout: 60000 }, async () => {
  const who = await enrol(drover.dir, port, 'frozen'), old = await Raw.dial(port, who);
  old.pong = false;
  await old.up();
  const began = performance.now();
  await sleep(20000);
  await assert.rejects(Member.join(port, who), (error) => error.code === 4010, 'not yet');
  await sleep(26000 - (performance.now() - began));
  const fresh = await Member.join(port, who);
  await old.closes(4010);
  await fresh.leave();
});

test('epochs rise, and outlive the hub', { timeout: 60000 }, async () => {
  const place = home(await freePort(), { hub: { name: 'home' }, workers: 1 }), linkPort = await freePort();
  place.write({ listen: [{ address: `127.0.0.1:${place.port}`, auth: 'none' }, linkListener(linkPort)] });
  const start = async () => {
    const child = serve(place);
    await until('the hub', async () => (await fetch(`${place.url}/healthz`)).status === 200);
    return child;
  };
  let hub = await start();
  const who = await enrol(place.dir, linkPort, 'old'), epochs = [];
  for (let i = 0; i < 2; i++) {
    const m = await Member.join(linkPort, who);
    epochs.push(m.welcome.epoch);
    await m.leave();
  }
  hub.kill('SIGKILL');
  await hub.ended;
  hub = await start();
  const m = await Member.join(linkPort, who);
  epochs.push(m.welcome.epoch);
  assert.ok(epochs[0] < epochs[1] && epochs[1] < epochs[2], epochs.join());
  hub.kill('SIGTERM');
  assert.equal((await hub.ended).code, 0, hub.log);
  place.remove();
});

/* --- work ------------------------------------------------------------------------------------------------------------------------------- */

test('models of a node are models of the hub, and requests arrive as HTTP/1.1 for the host node', async () => {
  const seen = [];
  const m = await member('worker', { models: ['work-model'], on: (request, response) => {
    seen.push({ line: `${request.method} ${request.url} HTTP/${request.httpVersion}`, headers: request.headers });
    chats(['one ', 'two ', 'three'], 30)(request, response);
  } });
  assert.equal(await said(await ask('work-model', {}, { headers: { Cookie: 'a=b', 'X-Forwarded-For': '1.2.3.4', Authorization: 'Bearer sk-client' } })), 'one two three');
  const stream = await running('work-model');
  assert.doesNotMatch(stream.body, /three/, 'each event comes when it was sent');
  await stream.ended;
  assert.match(stream.body, /three[^]*\[DONE\]/);
  for (const { line, headers } of seen) {
    assert.equal(line, 'POST /v1/chat/completions HTTP/1.1');
    assert.equal(headers.host, 'node');
    for (const name of ['cookie', 'x-forwarded-for', 'authorization', 'drover-node']) assert.equal(headers[name], undefined, name);
  }
  const large = 'y'.repeat(3 << 20); // larger than every window
  assert.equal(await said(await ask('work-model', { messages: [{ role: 'user', content: large }] })), 'one two three');
  assert.equal((await node(m.who)).linked, true);
  await m.leave();
  await until('its models to be gone', async () => !(await drover.modelIds()).includes('work-model') || (await ask('work-model')).status !== 200);
});

test('a client that leaves resets its stream at once', async () => {
  const m = await member('left', { models: ['left-model'], on: chats(Array(400).fill('tick '), 25) });
  const stream = await running('left-model');
  await until('a few words', () => stream.body.length > 300);
  const at = performance.now();
  stream.controller.abort();
  await until('the reset', () => m.lanes.some((l) => l.resets.length), 2000, 2);
  const reset = m.lanes.flatMap((l) => l.resets)[0];
  assert.equal(reset.code, F.CODE.CANCEL);
  assert.ok(reset.at - at < 100, `${reset.at - at} ms`);
  await m.leave();
});

test('a link that is lost in the middle of a stream ends it with an error event', async () => {
  const m = await member('lost', { models: ['lost-model'], on: chats(Array(400).fill('tick '), 25) });
  const stream = await running('lost-model');
  m.cut();
  await stream.ended;
  assert.equal(stream.error, undefined);
  assert.match(stream.body, /data: \{"error"/);
  assert.doesNotMatch(stream.body, /"finish_reason":"stop"/);
});

test('a link that is lost before the first byte costs the client nothing: the next target answers', async () => {
  const dropped = [];
  const members = [];
  const on = (name) => (request, response) => {
    if (dropped.length) return chats([name])(request, response);
    dropped.push(name);
    return members.find((m) => m.who.name.startsWith(name)).cut();
  };
  for (const name of ['alpha', 'beta']) members.push(await member(name, { models: ['shared-model'], on: on(name) }));
  const response = await ask('shared-model'), text = await response.text();
  assert.equal(response.status, 200, text);
  const answer = JSON.parse(text).choices[0].message.content;
  assert.equal(answer, dropped[0] === 'alpha' ? 'beta' : 'alpha');
  for (const m of members) if (!m.main.end) await m.leave();
});

test('a node that takes no more streams is passed over', async () => {
  const one = await member('narrow', { models: ['narrow-model'], limits: { max_streams: 1 }, on: chats(Array(40).fill('tick '), 50) });
  const stream = await running('narrow-model');
  const two = await member('wide', { models: ['narrow-model'], on: chats(['wide']) });
  for (let i = 0; i < 4; i++) assert.equal(await said(await ask('narrow-model')), 'wide');
  stream.controller.abort();
  await one.leave();
  await two.leave();
});

test('lanes carry streams, too, and one that is lost takes only its own along', { timeout: 60000 }, async () => {
  const m = await member('broad', { models: ['broad-model'], limits: { max_frame: 2048 }, on: chats(Array(30).fill('tick '.repeat(1000)), 100) });
  assert.equal(m.welcome.lanes, 2);
  const stranger = await enrol(drover.dir, port, 'stranger');
  assert.equal((await knock(port, m.who, { lane: 'x'.repeat(64) })).status, 401);
  assert.equal((await knock(port, stranger, { lane: m.welcome.lane_token })).status, 401, "another node's token");
  const lane = await m.lane(), echo = lane.open(F.ECHO);
  await echoes(echo, 'on a lane');
  const streams = [];
  const used = () => m.lanes.filter((l) => [...l.streams.keys()].some((id) => id % 2 === 0));
  while (m.lanes.length < 7 && used().length < 2) { // the kernel chooses the worker of each socket
    if (streams.length >= 8 * (m.lanes.length - 1)) await m.lane();
    streams.push(await running('broad-model', { messages: [{ role: 'user', content: 'z'.repeat(20000) }] }));
  }
  assert.ok(used().length >= 2, 'streams on two sockets');
  const victim = used().find((l) => l !== m.main), hit = [...victim.streams.keys()].filter((id) => id % 2 === 0).length;
  for (const l of used()) assert.equal(l.largest, 2048, 'the limits of hello hold on each lane');
  victim.ws.terminate();
  await Promise.all(streams.map((s) => s.ended));
  const failed = streams.filter((s) => s.body.includes('"error"'));
  assert.equal(failed.length, hit);
  assert.equal(m.main.end, undefined);
  const text = await Raw.dial(port, m.who, { lane: m.welcome.lane_token });
  text.text(F.envelope(m.who.id, 1, 'heartbeat', beat));
  await text.closes(4002);
  while ((await knock(port, m.who, { lane: m.welcome.lane_token })).status === 101) assert.ok(m.lanes.length < 20);
  m.cut();
  await Promise.all(m.lanes.map((l) => l.ended)); // without the first one there is no link
});

test('changes of models keep their order; a gap asks for a registration', async () => {
  const m = await member('changing', { models: ['first-model'], on: chats(['x']) });
  m.say('capabilities', { rev: 1, models_upsert: [{ key: 'second-model', type: 'chat', state: 'loaded' }] });
  await models('second-model');
  const re = m.say('capabilities', { rev: 3, models_upsert: [{ key: 'third-model' }] });
  assert.equal((await m.answer('error', re)).payload.code, 'capabilities_gap');
  m.say('capabilities', { rev: 2, models_remove: ['first-model'] });
  await until('the first to go', async () => !(await drover.modelIds()).includes('first-model'));
  assert.equal((await drover.modelIds()).includes('third-model'), false);
  await m.register({ models: [{ key: 'fourth-model', type: 'chat' }], capabilities_rev: 7 });
  await models('fourth-model');
  assert.equal((await drover.modelIds()).includes('second-model'), false);
  await m.leave();
});

test('what a node says for people is kept without what controls a terminal', async () => {
  const m = await member('loud', { models: ['loud-model'], on: chats(['x']) });
  m.say('goodbye', { reason: `\u001b[31mred\u0000${'é'.repeat(200)}` });
  m.main.ws.close(4999, `\u001b[2J${'ß'.repeat(50)}x`);
  await m.main.ended;
  const history = async () => (await api('GET', `nodes/${m.who.id}/history`)).body.events;
  await until('the end of the link', async () => (await history()).some((e) => e.what === 'link_down'));
  const all = await history(), line = (what) => all.find((e) => e.what === what)?.detail;
  assert.match(line('goodbye'), /^\ufffd\[31mred\ufffdé+$/);
  assert.match(line('link_down'), /^\ufffd\[2Jß+$/);
});

test('draining takes a node out of new work and lets what runs finish', async () => {
  const m = await member('drained', { models: ['drain-model'], on: chats(Array(20).fill('tick '), 50) });
  const stream = await running('drain-model');
  assert.equal((await api('POST', `nodes/${m.who.id}/drain`)).status, 200);
  await until("no new work by the hub's word", async () => (await ask('drain-model', { stream: true })).status === 503);
  await stream.ended;
  assert.match(stream.body, /\[DONE\]/);
  assert.equal((await api('POST', `nodes/${m.who.id}/resume`)).status, 200);
  await until('work again', async () => (await ask('drain-model')).status === 200);
  m.beat('draining'); // by its own word
  await until("no new work by its own word", async () => (await ask('drain-model')).status === 503);
  m.beat();
  await until('work again', async () => (await ask('drain-model')).status === 200);
  m.say('goodbye', { reason: 'restart', retry_ms: 1000 });
  await until("no new work after its goodbye", async () => (await ask('drain-model')).status === 503);
  await m.leave();
});

test('a node that is put out loses its link and what runs there within a second', async () => {
  const m = await member('out', { models: ['out-model'], on: chats(Array(400).fill('tick '), 25) });
  const lane = await m.lane();
  const stream = await running('out-model'), began = performance.now();
  assert.equal((await api('POST', `nodes/${m.who.id}/revoke`)).status, 200);
  assert.equal((await m.main.ended).code, 4003);
  assert.equal((await lane.ended).code, 4003);
  await stream.ended;
  assert.ok(performance.now() - began < 1000, `${performance.now() - began} ms`);
  assert.match(stream.body, /data: \{"error"/);
  assert.equal((await knock(port, m.who)).status, 401);
});

test('a node without heartbeats gets no new work, then loses its link (slow)', { timeout: 60000 }, async () => {
  const m = await member('mute', { models: ['mute-model'], beats: false, on: chats(['x']) }), began = performance.now();
  await until('no new work', async () => (await ask('mute-model')).status === 503, 20000, 250);
  assert.ok(performance.now() - began > 13000);
  assert.equal((await m.main.ended).code, 4008);
  assert.ok(performance.now() - began < 33000);
});

/* --- other programs --------------------------------------------------------------------------------------------------------------------- */

test('a node written in Python', { timeout: 60000 }, async () => {
  const python = process.env.PYTHON ?? (existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3');
  const dir = mkdtempSync(path.join(tmpdir(), 'drover-peer-')), who = await enrol(drover.dir, port, 'snake');
  const files = Object.fromEntries(['key', 'cert', 'ca'].map((f) => [f, path.join(dir, f)]));
  for (const [f, file] of Object.entries(files)) writeFileSync(file, who[f], { mode: 0o600 });
  const child = spawn(python, [fileURLToPath(new URL('peer.py', import.meta.url))], { stdio: ['pipe', 'pipe', 'pipe'] });
  let out = '', err = '';
  child.stdout.on('data', (d) => { out += d; });
  child.stderr.on('data', (d) => { err += d; });
  const ended = new Promise((go) => child.on('close', go));
  child.stdin.end(`${JSON.stringify({ port, id: who.id, token: who.token, host: who.host, model: 'snake-model', ...files })}\n`);
  try {
    const gaveUp = ended.then(() => {
      throw new Error(/No module named 'websockets'/.test(err) ? 'python3-websockets is missing: ./dev deps test installs it' : 'it ended');
    });
    await Promise.race([until('the Python node', () => out.includes('up\n')), gaveUp]);
    gaveUp.catch(() => {});
    await models('snake-model');
    const stream = await running('snake-model');
    await stream.ended;
    assert.match(stream.body, /from [^]*Python[^]*\[DONE\]/);
    assert.equal(await ended, 0, err);
    const told = JSON.parse(out.trim().split('\n').at(-1));
    assert.deepEqual({ ...told, epoch: 0 }, { epoch: 0, subprotocol: 'drover.link.1', accepted: true, echo: 'early, then late',
      request: 'POST /v1/chat/completions HTTP/1.1', host: ['node'], close: 1000 });
  } catch (error) {
    error.message += `\n${err}`;
    throw error;
  } finally {
    child.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  }
});

/* --- the ends --------------------------------------------------------------------------------------------------------------------------- */

test('guessing is bounded, and does not shut out who knows', async () => {
  let limited, refused = 0;
  const atFirst = (await audit('node.link_refused')).length;
  for (let i = 0; i < 25 && !limited; i++) {
    const answer = await knock(port, hostile, { cert: false, token: `drst_${'1'.repeat(64)}` });
    if (answer.status === 429) limited = answer;
    else assert.equal(answer.status, 401);
    refused += answer.status === 401;
  }
  assert.ok(Number(limited?.headers['retry-after']) > 0, '429 with Retry-After');
  const rows = async () => (await audit('node.link_refused')).length - atFirst;
  await until('the rows of those', async () => (await rows()) >= refused);
  for (let i = 0; i < 5; i++) assert.equal((await knock(port, hostile, { cert: false, token: `drst_${'1'.repeat(64)}` })).status, 429);
  assert.equal(await rows(), refused, 'what is turned away by number writes no rows');
  const peer = await Raw.dial(port, hostile);
  await peer.up();
  peer.destroy();
  await unharmed();
});

test('a hub that stops says goodbye, and lets streams finish', { timeout: 60000 }, async () => {
  const m = await member('last', { models: ['last-model'], on: chats(Array(20).fill('tick '), 50) });
  const lane = await m.lane(), stream = await running('last-model');
  drover.process.kill('SIGTERM');
  const bye = await m.answer('goodbye');
  assert.ok(bye.payload.retry_ms >= 1000);
  for (const l of [m.main, lane]) await until('GOAWAY', () => l.goaway);
  assert.equal(m.main.goaway.code, F.CODE.DRAINING);
  await stream.ended;
  assert.match(stream.body, /\[DONE\]/);
  assert.equal((await m.main.ended).code, 1001);
  assert.equal((await lane.ended).code, 1001);
  assert.equal((await steady.main.ended).code, 1001);
});
