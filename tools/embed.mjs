// embed.mjs DIR OUT.c: what web/build.mjs has made becomes a table in C; the bytes are taken in by the assembler.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const [dir, out] = process.argv.slice(2);
const files = JSON.parse(readFileSync(path.join(dir, 'manifest.json'), 'utf8'));
const text = (s) => JSON.stringify(s);
const symbol = (i, kind) => `drover_asset_${i}_${kind}`;
const kinds = { plain: '', gzip: '.gz', brotli: '.br' };

const lines = ['/* Made by tools/embed.mjs from the console\'s files. */', '#include "console/assets.h"', '', '__asm__(".section .rodata\\n"'];
files.forEach((f, i) => {
  for (const [kind, ending] of Object.entries(kinds)) {
    const from = path.resolve(dir, f.file + ending);
    lines.push(`    "${symbol(i, kind)}: .incbin \\"${from}\\"\\n${symbol(i, kind)}_end: .byte 0\\n"`);
  }
});
lines.push('    ".previous\\n");', '');
files.forEach((f, i) => {
  for (const kind of Object.keys(kinds)) lines.push(`extern const char ${symbol(i, kind)}[], ${symbol(i, kind)}_end[];`);
});
lines.push('', 'const struct asset assets[] = {');
files.forEach((f, i) => {
  const bytes = Object.keys(kinds).map((kind) => `{ ${symbol(i, kind)}, ${symbol(i, kind)}_end }`).join(', ');
  lines.push(`    { ${text(f.path)}, ${text(f.type)}, ${text(`"${f.etag}"`)}, ${f.immutable}, ${bytes} },`);
});
lines.push('};', 'const size_t n_assets = sizeof assets / sizeof assets[0];', '');
writeFileSync(out, lines.join('\n'));
