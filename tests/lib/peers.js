// Peers of a hub: one that joins and behaves (Member, over the package ws), and one that can send anything (Raw).
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { Duplex } from 'node:stream';
import tls from 'node:tls';
import path from 'node:path';
import WebSocket from 'ws';
import * as F from './frames.js';

/** The admin API of a daemon in `dir`, over its socket: {status, body}. */
export const admin = (dir, method, route, body) => new Promise((go, fail) => {
  const request = http.request({ socketPath: path.join(dir, 'run/drover.sock'), method, path: `/drover/v1/${route}`, agent: false,
    headers: { host: 'localhost', ...(body ? { 'content-type': 'application/json' } : {}) }, timeout: 20000 }, (response) => {
    let text = '';
    response.on('data', (d) => { text += d; });
    response.on('end', () => go({ status: response.statusCode, body: text ? JSON.parse(text) : null }));
  });
  request.on('error', fail).on('timeout', () => request.destroy(new Error(`${method} ${route} hangs`)));
  request.end(body ? JSON.stringify(body) : undefined);
});

/** The token in the line of an invitation (pki/invite.c: length, pin, then the token). */
function tokenOf(line) {
  const body = Buffer.from(line.trim().slice(line.lastIndexOf('/') + 1), 'base64url');
  return `drjt_${body.toString('hex', 2 + 32, 2 + 32 + 32)}`;
}

/** A new key and a request for its certificate, both PEM. */
function makeKey() {
  const both = execFileSync('openssl', ['req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=node', '-keyout', '-'],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  const part = (what) => new RegExp(`-----BEGIN ${what}-----[^]*-----END ${what}-----\\n`).exec(both)[0];
  return { key: part('PRIVATE KEY'), csr: part('CERTIFICATE REQUEST') };
}

function post(port, route, body, options) {
  return new Promise((go, fail) => {
    const request = https.request({ host: '127.0.0.1', port, path: route, method: 'POST', agent: false, timeout: 20000, ...options,
      headers: { 'content-type': 'application/json', ...options.headers } }, (response) => {
      let text = '';
      response.on('data', (d) => { text += d; });
      response.on('end', () => go({ status: response.statusCode, headers: response.headers, body: JSON.parse(text) }));
    });
    request.on('error', fail).on('timeout', () => request.destroy(new Error(`POST ${route} hangs`)));
    request.end(JSON.stringify(body));
  });
}

/** A machine becomes a node by an invitation: {id, name, key, cert, ca, token, host}, all that its link needs. */
export async function enrol(dir, port, name) {
  const invite = await admin(dir, 'POST', 'invites', { name });
  assert.equal(invite.status, 201, JSON.stringify(invite.body));
  const { key, csr } = makeKey();
  const { status, body } = await post(port, '/drover/v1/enrol', { v: 1, csr, token: tokenOf(invite.body.line), name, mode: 'reverse' },
    { rejectUnauthorized: false, servername: '' }); // the check of the pin is the node's own (src/pki)
  assert.equal(status, 200, JSON.stringify(body));
  return { id: body.node_id, name: body.name, key, cert: body.chain, ca: body.trust, token: body.token, host: `${body.hub_id}.${body.fleet}.drover.internal` };
}

const connectOptions = (port, who, { cert = true } = {}) => ({ host: '127.0.0.1', port, ca: who.ca, servername: who.host, minVersion: 'TLSv1.3',
  ...(cert ? { key: who.key, cert: who.cert } : {}) });

/**
 * Asks for a link: {status, headers, body, socket, rest}; with status 101 the socket is open, else it is closed.
 *   cert: false       no client certificate
 *   token, node       what the headers say instead of what is right; null leaves it out
 *   protocol          the subprotocol; null: none
 *   version           of WebSocket
 *   headers           more lines
 *   lane              the token of a link
 */
export function knock(port, who, { cert = true, token = who.token, node = who.id, protocol = 'drover.link.1', headers = [], lane, route = '/link/v1',
  version = 13 } = {}) {
  return new Promise((go, fail) => {
    const socket = tls.connect(connectOptions(port, who, { cert }));
    let got = Buffer.alloc(0);
    const lines = [`GET ${route} HTTP/1.1`, 'Host: hub', 'Connection: Upgrade', 'Upgrade: websocket', `Sec-WebSocket-Version: ${version}`,
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`, ...(protocol ? [`Sec-WebSocket-Protocol: ${protocol}`] : []),
      ...(token ? [`Authorization: Bearer ${token}`] : []), ...(node ? [`Drover-Node: ${node}`] : []), ...(lane ? [`Drover-Lane: ${lane}`] : []), ...headers];
    socket.setNoDelay(true);
    socket.setTimeout(20000, () => socket.destroy(new Error('the gate does not answer')));
    socket.once('secureConnect', () => socket.write(`${lines.join('\r\n')}\r\n\r\n`));
    socket.once('error', fail);
    const take = (d) => {
      got = Buffer.concat([got, d]);
      const end = got.indexOf('\r\n\r\n');
      if (end < 0) return;
      const [first, ...fields] = got.toString('latin1', 0, end).split('\r\n');
      const all = Object.fromEntries(fields.map((f) => [f.slice(0, f.indexOf(':')).toLowerCase(), f.slice(f.indexOf(':') + 1).trim()]));
      const status = Number(first.split(' ')[1]), rest = got.subarray(end + 4);
      if (status !== 101 && rest.length < Number(all['content-length'] ?? 0)) return;
      socket.off('data', take).off('error', fail).setTimeout(0);
      if (status !== 101) socket.destroy();
      go({ status, headers: all, body: status === 101 ? '' : rest.toString(), socket, rest });
    };
    socket.on('data', take);
  });
}

/** A socket behind the upgrade on which anything can be sent; what comes is in .log, oldest first. */
export class Raw extends EventEmitter {
  static async dial(port, who, options) {
    const { status, body, socket, rest } = await knock(port, who, options);
    assert.equal(status, 101, body);
    return new Raw(socket, rest, who);
  }

  constructor(socket, rest, who) {
    super();
    Object.assign(this, { socket, who, log: [], seq: 0, buffer: Buffer.alloc(0), pong: true });
    socket.on('data', (d) => this.take(d)).on('error', () => {}).on('close', () => this.note({ gone: true }));
    if (rest.length) this.take(rest);
  }

  note(entry) {
    this.log.push(entry);
    this.emit('entry', entry);
  }

  take(d) {
    const { list, rest } = F.wsParse(Buffer.concat([this.buffer, d]));
    this.buffer = rest;
    for (const { opcode, payload } of list) {
      if (opcode === F.TEXT) this.note({ message: JSON.parse(payload) });
      else if (opcode === F.BINARY) this.note({ frame: F.parse(Buffer.from(payload)) });
      else if (opcode === F.CLOSE) this.note({ close: { code: payload.readUInt16BE(0), reason: payload.toString('utf8', 2) } });
      else if (opcode === F.PING && this.pong) this.send(F.wsFrame(F.PONG, payload));
    }
  }

  send(...list) { for (const b of list) if (!this.socket.destroyed) this.socket.write(b); }
  binary(...list) { this.send(Buffer.concat(list.map((b) => F.wsFrame(F.BINARY, b)))); }
  text(value) { this.send(F.wsFrame(F.TEXT, typeof value === 'string' || Buffer.isBuffer(value) ? value : JSON.stringify(value))); }
  /** A control message with the next number; its msg_id. */
  say(kind, payload, more) {
    const m = F.envelope(this.who.id, ++this.seq, kind, payload, more);
    this.text(m);
    return m.msg_id;
  }

  /** The first entry, from the beginning, of which `pick` gives something; waits for it. */
  want(what, pick, ms = 5000) {
    return new Promise((go, fail) => {
      for (const entry of this.log) {
        const found = pick(entry);
        if (found) return go(found);
      }
      const on = (entry) => {
        const found = pick(entry);
        if (found) done(() => go(found));
        else if (entry.gone) done(() => fail(new Error(`the connection ended before ${what}; it brought ${JSON.stringify(this.log).slice(-800)}`)));
      };
      const timer = setTimeout(() => done(() => fail(new Error(`waited ${ms} ms in vain for ${what}; there was ${JSON.stringify(this.log).slice(-800)}`))), ms);
      const done = (act) => {
        clearTimeout(timer);
        this.off('entry', on);
        act();
      };
      this.on('entry', on);
      return undefined;
    });
  }
  message(kind, re, ms) { return this.want(kind, (e) => e.message?.kind === kind && (!re || e.message.re === re) && e.message, ms); }
  frame(what, pick, ms) { return this.want(what, (e) => e.frame && pick(e.frame) && e.frame, ms); }
  resetOf(id, ms) { return this.frame(`a reset of stream ${id}`, (f) => f.type === F.RESET && f.id === id, ms); }
  /** The link ends with this code, and the connection after it. */
  async closes(code, ms) {
    const { close } = await this.want(`close ${code}`, (e) => e.close && e, ms);
    assert.equal(close.code, code, close.reason);
    this.socket.end();
    await this.want('the end of the connection', (e) => e.gone, ms);
  }
  destroy() { this.socket.destroy(); }

  helloPayload(more) { return { proto: { min: 1, max: 1 }, node_id: this.who.id, instance: this.who.instance ??= randomUUID(), features: ['lanes', 'echo'], ...more }; }
  async hello(more) {
    this.say('hello', this.helloPayload(more));
    return (await this.message('welcome')).payload;
  }
  /** The whole handshake; what welcome said. */
  async up({ hello, register } = {}) {
    this.welcome = await this.hello(hello);
    const re = this.say('register_agent', { models: [], ...register });
    assert.equal((await this.message('registered', re)).payload.accepted, true);
    return this.welcome;
  }
}

/** A stream of a Member as a Duplex that http.Server takes for a socket. Credit is given for what was read. */
class Stream extends Duplex {
  constructor(lane, id, window) {
    super({ allowHalfOpen: true });
    Object.assign(this, { lane, id, room: window, waiting: null, over: false, remoteAddress: 'link' });
  }
  setTimeout() { return this; }
  setNoDelay() { return this; }
  setKeepAlive() { return this; }
  ref() { return this; }
  unref() { return this; }
  _read() {}
  take(f) {
    if (f.data?.length && !this.destroyed) this.push(f.data);
    if (f.data?.length) this.lane.binary(F.credit(0, f.data.length), ...(f.fin || this.over ? [] : [F.credit(this.id, f.data.length)]));
    if (f.fin) this.push(null);
  }
  _write(chunk, _, done) {
    const n = Math.min(chunk.length, this.room, 32 << 10);
    if (this.over) return done();
    if (n === 0) {
      this.waiting = () => this._write(chunk, _, done);
      return undefined;
    }
    this.room -= n;
    this.lane.binary(F.data(this.id, chunk.subarray(0, n)));
    if (n === chunk.length) return done();
    return this._write(chunk.subarray(n), _, done);
  }
  credited(n) {
    this.room += n;
    const go = this.waiting;
    this.waiting = null;
    go?.();
  }
  _final(done) {
    if (!this.over) this.lane.binary(F.data(this.id, '', true));
    done();
  }
  _destroy(error, done) {
    if (!this.over && !(this.readableEnded && this.writableFinished)) this.lane.binary(F.reset(this.id, F.CODE.CANCEL));
    this.over = true;
    this.lane.streams.delete(this.id);
    done(error);
  }
}

/** One WebSocket of a member, with its streams. */
class Lane extends EventEmitter {
  constructor(member, options) {
    super();
    Object.assign(this, { member, streams: new Map(), next: 1, opened: 0, resets: [], goaway: null, resetsAt: new Map() });
    const { who, port } = member;
    this.ws = new WebSocket(`wss://127.0.0.1:${port}/link/v1`, 'drover.link.1', { ...connectOptions(port, who), perMessageDeflate: false, handshakeTimeout: 20000,
      headers: { Authorization: `Bearer ${who.token}`, 'Drover-Node': who.id, ...options } });
    this.ended = new Promise((go) => this.ws.on('close', (code, reason) => {
      this.end = { code, reason: reason.toString() };
      for (const s of [...this.streams.values()]) {
        s.over = true;
        s.destroy();
      }
      go(this.end);
    }));
    this.ws.on('message', (bytes, isBinary) => (isBinary ? this.take(F.parse(bytes)) : member.take(JSON.parse(bytes))));
  }
  opened_() { return new Promise((go, fail) => this.ws.once('open', go).once('error', fail)); }
  binary(...list) { for (const b of list) if (this.ws.readyState === WebSocket.OPEN) this.ws.send(b); }
  take(f) {
    const s = this.streams.get(f.id);
    if (f.type === F.OPEN) {
      const fresh = new Stream(this, f.id, this.member.welcome.limits.stream_window);
      this.streams.set(f.id, fresh);
      this.opened++;
      fresh.on('error', () => {});
      this.member.server.emit('connection', fresh);
      fresh.take(f);
    } else if (f.type === F.DATA) {
      this.largest = Math.max(this.largest ?? 0, f.data.length);
      if (s) s.take(f);
      else this.binary(F.credit(0, Math.max(1, f.data.length)));
    } else if (f.type === F.CREDIT) {
      s?.credited(f.credit);
    } else if (f.type === F.RESET) {
      this.resets.push({ id: f.id, code: f.code, at: performance.now() });
      if (s) {
        s.over = true;
        s.destroy();
      }
      this.emit('reset', f);
    } else {
      this.goaway = f;
    }
  }
  /** A stream to the hub. */
  open(service) {
    const id = this.next, s = new Stream(this, id, this.member.welcome.limits.stream_window);
    this.next += 2;
    this.streams.set(id, s);
    s.on('error', () => {});
    this.binary(F.open(id, { service }));
    return s;
  }
}

/**
 * A node that keeps to the rules; requests arrive at an ordinary http.Server.
 *   models      ids, or whole entries
 *   on          (request, response) => ..., the handler
 *   instance, limits, beats (false: says no heartbeat)
 */
export class Member extends EventEmitter {
  static async join(port, who, options = {}) {
    const m = new Member(port, who, options);
    await m.link();
    return m;
  }
  constructor(port, who, { models = [], on = () => {}, instance = randomUUID(), limits, beats = true, features = ['lanes', 'echo'] } = {}) {
    super();
    Object.assign(this, { port, who, instance, limits, beats, features, seq: 0, messages: [], lanes: [] });
    this.models = models.map((m) => (typeof m === 'string' ? { key: m, id: m, type: 'chat', state: 'loaded', context_max: 8192 } : m));
    this.server = http.createServer({ keepAliveTimeout: 0, requestTimeout: 0 }, on);
  }
  get main() { return this.lanes[0]; }
  take(m) {
    this.messages.push(m);
    this.emit('message', m);
    if (m.kind === 'welcome') this.welcome = m.payload;
  }
  say(kind, payload, more) {
    const m = F.envelope(this.who.id, ++this.seq, kind, payload, more);
    this.main.ws.send(JSON.stringify(m));
    return m.msg_id;
  }
  async answer(kind, re, ms = 5000) {
    const is = (m) => m.kind === kind && (!re || m.re === re);
    const there = this.messages.find(is);
    if (there) return there;
    return new Promise((go, fail) => {
      const timer = setTimeout(() => fail(new Error(`waited in vain for ${kind}; there was ${JSON.stringify(this.messages).slice(-600)} ${JSON.stringify(this.main.end)}`)), ms);
      const on = (m) => {
        if (!is(m)) return;
        clearTimeout(timer);
        this.off('message', on);
        go(m);
      };
      this.on('message', on);
    });
  }
  async link() {
    this.lanes = [new Lane(this, {})];
    await this.main.opened_();
    const hello = this.say('hello', { proto: { min: 1, max: 1 }, node_id: this.who.id, instance: this.instance, features: this.features, ...(this.limits ? { limits: this.limits } : {}) });
    await Promise.race([this.answer('welcome', hello), this.main.ended.then((end) => { throw Object.assign(new Error(`closed ${end.code} ${end.reason}`), end); })]);
    await this.register();
    if (!this.beats) return;
    this.beat();
    const timer = setInterval(() => this.beat(), this.welcome.heartbeat_ms);
    timer.unref();
    this.main.ended.then(() => clearInterval(timer));
  }
  async register(more) {
    const re = this.say('register_agent', { version: '1', models: this.models, services: ['http'], allow: { inference: true }, capabilities_rev: 0, ...more });
    return (await this.answer('registered', re)).payload;
  }
  beat(state = 'running') { this.say('heartbeat', { state, uptime_ms: 1000 }); }
  async lane() {
    const lane = new Lane(this, { 'Drover-Lane': this.welcome.lane_token });
    await lane.opened_();
    this.lanes.push(lane);
    return lane;
  }
  /** Ends the connection without a word. */
  cut() { this.main.ws.terminate(); }
  async leave() {
    for (const lane of this.lanes.slice(1)) lane.ws.close(1000);
    this.main.ws.close(1000);
    await Promise.all(this.lanes.map((l) => l.ended));
  }
}
