// What a node says when it refuses: RFC 9457 problems as errors.

/** The members of a problem that JSFS sends. */
export interface Problem {
  /** A link to the section of docs/http.md that explains the refusal. */
  type: string;
  title: string;
  status: number;
  /** What was refused, why, and the next step. */
  detail?: string;
  /** With a 500: names the line in the node's log that tells more. */
  id?: string;
}

/**
 * A refusal by the node. Nothing was changed, unless a method says otherwise.
 *
 * What keeps an answer from coming at all is not one of these but a {@link ConnectionError}, or the reason of a signal that was aborted.
 */
export class JsfsError extends Error {
  override readonly name = 'JsfsError';
  /** The HTTP status, also for refusals that came over a socket. */
  readonly status: number;
  /** A link to the section of docs/http.md that explains the refusal; `about:blank` where an answer was no problem document. */
  readonly type: string;
  /** The kind of refusal in a few words. */
  readonly title: string;
  /** What was refused, why, and the next step; empty where the answer had no body, as with HEAD. */
  readonly detail: string;
  /** With a 500: names the line in the node's log that tells more. */
  readonly id: string | undefined;
  /** After how many seconds to try again, where the node said so. */
  readonly retryAfterSeconds: number | undefined;

  constructor(problem: Problem, retryAfterSeconds?: number) {
    const detail = problem.detail ?? '';
    super(`${detail || problem.title} (${problem.status})`);
    this.status = problem.status;
    this.type = problem.type;
    this.title = problem.title;
    this.detail = detail;
    this.id = problem.id;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** The node cannot be reached, or the connection ended before the answer came. Whether a change was made is not known. */
export class ConnectionError extends Error {
  override readonly name = 'ConnectionError';
  /** Of a socket: the close code (docs/live.md, "Health, limits, and the end"), 1006 where it just broke. Undefined for HTTP. */
  readonly code: number | undefined;
  /** Of a socket: the reason that came with the code; may be empty. */
  readonly reason: string;

  constructor(message: string, { code, reason = '', cause }: { code?: number; reason?: string; cause?: unknown } = {}) {
    super(message, { cause });
    this.code = code;
    this.reason = reason;
  }
}

/** A socket has ended. @internal */
export function socketEnded(code: number, reason: string): ConnectionError {
  return new ConnectionError(`the socket has ended${reason && `: ${reason}`} (${code})`, { code, reason });
}

/** The error of an answer that is a refusal. Reads its body. @internal */
export async function refusal(response: Response): Promise<JsfsError> {
  const isProblem = response.headers.get('content-type')?.startsWith('application/problem+json') ?? false;
  const problem: unknown = isProblem ? await response.json().catch(() => null) : null;
  if (!isProblem) await response.body?.cancel();
  const seconds = Number(response.headers.get('retry-after') ?? NaN);
  return new JsfsError(readProblem(problem, response.status), Number.isFinite(seconds) ? seconds : undefined);
}

/** A problem document, however little of it is there. @internal */
export function readProblem(value: unknown, status: number): Problem {
  const given = typeof value === 'object' && value !== null ? (value as Partial<Record<keyof Problem, unknown>>) : {};
  const text = (member: unknown): string | undefined => (typeof member === 'string' ? member : undefined);
  const [detail, id] = [text(given.detail), text(given.id)];
  return {
    type: text(given.type) ?? 'about:blank',
    title: text(given.title) ?? TITLES[status] ?? 'Refused',
    status: typeof given.status === 'number' ? given.status : status,
    ...(detail !== undefined && { detail }),
    ...(id !== undefined && { id }),
  };
}

/** For answers that cannot carry a problem document: those to HEAD, and redirects. */
const TITLES: Record<number, string> = {
  304: 'Not modified',
  307: 'Redirect: the path of a directory ends in /',
  400: 'Malformed request',
  401: 'Credential needed',
  403: 'Credential not sufficient',
  404: 'Not found',
  409: 'Conflict',
  410: 'Purged',
  412: 'Precondition failed',
  416: 'Range not satisfiable',
  503: 'Unavailable',
};
