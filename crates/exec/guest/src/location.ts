// Where the program is: what relative URLs are resolved against, and whether it runs or is only being evaluated.

import type { UrlParts } from './host.ts';
import { jsonParse } from './primordials.ts';
import { host } from './worker.ts';

export const program: {
  base: string;
  /** A run is under way: only then can it fetch. */
  running: boolean;
} = { base: 'about:blank', running: false };

export function parseUrl(url: string): UrlParts {
  const parts = tryParseUrl(url);
  if (parts === undefined) throw new TypeError(`Invalid URL: '${url}'`);
  return parts;
}

export function tryParseUrl(url: string): UrlParts | undefined {
  const json = host.urlParse(url, program.base);
  return json === undefined ? undefined : (jsonParse(json) as UrlParts);
}
