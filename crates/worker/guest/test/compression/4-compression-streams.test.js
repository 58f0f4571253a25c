// Compression Standard, sections 4 to 6: CompressionStream and DecompressionStream.

const formats = ['gzip', 'deflate', 'deflate-raw'];

async function through(stream, chunks) {
  const writer = stream.writable.getWriter();
  const writing = (async () => {
    for (const chunk of chunks) await writer.write(chunk);
    await writer.close();
  })();
  writing.catch(() => {});
  const pieces = [];
  for await (const piece of stream.readable) {
    assert(piece instanceof Uint8Array && piece.length > 0);
    pieces.push(...piece);
  }
  await writing;
  return new Uint8Array(pieces);
}

const text = new TextEncoder().encode('the same text again and again. '.repeat(100));

test('what is compressed is shorter and comes out again', async () => {
  for (const format of formats) {
    const small = await through(new CompressionStream(format), [text]);
    assert(small.length < text.length / 5, format);
    assert.deepEqual(await through(new DecompressionStream(format), [small]), text, format);
  }
});

test('chunks may be of any size, empty ones too', async () => {
  for (const format of formats) {
    const small = await through(new CompressionStream(format), [text.subarray(0, 1), new Uint8Array(), text.slice(1, 700).buffer, new DataView(text.buffer, 700)]);
    const cut = Array.from(small, (byte) => new Uint8Array([byte]));
    assert.deepEqual(await through(new DecompressionStream(format), [new Uint8Array(), ...cut]), text, format);
    assert.deepEqual(await through(new DecompressionStream(format), [await through(new CompressionStream(format), [])]), new Uint8Array(), format);
  }
}, { nodeDiffers: 'Node.js 20 never ends after an empty chunk' });

test('known data is read', async () => {
  const expected = new TextEncoder().encode('expected output');
  const known = {
    deflate: [120, 156, 75, 173, 40, 72, 77, 46, 73, 77, 81, 200, 47, 45, 41, 40, 45, 1, 0, 48, 173, 6, 36],
    gzip: [31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 75, 173, 40, 72, 77, 46, 73, 77, 81, 200, 47, 45, 41, 40, 45, 1, 0, 176, 1, 57, 179, 15, 0, 0, 0],
    'deflate-raw': [75, 173, 40, 72, 77, 46, 73, 77, 81, 200, 47, 45, 41, 40, 45, 1, 0],
  };
  for (const format of formats) assert.deepEqual(await through(new DecompressionStream(format), [new Uint8Array(known[format])]), expected, format);
});

test('data that is broken, cut off or followed by more is a TypeError', async () => {
  for (const format of formats) {
    const small = await through(new CompressionStream(format), [text]);
    const attempt = (bytes) => through(new DecompressionStream(format), [bytes]);
    await assert.rejects(attempt(small.subarray(0, -1)), TypeError, `${format} cut`);
    await assert.rejects(attempt(new Uint8Array()), TypeError, `${format} empty`);
    await assert.rejects(attempt(new Uint8Array([...small, 0])), TypeError, `${format} more`);
    await assert.rejects(through(new DecompressionStream(format), [small, new Uint8Array([0])]), TypeError, `${format} more later`);
    if (format === 'deflate-raw') continue;
    const wrongSum = small.slice();
    wrongSum[small.length - (format === 'gzip' ? 8 : 1)] ^= 1;
    await assert.rejects(attempt(wrongSum), TypeError, `${format} sum`);
    const wrongHead = small.slice();
    wrongHead[0] ^= 1;
    await assert.rejects(attempt(wrongHead), TypeError, `${format} head`);
  }
}, { nodeDiffers: 'lets some of it pass, and has other errors' });

test('chunks are bytes', async () => {
  for (const wrong of ['text', null, undefined, 1, [1], {}]) {
    await assert.rejects(through(new CompressionStream('gzip'), [wrong]), TypeError);
    await assert.rejects(through(new DecompressionStream('gzip'), [wrong]), TypeError);
  }
}, { nodeDiffers: 'takes text' });

test('formats are those of the standard', () => {
  for (const wrong of ['brotli', 'GZIP', '', undefined, null]) {
    assert.throws(() => new CompressionStream(wrong), TypeError);
    assert.throws(() => new DecompressionStream(wrong), TypeError);
  }
  assert.throws(() => new CompressionStream(), TypeError);
});
