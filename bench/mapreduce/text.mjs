// Writes a text of so many MiB: node text.mjs MIB FILE. Words follow Zipf's law, lines are sentences; the same each time.
import { closeSync, openSync, writeSync } from 'node:fs';

const [mib, file] = process.argv.slice(2);
let state = 1;
const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
};
const syllables = 'ka lo mi ne ru sa te vo un el ar is or en ta de pi mo gra stel'.split(' ');
const words = Array.from({ length: 20000 }, () => Array.from({ length: 1 + Math.floor(random() * 4) }, () => syllables[Math.floor(random() * syllables.length)]).join(''));
const word = () => words[Math.floor(words.length ** random()) - 1] ?? words[0];

const out = openSync(file, 'w');
let left = Number(mib) * 2 ** 20;
while (left > 0) {
  let piece = '';
  while (piece.length < Math.min(left, 1 << 20)) piece += `${Array.from({ length: 5 + Math.floor(random() * 15) }, word).join(' ')}.\n`;
  writeSync(out, piece);
  left -= piece.length;
}
closeSync(out);
