// The link's bytes (docs/protocol.md): stream frames, control messages, and WebSocket frames that need not be proper ones.
import { randomBytes, randomUUID } from 'node:crypto';

export const OPEN = 1, DATA = 2, CREDIT = 3, RESET = 4, GOAWAY = 5;
export const HTTP = 1, ECHO = 2;
/** RESET codes by name. */
export const CODE = { NO_ERROR: 0, CANCEL: 1, REFUSED_STREAM: 2, REFUSED_SERVICE: 3, BUSY: 4, DEADLINE: 5, STALLED: 6, FLOW_CONTROL: 7, PROTOCOL: 8,
  INTERNAL: 9, DRAINING: 11, UPSTREAM: 12, FORBIDDEN: 13 };

const bytes = (x) => (Buffer.isBuffer(x) ? x : Buffer.from(x ?? ''));
const u32 = (...list) => {
  const b = Buffer.alloc(4 * list.length);
  list.forEach((v, i) => b.writeUInt32BE(v >>> 0, 4 * i));
  return b;
};

/** One stream frame of any look: {type, flags, reserved, id} and its payload. */
export function frame({ type, flags = 0, reserved = 0, id = 0 }, ...payload) {
  const head = Buffer.alloc(8);
  head[0] = type;
  head[1] = flags;
  head.writeUInt16BE(reserved, 2);
  head.writeUInt32BE(id >>> 0, 4);
  return Buffer.concat([head, ...payload.map(bytes)]);
}

export function open(id, { service = ECHO, priority = 1, deadline = 0, meta = '', data = '', fin = false, metaLength } = {}) {
  const head = Buffer.alloc(8), m = bytes(typeof meta === 'string' || Buffer.isBuffer(meta) ? meta : JSON.stringify(meta));
  head[0] = service;
  head[1] = priority;
  head.writeUInt16BE(metaLength ?? m.length, 2);
  head.writeUInt32BE(deadline, 4);
  return frame({ type: OPEN, flags: Number(fin), id }, head, m, data);
}
export const data = (id, payload = '', fin = false) => frame({ type: DATA, flags: Number(fin), id }, payload);
export const credit = (id, n) => frame({ type: CREDIT, id }, u32(n));
export const reset = (id, code, reason = '') => frame({ type: RESET, id }, u32(code), reason);
export const goaway = (last, code, retryMs, reason = '') => frame({ type: GOAWAY }, u32(last, code, retryMs), reason);

/** A proper frame as an object. */
export function parse(b) {
  const f = { type: b[0], fin: (b[1] & 1) === 1, id: b.readUInt32BE(4) };
  const p = b.subarray(8);
  if (f.type === OPEN) {
    const n = p.readUInt16BE(2);
    return { ...f, service: p[0], priority: p[1], deadline: p.readUInt32BE(4), meta: p.toString('utf8', 8, 8 + n), data: p.subarray(8 + n) };
  }
  if (f.type === DATA) return { ...f, data: p };
  if (f.type === CREDIT) return { ...f, credit: p.readUInt32BE(0) };
  if (f.type === RESET) return { ...f, code: p.readUInt32BE(0), reason: p.toString('utf8', 4) };
  return { ...f, last: p.readUInt32BE(0), code: p.readUInt32BE(4), retryMs: p.readUInt32BE(8), reason: p.toString('utf8', 12) };
}

/** A control message of a node as an object; `more` replaces or adds members of the envelope (undefined takes one away). */
export const envelope = (node, seq, kind, payload = {}, more = {}) => ({ v: 1, kind, msg_id: randomUUID(), ts: new Date().toISOString(), direction: 'up',
  site_id: node, agent_id: null, seq, re: null, payload, ...more });

export const TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10;

/** One WebSocket frame; mask: false leaves the mask out, rsv sets those bits, length lies about the payload's. */
export function wsFrame(opcode, payload = '', { fin = true, mask = true, rsv = 0, length } = {}) {
  const p = bytes(payload), n = length ?? p.length;
  const head = [(fin ? 0x80 : 0) | rsv << 4 | opcode], m = mask ? 0x80 : 0;
  if (n < 126) head.push(m | n);
  else if (n < 65536) head.push(m | 126, n >> 8, n & 255);
  else head.push(m | 127, 0, 0, 0, 0, n >>> 24, n >>> 16 & 255, n >>> 8 & 255, n & 255);
  if (!mask) return Buffer.concat([Buffer.from(head), p]);
  const key = randomBytes(4), out = Buffer.alloc(p.length);
  for (let i = 0; i < p.length; i++) out[i] = p[i] ^ key[i & 3];
  return Buffer.concat([Buffer.from(head), key, out]);
}

/** Takes a server's frames off the front of `b`: {list: [{opcode, payload}], rest}. */
export function wsParse(b) {
  const list = [];
  for (;;) {
    if (b.length < 2) break;
    let n = b[1] & 127, at = 2;
    if (n === 126) {
      if (b.length < 4) break;
      n = b.readUInt16BE(2);
      at = 4;
    } else if (n === 127) {
      if (b.length < 10) break;
      n = Number(b.readBigUInt64BE(2));
      at = 10;
    }
    if (b.length < at + n) break;
    if ((b[0] & 0x70) !== 0 || (b[1] & 0x80) !== 0 || (b[0] & 0x80) === 0) throw new Error('the hub sent a frame with RSV bits, a mask, or in pieces');
    list.push({ opcode: b[0] & 15, payload: b.subarray(at, at + n) });
    b = b.subarray(at + n);
  }
  return { list, rest: b };
}
