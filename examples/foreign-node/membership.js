// `/jsfs/membership/1`: asking to be let in, telling others who this node is, and answering them.

import { decode, encode } from './cbor.js';
import { Frames } from './frames.js';
import { item } from './roster.js';

export const MEMBERSHIP = '/jsfs/membership/1';
const MESSAGE_MAX = 1 << 20;
const STRANGER_MAX = 8 << 10;
const [MALFORMED, NOT_MEMBER] = [2, 3];

const cut = (bytes) => Array.from({ length: bytes.length / 8 }, (_, at) => Buffer.from(bytes.subarray(at * 8, at * 8 + 8)));

export async function ask(frames, request) {
  await frames.send(encode(request));
  const message = await frames.next(MESSAGE_MAX);
  if (!message) throw new Error('the other side ended the stream');
  const answer = decode(message);
  if (answer[0] === 0) throw new Error(`refused with code ${answer[1]}`);
  if (answer[0] !== request[0]) throw new Error('an answer to another request');
  return answer;
}

const hello = (me, roster) => [roster.credential(me), roster.announcementOf(me), roster.digest()];

function learn(roster, [credential, announcement]) {
  roster.add(item(1, credential));
  if (announcement) roster.add(item(2, announcement));
}

// Says hello, and goes on until both know the same.
export async function greet(frames, me, roster) {
  const [, theirs] = await ask(frames, [1, hello(me, roster)]);
  learn(roster, theirs);
  if (roster.digest().equals(theirs[2])) return;
  for (let more = true; more; ) {
    const [, items, wanted, rest] = await ask(frames, [3, Buffer.concat(roster.marks())]);
    const fresh = items.filter((bytes) => roster.add(bytes)).length;
    const asked = roster.wanted(cut(wanted));
    if (asked.length > 0) await ask(frames, [4, asked.slice(0, 256)]);
    more = rest && fresh > 0;
  }
}

export async function serve(stream, peer, me, roster) {
  const frames = new Frames(stream);
  for (;;) {
    const message = await frames.next(roster.reads(peer) ? MESSAGE_MAX : STRANGER_MAX);
    if (!message) return;
    let answer;
    try {
      const [kind, body] = decode(message);
      if (kind === 1) learn(roster, body);
      if (!roster.credential(peer)) answer = [0, NOT_MEMBER];
      else if (kind === 1) answer = [1, hello(me, roster)];
      else if (kind === 3) {
        const { items, wanted } = roster.difference(cut(body));
        answer = [3, items.slice(0, 128), Buffer.concat(wanted), items.length > 128];
      } else if (kind === 4) answer = [4, body.filter((bytes) => roster.add(bytes)).length];
      else answer = [0, NOT_MEMBER];
    } catch {
      answer = [0, MALFORMED];
    }
    await frames.send(encode(answer));
    if (answer[0] === 0) return;
  }
}
