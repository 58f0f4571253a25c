// The prelude: evaluated once in a fresh engine, before any program. It puts the web's interfaces on the global object and leaves the runtime
// for the worker, which takes it and deletes it from there.
//
// `worker.ts` is imported first, because it takes `__host` away.

import { host } from './worker.ts';
import * as abort from './abort.ts';
import * as blob from './blob.ts';
import { later } from './body.ts';
import * as clone from './clone.ts';
import * as compression from './compression.ts';
import * as console from './console.ts';
import * as context from './context.ts';
import * as crypto from './crypto.ts';
import * as dataurl from './dataurl.ts';
import * as encoding from './encoding.ts';
import * as event from './event.ts';
import * as fetch from './fetch.ts';
import * as formdata from './formdata.ts';
import * as global from './global.ts';
import * as headers from './headers.ts';
import * as messaging from './messaging.ts';
import * as random from './random.ts';
import * as report from './report.ts';
import * as request from './request.ts';
import * as response from './response.ts';
import { shown } from './inspect.ts';
import { runtime } from './runtime.ts';
import * as streams from './streams.ts';
import * as timers from './timers.ts';
import * as transfer from './transfer.ts';
import * as url from './url.ts';

// With it a program could look at the functions on the stack, which are ours and the worker's.
delete (Error as { prepareStackTrace?: unknown }).prepareStackTrace;

const target = globalThis as unknown as Record<string, unknown>;

// Who makes streams takes them from the global object, so that they come first.
event.install(target);
abort.install(target);
streams.install(target);
url.install(target, host);
encoding.install(target, host);
blob.install(target, host);
formdata.install(target, host);
compression.install(target, host);
crypto.install(target, host);
clone.install(target, host);
headers.install(target);
request.install(target);
response.install(target);
fetch.install(target);
dataurl.install(target);
transfer.install();
messaging.install(target);
timers.install(target);
console.install(target);
report.install(target);
context.install(target);
random.install();
global.install(target);
later.structuredClone = target['structuredClone'] as typeof later.structuredClone;

// How the console shows them.
shown.set(headers.Headers.prototype, (object) => headers.sortedOf(object as headers.Headers));
shown.set(url.URLSearchParams.prototype, (object) => url.pairsOf(object as url.URLSearchParams));
shown.set(request.Request.prototype, ['method', 'url', 'headers', 'redirect', 'bodyUsed']);
shown.set(response.Response.prototype, ['status', 'statusText', 'type', 'url', 'headers', 'bodyUsed']);
shown.set(url.URL.prototype, ['href', 'origin', 'protocol', 'username', 'password', 'host', 'hostname', 'port', 'pathname', 'search', 'hash']);
shown.set(blob.File.prototype, ['name', 'lastModified', 'size', 'type']);
shown.set(blob.Blob.prototype, ['size', 'type']);
shown.set(abort.AbortSignal.prototype, ['aborted', 'reason']);
shown.set(event.Event.prototype, ['type', 'defaultPrevented', 'cancelable', 'timeStamp']);
shown.set(streams.ReadableStream.prototype, ['locked']);
shown.set(streams.WritableStream.prototype, ['locked']);

Object.defineProperty(target, '__runtime', { value: runtime, configurable: true });
