// Encoding Standard, section 7.4: TextEncoder.

test('text becomes UTF-8', () => {
  const encoder = new TextEncoder();
  assert.equal(encoder.encoding, 'utf-8');
  assert.deepEqual(encoder.encode('aä€😀'), new Uint8Array([0x61, 0xc3, 0xa4, 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80]));
  assert.deepEqual(encoder.encode(), new Uint8Array());
  assert.deepEqual(encoder.encode(undefined), new Uint8Array());
  assert.deepEqual(encoder.encode(null), new TextEncoder().encode('null'));
  assert.deepEqual(encoder.encode('\ud800x\udc00'), new Uint8Array([0xef, 0xbf, 0xbd, 0x78, 0xef, 0xbf, 0xbd]));
  assert.throws(() => TextEncoder.prototype.encode.call({}, 'x'), TypeError);
});

test('encodeInto writes whole characters only', () => {
  const encoder = new TextEncoder();
  for (const [text, size, read, written] of [
    ['hello', 5, 5, 5], ['hello', 3, 3, 3], ['aä', 2, 1, 1], ['a€b', 3, 1, 1], ['a€b', 4, 2, 4], ['😀x', 3, 0, 0], ['😀x', 4, 2, 4], ['😀x', 5, 3, 5],
    ['\ud800x', 3, 1, 3], ['\ud800x', 2, 0, 0], ['', 4, 0, 0], ['abc', 0, 0, 0], ['ab\ud83d', 5, 3, 5], ['aaaa😀', 6, 4, 4],
  ]) {
    const into = new Uint8Array(size + 1).fill(0xee);
    assert.deepEqual(encoder.encodeInto(text, into.subarray(0, size)), { read, written }, `${text} into ${size}`);
    assert.deepEqual(into.subarray(0, written), encoder.encode(text).subarray(0, written));
    assert.deepEqual(into.subarray(written), new Uint8Array(size + 1 - written).fill(0xee));
  }
});

test('encodeInto takes a Uint8Array and nothing else', () => {
  const encoder = new TextEncoder();
  for (const wrong of [new Uint8ClampedArray(4), new Int8Array(4), new ArrayBuffer(4), new DataView(new ArrayBuffer(4)), [], null, undefined]) {
    assert.throws(() => encoder.encodeInto('x', wrong), TypeError);
  }
  assert.throws(() => encoder.encodeInto('x'), TypeError);
});
