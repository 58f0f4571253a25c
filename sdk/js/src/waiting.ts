// Waiting: between attempts, longer each time and never the same for everybody; and no longer than a signal allows.

const FIRST_MS = 500;
const LONGEST_MS = 30_000;

/** How long to wait after attempts that failed one after the other: half a second, doubled each time, at most 30 seconds. @internal */
export class Backoff {
  #failures = 0;

  /** How many attempts have failed since the last that succeeded. */
  get failures(): number {
    return this.#failures;
  }

  succeeded(): void {
    this.#failures = 0;
  }

  /**
   * Waits after an attempt that failed, at least as long as the node asked for. A random part of it, up to the half, is left out, so that
   * clients that lost the same node do not all come back at once. Rejects with the signal's reason.
   */
  async failed(signal?: AbortSignal, atLeastSeconds = 0): Promise<void> {
    const longest = Math.min(LONGEST_MS, FIRST_MS * 2 ** this.#failures);
    this.#failures += 1;
    await delay(Math.max(atLeastSeconds * 1_000, longest * (1 - Math.random() / 2)), signal);
  }
}

/** Resolves after a time; rejects with the signal's reason. @internal */
export function delay(ms: number, signal?: AbortSignal): Promise<void> {
  let timer: ReturnType<typeof setTimeout>;
  const time = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  return abortable(time, signal).finally(() => clearTimeout(timer));
}

/** The promise, or a rejection with the signal's reason where that comes first. @internal */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise<T>((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
