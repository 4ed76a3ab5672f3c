// A small HTTP server over raw sockets, for tests that need to bend the framing: it sees each request byte for byte, and
// sends exactly the bytes it is told to, in pieces of the size it is told to.
//
// What went over the wire is in `server.requests`, oldest first; each has
//   method, url, path, headers (lower-case names), rawHeaders, body (Buffer, decoded), at (ms), socket number, and once
//   known: sent (deltas sent so far), done (the answer was sent whole), closedAt (ms; when the peer's connection closed).
import net from 'node:net';
import { EventEmitter } from 'node:events';
import { setTimeout as sleep, setImmediate as nextTurn } from 'node:timers/promises';

export const now = () => performance.now();

/** One answer in the making. All of its framing follows the server's options. */
class Response {
  constructor(socket, request, options) {
    Object.assign(this, { socket, request, options, chunked: false, closing: false });
  }

  /** Writes bytes, in pieces of options.chunkSize where that is set. */
  async raw(bytes) {
    const data = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes);
    const step = this.options.chunkSize || data.length;
    for (let i = 0; i < data.length && !this.socket.destroyed; i += step) {
      const room = this.socket.write(data.subarray(i, i + step));
      if (step < data.length) await nextTurn(); // its own segment
      if (!room && !this.socket.destroyed) await this.drained();
    }
  }

  drained() {
    return new Promise((go) => {
      const on = () => {
        this.socket.off('drain', on).off('close', on);
        go();
      };
      this.socket.on('drain', on).on('close', on);
    });
  }

  async head(status, headers, length) {
    const { http10, contentLengthLie = 0, serverHeader, preface } = this.options;
    const version = http10 ? 'HTTP/1.0' : 'HTTP/1.1';
    const lines = [`${version} ${status} ${REASON[status] ?? 'Status'}`];
    const all = { ...(serverHeader ? { Server: serverHeader } : {}), ...headers };
    if (length !== undefined && !(http10 && length === null)) all['Content-Length'] ??= length + contentLengthLie;
    else if (!http10) {
      all['Transfer-Encoding'] ??= 'chunked';
      this.chunked = true;
    }
    this.closing = Boolean(http10) || /close/i.test(this.request.headers.connection ?? '') || contentLengthLie !== 0;
    if (this.closing) all.Connection ??= 'close';
    for (const [name, value] of Object.entries(all)) if (value !== null) lines.push(`${name}: ${value}`);
    if (preface) await this.raw(preface); // for example a flood of 1xx answers
    await this.raw(lines.join('\r\n') + '\r\n\r\n');
  }

  async whole(status, type, body, headers = {}) {
    const data = Buffer.isBuffer(body) ? body : Buffer.from(body);
    await this.head(status, { ...(type ? { 'Content-Type': type } : {}), ...headers }, data.length);
    if (this.request.method !== 'HEAD') await this.raw(data);
    this.end();
  }
  json(status, value, headers) { return this.whole(status, 'application/json', JSON.stringify(value), headers); }
  text(status, value, headers) { return this.whole(status, 'text/plain; charset=utf-8', value, headers); }

  piece(bytes) {
    if (!this.chunked) return this.raw(bytes);
    const data = Buffer.from(bytes);
    return this.raw(Buffer.concat([Buffer.from(data.length.toString(16) + '\r\n'), data, Buffer.from('\r\n')]));
  }

  /**
   * Streams frames: each {text, delta: bool, last: bool}. `delta` frames are counted and paced; `last` is the dialect's
   * closing sign ([DONE], message_stop, ...). Faults of the options happen between deltas.
   */
  async stream(type, frames, headers = {}) {
    const o = this.options;
    await this.head(200, { 'Content-Type': type, ...headers });
    for (let i = 1; i <= (o.keepAliveComments ?? 0); i++) await this.piece(`: keepalive ${i}/${o.keepAliveComments}\n\n`);
    if (o.firstDelayMs) await sleep(o.firstDelayMs);
    let pending = '';
    for (const frame of frames) {
      if (this.socket.destroyed) return;
      const fault = frame.delta || frame.last;
      if (fault && this.request.sent === o.resetAfter) return void this.socket.resetAndDestroy();
      if (fault && this.request.sent === o.stallAfter) return; // silent, connection open
      if (fault && this.request.sent === o.endAfter) return this.finish(); // ends as if all were well
      if (fault && this.request.sent === o.errorAfter?.deltas) {
        await this.piece(o.errorAfter.text);
        return this.finish();
      }
      if (frame.last && o.noDone) break;
      if (o.burst) { pending += frame.text; continue; } // everything in one write
      if (frame.delta && o.delayMs && this.request.sent > 0) await sleep(o.delayMs);
      await this.piece(frame.text);
      if (frame.delta) this.request.sent++;
    }
    if (pending) await this.piece(pending);
    await this.finish();
  }

  async finish() {
    if (this.chunked) await this.raw('0\r\n\r\n');
    this.end();
  }
  end() {
    this.request.done = true;
    if (this.closing) this.socket.end();
  }
}

const REASON = {
  200: 'OK', 204: 'No Content', 400: 'Bad Request', 401: 'Unauthorized', 403: 'Forbidden', 404: 'Not Found',
  405: 'Method Not Allowed', 413: 'Content Too Large', 429: 'Too Many Requests', 500: 'Internal Server Error',
  501: 'Not Implemented', 502: 'Bad Gateway', 503: 'Service Unavailable', 504: 'Gateway Timeout',
};

/** Takes one whole request off the front of `buffer`: {request, rest}, or null while it is not complete. */
function takeRequest(buffer) {
  const headEnd = buffer.indexOf('\r\n\r\n');
  if (headEnd < 0) return null;
  const [line, ...rawHeaders] = buffer.subarray(0, headEnd).toString('latin1').split('\r\n');
  const [method, url] = line.split(' ');
  const headers = {};
  for (const h of rawHeaders) {
    const colon = h.indexOf(':'), name = h.slice(0, colon).toLowerCase(), value = h.slice(colon + 1).trim();
    headers[name] = name in headers ? `${headers[name]}, ${value}` : value;
  }
  let at = headEnd + 4, body;
  if (/chunked/i.test(headers['transfer-encoding'] ?? '')) {
    const parts = [];
    for (;;) {
      const eol = buffer.indexOf('\r\n', at);
      if (eol < 0) return null;
      const size = parseInt(buffer.subarray(at, eol).toString('latin1'), 16);
      if (size === 0) {
        const end = buffer.indexOf('\r\n', eol + 2);
        if (end < 0) return null;
        at = end + 2;
        break;
      }
      if (buffer.length < eol + 2 + size + 2) return null;
      parts.push(buffer.subarray(eol + 2, eol + 2 + size));
      at = eol + 2 + size + 2;
    }
    body = Buffer.concat(parts);
  } else {
    const length = Number(headers['content-length'] ?? 0);
    if (buffer.length < at + length) return null;
    body = Buffer.from(buffer.subarray(at, at + length));
    at += length;
  }
  const path = url.split('?')[0];
  return { request: { method, url, path, headers, rawHeaders, body }, rest: buffer.subarray(at) };
}

export class FakeServer extends EventEmitter {
  requests = [];
  connections = 0; // opened so far
  #sockets = new Set();
  #server = net.createServer((socket) => this.#serve(socket));

  /** `handler(request, response)` answers; `options` may be changed at any time, the next request sees it. */
  constructor(handler, options = {}) {
    super();
    this.handler = handler;
    this.options = options;
  }

  async listen(port = 0, host = '127.0.0.1') {
    await new Promise((go, fail) => this.#server.once('error', fail).listen(port, host, go));
    this.port = this.#server.address().port;
    this.url = `http://${host}:${this.port}`;
    return this;
  }

  #serve(socket) {
    const number = ++this.connections;
    let buffer = Buffer.alloc(0), busy = false, current = null;
    this.#sockets.add(socket);
    socket.setNoDelay(true);
    if (this.options.idleMs) socket.setTimeout(this.options.idleMs, () => socket.end()); // as uvicorn does after 5 s
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#sockets.delete(socket);
      if (current && !current.closedAt) {
        current.closedAt = now();
        this.emit('closed', current);
      }
    });
    const next = async () => {
      if (busy) return;
      busy = true;
      for (let taken; !socket.destroyed && (taken = takeRequest(buffer));) {
        buffer = taken.rest;
        current = Object.assign(taken.request, { at: now(), socket: number, sent: 0, done: false });
        this.requests.push(current);
        this.emit('request', current);
        try {
          await this.handler(current, new Response(socket, current, this.options));
        } catch (error) {
          this.emit('broken', error);
          socket.destroy();
        }
        if (!current.done) { busy = false; return; } // stalled on purpose: this connection answers no more
      }
      busy = false;
    };
    socket.on('data', (data) => {
      buffer = Buffer.concat([buffer, data]);
      next();
    });
    socket.on('end', () => socket.end()); // the peer finished sending: nobody of interest half-closes
  }

  /** Waits for a request that satisfies `test`, past or future. */
  async saw(test, ms = 5000) {
    const found = this.requests.find(test);
    if (found) return found;
    return new Promise((go, fail) => {
      const timer = setTimeout(() => { this.off('request', look); fail(new Error('no such request came')); }, ms);
      const look = (request) => {
        if (!test(request)) return;
        clearTimeout(timer);
        this.off('request', look);
        go(request);
      };
      this.on('request', look);
    });
  }

  /** Waits until the connection that carried `request` is closed. */
  async closed(request, ms = 5000) {
    for (const end = now() + ms; !request.closedAt;) {
      if (now() > end) throw new Error('the connection was not closed');
      await sleep(2);
    }
    return request.closedAt;
  }

  async close() {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((go) => this.#server.close(go));
  }
}
