// The link between hub and nodes as bytes: frames, control messages, streams. One side of it over an open WebSocket (of the package ws);
// what it takes for granted is what the protocol promises, so a peer that breaks it fails the test.
import { responses } from './wire.js';

export const OPEN = 1, DATA = 2, CREDIT = 3, RESET = 4, GOAWAY = 5, FIN = 1;
export const HTTP = 1, ECHO = 2;
const NAMES = { [OPEN]: 'OPEN', [DATA]: 'DATA', [CREDIT]: 'CREDIT', [RESET]: 'RESET', [GOAWAY]: 'GOAWAY' };
export const CANCEL = 1, REFUSED_STREAM = 2, REFUSED_SERVICE = 3, PROTOCOL = 8;
export const SUBPROTOCOL = 'drover.link.1';

const u32 = (...values) => {
  const b = Buffer.alloc(4 * values.length);
  values.forEach((v, i) => b.writeUInt32BE(v >>> 0, 4 * i));
  return b;
};

/** {type, id, fin, ...} as one binary message. */
export function frame(f) {
  const head = Buffer.alloc(8);
  head[0] = f.type;
  head[1] = f.flags ?? (f.fin ? FIN : 0);
  head.writeUInt32BE((f.id ?? 0) >>> 0, 4);
  const data = Buffer.from(f.data ?? '');
  if (f.type === OPEN) {
    const meta = Buffer.from(f.meta === undefined ? '' : typeof f.meta === 'string' ? f.meta : JSON.stringify(f.meta));
    const open = Buffer.alloc(8);
    open[0] = f.service ?? HTTP;
    open[1] = f.priority ?? 1;
    open.writeUInt16BE(meta.length, 2);
    open.writeUInt32BE(f.deadline ?? 0, 4);
    return Buffer.concat([head, open, meta, data]);
  }
  if (f.type === CREDIT) return Buffer.concat([head, u32(f.delta)]);
  if (f.type === RESET) return Buffer.concat([head, u32(f.code), Buffer.from(f.reason ?? '')]);
  if (f.type === GOAWAY) return Buffer.concat([head, u32(f.last ?? 0, f.code ?? 0, f.retry ?? 0), Buffer.from(f.reason ?? '')]);
  return Buffer.concat([head, data]);
}

/** The frame in one binary message. */
export function parse(bytes) {
  if (bytes.length < 8) throw new Error(`a frame of ${bytes.length} bytes`);
  const f = { type: bytes[0], name: NAMES[bytes[0]], fin: (bytes[1] & FIN) !== 0, id: bytes.readUInt32BE(4) };
  const rest = bytes.subarray(8);
  if (!f.name || bytes[1] & ~FIN || bytes.readUInt16BE(2) !== 0 || f.id >>> 31) throw new Error(`not a frame: ${bytes.subarray(0, 8).toString('hex')}`);
  if (f.type === OPEN) {
    const n = rest.readUInt16BE(2);
    return { ...f, service: rest[0], priority: rest[1], deadline: rest.readUInt32BE(4), meta: n ? JSON.parse(rest.subarray(8, 8 + n)) : undefined,
      data: rest.subarray(8 + n) };
  }
  if (f.type === CREDIT) return { ...f, delta: rest.readUInt32BE(0) };
  if (f.type === RESET) return { ...f, code: rest.readUInt32BE(0), reason: rest.subarray(4).toString() };
  if (f.type === GOAWAY) return { ...f, last: rest.readUInt32BE(0), code: rest.readUInt32BE(4), retry: rest.readUInt32BE(8), reason: rest.subarray(12).toString() };
  return { ...f, data: rest };
}

let counter = 0;
/** A control message as text. */
export function envelope(kind, payload, { direction = 'down', site = null, seq, re = null, ...more } = {}) {
  return JSON.stringify({ v: 1, kind, msg_id: `js-${process.pid}-${++counter}`, ts: new Date().toISOString(), direction, site_id: site, agent_id: null, seq, re, payload, ...more });
}

class Stream {
  constructor(link, id) {
    Object.assign(this, { link, id, received: Buffer.alloc(0), room: link.peer.stream_window, waiting: [], ended: false, code: undefined, paused: false, owed: 0 });
    this.over = new Promise((go) => { this.finish = go; });
    this.listeners = new Set();
  }

  /** Bytes to the peer, as its credit allows; fin: no more after them. */
  write(data, fin = false) {
    this.waiting.push({ data: Buffer.from(data), fin });
    this.link.flush(this);
  }

  reset(code = CANCEL) {
    this.link.send({ type: RESET, id: this.id, code });
    this.end(undefined);
  }

  end(code) {
    this.code = code;
    this.ended = true;
    this.link.streams.delete(this.id);
    this.finish(this);
    for (const look of this.listeners) look();
  }

  take(data, fin) {
    this.received = Buffer.concat([this.received, data]);
    this.owed += data.length;
    if (!this.paused) this.consume();
    if (fin) this.end();
    else for (const look of this.listeners) look();
  }

  /** Gives back the credit of what came. */
  consume() {
    if (this.owed) {
      if (!this.ended) this.link.send({ type: CREDIT, id: this.id, delta: this.owed });
      this.link.send({ type: CREDIT, id: 0, delta: this.owed });
    }
    this.owed = 0;
  }

  /** Resolves once `enough(received)` holds, or the stream has ended. */
  until(enough, ms = 10000) {
    return new Promise((go, fail) => {
      const timer = setTimeout(() => fail(new Error(`waited ${ms} ms in vain; so far: ${this.received.toString('latin1').slice(-500)}`)), ms);
      const look = () => {
        if (!enough(this.received) && !this.ended) return;
        clearTimeout(timer);
        this.listeners.delete(look);
        go(this);
      };
      this.listeners.add(look);
      look();
    });
  }
}

/** The hub's end of one socket. Control messages come to onControl, kinds to waitFor. */
export class Link {
  constructor(ws, { site = null, direction = 'down', firstId = 2, onControl = () => {} } = {}) {
    Object.assign(this, { ws, site, direction, onControl, nextId: firstId, seq: 0, streams: new Map(), messages: [], frames: [], waiters: new Set(),
      peer: { stream_window: 65536, link_window: 4 << 20, max_frame: 32768 }, room: 4 << 20 });
    this.closed = new Promise((go) => ws.on('close', (code, reason) => {
      this.code = code;
      for (const s of [...this.streams.values()]) s.end(10);
      go({ code, reason: reason.toString() });
      for (const look of this.waiters) look();
    }));
    ws.on('error', () => {});
    ws.on('message', (data, isBinary) => (isBinary ? this.takeFrame(parse(data)) : this.takeControl(JSON.parse(data))));
  }

  /** A control message, numbered. */
  say(kind, payload, more) {
    this.ws.send(envelope(kind, payload, { direction: this.direction, site: this.site, seq: ++this.seq, ...more }));
  }

  send(f) { if (this.ws.readyState === 1) this.ws.send(frame(f)); }

  takeControl(m) {
    if (m.seq !== this.messages.length + 1) throw new Error(`message ${m.seq} where ${this.messages.length + 1} was due`);
    this.messages.push(m);
    this.onControl(m, this);
    for (const look of this.waiters) look();
  }

  /** The first message of that kind, from `after` on, for which `test` holds. */
  waitFor(kind, { after = 0, test = () => true, ms = 15000 } = {}) {
    return new Promise((go, fail) => {
      const timer = setTimeout(() => fail(new Error(`waited ${ms} ms in vain for ${kind}; there were: ${this.messages.map((m) => m.kind).join(' ')}`)), ms);
      const look = () => {
        const found = this.messages.slice(after).find((m) => m.kind === kind && test(m.payload));
        if (!found && this.code === undefined) return;
        clearTimeout(timer);
        this.waiters.delete(look);
        if (found) go(found);
        else fail(new Error(`the link ended (${this.code}) before ${kind}`));
      };
      this.waiters.add(look);
      look();
    });
  }

  takeFrame(f) {
    this.frames.push(f);
    const s = this.streams.get(f.id);
    if (f.type === CREDIT && f.id === 0) this.room += f.delta;
    else if (f.type === CREDIT && s) s.room += f.delta;
    else if (f.type === DATA && s) s.take(f.data, f.fin);
    else if (f.type === DATA && f.data.length) this.send({ type: CREDIT, id: 0, delta: f.data.length }); // late: it counted all the same
    else if (f.type === RESET && s) s.end(f.code);
    if (f.type === CREDIT) for (const one of this.streams.values()) this.flush(one);
  }

  flush(s) {
    while (s.waiting.length && !s.ended) {
      const [{ data, fin }] = s.waiting;
      const n = Math.min(data.length, s.room, this.room, this.peer.max_frame);
      if (n < 1 && data.length) return;
      const all = n === data.length;
      this.send({ type: DATA, id: s.id, data: data.subarray(0, n), fin: all && fin });
      s.room -= n;
      this.room -= n;
      if (all) s.waiting.shift();
      else s.waiting[0].data = data.subarray(n);
    }
  }

  /** A new stream; data: early as far as the window goes, the rest as credit comes. */
  open({ data = '', fin = false, ...more } = {}) {
    const id = this.nextId;
    this.nextId += 2;
    const s = new Stream(this, id);
    const bytes = Buffer.from(data), early = bytes.subarray(0, Math.min(bytes.length, s.room, this.room, this.peer.max_frame));
    const all = early.length === bytes.length;
    this.streams.set(id, s);
    s.room -= early.length;
    this.room -= early.length;
    this.send({ type: OPEN, id, data: early, fin: fin && all, ...more });
    if (!all) s.write(bytes.subarray(early.length), fin);
    return s;
  }

  /** A request as bytes on a stream of its own. */
  request(method, path, { headers = {}, body, ...more } = {}) {
    const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
    const lines = [`${method} ${path} HTTP/1.1`, 'Host: node', ...(body === undefined ? [] : ['Content-Type: application/json', `Content-Length: ${Buffer.byteLength(text)}`]),
      ...Object.entries(headers).map(([k, v]) => `${k}: ${v}`)];
    return this.open({ data: `${lines.join('\r\n')}\r\n\r\n${text}`, ...more });
  }

  /** The same, waited for: {status, headers, text, json}. */
  async http(method, path, { ms = 15000, ...more } = {}) {
    const s = this.request(method, path, { ms, ...more });
    await s.until(() => false, ms);
    return answer(s);
  }
}

/** What came on a stream, as an HTTP response. */
export function answer(s) {
  const { list } = responses(s.received, true);
  if (!list.length) throw new Error(`no answer on stream ${s.id} (reset ${s.code}): ${s.received.toString('latin1').slice(0, 300)}`);
  const [one] = list;
  const text = one.body.toString();
  return { ...one, n: list.length, text, get json() { return JSON.parse(text); } };
}
