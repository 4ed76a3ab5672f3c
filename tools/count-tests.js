// count-tests.js TESTLOG: sums up a meson testlog.json as "passed failed skipped". A test program that counts its own
// tests (cmocka's closing lines, or TAP) counts as that many, any other as one.
import { readFileSync } from 'node:fs';

let passed = 0, failed = 0, skipped = 0;
const sum = (text, re) => [...text.matchAll(re)].reduce((n, m) => n + Number(m[1]), 0);

for (const line of readFileSync(process.argv[2], 'utf8').split('\n').filter(Boolean)) {
  const test = JSON.parse(line);
  const text = `${test.stdout ?? ''}\n${test.stderr ?? ''}`;
  let p = sum(text, /^\[ {2}PASSED {2}\] (\d+) test/gm);
  let f = sum(text, /^\[ {2}FAILED {2}\] (\d+) test/gm);
  let s = sum(text, /^\[ {2}SKIPPED \] (\d+) test/gm);
  if (p + f === 0) {
    f = (text.match(/^not ok \d+/gm) ?? []).length;
    s = (text.match(/^ok \d+.*# SKIP/gim) ?? []).length;
    p = (text.match(/^ok \d+/gm) ?? []).length - s;
  }
  const good = test.result === 'OK' || test.result === 'EXPECTEDFAIL';
  if (test.result === 'SKIP') s = Math.max(s, 1);
  else if (!good && f === 0) f = 1; // a crash or a sanitizer's report: cmocka may have counted only successes
  else if (good && p + f + s === 0) p = 1;
  passed += p;
  failed += f;
  skipped += s;
}
console.log(passed, failed, skipped);
