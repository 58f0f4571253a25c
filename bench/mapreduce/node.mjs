// The same count in Node.js, on one processor: node node.mjs FILE. Prints the number of words and of different ones.
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';

const counts = new Map();
for await (const line of createInterface({ input: createReadStream(process.argv[2]), crlfDelay: Infinity })) {
  for (const word of line.toLowerCase().match(/\p{L}+/gu) ?? []) counts.set(word, (counts.get(word) ?? 0) + 1);
}
let all = 0;
for (const count of counts.values()) all += count;
console.log(`${all} ${counts.size}`);
