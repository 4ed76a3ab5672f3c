// Writes a tiny GGUF model (llama architecture, about 0.6 MB) with pseudo-random weights, so that tests can run a
// real llama-server without downloading a model. The same seed gives the same bytes.
//
//   node tiny-gguf.js FILE
//
// It talks nonsense, but well-behaved nonsense: embedding dimension 0 carries a constant that the output matrix
// turns into a bias, which makes word tokens likely and the end-of-text and raw byte tokens practically impossible.
// So an answer is plain ASCII and always runs until max_tokens: a stream lasts as long as a test needs it to.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const DIM = 64, LAYERS = 2, HEADS = 4, FF = 128, CONTEXT = 131072, ALIGN = 32;

/** mulberry32: a small deterministic generator, uniform in [-1, 1). */
function randomSource(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (((t ^ (t >>> 14)) >>> 0) / 2 ** 31) - 1;
  };
}

/** SentencePiece-style vocabulary: unk, bos, eos, the 256 byte tokens, then syllables with and without a space. */
function vocabulary() {
  const NORMAL = 1, UNKNOWN = 2, CONTROL = 3, BYTE = 6;
  const tokens = [['<unk>', UNKNOWN], ['<s>', CONTROL], ['</s>', CONTROL]];
  for (let b = 0; b < 256; b++) tokens.push([`<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`, BYTE]);
  for (const c of 'bdfglmnprstv')
    for (const v of 'aeiou') for (const lead of ['\u2581', '']) tokens.push([lead + c + v, NORMAL]);
  return tokens;
}

/** The little-endian writer for GGUF's metadata. */
class Writer {
  parts = [];
  length = 0;
  raw(b) { this.parts.push(b); this.length += b.length; }
  u32(n) { const b = Buffer.alloc(4); b.writeUInt32LE(n); this.raw(b); }
  u64(n) { const b = Buffer.alloc(8); b.writeBigUInt64LE(BigInt(n)); this.raw(b); }
  f32(n) { const b = Buffer.alloc(4); b.writeFloatLE(n); this.raw(b); }
  string(s) { const b = Buffer.from(s); this.u64(b.length); this.raw(b); }
  pad() { this.raw(Buffer.alloc((ALIGN - (this.length % ALIGN)) % ALIGN)); }
}

const TYPE = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 };

function writeValue(w, type, value) {
  if (type === 'u32' || type === 'i32') w.u32(value);
  else if (type === 'f32') w.f32(value);
  else if (type === 'bool') w.raw(Buffer.from([value ? 1 : 0]));
  else if (type === 'string') w.string(value);
}

function metadata(vocab, name) {
  return [
    ['general.architecture', 'string', 'llama'],
    ['general.name', 'string', name],
    ['general.file_type', 'u32', 0],
    ['general.alignment', 'u32', ALIGN],
    ['llama.block_count', 'u32', LAYERS],
    ['llama.context_length', 'u32', CONTEXT],
    ['llama.embedding_length', 'u32', DIM],
    ['llama.feed_forward_length', 'u32', FF],
    ['llama.attention.head_count', 'u32', HEADS],
    ['llama.attention.head_count_kv', 'u32', HEADS],
    ['llama.attention.layer_norm_rms_epsilon', 'f32', 1e-5],
    ['llama.rope.dimension_count', 'u32', DIM / HEADS],
    ['llama.vocab_size', 'u32', vocab.length],
    ['tokenizer.ggml.model', 'string', 'llama'],
    ['tokenizer.ggml.tokens', 'array', { of: 'string', items: vocab.map((t) => t[0]) }],
    ['tokenizer.ggml.scores', 'array', { of: 'f32', items: vocab.map((_, i) => -i) }],
    ['tokenizer.ggml.token_type', 'array', { of: 'i32', items: vocab.map((t) => t[1]) }],
    ['tokenizer.ggml.unknown_token_id', 'u32', 0],
    ['tokenizer.ggml.bos_token_id', 'u32', 1],
    ['tokenizer.ggml.eos_token_id', 'u32', 2],
    ['tokenizer.ggml.add_bos_token', 'bool', true],
    ['tokenizer.ggml.add_space_prefix', 'bool', true],
    ['tokenizer.chat_template', 'string',
      "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"],
  ];
}

/** Name, shape (innermost first) and the function that fills element [row, column]. */
function tensors(vocab, random) {
  const small = (scale) => () => random() * scale;
  const isWord = (token) => vocab[token][1] === 1;
  const list = [
    ['token_embd.weight', [DIM, vocab.length], (row, col) => (col === 0 ? 4 : random())],
    ['output.weight', [DIM, vocab.length], (row, col) => (col === 0 ? (isWord(row) ? 4 : -16) : random())],
    ['output_norm.weight', [DIM], () => 1],
  ];
  for (let i = 0; i < LAYERS; i++) {
    const b = `blk.${i}.`;
    list.push([b + 'attn_norm.weight', [DIM], () => 1], [b + 'ffn_norm.weight', [DIM], () => 1]);
    for (const part of ['q', 'k', 'v', 'output']) list.push([`${b}attn_${part}.weight`, [DIM, DIM], small(0.15)]);
    list.push([b + 'ffn_gate.weight', [DIM, FF], small(0.1)], [b + 'ffn_up.weight', [DIM, FF], small(0.1)],
      [b + 'ffn_down.weight', [FF, DIM], small(0.1)]);
  }
  return list;
}

/** Returns the whole model as one Buffer. */
export function tinyGguf({ seed = 20240229, name = 'drover-tiny' } = {}) {
  const random = randomSource(seed), vocab = vocabulary();
  const kvs = metadata(vocab, name), list = tensors(vocab, random), data = new Writer(), w = new Writer();
  const infos = list.map(([tensor, shape, fill]) => {
    const cols = shape[0], rows = shape[1] ?? 1, b = Buffer.alloc(cols * rows * 4), offset = data.length;
    for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) b.writeFloatLE(fill(r, c), (r * cols + c) * 4);
    data.raw(b);
    data.pad();
    return { tensor, shape, offset };
  });
  w.raw(Buffer.from('GGUF'));
  w.u32(3);
  w.u64(infos.length);
  w.u64(kvs.length);
  for (const [key, type, value] of kvs) {
    w.string(key);
    w.u32(TYPE[type]);
    if (type !== 'array') { writeValue(w, type, value); continue; }
    w.u32(TYPE[value.of]);
    w.u64(value.items.length);
    for (const item of value.items)
      if (value.of === 'i32') w.u32(item); else writeValue(w, value.of, item);
  }
  for (const { tensor, shape, offset } of infos) {
    w.string(tensor);
    w.u32(shape.length);
    for (const n of shape) w.u64(n);
    w.u32(0); // F32
    w.u64(offset);
  }
  w.pad();
  return Buffer.concat([...w.parts, ...data.parts]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const file = process.argv[2];
  if (!file) {
    console.error('usage: node tiny-gguf.js FILE');
    process.exit(2);
  }
  writeFileSync(file, tinyGguf());
}
