// File API, section 3: Blob.

test('a blob is made of text, bytes and blobs', async () => {
  const blob = new Blob(['aä', new Uint8Array([1, 2, 3]).subarray(1), new Uint16Array([0x4142]).buffer, new Blob(['x']), 7], { type: 'Text/PLAIN' });
  assert.equal(blob.size, 9);
  assert.equal(blob.type, 'text/plain');
  assert.deepEqual(new Uint8Array(await blob.arrayBuffer()), new Uint8Array([0x61, 0xc3, 0xa4, 2, 3, 0x42, 0x41, 0x78, 0x37]));
  assert.equal(new Blob().size, 0);
  assert.equal(new Blob(undefined, null).type, '');
  assert.equal(new Blob([], { type: 'a\u00e4' }).type, '');
  assert.equal(await new Blob(['\ud800']).text(), '\ufffd');
});

test('what is no sequence is refused', () => {
  for (const wrong of [null, 'text', 1, {}, new Date()]) assert.throws(() => new Blob(wrong), TypeError);
  assert.throws(() => new Blob([], 1), TypeError);
  assert.throws(() => new Blob([], { endings: 'other' }), TypeError);
  assert.throws(() => Blob(), TypeError);
});

test('line endings are kept, or made native', async () => {
  assert.equal(await new Blob(['a\r\nb\rc\nd'], { endings: 'native' }).text(), 'a\nb\nc\nd');
  assert.equal(await new Blob(['a\r\nb\rc\nd']).text(), 'a\r\nb\rc\nd');
}, { nodeDiffers: 'leaves lone carriage returns' });

test('a blob does not change with what it was made of', async () => {
  const bytes = new Uint8Array([1, 2]);
  const blob = new Blob([bytes]);
  bytes.fill(9);
  const got = new Uint8Array(await blob.arrayBuffer());
  assert.deepEqual(got, new Uint8Array([1, 2]));
  got.fill(9);
  assert.deepEqual(new Uint8Array(await blob.arrayBuffer()), new Uint8Array([1, 2]));
});

test('slices count from both ends', async () => {
  const blob = new Blob(['0123456789'], { type: 'text/plain' });
  for (const [from, to, text] of [
    [undefined, undefined, '0123456789'], [2, 5, '234'], [-3, undefined, '789'], [0, -8, '01'], [5, 2, ''], [-20, 2, '01'], [8, 99, '89'], [null, 2, '01'],
    [1.5, 3, "2"], [NaN, 1, '0'], [2 ** 53, undefined, ''],
  ]) {
    assert.equal(await blob.slice(from, to).text(), text, `${from} to ${to}`);
  }
  assert.equal(blob.slice().type, '');
  assert.equal(blob.slice(0, 1, 'A/B').type, 'a/b');
  assert.equal(await blob.slice(2, 8).slice(1, 3).text(), '34');
}, { nodeDiffers: 'rounds 1.5 down where the standard clamps it to 2' });

test('text drops a byte order mark and replaces what is malformed', async () => {
  assert.equal(await new Blob([new Uint8Array([0xef, 0xbb, 0xbf, 0x61, 0xff])]).text(), 'a\ufffd');
});

test('a blob is streamed in pieces', async () => {
  const blob = new Blob([new Uint8Array(200000).fill(5)]);
  let size = 0;
  for await (const piece of blob.stream()) {
    assert(piece instanceof Uint8Array);
    assert.equal(piece[0], 5);
    size += piece.length;
  }
  assert.equal(size, 200000);
  assert.equal((await new Blob().stream().getReader().read()).done, true);
});

test('a stream of a blob can be read into buffers', async () => {
  const reader = new Blob(['abcdef']).stream().getReader({ mode: 'byob' });
  const first = await reader.read(new Uint8Array(4));
  assert.equal(new TextDecoder().decode(first.value), 'abcd');
  const second = await reader.read(new Uint8Array(4));
  assert.equal(new TextDecoder().decode(second.value), 'ef');
  assert.equal((await reader.read(new Uint8Array(4))).done, true);
});

test('bytes gives a Uint8Array', async () => {
  assert.deepEqual(await new Blob(['ab']).bytes(), new Uint8Array([0x61, 0x62]));
}, { nodeDiffers: 'Node.js 20 has it not' });

test('methods called on something else reject', async () => {
  await assert.rejects(Blob.prototype.text.call({}), TypeError);
  await assert.rejects(Blob.prototype.arrayBuffer.call({}), TypeError);
  assert.throws(() => Blob.prototype.slice.call({}), TypeError);
});
