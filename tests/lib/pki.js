// A fleet's authority in JavaScript: a root, leaves for any key and any time. Written as DER by hand, because a test wants certificates of
// seconds, of the wrong fleet, of yesterday.
import { createHash, createPublicKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';

// --- DER -----------------------------------------------------------------------------------------------------------------

const tlv = (tag, ...parts) => {
  const body = Buffer.concat(parts);
  const n = body.length;
  const length = n < 128 ? [n] : n < 256 ? [0x81, n] : [0x82, n >> 8, n & 255];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
};
const seq = (...parts) => tlv(0x30, ...parts);
const set = (...parts) => tlv(0x31, ...parts);
const int = (bytes) => tlv(2, bytes[0] & 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes);
const bool = (v) => tlv(1, Buffer.from([v ? 255 : 0]));
const octets = (bytes) => tlv(4, bytes);
const bits = (bytes, unused = 0) => tlv(3, Buffer.from([unused]), bytes);
const utf8 = (text) => tlv(0x0c, Buffer.from(text));
const tagged = (n, ...parts) => tlv(0xa0 | n, ...parts);
const oid = (dotted) => {
  const [a, b, ...rest] = dotted.split('.').map(Number);
  const bytes = [a * 40 + b];
  for (let v of rest) {
    const septets = [v & 127];
    while ((v >>= 7)) septets.unshift((v & 127) | 128);
    bytes.push(...septets);
  }
  return tlv(6, Buffer.from(bytes));
};
const time = (ms) => tlv(0x17, Buffer.from(new Date(ms).toISOString().slice(2, 19).replace(/[-T:]/g, '') + 'Z'));
const name = (cn) => seq(set(seq(oid('2.5.4.3'), utf8(cn))));
const extension = (id, critical, value) => seq(oid(id), ...(critical ? [bool(true)] : []), octets(value));

/** One element at `at`: {tag, head, end}. */
function read(der, at) {
  let n = der[at + 1], head = at + 2;
  if (n & 0x80) {
    const count = n & 0x7f;
    n = der.readUIntBE(head, count);
    head += count;
  }
  return { tag: der[at], head, end: head + n };
}

/** The public key of a PKCS#10 request, as SPKI in DER. */
export function csrKey(pem) {
  const der = Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
  const info = read(der, read(der, 0).head);
  const version = read(der, info.head), subject = read(der, version.end), key = read(der, subject.end);
  return der.subarray(subject.end, key.end);
}

const ECDSA_SHA256 = seq(oid('1.2.840.10045.4.3.2'));
const pem = (label, der) => `-----BEGIN ${label}-----\n${der.toString('base64').match(/.{1,64}/g).join('\n')}\n-----END ${label}-----\n`;
const keyId = (spki) => createHash('sha1').update(spki).digest().subarray(0, 20);

export const pin = (spki) => createHash('sha256').update(spki).digest();
export const fingerprint = (spki) => `sha256:${pin(spki).toString('hex')}`;

function certificate({ cn, issuer, spki, signer, from, to, extensions }) {
  const body = seq(tagged(0, tlv(2, Buffer.from([2]))), int(Buffer.concat([Buffer.from([0x40]), randomBytes(15)])), ECDSA_SHA256, name(issuer), seq(time(from), time(to)), name(cn), spki,
    tagged(3, seq(...extensions)));
  return seq(body, ECDSA_SHA256, bits(sign('sha256', body, { key: signer, dsaEncoding: 'der' })));
}

export const newKey = () => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { spki: publicKey.export({ type: 'spki', format: 'der' }), privateKey, pem: privateKey.export({ type: 'pkcs8', format: 'pem' }) };
};

/** {cn, pem, spki, issue(...)}: the authority of a fleet. */
export function authority(fleet, n = 1) {
  const key = newKey(), cn = `Drover CA ${fleet} 2026-${n}`, now = Date.now();
  const root = certificate({ cn, issuer: cn, spki: key.spki, signer: key.privateKey, from: now - 300e3, to: now + 3652 * 86400e3, extensions: [
    extension('2.5.29.19', true, seq(bool(true), tlv(2, Buffer.from([0])))),
    extension('2.5.29.15', true, bits(Buffer.from([0x06]), 1)),
    extension('2.5.29.14', false, octets(keyId(key.spki))),
  ] });
  return {
    fleet, cn, spki: key.spki, pem: pem('CERTIFICATE', root),
    /** Roots with their number, signed, as a hub tells its nodes (src/pki/trust.c). */
    bundle(number, roots) {
      const head = `drover-trust 1 ${fleet} ${number}`;
      return `${head} ${sign('sha256', Buffer.from(`${head}\n${roots}`), { key: key.privateKey, dsaEncoding: 'der' }).toString('base64')}\n${roots}`;
    },
    /** A leaf for spki: uri "drover://fleet/node/id", dns names, seconds from now. Returns the leaf and the root. */
    issue({ spki, uri, dns = [], fromS = -300, toS = 7 * 86400, usage = ['server', 'client'] }) {
      const at = Date.now();
      const names = [...(uri ? [tlv(0x86, Buffer.from(uri))] : []), ...dns.map((d) => tlv(0x82, Buffer.from(d)))];
      const ids = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' };
      const leaf = certificate({ cn: uri ?? dns[0], issuer: cn, spki, signer: key.privateKey, from: at + fromS * 1000, to: at + toS * 1000, extensions: [
        extension('2.5.29.19', true, seq()),
        extension('2.5.29.15', true, bits(Buffer.from([0x80]), 7)),
        extension('2.5.29.37', false, seq(...usage.map((u) => oid(ids[u])))),
        extension('2.5.29.17', false, seq(...names)),
        extension('2.5.29.14', false, octets(keyId(spki))),
        extension('2.5.29.35', false, seq(tlv(0x80, keyId(key.spki)))),
      ] });
      return pem('CERTIFICATE', leaf) + pem('CERTIFICATE', root);
    },
  };
}

/** The SPKI of a certificate in DER. */
export const certKey = (raw) => createPublicKey({ key: pem('CERTIFICATE', raw), format: 'pem' }).export({ type: 'spki', format: 'der' });

/** The line that `drover hub invite` prints (src/pki/invite.c). */
export function invite({ pin: hubPin, token, fleet, urls, expiresS = Math.floor(Date.now() / 1000) + 3600 }) {
  const text = (s) => Buffer.concat([Buffer.from([Buffer.byteLength(s)]), Buffer.from(s)]);
  const end = Buffer.alloc(8);
  end.writeBigUInt64BE(BigInt(expiresS));
  const rest = Buffer.concat([hubPin, Buffer.from(token.slice(5), 'hex'), end, text(fleet), Buffer.from([urls.length]), ...urls.map(text)]);
  const head = Buffer.alloc(2);
  head.writeUInt16BE(rest.length + 8);
  const body = Buffer.concat([head, rest]);
  return `drover://join/1/${Buffer.concat([body, createHash('sha256').update(body).digest().subarray(0, 8)]).toString('base64url')}`;
}
