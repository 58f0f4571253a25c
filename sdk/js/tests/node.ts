// A real node to test against: a process of its own with data of its own, stopped when the tests of a file are over.

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
const BINARIES = [process.env['JSFS_BIN'], join(ROOT, 'target/release/jsfs'), join(ROOT, 'target/debug/jsfs')];
const binary = BINARIES.find((path) => path !== undefined && (path === process.env['JSFS_BIN'] || existsSync(path)));

/** Why tests that need a node are left out, or false. */
export const missing: string | false =
  binary === undefined && 'there is no node to test against; build it with `cargo build --release`, or set JSFS_BIN';
if (missing) console.log(`skipped: ${missing}`);

/** Nodes end with the tests, also where the test runner loses its patience. */
const running = new Set<ChildProcess>();
process.once('exit', () => running.forEach((child) => child.kill('SIGKILL')));
process.once('SIGTERM', () => process.exit(143));

/** A running node. */
export class Node {
  readonly url: string;
  readonly rootKey: string;
  readonly #folder: string;
  #process: ChildProcess;

  private constructor(url: string, rootKey: string, folder: string, process: ChildProcess) {
    this.url = url;
    this.rootKey = rootKey;
    this.#folder = folder;
    this.#process = process;
  }

  /** Starts a node with nothing in it. */
  static async start(): Promise<Node> {
    const folder = await mkdtemp(join(tmpdir(), 'jsfs-sdk-'));
    const [process, url] = await launch(folder, '127.0.0.1:0');
    const rootKey = (await readFile(join(folder, 'data/root.key'), 'utf8')).trim();
    return new Node(url, rootKey, folder, process);
  }

  /** Ends the node and forgets its data. */
  async remove(): Promise<void> {
    await this.stop();
    await rm(this.#folder, { recursive: true });
  }

  /** The URL at which a namespace has an origin of its own. */
  urlOf(namespace: string): string {
    return `http://${namespace}.localhost:${new URL(this.url).port}`;
  }

  /** Ends the process, if it runs: with a signal that it can answer to, or with one that it cannot. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    this.#process.kill(signal);
    this.goOn();
    await ended;
  }

  /** Lets the process stand still: its connections stay, and it says nothing. */
  pause(): void {
    this.#process.kill('SIGSTOP');
  }

  /** Lets it go on. */
  goOn(): void {
    this.#process.kill('SIGCONT');
  }

  /** Starts the process again, with the data and at the address that it had. */
  async startAgain(): Promise<void> {
    [this.#process] = await launch(this.#folder, new URL(this.url).host);
  }
}

async function launch(folder: string, listen: string): Promise<[ChildProcess, string]> {
  const child = spawn(binary ?? '', ['serve', '--data', join(folder, 'data'), '--listen', listen], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { HOME: folder }, // The node would take JSFS_BIN for a setting.
  });
  running.add(child);
  child.once('exit', () => running.delete(child));
  let said = '';
  return new Promise((resolve, reject) => {
    const listener = (chunk: Buffer): void => {
      said += chunk.toString();
      const url = /is ready at (http:\/\/[^ ]+)/.exec(said)?.[1];
      if (url !== undefined) resolve([child, url]);
    };
    child.stdout.on('data', listener);
    child.stderr.on('data', listener);
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the node ended with ${code}: ${said}`)));
  });
}
