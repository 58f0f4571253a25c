// Runs the tests: `node test/run.mjs [part of a file's name …]`.
//
// Files named *.test.js use web interfaces only and run twice, in Node.js as the reference and in the engine; those named *.host.mjs are about
// the boundary between the engine and its worker, and play the worker.

import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Engine } from './engine.mjs';
import { startServer } from './server.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const wanted = process.argv.slice(2);
const harness = readFileSync(join(here, 'harness.js'), 'utf8');
const server = await startServer();

let passed = 0;
let failed = 0;

function tell(file, where, results) {
  const broken = results.filter((result) => result.error !== null);
  passed += results.length - broken.length;
  failed += broken.length;
  console.log(`${broken.length === 0 ? 'ok  ' : 'FAIL'} ${file} ${where}: ${results.length - broken.length} of ${results.length}`);
  for (const { name, error } of broken) console.log(`     ${name}\n       ${error.replaceAll('\n', '\n       ')}`);
}

async function inNode(source) {
  const { test, assert, runTests } = (0, eval)(harness);
  new Function('test', 'assert', 'ORIGIN', source)(test, assert, server.origin);
  return runTests((options) => options.nodeDiffers !== undefined);
}

async function inEngine(source, name) {
  const engine = await Engine.create();
  const program = `const { test, assert, runTests } = ${harness.trim().replace(/;$/, '').replace(/^(\/\/.*\n)+/m, '').replaceAll('\n', ' \n')};
const ORIGIN = ${JSON.stringify(server.origin)};
export default { async fetch() { return Response.json(await runTests((options) => options.nodeOnly)); } };
${source}`;
  engine.load(program, name);
  const request = { url: 'http://localhost/', method: 'GET', headers: [], body: false };
  const answer = await engine.run('fetch', { base: `${server.origin}/program.js`, request });
  if (answer.failure !== undefined) return [{ name: 'the file', error: `${answer.failure.name}: ${answer.failure.message}\n${answer.failure.stack}` }];
  return JSON.parse(Buffer.from(answer.bytes).toString());
}

async function inHost(file) {
  const harnessFunctions = (0, eval)(harness);
  const { default: define } = await import(file);
  define({ ...harnessFunctions, Engine, ORIGIN: server.origin });
  return harnessFunctions.runTests(() => false);
}

const files = readdirSync(here, { recursive: true })
  .filter((file) => /\.(test\.js|host\.mjs)$/.test(file))
  .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
  .sort();

process.on('unhandledRejection', () => {});
for (const file of files) {
  const path = join(here, file);
  if (file.endsWith('.host.mjs')) {
    tell(relative(here, path), 'worker', await inHost(path));
    continue;
  }
  const source = readFileSync(path, 'utf8');
  const attempt = (run) => run.catch((error) => [{ name: 'the file', error: `${error.name}: ${error.message}\n${error.stack}` }]);
  tell(file, 'Node.js', await attempt(inNode(source)));
  tell(file, 'engine ', await attempt(inEngine(source, file)));
}
console.log(`${passed} passed, ${failed} failed`);
server.close();
process.exit(failed === 0 ? 0 : 1);
