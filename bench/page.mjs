// Writes a part of a page between its two markers.
import { readFileSync, writeFileSync } from 'node:fs';

export function replaceSection(file, name, text) {
  const begin = `<!-- ${name}: begin -->`, end = `<!-- ${name}: end -->`;
  const doc = readFileSync(file, 'utf8'), from = doc.indexOf(begin), to = doc.indexOf(end);
  if (from < 0 || to < from) throw new Error(`${file} has no markers ${begin} ... ${end}`);
  writeFileSync(file, `${doc.slice(0, from)}${begin}\n${text}\n${doc.slice(to)}`);
}
