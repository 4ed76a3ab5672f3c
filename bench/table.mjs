// Turns a result of run.mjs into tables, and holds it against the floor and the aim of the project.

const NAMES = { drover: 'Drover', nginx: 'nginx', haproxy: 'HAProxy', none: 'no proxy' };
const WAITING_MAX = 0.25;
const num = (v, digits) => (v === undefined || Number.isNaN(v) ? '-' : v.toFixed(digits));
const count = (v) => (v === undefined ? '-' : Math.round(v).toLocaleString('en-US'));
const mb = (kib) => (kib === undefined ? '-' : (kib * 1024 / 1e6).toFixed(1));
const ratio = (a, b) => (a && b ? `${(a / b).toFixed(2)}x` : '-');
const order = (results) => ['drover', 'nginx', 'haproxy', 'none'].filter((n) => results[n]);

function describe(row) {
  if (row.kib) return `${row.kib} KiB, model ${row.model}, c=${row.c}`;
  if (row.pace) return `${row.c} streams at ${row.pace}/s`;
  return `64 deltas at once, c=${row.c}`;
}

/** One line per proxy and row: [header, ...lines] for each of the three tables. */
function grids(result) {
  const requests = [['request', 'proxy', 'CPU us', 'spread', 'Drover is', 'per second', 'p50 us', 'p99 us', 'core busy', 'disturbed', 'load core']];
  const streams = [['stream', 'proxy', 'CPU us/frame', 'spread', 'Drover is', 'frames/s', 'core busy', 'disturbed', 'TTFT p50 us', 'TTFT p99 us',
    'jitter p50 us', 'jitter p99 us', 'PSS MB', 'RSS MB']];
  for (const row of result.rows.filter((r) => r.unit)) {
    const d = row.results.drover;
    for (const name of order(row.results)) {
      const s = row.results[name], grid = row.unit === 'request' ? requests : streams;
      const what = [name === order(row.results)[0] ? describe(row) : '', NAMES[name]];
      if (s.lost) {
        grid.push([...what, `lost: ${s.lost}`, ...Array(grid[0].length - 3).fill('')]);
        continue;
      }
      const own = name === 'none', cpu = own ? ['-', '-', '-'] : [num(s.cpuUs, 2), `${Math.round(s.spread * 100)}%`,
        name === 'drover' ? '' : ratio(d?.cpuUs, s.cpuUs) + (Math.max(d?.waiting, s.waiting) > WAITING_MAX ? ' ?' : '')];
      const busy = own ? ['-', '-'] : [s.busy, s.waiting].map((v) => `${Math.round(v * 100)}%`);
      if (row.unit === 'request')
        grid.push([...what, ...cpu, count(s.perSecond), count(s.p50Us), count(s.p99Us), ...busy, `${Math.round(s.loadBusy * 100)}%`]);
      else
        grid.push([...what, ...cpu, count(s.perSecond), ...busy, count(s.ttftP50Us), count(s.ttftP99Us),
          ...(row.pace ? [count(s.jitterP50Us), count(s.jitterP99Us)] : ['-', '-']), ...(own ? ['-', '-'] : [mb(s.pssKib), mb(s.rssKib)])]);
    }
  }
  return { requests, streams };
}

/** Translation: what it costs against plain pass-through of the same shape in the same rounds. */
function translation(result) {
  const grid = [['shape', 'way', 'CPU us', 'spread', 'of pass-through', 'per second', 'p50 us', 'TTFT p50 us', 'jitter p50 us', 'disturbed']];
  let shape = '', base;
  for (const row of result.translation ?? []) {
    const s = row.result;
    if (row.way === 'pass') base = s;
    const what = [row.what === shape ? '' : row.what, row.way === 'pass' ? 'chat, passed through' : row.way];
    shape = row.what;
    if (s.lost) grid.push([...what, `lost: ${s.lost}`, ...Array(grid[0].length - 3).fill('')]);
    else grid.push([...what, num(s.cpuUs, 2), `${Math.round(s.spread * 100)}%`, s === base ? '' : ratio(s.cpuUs, base?.cpuUs), count(s.perSecond),
      row.unit === 'request' ? count(s.p50Us) : '-', row.unit === 'frame' ? count(s.ttftP50Us) : '-', row.pace ? count(s.jitterP50Us) : '-',
      `${Math.round(s.waiting * 100)}%`]);
  }
  return grid;
}

/** Keys: what the worker threads and the store's cost with one, and without. */
function keys(result) {
  const grid = [['request', 'who asks', 'workers CPU us', 'of without', 'store CPU us', 'spread', 'per second', 'p50 us', 'disturbed']];
  for (const row of result.keyed ?? []) {
    const base = row.results.drover;
    for (const name of ['drover', 'keyed']) {
      const s = row.results[name], what = [name === 'drover' ? describe(row) : '', name === 'drover' ? 'anybody' : 'a key with all limits'];
      if (!s || s.lost) grid.push([...what, `lost: ${s?.lost ?? 'not measured'}`, ...Array(grid[0].length - 3).fill('')]);
      else grid.push([...what, num(s.workersUs, 2), name === 'drover' ? '' : ratio(s.workersUs, base?.workersUs), num(s.storeUs, 2),
        `${Math.round(s.spread * 100)}%`, count(s.perSecond), count(s.p50Us), `${Math.round(s.waiting * 100)}%`]);
    }
  }
  return grid;
}

/** The project's floor and aim, each with what was measured. */
function goals(result) {
  const row = (id) => result.rows.find((r) => r.id === id)?.results;
  const grid = [['what', 'Drover', 'nginx', 'HAProxy', 'floor', 'aim', 'verdict']];
  // Drover's figure divided by the other's, in each row of a kind: the middle of them, and the worst. A proxy that waits
  // for its core finds more bytes at each read, which flatters it: such rows are shown, but prove nothing.
  const against = (list, other) => {
    const all = list.map(row).filter((r) => r?.drover?.cpuUs && r[other]?.cpuUs)
      .filter((r) => r.drover.waiting <= WAITING_MAX && r[other].waiting <= WAITING_MAX).map((r) => r.drover.cpuUs / r[other].cpuUs).sort((a, b) => a - b);
    return all.length ? { worst: all.at(-1), text: `${num(all[(all.length - 1) >> 1], 2)}x (${num(all.at(-1), 2)}x)` } : { text: '-' };
  };
  const ids = (start) => result.rows.filter((r) => r.id.startsWith(start)).map((r) => r.id);
  for (const [what, start, floor] of [['CPU per 1 KiB request', '1k-', 1.2], ['CPU per 256 KiB request', '256k-', 0.9],
    ['CPU per SSE frame', 'sse-', 1.1]]) {
    const n = against(ids(start), 'nginx'), h = against(ids(start), 'haproxy');
    grid.push([`${what}: Drover divided by it, middle (worst) row`, '1', n.text, h.text, `${floor}x nginx`, 'below both',
      n.worst === undefined ? '-' : n.worst < 1 && h.worst < 1 ? 'aim met' : n.worst <= floor ? 'floor met' : 'lost']);
  }
  const ways = (result.translation ?? []).map((r) => {
    const base = result.translation.find((b) => b.what === r.what && b.way === 'pass')?.result;
    return r.way !== 'pass' && r.result.cpuUs && base?.cpuUs ? r.result.cpuUs / base.cpuUs : 0;
  }).filter(Boolean).sort((a, b) => a - b);
  if (ways.length)
    grid.push(['CPU when translating: Drover divided by its own pass-through, middle (worst) row', `${num(ways[(ways.length - 1) >> 1], 2)}x (${num(ways.at(-1), 2)}x)`,
      '-', '-', '1.6x', '1.2x', ways.at(-1) <= 1.2 ? 'aim met' : ways.at(-1) <= 1.6 ? 'floor met' : 'lost']);
  const dearer = (result.keyed ?? []).map((r) => r.results.keyed?.workersUs / r.results.drover?.workersUs).filter(Boolean).sort((a, b) => a - b);
  if (dearer.length)
    grid.push(['CPU of the workers with a key: divided by without, middle (worst) row', `${num(dearer[(dearer.length - 1) >> 1], 2)}x (${num(dearer.at(-1), 2)}x)`, '-', '-',
      '1.15x', '1.15x', dearer.at(-1) <= 1.15 ? 'aim met' : 'lost']);
  const absolute = (what, results, key, show, floor, aim, unit) => {
    const v = results?.drover?.[key];
    grid.push([what, ...['drover', 'nginx', 'haproxy'].map((n) => (results?.[n]?.lost ? 'lost' : show(results?.[n]?.[key]))), `${floor} ${unit}`,
      `${aim} ${unit}`, v === undefined ? '-' : Number(show(v)) <= aim ? 'aim met' : Number(show(v)) <= floor ? 'floor met' : 'lost']);
  };
  absolute('memory idle, MB (PSS)', row('idle'), 'pssKib', mb, 10, 5, 'MB');
  absolute('memory with 1,000 open streams, MB (PSS)', row('sse-paced-c1000'), 'pssKib', mb, 30, 16, 'MB');
  absolute('cold start to the first answer, ms', row('cold'), 'answeredMs', (v) => num(v, 1), 100, 20, 'ms');
  return grid;
}

const plain = (grid) => {
  const wide = grid[0].map((_, i) => Math.max(...grid.filter((r) => !`${r[2]}`.startsWith('lost:') || i < 2).map((r) => r[i].length)));
  return grid.map((r) => r.map((cell, i) => (i < 2 ? cell.padEnd(wide[i]) : cell.padStart(wide[i]))).join('  ').trimEnd()).join('\n');
};
const markdown = ([head, ...lines]) => [head, head.map((_, i) => (i < 2 ? '---' : '---:')), ...lines]
  .map((r) => `| ${r.join(' | ')} |`).join('\n');

export function textTables(result) {
  const g = grids(result), blocks = [];
  if (g.requests.length > 1) blocks.push(plain(g.requests));
  if (g.streams.length > 1) blocks.push(plain(g.streams));
  if (result.translation?.length) blocks.push(plain(translation(result)));
  if (result.keyed?.length) blocks.push(plain(keys(result)));
  blocks.push(plain(goals(result)));
  return blocks.join('\n\n');
}

export function markdownTables(result) {
  const g = grids(result);
  return { requests: markdown(g.requests), streams: markdown(g.streams), translation: markdown(translation(result)), keys: markdown(keys(result)), goals: markdown(goals(result)) };
}
