// Hostile input, byte by byte. Each row states what the client gets and how many requests a runtime saw: never more than
// the one that the bytes plainly are. A follow-up stands behind every request that must end its connection; it must not
// be answered and must not reach a runtime.
import test, { after, before, describe } from 'node:test';
import assert from 'node:assert/strict';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFake } from './fakes/index.js';
import { startDrover, until } from './lib/drover.js';
import { END, PAUSE, RESET, cpu, play, random, responses, rss, talk } from './lib/wire.js';

const CHAT = '/v1/chat/completions', MESSAGES = '/v1/messages', OLLAMA = '/api/chat', HOST = 'Host: 127.0.0.1';
const BODY = '{"model":"m","messages":[],"max_tokens":1}';
const SHORT = { config: { limits: { head: { deadline: '1s' }, body: { idle: '1s' }, stream: { client_stall: '2s' }, conn: { keepalive_idle: '1s' } } } };
// AddressSanitizer keeps freed memory for a while; where memory is measured it may keep little.
const env = { ASAN_OPTIONS: [process.env.ASAN_OPTIONS, 'quarantine_size_mb=1', 'thread_local_quarantine_size_kb=64'].filter(Boolean).join(':') };
// Some builds are slower than others; what is measured in bytes of memory allows for the sanitizers' shadow.
const MIB = 1 << 20;

const fakes = {};
let drover, short;
before(async () => {
  fakes.vllm = await startFake('vllm', { models: ['m'] });
  fakes.plain = await startFake('openai', { models: ['plain'] });
  for (const row of upstream) row.fake = await startFake('openai', { models: [row.model] });
  upstream.forEach((row, i) => { row.fake.name = `u${i}`; });
  drover = await startDrover({ env, endpoints: [fakes.vllm, fakes.plain, ...upstream.map((row) => row.fake)], config: { gateway: { retry_max: 0, stall_timeout: '2s' },
    models: [{ slug: 'alias', targets: ['vllm/m'] }] }, models: ['m', 'plain', 'alias', ...upstream.map((row) => row.model)] });
  short = await startDrover({ endpoints: [fakes.vllm], models: ['m'], env, ...SHORT });
});
after(async () => {
  await drover?.stop();
  await short?.stop();
  for (const fake of [...Object.values(fakes), ...upstream.map((row) => row.fake)]) await fake?.close();
});

const lines = (...all) => all.join('\r\n') + '\r\n\r\n';
const post = (path, body = BODY, ...fields) => Buffer.concat([
  Buffer.from(lines(`POST ${path} HTTP/1.1`, HOST, 'Content-Type: application/json', `Content-Length: ${Buffer.byteLength(body)}`, ...fields), 'latin1'),
  Buffer.from(body)]);
/** A POST whose framing the row gives itself. */
const framed = (fields, body = '', path = CHAT) => lines(`POST ${path} HTTP/1.1`, HOST, ...[].concat(fields)) + body;
const get = (path, ...fields) => lines(`GET ${path} HTTP/1.1`, HOST, ...fields);
const chunk = (text) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
const CHUNKED = 'Transfer-Encoding: chunked', LENGTH = `Content-Length: ${BODY.length}`;
const drip = (text, ms) => [...text].flatMap((c) => [c, ms]);
const SMUGGLED = post(CHAT, BODY, 'X-Smuggled: 1');
const inferences = () => Object.values(fakes).reduce((n, fake) => n + fake.inferences.length, 0);

/** The dialect of an answer follows the path; what names no API is answered in Drover's own words. */
function dialectOf(row) {
  if (row.dialect) return row.dialect;
  const text = [].concat(row.send).filter((s) => typeof s === 'string' || Buffer.isBuffer(s)).map((s) => s.toString('latin1')).join('');
  const path = /^(?:\r\n)*[A-Z]+ (\/[\x21-\x7e]*)/.exec(text)?.[1] ?? '';
  return path.startsWith(MESSAGES) ? 'anthropic' : path.startsWith('/api/') ? 'ollama' : /^\/(v1|v2)\//.test(path) ? 'openai' : 'plain';
}

const envelopes = {
  plain: (b) => typeof b.error.message === 'string' && typeof b.error.code === 'string',
  openai: (b) => typeof b.error.message === 'string' && typeof b.error.type === 'string',
  anthropic: (b) => b.type === 'error' && typeof b.error.type === 'string' && typeof b.error.message === 'string',
  ollama: (b) => typeof b.error === 'string',
};

/**
 * One row: {name, send, status, kept, sees, dialect, check}.
 *   status   of the one answer; 0: the connection closes without one; a list: each is fine, or several answers when `all`
 *   kept     the connection goes on (a request behind it is answered); else it must be closed and what follows ignored
 *   sees     inference requests that reach a runtime (default: 1 when the status is 200, else 0)
 */
async function run(row, target = drover) {
  const before = inferences(), want = [].concat(row.status), many = row.all ? want.length : 1;
  const final = (list) => list.filter((r) => r.status >= 200);
  const follow = row.kept ? get('/version') : row.alone ? [] : SMUGGLED;
  const got = await talk(target.port, [].concat(row.send, follow, row.end ?? []), { ms: row.ms ?? 8000, method: row.method,
    enough: row.kept ? (list) => final(list).filter((r) => r.whole).length > many : undefined });
  const answers = final(got.list), seen = inferences() - before;
  const story = `${JSON.stringify(got.bytes.toString('latin1').slice(0, 600))} closed=${got.closed} after ${got.ms.toFixed(0)} ms`;
  assert.equal(got.rest.length, 0, `not HTTP: ${story}`);
  if (row.kept) {
    assert.equal(answers.length, many + 1, `another answer was to come: ${story}`);
    assert.equal(answers.at(-1).status, 200, story);
    assert.match(answers.at(-1).body.toString(), /"drover"/, story);
  } else {
    assert.ok(got.closed, `was to be closed: ${story}`);
    assert.equal(answers.length, want[0] === 0 ? 0 : many, `one answer and no more: ${story}`);
  }
  if (row.all) assert.deepEqual(answers.slice(0, many).map((r) => r.status), want, story);
  else if (want[0] !== 0) assert.ok(want.includes(answers[0].status), `wanted ${want}: ${story}`);
  const first = answers[0];
  if (first && first.status >= 400 && first.status !== 421 && row.method !== 'HEAD') {
    const dialect = dialectOf(row);
    const body = JSON.parse(first.body.toString());
    assert.ok(envelopes[dialect](body), `not the envelope of ${dialect}: ${story}`);
  }
  assert.equal(seen, row.sees ?? (row.all ? undefined : want[0] === 200 && !row.local ? 1 : 0), `requests at the runtime: ${story}`);
  row.check?.(answers, got);
}

// --- smuggling ------------------------------------------------------------------------------------------------------

const disguises = [' chunked', 'chunked ', 'Chunked', 'CHUNKED', '\tchunked'];
const refusedCodings = ['identity', 'gzip', 'gzip, chunked', 'chunked, gzip', 'chunked, chunked', 'chunked, identity', 'identity, chunked', 'xchunked', 'chunkedx',
  'chunked;q=1', 'chunked;', '"chunked"', "'chunked'", 'chunked,', ',chunked', '', 'x', 'chunk', 'chunked\x0b', '\x0bchunked', 'chunked\x00', 'chunk\xe9d', 'c hunked'];
const badLengths = ['+42', '-42', '-0', '0x2a', '42,42', '42, 42', '4 2', '42\x00', '', ' ', '42a', 'a', '4_2', '42.0', '1e2', '42;', '\x0b42', '42\x0b', '\u00b2',
  '99999999999999999999', '18446744073709551616', '18446744073709551658', '9223372036854775808', '00000000000000000000042', '"42"', 'NaN', 'infinity'];

const smuggling = [
  { name: 'CL.TE', send: framed(['Content-Length: 6', CHUNKED], '0\r\n\r\nX'), status: 400 },
  { name: 'TE.CL', send: framed([CHUNKED, 'Content-Length: 4'], '5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n'), status: 400 },
  { name: 'TE twice', send: framed([CHUNKED, CHUNKED], chunk(BODY) + '0\r\n\r\n'), status: 400 },
  { name: 'TE twice, second is identity', send: framed([CHUNKED, 'Transfer-encoding: identity'], chunk(BODY) + '0\r\n\r\n'), status: 400 },
  { name: 'TE twice, first is x', send: framed(['Transfer-Encoding: x', CHUNKED], chunk(BODY) + '0\r\n\r\n'), status: 400 },
  { name: 'TE in HTTP/1.0', send: lines(`POST ${CHAT} HTTP/1.0`, HOST, CHUNKED) + chunk(BODY) + '0\r\n\r\n', status: 400 },
  ...disguises.map((v) => ({ name: `TE written ${JSON.stringify(v)} is chunked`, send: framed(`Transfer-Encoding:${v}`, chunk(BODY) + '0\r\n\r\n'), status: 200, kept: true })),
  ...refusedCodings.map((v) => ({ name: `TE ${JSON.stringify(v)}`, send: framed([`Transfer-Encoding: ${v}`], chunk(BODY) + '0\r\n\r\n'), status: [400, 501] })),
  ...refusedCodings.slice(0, 9).map((v) => ({ name: `CL and TE ${JSON.stringify(v)}`, send: framed([LENGTH, `Transfer-Encoding: ${v}`], BODY), status: [400, 501] })),
  { name: 'TE with a space before the colon', send: framed([LENGTH, 'Transfer-Encoding : chunked'], BODY), status: 400 },
  { name: 'TE with a tab before the colon', send: framed([LENGTH, 'Transfer-Encoding\t: chunked'], BODY), status: 400 },
  { name: 'TE behind a space', send: framed([LENGTH, ' Transfer-Encoding: chunked'], BODY), status: 400 },
  { name: 'TE folded', send: framed([LENGTH, 'Transfer-Encoding:\r\n chunked'], BODY), status: 400 },
  { name: 'TE folded by a tab', send: framed([LENGTH, 'Transfer-Encoding:\r\n\tchunked'], BODY), status: 400 },
  { name: 'TE behind a bare LF', send: framed([LENGTH, 'X: y\nTransfer-Encoding: chunked'], BODY), status: 400 },
  { name: 'TE behind a bare CR', send: framed([LENGTH, 'X: y\rTransfer-Encoding: chunked'], BODY), status: 400 },
  { name: 'TE in the query', send: post(`${CHAT}?x=%0d%0aTransfer-Encoding:%20chunked`), status: 200, kept: true },
  { name: 'TE by an underscore', send: framed([LENGTH, 'Transfer_Encoding: chunked'], BODY), status: 200, kept: true,
    check: () => assert.equal(fakes.vllm.inferences.at(-1).headers.transfer_encoding, undefined) },
  { name: 'CL by an underscore', send: framed([LENGTH, 'Content_Length: 1'], BODY), status: 200, kept: true },
  { name: 'two CL that differ', send: framed(['Content-Length: 1', LENGTH], BODY), status: 400 },
  { name: 'two CL that agree', send: framed([LENGTH, LENGTH], BODY), status: 400 },
  ...badLengths.map((v) => ({ name: `CL ${JSON.stringify(v)}`, send: framed([`Content-Length: ${v}`], BODY), status: 400 })),
  { name: 'CL with blanks around', send: framed([`Content-Length:   ${BODY.length} `], BODY), status: 200, kept: true },
  { name: 'CL on a GET is no second request', send: [get('/version', 'Content-Length: 70'), SMUGGLED], status: 200, local: true },
  { name: 'TE on a GET is no second request', send: [get('/version', CHUNKED), '0\r\n\r\n'], status: 200, local: true },
  { name: 'CL on a HEAD', send: [lines('HEAD /version HTTP/1.1', HOST, 'Content-Length: 70')], status: 200, local: true, method: 'HEAD' },
  { name: 'the messages dialect', send: framed([CHUNKED, LENGTH], BODY, MESSAGES), status: 400, dialect: 'anthropic' },
  { name: 'the Ollama dialect', send: framed([CHUNKED, LENGTH], BODY, OLLAMA), status: 400, dialect: 'ollama' },
  { name: 'a body without framing is the next request', send: [framed([], ''), ''], status: 400, kept: true },
];

// --- chunks ---------------------------------------------------------------------------------------------------------

const chunked = (body, path) => framed([CHUNKED], body, path);
const HEX = BODY.length.toString(16);
const chunks = [
  { name: 'in order', send: chunked(chunk(BODY.slice(0, 7)) + chunk(BODY.slice(7)) + '0\r\n\r\n'), status: 200, kept: true },
  { name: 'one byte each', send: chunked([...BODY].map(chunk).join('') + '0\r\n\r\n'), status: 200, kept: true,
    check: () => assert.equal(fakes.vllm.inferences.at(-1).body.toString(), BODY) },
  { name: 'upper case size', send: chunked(`${HEX.toUpperCase()}\r\n${BODY}\r\n0\r\n\r\n`), status: 200, kept: true },
  { name: 'a short extension', send: chunked(`${HEX};a=b;c="d"\r\n${BODY}\r\n0;x\r\n\r\n`), status: 200, kept: true },
  { name: 'no size', send: chunked(`\r\n${BODY}\r\n0\r\n\r\n`), status: 400 },
  { name: 'size with a sign', send: chunked(`+${HEX}\r\n${BODY}\r\n0\r\n\r\n`), status: 400 },
  { name: 'size -1', send: chunked(`-1\r\n${BODY}\r\n0\r\n\r\n`), status: 400 },
  { name: 'size 0x', send: chunked(`0x${HEX}\r\n${BODY}\r\n0\r\n\r\n`), status: 400 },
  { name: 'size not hex', send: chunked(`g\r\n${BODY}\r\n0\r\n\r\n`), status: 400 },
  { name: 'size with a space in front', send: chunked(` ${HEX}\r\n${BODY}\r\n0\r\n\r\n`), status: 400 },
  { name: 'size with a space behind', send: chunked(`${HEX} \r\n${BODY}\r\n0\r\n\r\n`), status: 400 },
  { name: 'size with a tab behind', send: chunked(`${HEX}\t\r\n${BODY}\r\n0\r\n\r\n`), status: 400 },
  { name: 'size with an underscore', send: chunked(`2_a\r\n${BODY}\r\n0\r\n\r\n`), status: 400 },
  { name: 'size of 17 digits', send: chunked(`1000000000000002a\r\n${BODY}\r\n0\r\n\r\n`), status: 400 },
  { name: 'size of 16 digits', send: chunked(`ffffffffffffffff\r\n${BODY}\r\n0\r\n\r\n`), status: [400, 413], sees: 0, end: END },
  { name: 'size of 2^63', send: chunked(`8000000000000000\r\n${BODY}`), status: [400, 413, 0], end: END, sees: 0, loose: true },
  { name: 'size with a wall of zeros', send: chunked(`${'0'.repeat(300)}${HEX}\r\n${BODY}\r\n0\r\n\r\n`), status: [200, 400], sees: [0, 1], loose: true },
  { name: 'bare LF behind the size', send: chunked(`${HEX}\n${BODY}\r\n0\r\n\r\n`), status: 400 },
  { name: 'bare CR behind the size', send: chunked(`${HEX}\r${BODY}\r\n0\r\n\r\n`), status: 400 },
  { name: 'bare LF behind the data', send: chunked(`${HEX}\r\n${BODY}\n0\r\n\r\n`), status: 400 },
  { name: 'nothing behind the data', send: chunked(`${HEX}\r\n${BODY}0\r\n\r\n`), status: 400 },
  { name: 'data longer than said', send: chunked(`${(BODY.length - 2).toString(16)}\r\n${BODY}\r\n0\r\n\r\n`), status: 400 },
  { name: 'bare LF at the end', send: chunked(`${chunk(BODY)}0\n\n`), status: 400 },
  { name: 'bare LF in an extension', send: chunked(`${HEX};a\nb\r\n${BODY}\r\n0\r\n\r\n`), status: 400 },
  { name: 'bare CR in an extension', send: chunked(`${HEX};a\rb\r\n${BODY}\r\n0\r\n\r\n`), status: 400 },
  { name: 'NUL in an extension', send: chunked(`${HEX};a\x00b\r\n${BODY}\r\n0\r\n\r\n`), status: 400 },
  { name: 'an extension bomb', send: chunked(`${HEX};${'a'.repeat(5000)}\r\n${BODY}\r\n0\r\n\r\n`), status: 400 },
  { name: 'an extension bomb by values', send: chunked(`${HEX}${';a=b'.repeat(2000)}\r\n${BODY}\r\n0\r\n\r\n`), status: 400 },
  { name: 'an extension bomb on the last chunk', send: chunked(`${chunk(BODY)}0;${'a'.repeat(5000)}\r\n\r\n`), status: 400 },
  { name: 'trailers are dropped', send: chunked(`${chunk(BODY)}0\r\nX-Trailer: 1\r\nAuthorization: Bearer x\r\n\r\n`), status: 200, kept: true,
    check: () => assert.ok(!JSON.stringify(fakes.vllm.inferences.at(-1).rawHeaders).match(/trailer|bearer/i)) },
  { name: 'trailers that frame', send: chunked(`${chunk(BODY)}0\r\nContent-Length: 5\r\n\r\n`), status: [200, 400], sees: [0, 1], loose: true },
  { name: 'trailers that frame by TE', send: chunked(`${chunk(BODY)}0\r\nTransfer-Encoding: chunked\r\n\r\n`), status: [200, 400], sees: [0, 1], loose: true },
  { name: 'a trailer Host', send: chunked(`${chunk(BODY)}0\r\nHost: evil.example\r\n\r\n`), status: 200, kept: true },
  { name: 'trailers beyond head.total', send: chunked(`${chunk(BODY)}0\r\n${`X: ${'y'.repeat(4000)}\r\n`.repeat(10)}\r\n`), status: 431 },
  { name: 'trailers beyond head.fields', send: chunked(`${chunk(BODY)}0\r\n${'X: y\r\n'.repeat(200)}\r\n`), status: 431 },
  { name: 'a trailer with a bare LF', send: chunked(`${chunk(BODY)}0\r\nX: y\nZ: 1\r\n\r\n`), status: 400 },
  { name: 'a trailer folded', send: chunked(`${chunk(BODY)}0\r\nX: y\r\n z\r\n\r\n`), status: 400 },
  { name: 'in the Ollama dialect', send: chunked(`x\r\n${BODY}\r\n0\r\n\r\n`, OLLAMA), status: 400, dialect: 'ollama' },
  { name: 'in the messages dialect', send: chunked(`x\r\n${BODY}\r\n0\r\n\r\n`, MESSAGES), status: 400, dialect: 'anthropic' },
];

// --- heads ----------------------------------------------------------------------------------------------------------

const TE = (field) => framed([LENGTH, field], BODY);
const heads = [
  { name: 'no Host', send: lines('GET /version HTTP/1.1'), status: 400 },
  { name: 'two Hosts', send: lines('GET /version HTTP/1.1', HOST, HOST), status: 400 },
  { name: 'two Hosts that differ', send: lines('GET /version HTTP/1.1', HOST, 'Host: evil.example'), status: 400 },
  { name: 'Host with a space before the colon', send: lines('GET /version HTTP/1.1', 'Host : 127.0.0.1'), status: 400 },
  { name: 'Host with a list', send: lines('GET /version HTTP/1.1', 'Host: 127.0.0.1, evil.example'), status: 400 },
  { name: 'Host with a path', send: lines('GET /version HTTP/1.1', 'Host: 127.0.0.1/x'), status: 400 },
  { name: 'Host with a user', send: lines('GET /version HTTP/1.1', 'Host: a@127.0.0.1'), status: 400 },
  { name: 'Host empty', send: lines('GET /version HTTP/1.1', 'Host:'), status: 400, alone: true },
  { name: 'NUL in a value', send: TE('X: a\x00b'), status: 400 },
  { name: 'NUL in a name', send: TE('X\x00: ab'), status: 400 },
  { name: 'control byte in a value', send: TE('X: a\x01b'), status: 400 },
  { name: 'DEL in a value', send: TE('X: a\x7fb'), status: 400 },
  { name: 'escape sequence in a value', send: TE('X: \x1b[2J'), status: 400 },
  { name: 'bare CR in a value', send: TE('X: a\rb'), status: 400 },
  { name: 'bare LF between fields', send: TE('X: a\nY: b'), status: 400 },
  { name: 'CR CR LF', send: TE('X: a\r'), status: 400 },
  { name: 'a name that is empty', send: TE(': x'), status: 400 },
  { name: 'a field without a colon', send: TE('X'), status: 400 },
  { name: 'a name with a space', send: TE('X Y: z'), status: 400 },
  { name: 'a name with a bracket', send: TE('X[y]: z'), status: 400 },
  { name: 'a name that is not ASCII', send: TE('X\xe9: z'), status: 400 },
  { name: 'obs-fold', send: TE('X: a\r\n b'), status: 400 },
  { name: 'obs-fold at once', send: framed([' X: a', LENGTH], BODY), status: 400 },
  { name: 'only bare LFs', send: `POST ${CHAT} HTTP/1.1\n${HOST}\nContent-Length: 0\n\n`, status: 400 },
  { name: 'bare LF behind the request line', send: `POST ${CHAT} HTTP/1.1\n${HOST}\r\nContent-Length: 0\r\n\r\n`, status: 400 },
  { name: 'empty lines first', send: ['\r\n\r\n', post(CHAT)], status: 200, kept: true },
  { name: 'two spaces before the target', send: lines('GET  /version HTTP/1.1', HOST), status: 400 },
  { name: 'two spaces behind the target', send: lines('GET /version  HTTP/1.1', HOST), status: 400 },
  { name: 'a tab in the request line', send: lines('GET\t/version HTTP/1.1', HOST), status: 400 },
  { name: 'a space at the end of the request line', send: lines('GET /version HTTP/1.1 ', HOST), status: 400 },
  { name: 'lower-case method', send: lines('get /version HTTP/1.1', HOST), status: 400 },
  { name: 'no such method', send: lines('FROB /version HTTP/1.1', HOST), status: 400 },
  { name: 'HTTP/1.2', send: lines('GET /version HTTP/1.2', HOST), status: [400, 505] },
  { name: 'HTTP/2.0', send: lines('GET /version HTTP/2.0', HOST), status: [400, 505] },
  { name: 'HTTP/0.9', send: 'GET /version\r\n\r\n', status: [400, 505], alone: true },
  { name: 'HTTP/0.9, with its version', send: lines('GET /version HTTP/0.9', HOST), status: [400, 505] },
  { name: 'http/1.1', send: lines('GET /version http/1.1', HOST), status: 400 },
  { name: 'HTTP/1.10', send: lines('GET /version HTTP/1.10', HOST), status: 400 },
  { name: 'TLS hello', send: Buffer.from('16030100a5010000a10303', 'hex'), status: 400 },
  { name: 'SSH', send: 'SSH-2.0-OpenSSH_9.6\r\n', status: 400 },
  { name: 'zeros', send: Buffer.alloc(4096), status: 400 },
  { name: 'h2 preface', send: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', status: [400, 505] },
  { name: 'h2c upgrade is ignored', send: get('/version', 'Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA'),
    status: 200, local: true, kept: true },
  { name: 'WebSocket upgrade is no 101', send: get(CHAT, 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='),
    status: [404, 405, 426], loose: true, alone: true, end: END },
  { name: 'upgrade on a POST is not passed on', send: post(CHAT, BODY, 'Connection: upgrade', 'Upgrade: foo'), status: 200, kept: true,
    check: () => assert.equal(fakes.vllm.inferences.at(-1).headers.upgrade, undefined) },
  { name: 'upgrade on a chunked POST', send: framed([CHUNKED, 'Connection: upgrade', 'Upgrade: foo'], chunk(BODY) + '0\r\n\r\n'), status: 200, kept: true },
  { name: 'HTTP/1.0', send: lines(`POST ${CHAT} HTTP/1.0`, HOST, LENGTH) + BODY, status: 200 },
  { name: 'HTTP/1.0 keep-alive', send: lines(`POST ${CHAT} HTTP/1.0`, HOST, LENGTH, 'Connection: keep-alive') + BODY, status: 200, kept: true },
  { name: 'HTTP/1.0 stream', send: lines(`POST ${CHAT} HTTP/1.0`, HOST, `Content-Length: ${BODY.length + 14}`) + BODY.slice(0, -1) + ',"stream":true}', status: 200,
    check: ([r]) => assert.ok(!r.headers['transfer-encoding'] && /\[DONE\]/.test(r.body)) },
  { name: 'Connection: close', send: post(CHAT, BODY, 'Connection: close'), status: 200 },
  { name: 'a target beyond head.request_line', send: get('/' + 'a'.repeat(9000)), status: 414 },
  { name: 'a field beyond head.field', send: get('/version', 'X: ' + 'a'.repeat(9000)), status: 431 },
  { name: 'a name beyond head.field', send: get('/version', 'x'.repeat(9000) + ': 1'), status: 431 },
  { name: 'more than head.fields', send: get('/version', ...Array.from({ length: 101 }, (_, i) => `X-${i}: 1`)), status: 431 },
  { name: 'more than head.fields, empty ones', send: get('/version', ...Array.from({ length: 101 }, () => 'X:')), status: 431 },
  { name: 'just head.fields', send: get('/version', ...Array.from({ length: 99 }, (_, i) => `X-${i}: 1`)), status: 200, local: true, kept: true },
  { name: 'more than head.total', send: get('/version', ...Array.from({ length: 10 }, (_, i) => `X-${i}: ${'a'.repeat(4000)}`)), status: 431 },
  { name: '431 in the messages dialect', send: framed([`X: ${'a'.repeat(9000)}`], '', MESSAGES), status: 431, dialect: 'anthropic' },
  { name: '431 in the Ollama dialect', send: framed([`X: ${'a'.repeat(9000)}`], '', OLLAMA), status: 431, dialect: 'ollama' },
  { name: 'a byte outside ASCII in the target', send: get('/vers\xefon'), status: 400 },
  { name: 'a control byte in the target', send: get('/vers\x01on'), status: 400 },
  { name: 'Expect of something else', send: framed([LENGTH, 'Expect: the-unexpected'], BODY), status: 417 },
  { name: 'Expect: 100-continue', send: framed([LENGTH, 'Expect: 100-continue'], BODY), status: 200, kept: true, check: (_, got) => assert.equal(got.list[0].status, 100) },
  { name: 'Expect without a body', send: get('/version', 'Expect: 100-continue'), status: 200, local: true, kept: true, check: (_, got) => assert.equal(got.list[0].status, 200) },
  { name: 'Expect in HTTP/1.0 is not heard', send: lines(`POST ${CHAT} HTTP/1.0`, HOST, LENGTH, 'Expect: 100-continue') + BODY, status: 200, check: (_, got) => assert.equal(got.list[0].status, 200) },
  { name: 'Expect before a refusal', send: framed([LENGTH, 'Expect: 100-continue', 'Content-Encoding: gzip'], ''), status: 415, check: (_, got) => assert.equal(got.list[0].status, 415) },
];

// --- targets, methods, senders --------------------------------------------------------------------------------------

const senders = [
  { name: 'absolute-form', send: lines('GET http://127.0.0.1/version HTTP/1.1', HOST), status: 200, local: true, kept: true },
  { name: 'absolute-form with another host', send: lines('GET http://evil.example/version HTTP/1.1', HOST), status: [400, 421] },
  { name: 'absolute-form of a foreign host in both', send: lines('GET http://evil.example/version HTTP/1.1', 'Host: evil.example'), status: 421, kept: true },
  { name: 'absolute-form with a user', send: lines('GET http://x@127.0.0.1/version HTTP/1.1', HOST), status: 400 },
  { name: 'absolute-form of another scheme', send: lines('GET ftp://127.0.0.1/version HTTP/1.1', HOST), status: 400 },
  { name: 'absolute-form, Ollama', send: lines('POST http://127.0.0.1/api/chat HTTP/1.1', HOST, 'Content-Length: 1') + '{', status: 400, dialect: 'ollama', kept: true },
  { name: 'asterisk', send: lines('OPTIONS * HTTP/1.1', HOST), status: [400, 404, 405], loose: true, alone: true, end: END },
  { name: 'authority-form', send: lines('GET 127.0.0.1:80 HTTP/1.1', HOST), status: 400 },
  { name: 'CONNECT', send: lines('CONNECT 127.0.0.1:22 HTTP/1.1', HOST), status: [400, 405] },
  { name: 'CONNECT with a path', send: lines('CONNECT /version HTTP/1.1', HOST), status: [400, 405] },
  { name: 'TRACE', send: lines('TRACE /version HTTP/1.1', HOST, 'Cookie: secret'), status: [400, 405], loose: true, alone: true, end: END, check: ([r]) => assert.ok(!r.body.includes('secret')) },
  { name: 'a fragment', send: get('/version#x'), status: 400 },
  { name: 'backslashes', send: get('\\version'), status: 400 },
  ...['DELETE', 'PUT', 'PATCH', 'GET', 'OPTIONS', 'PROPFIND'].map((m) => ({ name: `${m} ${CHAT}`, send: lines(`${m} ${CHAT} HTTP/1.1`, HOST), status: [404, 405], kept: true })),
  { name: 'GET /api/chat', send: get(OLLAMA), status: 405, dialect: 'ollama', kept: true },
  { name: 'GET /v1/messages', send: get(MESSAGES), status: 405, dialect: 'anthropic', kept: true },
  ...['//v1/models', '/v1//models', '/v1/../version', '/./version', '/v1/%2e%2e/version', '/%2e/version', '/v1%2fmodels', '/v1%2Fmodels', '/v1/models/..%2f..%2fx',
    '/v1/models/%2e%2e%2fetc', '/v1%5cmodels', '/v1/%00', '/v1/%0d%0aX', '/v1/%zz', '/v1/%', '/v1/models/..', '/..;/version', '/v1/..;a=b/version', '/v1/.%2e/x',
    '/v1/%c0%ae%c0%ae/x'].map((p) => ({ name: `path ${p}`, send: get(p), status: [400, 404], kept: true })),
  ...['/v1/chat/completions/..', '/v1/x/../chat/completions', '//v1/chat/completions', '/v1/chat%2fcompletions', '/v1/./chat/completions'].map((p) =>
    ({ name: `POST ${p}`, send: post(p), status: [400, 404] })),
  ...['evil.example', 'evil.example:11430', '127.0.0.1.evil.example', 'localhost.evil.example', '127.0.0.1.nip.io', '169.254.169.254', '0.0.0.0', '192.168.0.1', '[::2]',
    '[::ffff:127.0.0.1]', '127.1', '2130706433', '0x7f000001', '0177.0.0.1', '127.0.0.256', '127.0.0.1:80:80', 'evil%2elocalhost', 'localhost_', 'xn--localhost-9d', '[::1]evil.example',
    '[::1'].map((h) => ({ name: `Host ${h}`, send: lines('GET /version HTTP/1.1', `Host: ${h}`), status: [400, 421], loose: true, alone: true, end: END })),
  { name: 'POST with a foreign Host', send: lines(`POST ${CHAT} HTTP/1.1`, 'Host: evil.example', LENGTH) + BODY, status: 421 },
  { name: '/metrics with a foreign Host', send: lines('GET /metrics HTTP/1.1', 'Host: evil.example'), status: 421, kept: true },
  ...['127.0.0.1', 'localhost', 'LOCALHOST', 'localhost.', '127.0.0.1:1', '127.8.9.1', '[::1]', '[::1]:11430'].map((h) =>
    ({ name: `Host ${h} is ours`, send: lines('GET /version HTTP/1.1', `Host: ${h}`), status: 200, local: true, kept: true })),
  ...['http://evil.example', 'https://evil.example', 'null', '', 'http://127.0.0.1.evil.example', 'http://localhost.evil.example', 'file://', 'chrome-extension://abc', 'http://evil.example:80',
    'http://127.0.0.1@evil.example', 'http://[::1].evil.example', 'http://', 'evil'].map((o) => ({ name: `Origin ${JSON.stringify(o)}`, send: post(CHAT, BODY, `Origin: ${o}`), status: [403, 400] })),
  ...['http://127.0.0.1', 'http://127.0.0.1:3000', 'https://localhost', 'http://[::1]:5'].map((o) => ({ name: `Origin ${o} is ours`, send: post(CHAT, BODY, `Origin: ${o}`), status: 200, kept: true,
    check: ([r]) => assert.ok(!Object.keys(r.headers).some((h) => h.startsWith('access-control'))) })),
  { name: 'cross-site without an Origin', send: post(CHAT, BODY, 'Sec-Fetch-Site: cross-site'), status: 403 },
  { name: 'two Origins, the second foreign', send: post(CHAT, BODY, 'Origin: http://127.0.0.1', 'Origin: http://evil.example'), status: [400, 403] },
  { name: 'cross-site GET', send: get('/v1/models', 'Sec-Fetch-Site: cross-site'), status: 403, kept: true },
  { name: 'same-origin', send: post(CHAT, BODY, 'Sec-Fetch-Site: same-origin'), status: 200, kept: true },
  { name: 'a preflight', send: lines(`OPTIONS ${CHAT} HTTP/1.1`, HOST, 'Origin: http://evil.example', 'Access-Control-Request-Method: POST'), status: 403, kept: true,
    check: ([r]) => assert.ok(!Object.keys(r.headers).some((h) => h.startsWith('access-control'))) },
  { name: 'foreign Origin, messages', send: post(MESSAGES, BODY, 'Origin: http://evil.example'), status: 403, dialect: 'anthropic' },
  { name: 'foreign Origin, Ollama', send: post(OLLAMA, BODY, 'Origin: http://evil.example'), status: 403, dialect: 'ollama' },
];

// --- bodies ---------------------------------------------------------------------------------------------------------

const deep = (n) => `{"model":"m","messages":${'['.repeat(n)}${']'.repeat(n)}}`;
const members = (n) => `{"model":"m",${Array.from({ length: n }, (_, i) => `"k${i}":0`).join(',')}}`;
const refusedBodies = {
  'empty': '', 'not JSON': 'model=m', 'cut short': '{"model":"m"', 'an array': '[{"model":"m"}]', 'a string': '"m"', 'a number': '1', 'null': 'null',
  'no model': '{"messages":[]}', 'model a number': '{"model":1}', 'model null': '{"model":null}', 'model an array': '{"model":["m"]}', 'model an object': '{"model":{"a":"m"}}',
  'model true': '{"model":true}', 'model empty': '{"model":""}', 'model of 300 bytes': `{"model":"${'a'.repeat(300)}"}`, 'model of 1 MiB': `{"model":"${'a'.repeat(MIB)}"}`,
  'model twice': '{"model":"m","model":"m"}', 'model twice, another': '{"model":"m","messages":[],"model":"plain"}', 'model twice, once escaped': '{"model":"m","mod\\u0065l":"plain"}',
  'model twice, once escaped, first': '{"mod\\u0065l":"plain","model":"m"}', 'model escaped twice': '{"\\u006dodel":"m","mode\\u006C":"m"}',
  'stream twice': '{"model":"m","stream":false,"stream":true}', 'stream_options twice': '{"model":"m","stream_options":{},"stream_options":{}}',
  'trailing comma': '{"model":"m",}', 'trailing garbage': '{"model":"m"}x', 'two objects': '{"model":"m"}{"model":"plain"}', 'two objects by a line': '{"model":"m"}\n{"model":"plain"}',
  'single quotes': "{'model':'m'}", 'comment': '{"model":"m"/*x*/}', 'NaN': '{"model":"m","a":NaN}', 'plus sign': '{"model":"m","a":+1}', 'leading zero': '{"model":"m","a":01}',
  'leading point': '{"model":"m","a":.5}', 'point alone': '{"model":"m","a":1.}', 'exponent alone': '{"model":"m","a":1e}', 'hex': '{"model":"m","a":0x1}', 'minus alone': '{"model":"m","a":-}',
  'a lone high surrogate in the model': '{"model":"\\ud800"}', 'a lone low surrogate in the model': '{"model":"\\udc00\\ud800"}',
  'control byte in a string': '{"model":"m","a":"\x01"}', 'newline in a string': '{"model":"m","a":"\n"}', 'bad escape': '{"model":"m","a":"\\x41"}', 'short escape': '{"model":"m","a":"\\u12"}',
  'escape at the end': '{"model":"m","a":"\\', 'no colon': '{"model" "m"}', 'no quotes': '{model:"m"}', 'depth 100': deep(100), 'depth 100,000': deep(100000), 'depth without an end': '{"a":'.repeat(100000),
  '10,001 members': members(10001), 'blanks only': ' \r\n\t ', 'NUL behind': '{"model":"m"}\x00', 'form feed': '{"model":"m"\x0c}',
};
const bytesOf = (...parts) => Buffer.concat(parts.map((p) => (typeof p === 'string' ? Buffer.from(p) : Buffer.from(p))));
const refusedBytes = {
  'BOM': bytesOf([0xef, 0xbb, 0xbf], BODY), 'UTF-16 LE': Buffer.from('\ufeff' + BODY, 'utf16le'), 'UTF-16 without a mark': Buffer.from(BODY, 'utf16le'),
  'UTF-16 BE': Buffer.from('\ufeff' + BODY, 'utf16le').swap16(), 'a lone 0xff': bytesOf('{"model":"m","a":"', [0xff], '"}'), 'overlong slash': bytesOf('{"model":"m","a":"', [0xc0, 0xaf], '"}'),
  'overlong NUL': bytesOf('{"model":"m","a":"', [0xc0, 0x80], '"}'), 'a surrogate': bytesOf('{"model":"m","a":"', [0xed, 0xa0, 0x80], '"}'), 'beyond Unicode': bytesOf('{"model":"m","a":"', [0xf4, 0x90, 0x80, 0x80], '"}'),
  'cut UTF-8': bytesOf('{"model":"m","a":"', [0xe2, 0x82], '"}'), 'bad UTF-8 in the model': bytesOf('{"model":"m', [0xff], '"}'), 'bad UTF-8 in a name': bytesOf('{"model":"m","', [0xfe], '":1}'),
};
const names = ['../../etc/passwd', '..', '/etc/passwd', 'm/../x', 'a\\r\\nX-Injected: 1', 'a\\r\\n\\r\\nHTTP/1.1 200 OK\\r\\n\\r\\n', '\\u0000', 'm\\u0000', 'm\\u001b[2J', '\\u202em', '%0d%0aX: y', '%s%n%n', '{{7*7}}',
  '$(id)', '`id`', "' OR 1=1--", '<script>alert(1)</script>', 'm\\n', ' m', 'm ', 'M', 'm:latest:latest', 'vllm/../vllm/m', 'a'.repeat(255)];
const bodies = [
  ...Object.entries({ ...refusedBodies, ...refusedBytes }).flatMap(([name, body]) => [
    { name, send: sized(CHAT, body), status: 400, loose: true, alone: true, end: END }]),
  ...['not JSON', 'model twice', 'depth 100'].flatMap((name) => [
    { name: `${name}, messages`, send: sized(MESSAGES, refusedBodies[name]), status: 400, dialect: 'anthropic', loose: true, alone: true, end: END },
    { name: `${name}, Ollama`, send: sized(OLLAMA, refusedBodies[name]), status: 400, dialect: 'ollama', loose: true, alone: true, end: END },
    { name: `${name}, one byte a chunk`, send: chunked([...refusedBodies[name]].map(chunk).join('') + '0\r\n\r\n'), status: 400, loose: true, alone: true, end: END }]),
  ...names.map((n) => ({ name: `model ${n.slice(0, 30)}`, send: post(CHAT, `{"model":"${n}","messages":[]}`), status: [400, 404], kept: true,
    check: ([r]) => { assert.ok(!/^x-injected/im.test(r.head)); assert.ok(!/[\x00-\x08\x0b\x1b]/.test(r.body.toString('latin1'))); } })),
  { name: 'model with an escaped slash is the same name', send: post(CHAT, '{"mod\\u0065l":"\\u006d","messages":[]}'), status: 200, kept: true },
  { name: 'an inner model does not count', send: post(CHAT, '{"a":{"model":"plain"},"model":"m","b":[{"model":"x","model":"y"}]}'), status: [200, 400], sees: [0, 1], loose: true },
  { name: 'depth 60', send: post(CHAT, deep(60)), status: 200, kept: true },
  { name: '9,999 members', send: post(CHAT, members(9999)), status: 200, kept: true },
  { name: 'huge numbers pass on as they are', send: post(CHAT, `{"model":"m","seed":${'9'.repeat(400)},"x":1e99999,"y":-1E-99999}`), status: 200, kept: true,
    check: () => assert.ok(fakes.vllm.inferences.at(-1).body.includes('9'.repeat(400))) },
  { name: 'n of 10^30', send: post(CHAT, `{"model":"m","n":1${'0'.repeat(30)}}`), status: 400, kept: true },
  { name: 'n of 9', send: post(CHAT, '{"model":"m","n":9}'), status: 400, kept: true },
  { name: 'n of 1e9', send: post(CHAT, '{"model":"m","n":1e9}'), status: 400, kept: true },
  { name: 'n of -1', send: post(CHAT, '{"model":"m","n":-1}'), status: [200, 400], sees: [0, 1], loose: true },
  { name: 'blanks around', send: post(CHAT, `\r\n\t ${BODY} \n`), status: 200, kept: true },
  ...['gzip', 'deflate', 'br', 'zstd', 'GZIP', 'gzip, gzip', 'identity, gzip', 'x'].map((c) => ({ name: `Content-Encoding ${c}`, send: post(CHAT, BODY, `Content-Encoding: ${c}`), status: 415 })),
  { name: 'Content-Encoding twice, the second gzip', send: post(CHAT, BODY, 'Content-Encoding: identity', 'Content-Encoding: gzip'), status: 415 },
  { name: 'Content-Encoding gzip, Ollama', send: post(OLLAMA, BODY, 'Content-Encoding: gzip'), status: 415, dialect: 'ollama' },
  { name: 'Content-Encoding identity', send: post(CHAT, BODY, 'Content-Encoding: identity'), status: 200, kept: true },
  { name: 'a length beyond gateway.body_max', send: framed(['Content-Length: 68719476736'], '{'), status: 413 },
  { name: 'a length beyond gateway.body_max, messages', send: framed(['Content-Length: 68719476736'], '{', MESSAGES), status: 413, dialect: 'anthropic' },
  { name: 'a query that names another model', send: post(`${CHAT}?model=plain`), status: 400 },
  { name: 'a query that names another model, escaped', send: post(`${CHAT}?a=b&mod%65l=plain`), status: 400 },
  { name: 'another query goes along', send: post(`${CHAT}?api-version=1&models=x`), status: 200, kept: true, check: () => assert.equal(fakes.vllm.inferences.at(-1).url, `${CHAT}?api-version=1&models=x`) },
];
/** As post(), for bytes. */
function sized(path, body) {
  const data = Buffer.from(body);
  return [Buffer.from(framed([`Content-Length: ${data.length}`], '', path), 'latin1'), data];
}

// --- what reaches the runtime ---------------------------------------------------------------------------------------

const form = (parts, boundary = 'b') => {
  const body = parts + `--${boundary}--\r\n`;
  return lines('POST /v1/audio/transcriptions HTTP/1.1', HOST, `Content-Type: multipart/form-data; boundary=${boundary}`, `Content-Length: ${body.length}`) + body;
};
const part = (disposition, value) => `--b\r\nContent-Disposition: form-data; ${disposition}\r\n\r\n${value}\r\n`;
const forms = [
  { name: 'no boundary', send: lines('POST /v1/audio/transcriptions HTTP/1.1', HOST, 'Content-Type: multipart/form-data', 'Content-Length: 3') + 'abc', status: 400, kept: true },
  { name: 'no model', send: form(part('name="file"', 'x')), status: 400, kept: true },
  { name: 'model twice', send: form(part('name="model"', 'm') + part('name="model"', 'plain')), status: 400, kept: true },
  { name: 'model named by a parameter inside a quoted file name', send: form(part('filename="x;name=model;y"; name="file"', 'm')), status: 400, kept: true },
  { name: 'model with two names', send: form(part('name="model"; name="file"', 'm')), status: 400, kept: true },
  { name: 'a delimiter with blanks hides a second model', send: form(part('name="model"', 'm') + part('name="model"', 'plain').replace('--b', '--b ')), status: 400, kept: true },
  { name: 'a part without an end', send: form('--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nm'), status: 400, kept: true },
  { name: 'model with a line break', send: form(part('name="model"', 'm\r\nX: y')), status: [400, 404], kept: true },
  { name: 'unknown model', send: form(part('name="model"', 'nobody')), status: 404, kept: true },
];

const CREDENTIALS = ['Authorization: Bearer sk-secret', 'x-api-key: sk-secret', 'api-key: sk-secret', 'Cookie: a=sk-secret', 'Proxy-Authorization: Basic sk-secret', 'Proxy-Connection: sk-secret', 'xi-api-key: sk-secret'];
const HOP = ['TE: trailers', 'Trailer: X', 'Keep-Alive: 5', 'Upgrade: foo', 'X-Forwarded-For: 1.2.3.4', 'X-Forwarded-Host: evil', 'X-Forwarded-Proto: https', 'Forwarded: for=1.2.3.4', 'X-Real-IP: 1.2.3.4', 'Via: 1.1 evil',
  'Drover-Internal: 1', 'X_Forwarded_For: 1.2.3.4', 'X_API_KEY: sk-secret', 'Sec-Fetch-Site: same-origin', 'Referer: http://x', 'Origin: http://127.0.0.1', 'Range: bytes=0-1', 'Accept-Encoding: gzip', 'X-Request-ID: mine'];

describe('hostile requests', () => {
  for (const [group, rows] of Object.entries({ smuggling, chunks, heads, senders, bodies, forms })) {
    test(`${group}: ${rows.length} rows`, async (t) => {
      for (const row of rows) await t.test(row.name, () => (row.loose ? runLoose(row) : run(row)));
    });
  }

  /** Rows that allow more than one outcome, as long as it is one answer and nothing behind it was taken for a request. */
  async function runLoose(row) {
    const before = inferences(), want = [].concat(row.status);
    const got = await talk(drover.port, [].concat(row.send, row.end ?? [], row.alone ? [] : END), { ms: 8000 });
    const answers = got.list.filter((r) => r.status >= 200);
    const story = `${JSON.stringify(got.bytes.toString('latin1').slice(0, 600))} closed=${got.closed}`;
    assert.equal(got.rest.length, 0, story);
    assert.ok(answers.length <= 1 && got.closed, story);
    if (row.alone || !want.includes(200)) assert.ok(want.includes(answers[0]?.status ?? 0), story);
    if (answers[0]?.status >= 400 && answers[0].status !== 421) assert.ok(envelopes[dialectOf(row)](JSON.parse(answers[0].body)), story);
    await sleep(1);
    assert.ok([].concat(row.sees ?? 0).includes(inferences() - before), `requests at the runtime: ${inferences() - before}, ${story}`);
    if (answers[0]) row.check?.(answers, got);
  }

  test('neither credentials nor fields of the hop reach the runtime', async () => {
    for (const connection of ['close, X-Mine, X-Other', 'keep-alive, x-mine, X-Other']) {
      const got = await talk(drover.port, [post(CHAT, BODY, ...CREDENTIALS, ...HOP, `Connection: ${connection}`, 'X-Mine: sk-secret', 'x-other: sk-secret', 'X-Kept: yes')], { enough: (list) => list[0]?.whole });
      assert.equal(got.list[0].status, 200);
      const { headers, rawHeaders } = fakes.vllm.inferences.at(-1);
      assert.equal(headers['x-kept'], 'yes');
      assert.ok(!JSON.stringify(rawHeaders).includes('sk-secret'), JSON.stringify(rawHeaders));
      for (const field of HOP.filter((f) => !/^(accept-encoding|x-request-id)/i.test(f))) assert.equal(headers[field.split(':')[0].toLowerCase()], undefined, field);
      assert.equal(headers['accept-encoding'], 'identity');
      assert.notEqual(headers['x-request-id'], 'mine');
      const known = rawHeaders.map((h) => h.split(':')[0].toLowerCase());
      assert.equal(new Set(known).size, known.length, 'no field twice');
    }
  });

  test('fields named in a second Connection field do not go along either', async () => {
    await talk(drover.port, [post(CHAT, BODY, 'Connection: keep-alive', 'Connection: X-Mine', 'X-Mine: 1')], { enough: (list) => list[0]?.whole });
    assert.equal(fakes.vllm.inferences.at(-1).headers['x-mine'], undefined);
  });

  test('what a limit turned away is counted under its name, once', async () => {
    const fake = await startFake('openai', { models: ['m'] });
    const mine = await startDrover({ env, endpoints: [fake], models: ['m'], config: { gateway: { body_max: '1MiB', deadline: '5s', retry_max: 0 },
      limits: { head: { deadline: '1s', fields: 20 }, body: { idle: '1s' }, json: { depth: 10, members: 64, values: 1000 }, upstream: { first_byte: '1s', head: '4KiB' } } } });
    const counts = async () => Object.fromEntries([...(await (await mine.get('/metrics')).text()).matchAll(/^drover_limit_hits_total\{limit="([^"]+)"\} (\d+)$/gm)]
      .map((m) => [m[1], Number(m[2])]));
    try {
      const rows = {
        'limits.head.request_line': [get('/' + 'a'.repeat(9000)), 414], 'limits.head.field': [get('/version', 'X: ' + 'a'.repeat(9000)), 431],
        'limits.head.fields': [get('/version', ...Array.from({ length: 30 }, (_, i) => `X-${i}: 1`)), 431],
        'limits.head.total': [get('/version', ...Array.from({ length: 10 }, (_, i) => `X-${i}: ${'a'.repeat(4000)}`)), 431],
        'limits.head.deadline': [['GET /version HTTP/1.1\r\nHost: 127'], 408], 'limits.body.idle': [[framed([LENGTH], '{')], 408],
        'limits.body.chunk_line': [chunked(`${HEX};${'a'.repeat(5000)}\r\n${BODY}\r\n0\r\n\r\n`), 400], 'gateway.body_max': [framed(['Content-Length: 68719476736'], '{'), 413],
        'limits.json.depth': [post(CHAT, deep(20)), 400], 'limits.json.members': [post(CHAT, members(65)), 400],
        'limits.json.values': [post('/v1/messages', JSON.stringify({ model: 'm', max_tokens: 9, messages: [], x: Array(1000).fill(0) })), 413],
        'limits.upstream.first_byte': [post(CHAT), 504, { firstDelayMs: 1900 }],
        'limits.upstream.head': [post(CHAT), 502, { answer: (_, response) => { play(response.socket, [reply([JSON_TYPE, OK_LENGTH, `X: ${'y'.repeat(9000)}`], OK)]); } }],
      };
      const want = {};
      for (const [key, [send, status, options]] of Object.entries(rows)) {
        Object.assign(fake.options, { firstDelayMs: 0, answer: undefined }, options);
        const got = await talk(mine.port, send, { ms: 8000, enough: (list) => list[0]?.whole });
        assert.equal(got.list[0]?.status, status, `${key}: ${got.bytes}`);
        want[key] = 1;
        assert.deepEqual(await counts(), want, key);
        if (options) assert.match(got.list[0].body.toString(), key.endsWith('head') ? /limits\.upstream\.head/ : /no reply within 1000 ms/);
      }
    } finally {
      await mine.stop();
      await fake.close();
    }
  });

  test('all fields of a request travel, as many and as large as limits.head lets in', async () => {
    const fake = await startFake('openai', { models: ['m'] });
    const mine = await startDrover({ env, endpoints: [fake], models: ['m'], config: { limits: { head: { fields: 500, total: '128KiB', field: '64KiB', request_line: '64KiB' } } } });
    try {
      const many = Array.from({ length: 400 }, (_, i) => `X-Field-${i}: ${i}`);
      for (let round = 0; round < 2; round++) { // the second on a pooled connection
        const got = await talk(mine.port, post(CHAT, BODY, ...many), { enough: (list) => list[0]?.whole });
        assert.equal(got.list[0]?.status, 200, got.bytes.toString());
        for (let i = 0; i < 400; i++) assert.equal(fake.inferences.at(-1).headers[`x-field-${i}`], `${i}`);
      }
      const large = ['X-A', 'X-B'].map((name) => `${name}: ${'v'.repeat(63 << 10)}`);
      const got = await talk(mine.port, post(`${CHAT}?q=${'q'.repeat(60 << 10)}`, BODY, ...large), { enough: (list) => list[0]?.whole });
      assert.equal(got.list[0]?.status, 200, got.bytes.toString());
      assert.equal(fake.inferences.at(-1).headers['x-b'].length, 63 << 10);
      assert.equal(fake.inferences.at(-1).url.length, CHAT.length + 3 + (60 << 10));
    } finally {
      await mine.stop();
      await fake.close();
    }
  });

  test('no answer carries what a browser could use from elsewhere', async () => {
    for (const route of ['/healthz', '/metrics', '/v1/models', '/nothing']) {
      const got = await talk(drover.port, get(route, 'Origin: http://127.0.0.1'), { enough: (list) => list[0]?.whole });
      assert.ok(!Object.keys(got.list[0].headers).some((h) => /^access-control|^set-cookie/.test(h)));
    }
  });
});

// --- order and time -------------------------------------------------------------------------------------------------

describe('connections', () => {
  test('pipelined requests are answered in their order', async () => {
    const ask = (i) => post(CHAT, `{"model":"m","messages":[],"seed":${i}}`);
    const n = 40, before = fakes.vllm.inferences.length;
    const all = Array.from({ length: n }, (_, i) => (i % 4 === 3 ? Buffer.from(get(`/nothing-${i}`)) : ask(i)));
    const got = await talk(drover.port, Buffer.concat(all), { ms: 20000, enough: (list) => list.filter((r) => r.whole).length === n });
    assert.equal(got.list.length, n);
    got.list.forEach((r, i) => {
      assert.equal(r.status, i % 4 === 3 ? 404 : 200);
      if (i % 4 === 3) assert.match(r.body.toString(), new RegExp(`/nothing-${i}`));
    });
    assert.deepEqual(fakes.vllm.inferences.slice(before).map((r) => JSON.parse(r.body).seed), Array.from({ length: n }, (_, i) => i).filter((i) => i % 4 !== 3));
  });

  test('a client that pipelines and does not read is held at a bounded cost', async () => {
    const { pid } = drover.process;
    const was = await rss(pid);
    const request = Buffer.from(get('/metrics')), batch = Buffer.concat(Array.from({ length: 1000 }, () => request));
    const sockets = await Promise.all(Array.from({ length: 4 }, async () => {
      const socket = net.connect(drover.port, '127.0.0.1');
      socket.on('error', () => {});
      await new Promise((go) => socket.once('connect', go));
      socket.pause();
      for (let i = 0; i < 9; i++) socket.write(batch);
      return socket;
    }));
    await sleep(1500);
    const grown = (await rss(pid)) - was;
    assert.equal((await drover.get('/healthz')).status, 200);
    for (const socket of sockets) socket.destroy();
    assert.ok(grown < 64 * MIB, `memory grew by ${(grown / MIB).toFixed(0)} MiB`);
  });

  test('after it reads again, each pipelined request has its answer', async () => {
    const n = 3000, request = get('/metrics');
    const socket = net.connect(drover.port, '127.0.0.1');
    await new Promise((go) => socket.once('connect', go));
    socket.pause();
    socket.write(request.repeat(n));
    await sleep(500);
    let count = 0, tail = '';
    socket.resume();
    socket.on('data', (data) => {
      const text = tail + data.toString('latin1');
      count += text.split('HTTP/1.1 200 OK\r\n').length - 1;
      tail = text.slice(-16);
    });
    await until(`${n} answers`, () => count >= n || void 0, 20000).catch((e) => { e.message += ` (${count})`; throw e; });
    socket.destroy();
    assert.equal(count, n);
  });

  test('bytes behind a request under way are read only up to pipeline.ahead', async () => {
    fakes.vllm.options.firstDelayMs = 1500;
    const socket = net.connect(drover.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(post(CHAT, '{"model":"m","stream":true}'));
    let open = true;
    socket.on('close', () => { open = false; });
    for (let i = 0; i < 400 && open; i++) socket.write(Buffer.alloc(64 << 10, 'x'));
    await sleep(700);
    delete fakes.vllm.options.firstDelayMs;
    assert.ok(socket.writableLength > 4 * MIB, `only ${socket.writableLength} bytes wait at the client`);
    socket.destroy();
    assert.equal((await drover.get('/healthz')).status, 200);
  });

  test('a client that closes its side takes the request with it', async () => {
    fakes.vllm.options.firstDelayMs = 3000;
    try {
      const before = fakes.vllm.inferences.length;
      const talking = talk(drover.port, [post(CHAT, '{"model":"m","stream":true}'), 200, END]);
      await until('the request', () => fakes.vllm.inferences.length > before);
      await fakes.vllm.closed(fakes.vllm.inferences.at(-1), 2000);
      assert.ok((await talking).closed);
    } finally {
      delete fakes.vllm.options.firstDelayMs;
    }
  });

  test('a half-closed client still gets an answer that is at hand', async () => {
    const got = await talk(drover.port, [get('/version'), END]);
    assert.equal(got.list[0]?.status, 200);
    const cut = await talk(drover.port, ['GET /version HT', END]);
    assert.equal(cut.list[0]?.status, 400);
    const body = await talk(drover.port, [framed([LENGTH], '{'), END]);
    assert.ok(body.closed);
    assert.equal(body.list.length, 0);
    assert.ok((await talk(drover.port, [END])).closed);
  });

  const slow = [
    { name: 'a head that stops', send: ['GET /version HTTP/1.1\r\nHost: 127'], status: 408, alone: true },
    { name: 'a head that drips', send: drip(get('/version', 'X: ' + 'y'.repeat(200)), 50), status: 408, alone: true },
    { name: 'a head that stops, messages', send: [`POST ${MESSAGES} HTTP/1.1\r\nHost: 127`], status: 408, dialect: 'anthropic', alone: true },
    { name: 'nothing at all', send: [], status: 0, alone: true },
    { name: 'empty lines only', send: drip('\r\n'.repeat(30), 100), status: 0, alone: true },
    { name: 'nothing after an answer', send: [get('/version')], status: 200, local: true, alone: true },
    { name: 'a body that never comes', send: [framed([LENGTH])], status: 408, alone: true, most: 1700 },
    { name: 'a body that stops', send: [framed([LENGTH], BODY.slice(0, 9))], status: 408, alone: true, most: 1700 },
    { name: 'a body that stops, Ollama', send: [framed([LENGTH], BODY.slice(0, 9), OLLAMA)], status: 408, dialect: 'ollama', alone: true },
    { name: 'a chunked body that stops', send: [chunked('5\r\n{"mod')], status: 408, alone: true },
    { name: 'a chunk extension that drips', send: [chunked('5;'), ...drip('a'.repeat(80), 100)], status: 408, alone: true },
    { name: 'trailers that drip', send: [chunked(chunk(BODY) + '0\r\n'), ...drip('X: ' + 'y'.repeat(80), 100)], status: 408, alone: true },
    { name: 'a body below body.min_rate', send: [framed(['Content-Length: 5000'], '{"a":"'), ...drip('x'.repeat(80), 200)], status: 408, alone: true, ms: 20000 },
  ];
  test(`too slow: ${slow.length} rows`, async () => {
    const before = inferences();
    await Promise.all(slow.map(async (row) => {
      const got = await talk(short.port, row.send, { ms: row.ms ?? 15000 });
      const answers = got.list.filter((r) => r.status >= 200), story = `${row.name}: ${JSON.stringify(got.bytes.toString('latin1').slice(0, 300))} after ${got.ms.toFixed(0)} ms`;
      assert.ok(got.closed, story);
      assert.equal(answers[0]?.status ?? 0, row.status, story);
      if (row.status === 408) assert.ok(envelopes[dialectOf(row)](JSON.parse(answers[0].body)), story);
      assert.ok(got.ms > 500, `too early: ${story}`);
      if (row.most) assert.ok(got.ms > 1000 && got.ms < row.most, `limits.body.idle is 1 s: ${story}`);
    }));
    assert.equal(inferences(), before);
    assert.equal((await short.get('/healthz')).status, 200);
  });

  test('clients that do not read: memory stays, the runtime waits, others go on, and the end comes', async () => {
    const usual = fakes.vllm.options.reply;
    fakes.vllm.options.reply = Array.from({ length: 4000 }, () => 'z'.repeat(8192)); // 32 MiB each
    const { pid } = short.process;
    const was = await rss(pid), before = fakes.vllm.inferences.length;
    const lazy = await Promise.all(Array.from({ length: 10 }, async () => {
      const socket = net.connect(short.port, '127.0.0.1');
      socket.on('error', () => {});
      socket.pause();
      socket.write(post(CHAT, '{"model":"m","stream":true,"stream_options":{"include_usage":true}}'));
      return socket;
    }));
    try {
      await until('ten requests', () => fakes.vllm.inferences.length === before + 10);
      await sleep(1000);
      const grown = (await rss(pid)) - was;
      assert.ok(grown < 48 * MIB, `memory grew by ${(grown / MIB).toFixed(0)} MiB`);
      for (const r of fakes.vllm.inferences.slice(before)) assert.ok(r.sent < 4000, 'the runtime is held back');
      assert.equal((await short.get('/healthz')).status, 200);
      for (const r of fakes.vllm.inferences.slice(before)) await fakes.vllm.closed(r, 15000); // stream.client_stall
    } finally {
      fakes.vllm.options.reply = usual;
      for (const socket of lazy) socket.destroy();
    }
  });
});

// --- hostile runtimes -----------------------------------------------------------------------------------------------

const OK = '{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}';
const reply = (fields, body = OK, line = 'HTTP/1.1 200 OK') => lines(line, ...[].concat(fields)) + body;
const JSON_TYPE = 'Content-Type: application/json', SSE_TYPE = 'Content-Type: text/event-stream', OK_LENGTH = `Content-Length: ${OK.length}`;
const whole = reply([JSON_TYPE, OK_LENGTH]);
const event = (content, finish = null) => `data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":${JSON.stringify(content)}},"finish_reason":${JSON.stringify(finish)}}]}\n\n`;
const sse = (...parts) => [reply([SSE_TYPE, CHUNKED], ''), ...parts];
const LAST = '0\r\n\r\n';

/**
 * One row: {name, reply (a script), stream, status, cut (the answer must be incomplete), text / never (in the body), check}.
 * A stream that fails ends with an error event, which the row asks for by `fails`.
 */
const upstream = [
  { name: 'a plain answer', reply: [whole], status: 200, text: OK },
  { name: 'one 100 first', reply: ['HTTP/1.1 100 Continue\r\n\r\n', whole], status: 200, text: OK, check: (got) => assert.equal(got.list.length, 1) },
  { name: '103 with links', reply: ['HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n', whole], status: 200, text: OK, check: (got) => assert.ok(!got.list[0].headers.link) },
  { name: 'a flood of 1xx', reply: ['HTTP/1.1 102 Processing\r\n\r\n'.repeat(5000), whole], status: 502 },
  { name: 'an endless flood of 1xx', reply: Array(200).fill('HTTP/1.1 100 Continue\r\nX: y\r\n\r\n'.repeat(100)), status: 502 },
  { name: '101 unasked', reply: ['HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n', 'garbage'], status: 502 },
  // Redirects are never followed, and never handed on: a client would carry its prompt to wherever the runtime says.
  ...[301, 302, 303, 307, 308].map((s) => ({ name: `redirect ${s}`, reply: () => [reply([`Location: ${fakes.plain.url}/v1/chat/completions`, 'Content-Length: 0'], '', `HTTP/1.1 ${s} Moved`)], status: 502, unfollowed: true })),
  { name: 'redirect to a file', reply: [reply(['Location: file:///etc/passwd', 'Content-Length: 0'], '', 'HTTP/1.1 302 Found')], status: 502, unfollowed: true },
  { name: 'a bare CR in a header', reply: [reply([JSON_TYPE, OK_LENGTH, 'X: a\rSet-Cookie: b=c'])], status: 502 },
  { name: 'a bare LF in a header', reply: [reply([JSON_TYPE, OK_LENGTH, 'X: a\nSet-Cookie: b=c'])], status: 502 },
  { name: 'a NUL in a header', reply: [reply([JSON_TYPE, OK_LENGTH, 'X: a\x00b'])], status: 502 },
  { name: 'a control byte in a header', reply: [reply([JSON_TYPE, OK_LENGTH, 'X: a\x1b[2Jb'])], status: 502 },
  { name: 'a folded header', reply: [reply([JSON_TYPE, OK_LENGTH, 'X: a\r\n Set-Cookie: b'])], status: 502 },
  { name: 'a space before the colon', reply: [reply([JSON_TYPE, `Content-Length : ${OK.length}`])], status: 502 },
  { name: 'an oversized head', reply: [reply([JSON_TYPE, OK_LENGTH, ...Array.from({ length: 40 }, (_, i) => `X-${i}: ${'a'.repeat(4000)}`)])], status: 502 },
  { name: 'one oversized field', reply: [reply([JSON_TYPE, OK_LENGTH, `X: ${'a'.repeat(100000)}`])], status: 502 },
  { name: 'endless headers', reply: ['HTTP/1.1 200 OK\r\n', ...Array(100).fill('X: y\r\n'.repeat(100))], status: 502 },
  { name: 'an endless status line', reply: [`HTTP/1.1 200 ${'O'.repeat(300000)}`, 4000], status: [502, 504], slow: true },
  { name: 'CL and TE', reply: [reply([JSON_TYPE, OK_LENGTH, CHUNKED], chunk(OK) + LAST)], status: 502 },
  { name: 'TE twice', reply: [reply([JSON_TYPE, CHUNKED, CHUNKED], chunk(OK) + LAST)], status: 502 },
  { name: 'TE gzip, chunked', reply: [reply([JSON_TYPE, 'Transfer-Encoding: gzip, chunked'], chunk(OK) + LAST)], status: 502 },
  { name: 'two CL that differ', reply: [reply([JSON_TYPE, OK_LENGTH, 'Content-Length: 5'])], status: 502 },
  { name: 'a negative CL', reply: [reply([JSON_TYPE, 'Content-Length: -1'])], status: 502 },
  { name: 'a huge CL', reply: [reply([JSON_TYPE, 'Content-Length: 99999999999999999999'])], status: 502 },
  { name: 'a CL too short', reply: [reply([JSON_TYPE, 'Content-Length: 10'])], status: 200, check: (got) => assert.equal(got.list[0].body.length, 10) },
  { name: 'a CL too long, then the end', reply: [reply([JSON_TYPE, `Content-Length: ${OK.length + 50}`]), END], status: 200, cut: true },
  { name: 'a CL too long, then silence', reply: [reply([JSON_TYPE, `Content-Length: ${OK.length + 50}`])], status: 200, cut: true, slow: true },
  { name: 'chunk garbage', reply: [reply([JSON_TYPE, CHUNKED], 'zz\r\n')], status: [200, 502], bad: true },
  { name: 'chunk garbage after a chunk', reply: [reply([JSON_TYPE, CHUNKED], chunk(OK) + 'xyz\r\n')], status: 200, cut: true },
  { name: 'chunk too large', reply: [reply([JSON_TYPE, CHUNKED], 'fffffffffffffffff\r\n')], status: [200, 502], bad: true },
  { name: 'chunks without an end', reply: [reply([JSON_TYPE, CHUNKED], chunk(OK)), END], status: 200, cut: true },
  { name: 'chunks with a bare LF', reply: [reply([JSON_TYPE, CHUNKED], `${OK.length.toString(16)}\n${OK}\r\n0\r\n\r\n`)], status: [200, 502], bad: true },
  { name: 'an extension bomb', reply: [reply([JSON_TYPE, CHUNKED], `5;${'a'.repeat(100000)}\r\nhello\r\n0\r\n\r\n`)], status: [200, 502], bad: true },
  { name: 'trailers do not reach the client', reply: [reply([JSON_TYPE, CHUNKED], chunk(OK) + '0\r\nSet-Cookie: a=b\r\n\r\n')], status: 200, text: OK, check: (got) => assert.ok(!got.bytes.includes('Set-Cookie')) },
  { name: 'HTTP/0.9', reply: [OK, END], status: 502 },
  { name: 'HTTP/2.0', reply: [reply([JSON_TYPE, OK_LENGTH], OK, 'HTTP/2.0 200 OK')], status: 502 },
  { name: 'a status of 99', reply: [reply([OK_LENGTH], OK, 'HTTP/1.1 99 Huh')], status: 502 },
  { name: 'a status of 600', reply: [reply([OK_LENGTH], OK, 'HTTP/1.1 600 Huh')], status: 502, check: (got) => assert.match(got.bytes.toString(), /status 600/) },
  { name: 'a status of 999', reply: [reply([OK_LENGTH], OK, 'HTTP/1.1 999 Huh')], status: 502, check: (got) => assert.match(got.bytes.toString(), /status 999/) },
  { name: 'a status of 1000', reply: [reply([OK_LENGTH], OK, 'HTTP/1.1 1000 Huh')], status: 502 },
  { name: 'no answer, closed', reply: [END], status: 502 },
  { name: 'no answer, reset', reply: [RESET], status: 502 },
  { name: 'reset inside the status line', reply: ['HTTP/1.1 20', 30, RESET], status: 502 },
  { name: 'reset inside the head', reply: ['HTTP/1.1 200 OK\r\nContent-Ty', 30, RESET], status: 502 },
  { name: 'reset behind the head', reply: [reply([JSON_TYPE, OK_LENGTH], ''), 30, RESET], status: [200, 502], bad: true },
  { name: 'reset inside the body', reply: [reply([JSON_TYPE, OK_LENGTH], OK.slice(0, 9)), 30, RESET], status: 200, cut: true },
  { name: 'reset behind the body', reply: [whole, 30, RESET], status: 200, text: OK },
  { name: 'a body until the end', reply: [reply([JSON_TYPE], OK), END], status: 200, text: OK },
  { name: 'data behind the end', reply: [whole + whole.replace('"hi"', '"evil"')], status: 200, text: OK, never: 'evil', twice: true },
  { name: 'data behind the end, later', reply: [whole, 100, whole.replace('"hi"', '"evil"')], status: 200, text: OK, never: 'evil', twice: true },
  { name: '204 with a body', reply: [reply([OK_LENGTH], OK, 'HTTP/1.1 204 No Content')], status: 204, never: 'choices' },
  { name: '304 with a body', reply: [reply([OK_LENGTH], OK, 'HTTP/1.1 304 Not Modified')], status: 304, never: 'choices' },
  { name: 'cookies, CORS and fields of the hop', reply: [reply([JSON_TYPE, OK_LENGTH, 'Set-Cookie: a=b', 'Access-Control-Allow-Origin: *', 'Access-Control-Allow-Credentials: true', 'Strict-Transport-Security: max-age=9',
    'Alt-Svc: h3=":443"', 'Proxy-Authenticate: Basic', 'WWW-Authenticate: Basic', 'Connection: keep-alive', 'Keep-Alive: timeout=5', 'Drover-Target: evil', 'Drover-Queue-Ms: 1', 'X-Request-Id: evil', 'Upgrade: h2c', 'X-Kept: 1'])],
    status: 200, text: OK, check: (got) => {
      const { headers } = got.list[0];
      for (const h of ['set-cookie', 'access-control-allow-origin', 'access-control-allow-credentials', 'strict-transport-security', 'alt-svc', 'proxy-authenticate', 'www-authenticate', 'keep-alive', 'upgrade', 'connection'])
        assert.equal(headers[h], undefined, h);
      assert.equal(headers['x-kept']?.length, 1);
      for (const h of ['drover-target', 'drover-queue-ms', 'x-request-id']) assert.equal(headers[h].length, 1, h);
      assert.ok(!got.list[0].head.includes('evil'));
    } },
  { name: 'fields named in Connection', reply: [reply([JSON_TYPE, OK_LENGTH, 'Connection: keep-alive, X-Hop', 'X-Hop: 1'])], status: 200, text: OK, check: (got) => assert.equal(got.list[0].headers['x-hop'], undefined) },
  { name: 'a hundred fields', reply: [reply([...Array.from({ length: 100 }, (_, i) => `X-${i}: 1`), JSON_TYPE, OK_LENGTH])], status: 200, text: OK, check: (got) => assert.match(got.list[0].headers['content-type']?.[0] ?? 'none', /json/) },
  { name: 'a stream', stream: true, reply: sse(chunk(event('hi')), chunk(event('', 'stop')), chunk('data: [DONE]\n\n'), LAST), status: 200, text: '[DONE]' },
  { name: 'one event of 10 MB passes in pieces', stream: true, reply: sse(() => [chunk(event('z'.repeat(10e6))), chunk('data: [DONE]\n\n'), LAST]), status: 200, text: '[DONE]',
    check: (got) => assert.ok(got.list[0].body.length > 10e6) },
  { name: 'one line of 10 MB without a newline', stream: true, reply: sse(() => [chunk('data: ' + 'z'.repeat(10e6)), LAST]), status: 200, fails: true },
  { name: 'a comment of 10 MB', stream: true, reply: sse(() => [chunk(': ' + 'z'.repeat(10e6)), LAST]), status: 200, fails: true },
  { name: 'a stream without a newline at its end', stream: true, reply: sse(chunk(event('hi', 'stop')), chunk('data: [DONE]'), LAST), status: 200, text: '[DONE]' },
  { name: 'a stream that ends inside an event', stream: true, reply: sse(chunk(event('hi')), chunk('data: {"id":'), LAST), status: 200, fails: true },
  { name: 'a stream reset inside an event', stream: true, reply: sse(chunk(event('hi')), chunk('data: {"id":'), 30, RESET), status: 200, fails: true },
  { name: 'a stream with chunk garbage', stream: true, reply: sse(chunk(event('hi')), 'zz\r\n'), status: 200, fails: true },
  { name: 'a stream with broken JSON', stream: true, reply: sse(chunk('data: {"choices":[{"delta":\n\n'), chunk('data: [DONE]\n\n'), LAST), status: 200, text: '[DONE]' },
  { name: 'a stream with NULs', stream: true, reply: sse(chunk(event('a')), chunk('data: \x00\x00\n\n\x00\x00'), chunk('\n\n' + event('', 'stop') + 'data: [DONE]\n\n'), LAST), status: 200, text: '[DONE]' },
  { name: 'invalid UTF-8 split across reads', stream: true, reply: sse(chunk(event('a')), '12\r\ndata: {"a":"\xe2\x82', 30, '\xff\xc0"}\n\r\n', chunk('\n' + event('', 'stop') + 'data: [DONE]\n\n'), LAST), status: 200, text: '[DONE]' },
  { name: 'bare CRs as line ends', stream: true, reply: sse(chunk((event('a') + event('', 'stop') + 'data: [DONE]\n\n').replaceAll('\n', '\r')), LAST), status: 200, text: '[DONE]' },
  { name: 'a stream of deep JSON', stream: true, reply: sse(chunk(`data: {"choices":${'['.repeat(20000)}\n\n`), chunk(event('', 'stop') + 'data: [DONE]\n\n'), LAST), status: 200, text: '[DONE]' },
  { name: 'usage with huge numbers', stream: true, reply: sse(chunk(event('a', 'stop')), chunk(`data: {"choices":[],"usage":{"prompt_tokens":${'9'.repeat(50)},"completion_tokens":-5,"total_tokens":1e400}}\n\n`), chunk('data: [DONE]\n\n'), LAST), status: 200, text: '[DONE]' },
  { name: 'an SSE head and a JSON body', stream: true, reply: [reply([SSE_TYPE, OK_LENGTH])], status: 200, fails: true },
  { name: 'a million empty events', stream: true, reply: sse(() => [chunk('data:\n\n'.repeat(140000)), chunk(event('', 'stop') + 'data: [DONE]\n\n'), LAST]), status: 200, text: '[DONE]' },
  { name: 'gzip though identity was asked for', stream: true, reply: sse(chunk('\x1f\x8b\x08\x00\x00\x00\x00\x00'), LAST).map((s) => (typeof s === 'string' ? s.replace(SSE_TYPE, `${SSE_TYPE}\r\nContent-Encoding: gzip`) : s)), status: [200, 502] },
];
upstream.forEach((row, i) => { row.model = `u-${i}`; });

describe('hostile runtimes', () => {
  async function ask(row) {
    const body = JSON.stringify({ model: row.model, messages: [], ...(row.stream ? { stream: true } : {}) });
    return talk(drover.port, [post(CHAT, body)], { ms: 20000, enough: (list) => list.some((r) => r.status >= 200 && r.whole) });
  }

  async function check(row) {
    let plain = fakes.plain.inferences.length;
    row.fake.options.answer = (request, response) => {
      const script = typeof row.reply === 'function' ? row.reply() : row.reply;
      response.closing = false;
      request.done = true;
      play(response.socket, script).catch(() => {});
    };
    for (let round = 0; round < (row.twice ? 3 : 1); round++) {
      const got = await ask(row);
      const story = `${JSON.stringify(got.bytes.toString('latin1').slice(0, 700))} ...${JSON.stringify(got.bytes.toString('latin1').slice(-300))} closed=${got.closed} after ${got.ms.toFixed(0)} ms`;
      if ((row.cut || row.bad) && got.closed && got.bytes.length === 0) return; // cut before anything had left
      assert.equal(got.list.length, 1, story);
      assert.equal(got.rest.length, 0, story);
      const [r] = got.list, text = r.body.toString('latin1');
      assert.ok([].concat(row.status).includes(r.status), story);
      if (r.status === 502 || r.status === 504) assert.ok(envelopes.openai(JSON.parse(text)), story);
      if (row.cut || (row.bad && r.status === 200)) assert.ok(got.closed && !r.whole, `was to be cut: ${story}`);
      else assert.ok(r.whole, `was to be whole: ${story}`);
      if (row.text) assert.ok(text.includes(row.text), story);
      if (row.never) assert.ok(!got.bytes.includes(row.never), story);
      if (row.fails) assert.match(text, /"error":\s*\{/, `an error event was to come: ${story}`);
      if (row.fails) assert.ok(!text.includes('"finish_reason":"stop"') || row.reply[0].includes?.(OK), story);
      row.check?.(got);
      if (row.twice) await sleep(200);
    }
    if (row.unfollowed) assert.equal(fakes.plain.inferences.length, plain, 'the redirect was followed');
  }

  test(`replies: ${upstream.length} rows`, async (t) => {
    for (const row of upstream.filter((r) => !r.slow)) await t.test(row.name, () => check(row));
    await t.test('those that need time', () => Promise.all(upstream.filter((r) => r.slow).map(check)));
    assert.equal((await drover.get('/healthz')).status, 200);
  });

  test('a head that drips buys a runtime no time', async () => {
    const row = upstream[0];
    const mine = await startDrover({ endpoints: [row.fake], models: [row.model], config: { gateway: { retry_max: 0 }, limits: { upstream: { first_byte: '1s' } } } });
    try {
      for (const first of ['HTTP/1.1 200 ', 'HTTP/1.1 200 OK\r\n', 'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n']) {
        row.fake.options.answer = (request, response) => { play(response.socket, [first, ...drip('X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy', 200)]); };
        const got = await talk(mine.port, post(CHAT, `{"model":"${row.model}","messages":[]}`), { ms: 10000, enough: (list) => list[0]?.whole });
        assert.ok([502, 503, 504].includes(got.list[0]?.status), `${got.bytes} after ${got.ms} ms`);
        assert.ok(got.ms < 8000);
      }
    } finally {
      await mine.stop();
    }
  });

  test('an answer before the request was sent is passed on, and the connection is not used again', async () => {
    const row = upstream[0], big = JSON.stringify({ model: row.model, messages: [{ role: 'user', content: 'x'.repeat(20e6) }] });
    const server = net.createServer((socket) => { // answers on the head alone, and reads no more
      socket.on('error', () => {});
      socket.once('data', (data) => {
        if (String(data).startsWith('GET')) return socket.end(reply([JSON_TYPE, 'Content-Length: 61', 'Connection: close'], '{"object":"list","data":[{"id":"early","object":"model"}]}     '));
        socket.pause();
        socket.write(reply([JSON_TYPE, 'Content-Length: 27'], '{"error":{"message":"no!"}}', 'HTTP/1.1 413 Too Large'));
      });
    });
    await new Promise((go) => server.listen(0, '127.0.0.1', go));
    const mine = await startDrover({ endpoints: [{ name: 'early', url: `http://127.0.0.1:${server.address().port}`, kind: 'openai' }], models: ['early'] });
    try {
      const response = await mine.post(CHAT, big.replace(row.model, 'early'));
      assert.equal(response.status, 413);
      assert.equal(await response.text(), '{"error":{"message":"no!"}}');
    } finally {
      await mine.stop();
      server.close();
      server.closeAllConnections?.();
    }
  });
});

// --- chance ---------------------------------------------------------------------------------------------------------

test('2,000 mutated requests: each is answered or closed, and the daemon stays', async () => {
  const r = random(20260821);
  const valid = [post(CHAT), post(CHAT, '{"model":"m","messages":[{"role":"user","content":"h\\u00e9"}],"stream":true}'), post(MESSAGES), post(OLLAMA),
    Buffer.from(chunked(chunk(BODY.slice(0, 9)) + chunk(BODY.slice(9)) + '0\r\nX: y\r\n\r\n')), Buffer.from(get('/v1/models/m', 'anthropic-version: 2023-06-01')), Buffer.from(get('/metrics')),
    Buffer.from(form(part('name="model"', 'm') + part('name="file"; filename="a"', 'xyz'))), Buffer.concat([post(CHAT), Buffer.from(get('/version')), post(OLLAMA)]),
    Buffer.from(lines('GET http://127.0.0.1/api/tags?x=y HTTP/1.1', HOST, 'Connection: keep-alive', 'Expect: 100-continue'))];
  const tokens = ['\r\n', '\n', '\r', '\0', ' ', ':', ',', ';', '0', 'ffffffff', 'chunked', 'Transfer-Encoding: chunked\r\n', 'Content-Length: 5\r\n', 'Host: x\r\n', '"', '{', '}', '[', '\\u0000', '\\', '%2f', '../', '\xff', '\xc3', 'HTTP/1.1', 'model'];
  const mutate = (from) => {
    let bytes = Buffer.from(from);
    for (let n = 1 + r.below(6); n--;) {
      const at = r.below(bytes.length + 1), cut = bytes.subarray.bind(bytes);
      switch (r.below(6)) {
        case 0: if (at < bytes.length) bytes[at] ^= 1 << r.below(8); break;
        case 1: if (at < bytes.length) bytes[at] = r.below(256); break;
        case 2: bytes = Buffer.concat([cut(0, at), Buffer.from([r.below(256)]), cut(at)]); break;
        case 3: bytes = Buffer.concat([cut(0, at), cut(Math.min(bytes.length, at + 1 + r.below(12)))]); break;
        case 4: bytes = Buffer.concat([cut(0, at), Buffer.from(r.of(tokens), 'latin1'), cut(at)]); break;
        default: { const to = Math.min(bytes.length, at + r.below(60)); bytes = Buffer.concat([cut(0, to), cut(at, to), cut(to)]); }
      }
    }
    return bytes;
  };
  const all = Array.from({ length: 2000 }, () => mutate(r.of(valid)));
  let at = 0;
  const statuses = {};
  await Promise.all(Array.from({ length: 16 }, async () => {
    while (at < all.length) {
      const index = at++, bytes = all[index], split = index % 3 === 0 ? [bytes.subarray(0, bytes.length >> 1), 1, bytes.subarray(bytes.length >> 1)] : [bytes];
      const got = await talk(drover.port, [...split, 5, END], { ms: 10000 });
      const story = `mutation ${index}: ${JSON.stringify(bytes.toString('latin1'))}\n${JSON.stringify(got.bytes.toString('latin1').slice(0, 400))}`;
      assert.ok(got.closed, `neither answered nor closed: ${story}`);
      assert.ok(got.ms < 8000, `took ${got.ms.toFixed(0)} ms: ${story}`);
      for (const one of got.list) statuses[one.status] = (statuses[one.status] ?? 0) + 1;
      if (index % 100 === 0) assert.equal((await drover.get('/healthz')).status, 200);
    }
  }));
  assert.equal((await drover.get('/healthz')).status, 200);
  assert.ok(statuses[400] > 100 && statuses[200] > 50, JSON.stringify(statuses));
  assert.equal(statuses[500], undefined, JSON.stringify(statuses));
});

test('the daemon rests when the storm is over', async () => {
  await sleep(500);
  const was = await cpu(drover.process.pid);
  await sleep(2000);
  const spent = (await cpu(drover.process.pid)) - was;
  assert.ok(spent < 1, `${spent} s of processor time in two idle seconds`);
});
