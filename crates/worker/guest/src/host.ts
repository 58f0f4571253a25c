// The whole boundary between a JavaScript program's engine and the worker that runs it.
//
// Everything above this line is JavaScript in the sandbox: its state is in the engine's memory, so an image of that memory is the whole
// program. Everything below is the worker. Calls go down through `host`, each of which answers at once; what takes time is begun with
// `start` and ends with a call of `runtime.settle` from below. Nothing else crosses, so an image taken while calls are under way is complete
// but for the list of their ids, which the worker keeps beside it.
//
// Binary data crosses as ArrayBuffer, in both directions copied. Structured data crosses as JSON text. An `Error` thrown below arrives as one
// whose `name` and `message` were chosen there ("TypeError", "NotSupportedError", …).

/** Calls down, each answered at once. */
export interface Host {
  /** One line of the program's log, at most 16 KiB of it. */
  log(level: "debug" | "info" | "warn" | "error", text: string): void;

  /** Unpredictable bytes, at most 65,536. Refused (NotSupportedError) where a run must be deterministic, as in `map` and `reduce`. */
  random(length: number): ArrayBuffer;
  /** Milliseconds since 1970, with fractions. Stands still in a deterministic run. */
  now(): number;
  /** Milliseconds since the run began, with fractions, never backwards. Stands still in a deterministic run. */
  elapsed(): number;

  /** The bytes of a string in UTF-8; lone surrogates become U+FFFD. */
  encode(text: string): ArrayBuffer;
  /**
   * The text of bytes in an encoding, named as `encodingName` gives it. Throws TypeError if `fatal` and the bytes are malformed. A byte order
   * mark at the beginning is dropped unless `keepMark`.
   */
  decode(encoding: string, bytes: ArrayBuffer, fatal: boolean, keepMark: boolean): string;
  /** The name of the encoding that a label of the Encoding Standard stands for, in lower case; undefined for none. */
  encodingName(label: string): string | undefined;
  /**
   * How many bytes at the end (0 to 3) begin a character of that encoding that is not complete: a decoder keeps them until more has come. Asked
   * for the legacy encodings of several bytes only.
   */
  incomplete(encoding: string, bytes: ArrayBuffer): number;

  /** Parses as the URL Standard says. JSON of `UrlParts`; undefined if it is none. */
  urlParse(url: string, base: string | undefined): string | undefined;
  /** Sets one of the settable parts (`href` excepted) as the URL Standard's setters do. JSON of `UrlParts`. */
  urlSet(href: string, part: string, value: string): string;

  /**
   * One operation of Web Cryptography; `params` is JSON, key material and data are buffers. What the operations are is in crypto.ts and in
   * the worker's `crypto`. Answers bytes or JSON text.
   */
  crypto(operation: string, params: string, ...buffers: ArrayBuffer[]): ArrayBuffer | string;

  /** Begins something that takes time: an operation of `Operations`, by name. It ends with `runtime.settle(id, …)`. Ids are the guest's. */
  start(id: number, operation: string, params: string, bytes: ArrayBuffer | undefined): void;
  /**
   * Nobody waits for it any longer; it is not settled afterwards. For a fetch whose head has come: nobody reads its body on, and a `read` of it
   * that is under way is not settled either.
   */
  cancel(id: number): void;

  /** The head of the answer (JSON of `ResponseHead`), with its body if that is complete. Once in a run; `last` if `done` follows at once. */
  respond(head: string, bytes: ArrayBuffer | undefined, last: boolean): void;
  /** The value that a `map`, `reduce`, `main` or `message` came to, as JSON text or bytes. Once in a run. */
  answer(json: string | undefined, bytes: ArrayBuffer | undefined): void;
  /** The handler failed. The worker answers 500 and logs name, message and stack. Instead of `respond` or `answer`. */
  fail(name: string, message: string, stack: string): void;
  /** The run has nothing left to do: it has answered, its body is sent, and what it passed to `waitUntil` is settled. */
  done(): void;
}

export interface UrlParts {
  href: string;
  origin: string;
  protocol: string;
  username: string;
  password: string;
  host: string;
  hostname: string;
  port: string;
  pathname: string;
  search: string;
  hash: string;
}

/** The name is in lower case, in both directions. */
export type HeaderPair = [name: string, value: string];

/** What a run is given with `fetch`. */
export interface RequestHead {
  url: string;
  method: string;
  headers: HeaderPair[];
  /** Whether a body follows: read it with operation `read` of 0. */
  body: boolean;
}

export interface ResponseHead {
  status: number;
  statusText: string;
  headers: HeaderPair[];
  /** "bytes": the buffer given with it is all of it. "stream": it follows with operation `write` to 0, then `close` of 0. */
  body: "none" | "bytes" | "stream";
  /** The answer is an upgrade to a WebSocket that this run goes on to handle. */
  webSocket?: boolean;
}

/** What `start` can begin: what is given as JSON (and bytes), and what it settles with. */
export interface Operations {
  /** Settles with nothing after that time, with the other timers in order. */
  timer: { ms: number };
  /**
   * A request to an address of this node, or to a host that the directory's policy names. `bytes` is the body if it is complete. Settles with
   * JSON of `FetchedHead` when the head of the answer is there; the body is read with `read` of this id. Fails with TypeError where the Fetch
   * Standard has a network error.
   */
  fetch: {
    url: string;
    method: string;
    headers: HeaderPair[];
    body: "none" | "bytes" | "stream";
    redirect: "follow" | "error" | "manual";
  };
  /** The next bytes of a body: 0 is the request's, others are those of a fetch. Settles with bytes, or with JSON `{"done":true}`. */
  read: { of: number };
  /** `map` looks at where its part lies: what it comes to rests on that. Settles with nothing. */
  look: object;
  /** Bytes of a streamed body: 0 is the answer's, others are those of a fetch. Settles when there is room for more. */
  write: { to: number };
  /** The streamed body ends here; with `error` it breaks off, so that the other side can tell. Settles with nothing. */
  close: { to: number; error?: string };
  /** A message to the client of this WebSocket: text, or the bytes. Settles when there is room for more. */
  socketSend: { text?: string };
  /** Closes the WebSocket. */
  socketClose: { code?: number; reason?: string };
  /** What a process says: text, or the bytes. Settles when there is room for more. */
  output: { text?: string };
}

export interface FetchedHead {
  status: number;
  statusText: string;
  url: string;
  redirected: boolean;
  headers: HeaderPair[];
  /** Whether there is a body to read. */
  body: boolean;
}

/** Who asks, as `ctx.caller` shows it: never the credential. */
export interface Caller {
  kind: "owner" | "token" | "anonymous";
  /** The claims of the token, if that is what was shown. */
  claims?: Record<string, unknown>;
}

/** What every run is told. */
export interface RunParams {
  /** The program's own address, as a URL on the host that was asked. Relative URLs are resolved against it. */
  base: string;
  env: Record<string, string>;
  caller: Caller;
  /** For `fetch` and sockets. */
  request?: RequestHead;
  /** For `main`. */
  args?: string[];
  /** For `map`: where the part lies. Its content is read with operation `read` of 0. */
  part?: { address: string; offset: number; size: number };
  /** For `reduce`: the values, null where they are bytes; which ones these are, and how many bytes each has. The bytes follow each other. */
  parts?: unknown[];
  binary?: [index: number, length: number][];
  /** For `reduce` and `map`: what the request gave as parameters. */
  parameters?: Record<string, string>;
  /** For `message`: whether the bytes are text. */
  text?: boolean;
}

/**
 * What `run` can run. There is no run for sockets: where a program has `webSocketOpen`, `webSocketMessage` or `webSocketClose` and the request
 * has `Upgrade: websocket`, a run of `fetch` answers with status 101 and `webSocket` (unless `webSocketOpen` returned a Response, which is
 * answered instead), and goes on with the events `socketMessage` and `socketClose`, each handled when the one before is, until it is done.
 */
export type Handler = "fetch" | "map" | "reduce" | "main" | "message" | "script";

/**
 * Calls up. The worker holds this object; programs cannot reach it. After each call the worker runs the engine's jobs until there are none,
 * then calls `rejections`, and begins again if that answers true.
 *
 * The prelude, dist/prelude.js, is evaluated under the name `prelude.js`, by which its frames are told from the program's in stacks. It leaves
 * this object as the global `__runtime`, which the worker takes and deletes.
 */
export interface Runtime {
  /**
   * Before a program is evaluated: its base URL, as in `RunParams`. While it is evaluated it cannot fetch (as in Workers), and has neither
   * clock nor randomness of its own.
   */
  prepare(base: string): void;
  /** After it was evaluated: its module namespace. Answers the handlers that it has, as JSON. Throws TypeError if `default` is no object. */
  loaded(namespace: object): string;
  /**
   * A script of the JSFS-SX experiment, without exports. Answers `["script"]`. Either its text, compiled here by `eval` (SyntaxError if it
   * cannot be), so that positions are in a file named `<eval>`; or a function without parameters, which the worker made by evaluating
   * `(async function () {` + text + newline + `})` under the file's name.
   */
  script(source: string | (() => Promise<unknown>)): string;
  /** After an image was restored: `seed` is 32 fresh random bytes. `Math.random` must not repeat those of another run. */
  restored(seed: ArrayBuffer): void;
  /** Runs a handler. It ends with `host.respond`/`answer`/`fail`, and `host.done`. */
  run(handler: Handler, params: string, bytes: ArrayBuffer | undefined): void;
  /** Ends what `start` began. If not `ok`, the JSON is `{name, message}`. */
  settle(id: number, ok: boolean, json: string | undefined, bytes: ArrayBuffer | undefined): void;
  /**
   * Something happened that the program did not ask for. `socketMessage` and `input` (a message posted to a process): JSON `{"text": whether the
   * bytes are text}`. `socketClose`: `{code, reason}`. `stop` (a process is asked to
   * stop, or the client of a `fetch` has gone): `{}`; it aborts `ctx.signal` and `request.signal`.
   */
  event(event: "socketMessage" | "socketClose" | "input" | "stop", params: string, bytes: ArrayBuffer | undefined): void;
  /** The engine's hook: a promise was rejected and has no handler, or (`handled`) it got one after all. Only notes it. */
  rejection(promise: object, reason: unknown, handled: boolean): void;
  /** Tells the program of rejections that are still without a handler. Answers whether there were any, so that there may be jobs again. */
  rejections(): boolean;
}
