// Makes a component of program.js: `node componentize.mjs FILE`.
//
// The interfaces of WASI come with jco, which componentize-js depends on. Its copy is of 0.2.12 and the engine says 0.2.10; between the two nothing
// that a proxy uses differs but the number, which therefore is put in its place.

import { componentize } from '@bytecodealliance/componentize-js';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const interfaces = join(here, 'node_modules/@bytecodealliance/jco/lib/wit/builtin/0.2.12');
const folder = mkdtempSync(join(tmpdir(), 'jsfs-componentize-'));
try {
  const place = (file, text) => writeFileSync(join(folder, file), text.replaceAll('@0.2.12', '@0.2.10'));
  place('world.wit', 'package jsfs:foreign;\nworld program { include wasi:http/proxy@0.2.12; }\n');
  for (const name of readdirSync(interfaces)) {
    mkdirSync(join(folder, 'deps', name), { recursive: true });
    place(join('deps', name, 'package.wit'), readFileSync(join(interfaces, name, 'package.wit'), 'utf8'));
  }
  const { component } = await componentize({ sourcePath: join(here, 'program.js'), witPath: folder, worldName: 'program' });
  writeFileSync(process.argv[2], component);
} finally {
  rmSync(folder, { recursive: true });
}
