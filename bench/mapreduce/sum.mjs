// The number of words and of different ones in what wordcount.js answered: node sum.mjs FILE.
import { readFileSync } from 'node:fs';

const counts = Object.values(JSON.parse(readFileSync(process.argv[2], 'utf8')));
console.log(`${counts.reduce((sum, count) => sum + count, 0)} ${counts.length}`);
