// A real Chromium, with a page that has the SDK from the node that it was stored in.

import { existsSync } from 'node:fs';
import { readFile, readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type Browser, type Page, chromium } from 'playwright-core';
import { Jsfs } from 'jsfs';
import type { Node } from './node.js';

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path));

/** Why tests that need a browser are left out, or false. */
export const missing: string | false = executablePath === undefined && 'Chromium is not installed';
if (missing) console.log(`skipped: ${missing}`);

export function launch(): Promise<Browser> {
  const args = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ];
  return chromium.launch({ executablePath: executablePath ?? '', args });
}

/** Makes the public namespace `sdk`, with the built module and a page. */
export async function publish(node: Node): Promise<void> {
  const root = new Jsfs({ url: node.url, key: node.rootKey });
  const headers = { 'content-type': 'application/json' };
  await root.request('PUT', '/.jsfs/namespaces/sdk', { headers, body: '{"private":false}' });
  const dist = fileURLToPath(new URL('../../dist/', import.meta.url));
  for (const name of await readdir(dist)) {
    if (name.endsWith('.js')) await root.put(`/.sdk/jsfs/${name}`, await readFile(dist + name, 'utf8'));
  }
  await root.put('/.sdk/index.html', '<!doctype html><title>SDK</title>');
}

/** A page of that namespace. Functions that it evaluates import the SDK from `MODULE`. */
export async function open(browser: Browser, node: Node): Promise<Page> {
  const page = await browser.newPage();
  await page.goto(node.urlOf('sdk'));
  return page;
}

/** Where the module is, seen from the page. Typed as what it is, so that `import` of it can be checked. */
export const MODULE = '/jsfs/index.js';
