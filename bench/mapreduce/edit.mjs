// Puts a line into the middle of a file: node edit.mjs FROM TO.
import { closeSync, createReadStream, createWriteStream, openSync, readSync, statSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';

const [from, to] = process.argv.slice(2);
const middle = Math.floor(statSync(from).size / 2);
const around = Buffer.alloc(65536);
const file = openSync(from, 'r');
readSync(file, around, 0, around.length, middle);
closeSync(file);
const at = middle + around.indexOf('\n') + 1;
await pipeline(createReadStream(from, { end: at - 1 }), createWriteStream(to));
await pipeline(async function* () { yield 'a line that was not there before\n'; }, createWriteStream(to, { flags: 'a' }));
await pipeline(createReadStream(from, { start: at }), createWriteStream(to, { flags: 'a' }));
