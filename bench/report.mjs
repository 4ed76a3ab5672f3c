// Writes the last result (build/bench/result.json) into docs/benchmarks.md, between its two markers.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { replaceSection } from './page.mjs';
import { ROOT, WORK } from './proxies.mjs';
import { markdownTables } from './table.mjs';

const result = JSON.parse(readFileSync(path.join(WORK, 'result.json'), 'utf8'));
const t = markdownTables(result);
const versions = Object.entries(result.versions).map(([n, v]) => `${n} ${v}`).join(', ');
const text = `Measured on ${result.date}${result.quick ? ' with `--quick` (short windows: take the figures as a sketch)' : ''}; ${result.kernel} (TCP: ${result.congestion}); ${result.cpu};
${versions}; median of ${result.rounds} rounds.

### Against the goals

${t.goals}

### Requests

${t.requests}

### Streams

${t.streams}

### Translation

${t.translation}

### Keys

${t.keys}`;

replaceSection(path.join(ROOT, 'docs/benchmarks.md'), 'bench', text);
console.log('docs/benchmarks.md is up to date with build/bench/result.json');
