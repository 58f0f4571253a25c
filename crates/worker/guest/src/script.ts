// Scripts of the JSFS-SX experiment: JavaScript without exports, which reads `x_in` and leaves its answer in `x_out`.
//
//   x_in    the request, as the experiment had it from Node.js: method, url (path and query), headers; here with its body too, as text
//   x_out   the answer's body, or the rest of it; empty at the beginning
//   x_push  sends a piece of the body at once, before x_out
//   x_err   goes to the program's log
//
// The text is compiled as the body of an asynchronous function, so that it may await. What was pushed before an exception stays sent, as it
// was in the experiment; an exception before that is an error like any other.

import type { HeaderPair, RequestHead } from './host.ts';
import { tryParseUrl } from './location.ts';
import { append, bufferOf, copyOf, newPromise, stringToLowerCase } from './primordials.ts';
import { defineValue, isBufferSource, requireArguments, toBufferSource, toDOMString, toUSVString } from './webidl.ts';
import { begin, host } from './worker.ts';

export type Script = () => Promise<unknown>;

const evaluate = globalThis.eval;

/** Compiles. The lines of its text keep their numbers. */
export function scriptOf(source: string | Script): Script {
  return typeof source === 'function' ? source : (evaluate(`(async function () {${source}\n})`) as Script);
}

export interface Output {
  /** Something was pushed, so that the head is sent. */
  readonly begun: boolean;
  /** After the script ended: logs x_err, and sends x_out if the body has begun, else answers it. */
  end(): string;
  /** When everything is sent. */
  sent(): Promise<unknown>;
}

interface Globals {
  x_out?: unknown;
  x_err?: unknown;
}

export function defineScriptGlobals(head: RequestHead, body: string, sendHead: () => void): Output {
  const global = globalThis as Globals;
  let begun = false;
  let last: Promise<unknown> | undefined;
  const write = (bytes: ArrayBuffer): void => {
    last = newPromise((resolve) => {
      begin('write', { to: 0 }, bytes, () => resolve(undefined));
    });
  };
  const functions = {
    x_push(piece: unknown): void {
      requireArguments(arguments.length, 1, 'x_push');
      const bytes = isBufferSource(piece) ? bufferOf(copyOf(toBufferSource(piece, 'the piece'))) : host.encode(toUSVString(piece));
      if (!begun) sendHead();
      begun = true;
      write(bytes);
    },
  };
  defineValue(global, 'x_in', incoming(head, body), true);
  defineValue(global, 'x_out', '', true);
  defineValue(global, 'x_err', '', true);
  defineValue(global, 'x_push', functions.x_push, true);
  return {
    get begun() {
      return begun;
    },
    end() {
      const log = text(global.x_err);
      if (log !== '') host.log('error', log);
      const rest = text(global.x_out);
      if (!begun) return rest;
      if (rest !== '') write(host.encode(rest));
      last = newPromise((resolve) => {
        begin('close', { to: 0 }, undefined, () => resolve(undefined));
      });
      return '';
    },
    sent: () => last as Promise<unknown>,
  };
}

function text(value: unknown): string {
  return value === undefined || value === null ? '' : toDOMString(value);
}

function incoming(head: RequestHead, body: string): object {
  const parts = tryParseUrl(head.url);
  const headers: Record<string, string> = {};
  const rawHeaders: string[] = [];
  for (let i = 0; i < head.headers.length; i++) {
    const [name, value] = head.headers[i] as HeaderPair;
    const key = stringToLowerCase(name);
    const before = headers[key];
    defineValue(headers, key, before === undefined ? value : `${before}${key === 'cookie' ? '; ' : ', '}${value}`, true);
    append(rawHeaders, name);
    append(rawHeaders, value);
  }
  return { method: head.method, url: parts === undefined ? head.url : parts.pathname + parts.search, httpVersion: '1.1', headers, rawHeaders, body };
}
