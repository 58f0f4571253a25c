// The examples of README.md do what they say.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { Node, missing } from './node.js';

const URL_IN_EXAMPLES = 'http://localhost:7302';

describe('README.md', { skip: missing }, async () => {
  let node: Node;

  before(async () => void (node = await Node.start()));
  after(() => node.remove());

  const text = await readFile(new URL('../../README.md', import.meta.url), 'utf8');
  const examples = [...text.matchAll(/^## (.*)\n(?:(?!^## )[^])*?^```js\n([^]*?)^```$/gm)];

  it('has three examples', () => assert.equal(examples.length, 3));

  for (const [at, [, title = '', code = '']] of examples.entries()) {
    it(title, async () => {
      const folder = new URL('../examples/', import.meta.url);
      await mkdir(folder, { recursive: true });
      const file = new URL(`${at}.mjs`, folder);
      assert.ok(code.includes(URL_IN_EXAMPLES));
      await writeFile(file, code.replaceAll(URL_IN_EXAMPLES, node.url));
      const env = { ...process.env, JSFS_ACCESS_KEY: node.rootKey };
      const { stdout } = await promisify(execFile)(process.execPath, [file.pathname], { env, timeout: 30_000 });
      const said = [...code.matchAll(/^\/\/ → (.*)$/gm)].map(([, line]) => line);
      assert.deepEqual(stdout.trimEnd().split('\n'), said);
    });
  }
});
