// Math.random: the engine's own is seeded once, when the engine starts, so that all runs of one image would draw the same numbers. This one is
// xoshiro128** (Blackman and Vigna, 2018) and is seeded when an image is restored. It is no source of secrets; `crypto` is.

import { defineValue } from './webidl.ts';

const { imul } = Math;

// What programs draw while they are evaluated is the same each time, as the image is.
let a = 0x9e3779b9;
let b = 0x243f6a88;
let c = 0xb7e15162;
let d = 0x6a09e667;

const NativeUint32Array = Uint32Array;

export function seed(bytes: ArrayBuffer): void {
  const words = new NativeUint32Array(bytes);
  a = (words[0] as number) | 0;
  b = (words[1] as number) | 0;
  c = (words[2] as number) | 0;
  // All zeroes would stay zeroes.
  d = (words[3] as number) | 1;
}

function next(): number {
  const product = imul(b, 5);
  const result = imul((product << 7) | (product >>> 25), 9);
  const shifted = b << 9;
  c ^= a;
  d ^= b;
  b ^= c;
  a ^= d;
  c ^= shifted;
  d = (d << 11) | (d >>> 21);
  return result >>> 0;
}

export function install(): void {
  const functions = {
    random(): number {
      // 53 bits: 27 and 26.
      return ((next() >>> 5) * 67108864 + (next() >>> 6)) / 9007199254740992;
    },
  };
  defineValue(Math, 'random', functions.random, false);
}
