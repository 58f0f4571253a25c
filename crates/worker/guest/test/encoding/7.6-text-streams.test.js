// Encoding Standard, sections 7.6 and 7.7: TextDecoderStream and TextEncoderStream.

async function through(stream, chunks) {
  const writer = stream.writable.getWriter();
  const writing = (async () => {
    for (const chunk of chunks) await writer.write(chunk);
    await writer.close();
  })();
  writing.catch(() => {});
  const out = [];
  for await (const chunk of stream.readable) out.push(chunk);
  await writing;
  return out;
}

test('bytes become text, and what is cut apart comes together', async () => {
  const chunks = [new Uint8Array([0x61, 0xe2]), new Uint8Array([0x82]), new Uint8Array([0xac, 0x62]).buffer];
  assert.equal((await through(new TextDecoderStream(), chunks)).join('|'), 'a|€b');
  assert.equal((await through(new TextDecoderStream(), [new Uint8Array([0xe2])])).join('|'), '\ufffd');
  assert.equal((await through(new TextDecoderStream('shift_jis'), [new Uint8Array([0x82]), new Uint8Array([0xa0])])).join('|'), 'あ');
  assert.deepEqual(await through(new TextDecoderStream(), [new Uint8Array()]), []);
});

test('a fatal decoder breaks the stream off', async () => {
  await assert.rejects(through(new TextDecoderStream('utf-8', { fatal: true }), [new Uint8Array([0xff])]), TypeError);
  await assert.rejects(through(new TextDecoderStream('utf-8', { fatal: true }), [new Uint8Array([0xe2])]), TypeError);
  await assert.rejects(through(new TextDecoderStream(), ['text']), TypeError);
  const stream = new TextDecoderStream('latin1', { fatal: true, ignoreBOM: true });
  assert.equal(stream.encoding, 'windows-1252');
  assert.equal(stream.fatal, true);
  assert.equal(stream.ignoreBOM, true);
  assert.throws(() => new TextDecoderStream('nothing'), RangeError);
});

test('text becomes bytes, and halves of a pair come together', async () => {
  const out = await through(new TextEncoderStream(), ['a\ud83d', '\ude00b', '\ud83d', 'x', '', '\ude00', 1]);
  const all = out.flatMap((chunk) => Array.from(chunk));
  assert.deepEqual(all, Array.from(new TextEncoder().encode('a😀b\ufffdx\ufffd1')));
  assert.deepEqual(await through(new TextEncoderStream(), ['\ud83d']), [new Uint8Array([0xef, 0xbf, 0xbd])]);
  assert.deepEqual(await through(new TextEncoderStream(), ['']), []);
  assert.equal(new TextEncoderStream().encoding, 'utf-8');
});

test('both ends are streams', () => {
  for (const stream of [new TextDecoderStream(), new TextEncoderStream()]) {
    assert(stream.readable instanceof ReadableStream);
    assert(stream.writable instanceof WritableStream);
    assert.equal(stream.readable, stream.readable);
  }
});
