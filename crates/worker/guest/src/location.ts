// Where the program is: what relative URLs are resolved against.

import type { UrlParts } from './host.ts';
import { jsonParse } from './primordials.ts';
import { host } from './worker.ts';

export const program = { base: 'about:blank' };

export function parseUrl(url: string): UrlParts {
  const parts = tryParseUrl(url);
  if (parts === undefined) throw new TypeError(`Invalid URL: '${url}'`);
  return parts;
}

export function tryParseUrl(url: string): UrlParts | undefined {
  const json = host.urlParse(url, program.base);
  return json === undefined ? undefined : (jsonParse(json) as UrlParts);
}
