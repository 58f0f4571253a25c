// fetch: Fetch Standard, sections 4 and 5.6. The worker does what is between the request and the answer's head, redirects included.

import { addAlgorithm, removeAlgorithm } from './abort.ts';
import { type Body, bodyOf, bytesAtHand, cancelBody, pump, readAll, remoteBody } from './body.ts';
import { blobAt, type Local, parseDataUrl } from './dataurl.ts';
import { hasIn, type HeaderList } from './headers.ts';
import type { FetchedHead, HeaderPair, Operations } from './host.ts';
import { matches } from './integrity.ts';
import { program, tryParseUrl } from './location.ts';
import { append, jsonParse, newPromise, promiseReject, promiseThen, stringStartsWith, bufferOf } from './primordials.ts';
import { isHttp, Request, type RequestState, signalOf, stateOf, withoutFragment } from './request.ts';
import { isNullBodyStatus, newResponse, type Response, type ResponseState } from './response.ts';
import { defineValue, requireArguments } from './webidl.ts';
import { begin, cancel, host } from './worker.ts';

function startFetch(input: unknown, init: unknown): Promise<Response> {
  const request = new Request(input, init);
  const state = stateOf(request);
  const signal = signalOf(request);
  if (signal.aborted) {
    if (state.body !== null) cancelBody(state.body, signal.reason);
    throw signal.reason;
  }
  if (stringStartsWith(state.url, 'data:')) return localFetch(state, parseDataUrl(state.url));
  if (stringStartsWith(state.url, 'blob:')) return localFetch(state, state.method === 'GET' ? blobAt(state.url) : undefined);
  if (!isHttp(state.url)) throw networkError(state, 'its scheme is neither http nor https');
  if (state.mode === 'same-origin' && !isSameOrigin(state.url)) throw networkError(state, 'it is of another origin');
  return workerFetch(state, signal);
}

function networkError(state: RequestState, why: string): TypeError {
  return new TypeError(`Cannot fetch ${state.url}: ${why}`);
}

function isSameOrigin(url: string): boolean {
  return tryParseUrl(url)?.origin === tryParseUrl(program.base)?.origin;
}

async function localFetch(state: RequestState, found: Local | undefined): Promise<Response> {
  if (found === undefined) throw networkError(state, 'there is nothing there');
  const pairs: HeaderPair[] = [];
  if (stringStartsWith(state.url, 'blob:')) append(pairs, ['content-length', `${found.bytes.length}`]);
  append(pairs, ['content-type', found.type]);
  if (!matches(found.bytes, state.integrity)) throw networkError(state, 'it is not what its integrity says');
  return newResponse(
    {
      type: 'basic', url: withoutFragment(state.url), redirected: false, status: 200, statusText: 'OK', headers: { pairs },
      body: state.method === 'HEAD' ? null : bodyOf(found.bytes),
    },
    'immutable',
  );
}

function workerFetch(state: RequestState, signal: ReturnType<typeof signalOf>): Promise<Response> {
  return newPromise((resolve, reject) => {
    const { body } = state;
    const bytes = body === null ? undefined : bytesAtHand(body);
    const params: Operations['fetch'] = {
      url: state.url, method: state.method, headers: headersToSend(state.headers), body: body === null ? 'none' : bytes === undefined ? 'stream' : 'bytes',
      redirect: state.redirect,
    };
    let answer: Body | null = null;
    let headCame = false;
    const abort = (): void => {
      const { reason } = signal;
      reject(reason);
      if (body !== null && bytes === undefined) cancelBody(body, reason);
      if (!headCame) cancel(id);
      else answer?.remote?.fail(reason);
    };
    const id = begin('fetch', params, bytes, (failed, json) => {
      headCame = true;
      if (failed !== undefined) {
        removeAlgorithm(signal, abort);
        reject(failed);
        return;
      }
      const head = jsonParse(json as string) as FetchedHead;
      const hasBody = head.body && state.method !== 'HEAD' && !isNullBodyStatus(head.status);
      answer = hasBody ? remoteBody(id) : bodyFor(head, state);
      if (!hasBody) removeAlgorithm(signal, abort);
      const arrived = responseState(head, answer);
      if (state.integrity === '') resolve(newResponse(arrived, 'immutable'));
      else checkIntegrity(state, arrived, resolve, reject);
    });
    if (body !== null && bytes !== undefined) body.used = true;
    addAlgorithm(signal, abort);
    if (params.body === 'stream') {
      upload(body as Body, id, () => {
        if (headCame) return;
        removeAlgorithm(signal, abort);
        cancel(id);
        reject(networkError(state, 'the stream of its body broke off'));
      });
    }
  });
}

/** Reads everything before anybody gets to see the answer. */
function checkIntegrity(request: RequestState, arrived: ResponseState, resolve: (response: Response) => void, reject: (reason: unknown) => void): void {
  const check = (content: string | Uint8Array<ArrayBuffer>): void => {
    const bytes = typeof content === 'string' ? new Uint8Array(host.encode(content)) : content;
    if (!matches(bytes, request.integrity)) {
      reject(networkError(request, 'it is not what its integrity says'));
      return;
    }
    if (arrived.body !== null) arrived.body = bodyOf(bytes);
    resolve(newResponse(arrived, 'immutable'));
  };
  if (arrived.body === null) check('');
  else readAll(arrived.body, check, reject);
}

/** An answer without a body has an empty one, unless its method or status forbids it. */
function bodyFor(head: FetchedHead, state: RequestState): Body | null {
  return state.method === 'HEAD' || isNullBodyStatus(head.status) ? null : bodyOf('');
}

function responseState(head: FetchedHead, body: Body | null): ResponseState {
  return {
    type: isSameOrigin(head.url) ? 'basic' : 'cors', url: withoutFragment(head.url), redirected: head.redirected, status: head.status,
    statusText: head.statusText, headers: { pairs: head.headers }, body,
  };
}

function headersToSend(list: HeaderList): HeaderPair[] {
  if (hasIn(list, 'accept')) return list.pairs;
  const pairs: HeaderPair[] = [['accept', '*/*']];
  for (let i = 0; i < list.pairs.length; i++) append(pairs, list.pairs[i] as HeaderPair);
  return pairs;
}

/** Sends a streamed body to the worker: 0 is the answer's, others are those of a fetch. `broken` is called if the stream breaks off. */
export function upload(body: Body, to: number, broken: () => void): Promise<void> {
  const write = (bytes: Uint8Array<ArrayBuffer>): Promise<unknown> =>
    newPromise<void>((resolve, reject) => {
      begin('write', { to }, bufferOf(bytes), (failed) => (failed === undefined ? resolve() : reject(failed)));
    });
  const end = (error: string | undefined): Promise<void> =>
    newPromise((resolve) => {
      // That the other side has gone already is nobody's concern any more.
      begin('close', error === undefined ? { to } : { to, error }, undefined, () => resolve());
    });
  return promiseThen(
    pump(body, write),
    () => end(undefined),
    (reason) => {
      const ended = end(messageOf(reason));
      broken();
      return ended;
    },
  ) as Promise<void>;
}

function messageOf(reason: unknown): string {
  try {
    return `${reason as string}`;
  } catch {
    return 'the stream broke off';
  }
}

export function install(global: object): void {
  const functions = {
    fetch(input: unknown, init: unknown = undefined): Promise<Response> {
      try {
        requireArguments(arguments.length, 1, 'fetch');
        return startFetch(input, init);
      } catch (error) {
        return promiseReject(error);
      }
    },
  };
  defineValue(global, 'fetch', functions.fetch, true);
}
