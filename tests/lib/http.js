// Reading streams and speaking raw HTTP in tests.
import net from 'node:net';

/** The SSE events of a fetch response, each {event, data, at}; comments come as {comment, at}. */
export async function* sse(response) {
  const decoder = new TextDecoder();
  let buffer = '';
  for await (const bytes of response.body) {
    const at = performance.now();
    buffer += decoder.decode(bytes, { stream: true });
    for (let end; (end = buffer.search(/\r?\n\r?\n/)) >= 0;) {
      const block = buffer.slice(0, end);
      buffer = buffer.slice(end).replace(/^\r?\n\r?\n/, '');
      const found = { event: undefined, data: undefined, at };
      for (const line of block.split(/\r?\n/)) {
        if (line.startsWith(':')) found.comment = line.slice(1).trim();
        else if (line.startsWith('event:')) found.event = line.slice(6).trim();
        else if (line.startsWith('data:')) found.data = (found.data === undefined ? '' : found.data + '\n') + line.slice(5).replace(/^ /, '');
      }
      yield found;
    }
  }
  if (buffer.trim()) yield { rest: buffer, at: performance.now() };
}

/** All SSE events at once. */
export const allSse = async (response) => Array.fromAsync ? Array.fromAsync(sse(response)) : collect(sse(response));
async function collect(source) {
  const all = [];
  for await (const one of source) all.push(one);
  return all;
}

/** The text that an OpenAI chat stream carries. */
export const chatText = (events) => events.filter((e) => e.data && e.data !== '[DONE]')
  .map((e) => JSON.parse(e.data).choices?.[0]?.delta?.content ?? '').join('');

/**
 * Sends bytes over a plain connection and gives back all that came until the peer closed it, or until `ms` passed, or
 * until `enough(received)`: {bytes, text, closed, error}. `parts` may be an array: written one after the other.
 */
export function raw(port, parts, { ms = 2000, gapMs = 5, enough } = {}) {
  return new Promise((go) => {
    const socket = net.connect(port, '127.0.0.1');
    const received = [];
    const end = (closed, error) => {
      clearTimeout(timer);
      const bytes = Buffer.concat(received);
      socket.destroy();
      go({ bytes, text: bytes.toString('latin1'), closed, error });
    };
    const timer = setTimeout(() => end(false), ms);
    socket.setNoDelay(true);
    socket.on('error', (error) => end(true, error));
    socket.on('close', () => end(true));
    socket.on('data', (data) => {
      received.push(data);
      if (enough?.(Buffer.concat(received))) end(false);
    });
    socket.on('connect', async () => {
      for (const part of [].concat(parts)) {
        if (socket.destroyed) return;
        socket.write(part);
        await new Promise((next) => setTimeout(next, gapMs));
      }
    });
  });
}

/** A POST in raw bytes, for requests that are to be cut short: {socket, closed: promise}. */
export function rawPost(port, path, body, headers = {}) {
  const data = Buffer.from(body);
  const socket = net.connect(port, '127.0.0.1');
  const lines = [`POST ${path} HTTP/1.1`, `Host: 127.0.0.1:${port}`, 'Content-Type: application/json', `Content-Length: ${data.length}`,
    ...Object.entries(headers).map(([k, v]) => `${k}: ${v}`)];
  socket.on('error', () => {});
  socket.write(Buffer.concat([Buffer.from(lines.join('\r\n') + '\r\n\r\n'), data]));
  return socket;
}
