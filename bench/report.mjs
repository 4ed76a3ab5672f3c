// Writes the last result (build/bench/result.json) into docs/benchmarks.md, between its two markers.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ROOT, WORK } from './proxies.mjs';
import { markdownTables } from './table.mjs';

const BEGIN = '<!-- bench: begin -->', END = '<!-- bench: end -->';
const result = JSON.parse(readFileSync(path.join(WORK, 'result.json'), 'utf8'));
const t = markdownTables(result);
const versions = Object.entries(result.versions).map(([n, v]) => `${n} ${v}`).join(', ');
const text = `${BEGIN}
Measured on ${result.date}${result.quick ? ' with `--quick` (short windows: take the figures as a sketch)' : ''}; ${result.kernel} (TCP: ${result.congestion}); ${result.cpu};
${versions}; median of ${result.rounds} rounds.

### Against the goals

${t.goals}

### Requests

${t.requests}

### Streams

${t.streams}

### Translation

${t.translation}
${END}`;

const file = path.join(ROOT, 'docs/benchmarks.md');
const doc = readFileSync(file, 'utf8'), from = doc.indexOf(BEGIN), to = doc.indexOf(END);
if (from < 0 || to < from) throw new Error(`docs/benchmarks.md has no markers ${BEGIN} ... ${END}`);
writeFileSync(file, doc.slice(0, from) + text + doc.slice(to + END.length));
console.log('docs/benchmarks.md is up to date with build/bench/result.json');
