// Bundles src/ into dist/prelude.js, a classic script, and puts the engine beside it.
//
// Names are kept, so that a stack trace can be read; what nobody reads (spaces, comments) is not.

import { copyFileSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const source = join(here, 'src');
const target = join(here, 'dist');

/**
 * Two changes to the streams library. It looks for AbortController on the global object, where a program may put its own: it gets ours from the
 * module instead. And it exports the operation ReadableStreamDefaultReaderRead, with which bodies are read without a promise for each chunk,
 * and without programs that replace `then` seeing anything of it.
 */
const amendStreams = {
  name: 'streams',
  setup(bundler) {
    bundler.onLoad({ filter: /web-streams-polyfill[\\/]dist[\\/]ponyfill\.mjs$/ }, ({ path }) => {
      const library = readFileSync(path, 'utf8');
      const read = /function (\w+)\((\w),(\w)\)\{const (\w)=\2\._ownerReadableStream;\4\._disturbed=!0,"closed"===\4\._state\?\3\._closeSteps\(\)/.exec(library);
      if (read === null) throw new Error('web-streams-polyfill has no ReadableStreamDefaultReaderRead where it was');
      const abort = JSON.stringify(join(source, 'abort.ts'));
      const contents = `import { AbortController } from ${abort};\n${library}\nexport { ${read[1]} as readableStreamDefaultReaderRead };`;
      return { contents, loader: 'js' };
    });
  },
};

/** Globals that the code names are bound before any program runs, because a program may replace or delete the properties of the global object. */
const captured = [
  'AggregateError', 'Array', 'ArrayBuffer', 'BigInt', 'BigInt64Array', 'BigUint64Array', 'Boolean', 'DataView', 'Date', 'DOMException', 'Error', 'EvalError',
  'Float32Array', 'Float64Array', 'Function', 'Int16Array', 'Int32Array', 'Int8Array', 'JSON', 'Map', 'Math', 'Number', 'Object', 'Promise', 'Proxy',
  'RangeError', 'ReferenceError', 'Reflect', 'RegExp', 'Set', 'SharedArrayBuffer', 'String', 'Symbol', 'SyntaxError', 'TypeError', 'URIError',
  'Uint16Array', 'Uint32Array', 'Uint8Array', 'Uint8ClampedArray', 'WeakMap', 'WeakRef', 'WeakSet', 'decodeURIComponent', 'encodeURIComponent', 'isFinite',
  'isNaN', 'parseFloat', 'parseInt', 'queueMicrotask',
].join(',');

mkdirSync(target, { recursive: true });
await build({
  entryPoints: [join(source, 'main.ts')],
  outfile: join(target, 'prelude.js'),
  bundle: true,
  format: 'iife',
  platform: 'neutral',
  mainFields: ['module'],
  target: 'es2023',
  charset: 'utf8',
  minifyWhitespace: true,
  minifySyntax: true,
  legalComments: 'eof',
  banner: { js: `(function(globalThis){'use strict';const{${captured}}=globalThis;` },
  footer: { js: '})(globalThis);' },
  plugins: [amendStreams],
  logLevel: 'warning',
});
copyFileSync(join(here, 'node_modules/quickjs-wasi/quickjs.wasm'), join(target, 'quickjs.wasm'));
console.log(`dist/prelude.js ${statSync(join(target, 'prelude.js')).size} bytes`);
