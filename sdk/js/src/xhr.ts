// Sending with XMLHttpRequest: in browsers the only way to learn how much of a body has gone out.

import type { Progress, Sendable } from './body.js';

/** Sends a body that is no stream and tells how far it has got. Rejects as `fetch` does. @internal */
export function sendByXhr(
  url: URL,
  method: string,
  headers: Headers,
  body: Sendable & { data: Exclude<Sendable['data'], ReadableStream> },
  onProgress: (progress: Progress) => void,
  signal: AbortSignal | undefined,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    const abort = (): void => xhr.abort();
    const ended = (): void => signal?.removeEventListener('abort', abort);
    xhr.open(method, url);
    xhr.responseType = 'blob';
    headers.forEach((value, name) => xhr.setRequestHeader(name, value));
    xhr.upload.onprogress = ({ loaded }) => onProgress({ sent: loaded, total: body.length });
    xhr.onload = () => resolve(response(xhr));
    xhr.onerror = () => reject(new TypeError('Failed to fetch'));
    xhr.onabort = () => reject(signal?.reason);
    xhr.onloadend = ended;
    signal?.addEventListener('abort', abort);
    xhr.send(body.data);
  });
}

function response(xhr: XMLHttpRequest): Response {
  const headers = new Headers();
  for (const line of xhr.getAllResponseHeaders().trim().split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  const hasBody = xhr.status !== 204 && xhr.status !== 304;
  return new Response(hasBody ? (xhr.response as Blob) : null, { status: xhr.status, statusText: xhr.statusText, headers });
}
