// A machine on the LAN of lib/lan.js: fake runtimes, and a multicast DNS responder that announces what it is told to. It is
// asked by messages {id, what, values} and answers {id, result}.
import dgram from 'node:dgram';
import { startFake } from '../fakes/index.js';

const A = 1, PTR = 12, AAAA = 28, SRV = 33, PORT = 5353;
const fakes = [], announced = [], questions = [], mouths = new Map();

// --- messages of DNS; names are not compressed ---

const name = (text) => Buffer.concat([...text.split('.').flatMap((label) => [Buffer.from([label.length]), Buffer.from(label)]), Buffer.from([0])]);
const numbers = (...values) => Buffer.from(values.flatMap((v) => [v >> 8, v & 255]));
const record = (owner, type, data) => Buffer.concat([name(owner), numbers(type, 1, 0, 10, data.length), data]);
const bytesOf = (address) => {
  if (!address.includes(':')) return Buffer.from(address.split('.').map(Number));
  const [head, tail] = address.split('::').map((part) => part.split(':').filter(Boolean).map((g) => parseInt(g, 16)));
  return numbers(...head, ...Array(8 - head.length - tail.length).fill(0), ...tail);
};

function readQuery(message) {
  const asked = [];
  let at = 12;
  for (let i = 0; i < message.readUInt16BE(4); i++) {
    const labels = [];
    for (let n; (n = message[at]); at += n + 1) labels.push(message.toString('utf8', at + 1, at + 1 + n));
    asked.push({ name: labels.join('.'), type: message.readUInt16BE(at + 1), class: message.readUInt16BE(at + 3) });
    at += 5;
  }
  return { id: message.readUInt16BE(0), response: message[2] >> 7, asked, questions: message.subarray(12, at) };
}

/** The records of one announcement that answer a question; with `pieces` nothing else, else all. */
function recordsFor(it, question) {
  const instance = `${it.name}.${it.service}`, host = `${it.host}.local`;
  const all = [
    { owner: it.service, type: PTR, data: name(instance) },
    { owner: instance, type: SRV, data: Buffer.concat([numbers(0, 0, it.port), name(host)]) },
    ...it.addresses.map((a) => ({ owner: host, type: a.includes(':') ? AAAA : A, data: bytesOf(a) })),
  ];
  const asked = all.filter((r) => r.owner === question.name && r.type === question.type);
  return asked.length && !it.pieces ? all : asked;
}

async function mouthAt(address, port = PORT) {
  if (!mouths.has(address)) {
    const socket = dgram.createSocket({ type: 'udp4', reuseAddr: true });
    await new Promise((go, fail) => socket.once('error', fail).bind(port, address, go));
    mouths.set(address, socket);
  }
  return mouths.get(address);
}

function hear(socket, reply) {
  socket.on('message', async (message, from) => {
    const query = readQuery(message);
    if (query.response) return;
    questions.push({ from: from.address, port: from.port, asked: query.asked });
    for (const it of announced) {
      const records = query.asked.flatMap((q) => recordsFor(it, q)).map((r) => record(r.owner, r.type, r.data));
      if (!records.length) continue;
      const head = Buffer.concat([numbers(query.id, 0x8400, query.asked.length, records.length, 0, 0), query.questions]);
      await reply(it, Buffer.concat([head, ...records]), from);
    }
  });
}

// --- what can be asked of it ---

const calls = {
  hello: () => true,
  /** Answers questions that come in through `link`, from `address`. */
  async listen({ link, address }) {
    const v4 = dgram.createSocket({ type: 'udp4', reuseAddr: true });
    await new Promise((go, fail) => v4.once('error', fail).bind(PORT, '224.0.0.251', go));
    v4.addMembership('224.0.0.251', address);
    await mouthAt(address);
    hear(v4, async (it, bytes, from) => (await mouthAt(it.from ?? address)).send(bytes, from.port, from.address));
    const v6 = dgram.createSocket({ type: 'udp6', reuseAddr: true, ipv6Only: true });
    await new Promise((go, fail) => v6.once('error', fail).bind(PORT, go));
    v6.addMembership('ff02::fb', `::%${link}`);
    hear(v6, async (it, bytes, from) => { if (!it.from) v6.send(bytes, from.port, from.address); });
  },
  /** A fake runtime at `host`; gives {index, port}. */
  async fake({ kind, ...options }) {
    fakes.push(await startFake(kind, options));
    return { index: fakes.length - 1, port: fakes.at(-1).port };
  },
  /** {service, name, host, port, addresses, pieces, from} */
  announce: (it) => { announced.push({ host: it.name, ...it, service: `${it.service}.local` }); },
  questions: () => questions,
  requests: ({ index }) => ({ connections: fakes[index].connections, hosts: fakes[index].requests.map((r) => r.headers.host) }),
};

process.on('message', async ({ id, what, values }) => {
  try {
    process.send({ id, result: await calls[what](values) ?? null });
  } catch (error) {
    process.send({ id, error: String(error.stack ?? error) });
  }
});
process.on('disconnect', () => process.exit());
