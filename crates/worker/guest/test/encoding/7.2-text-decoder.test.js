// Encoding Standard, sections 4.2 and 7.2: labels, and TextDecoder.

const bytes = (...list) => new Uint8Array(list);

test('labels name encodings', () => {
  for (const [label, name] of [
    ['utf8', 'utf-8'], [' \tLatin1\n', 'windows-1252'], ['ascii', 'windows-1252'], ['sjis', 'shift_jis'], ['utf-16', 'utf-16le'], ['unicodefffe', 'utf-16be'],
    ['euc-kr', 'euc-kr'], ['gb2312', 'gbk'], ['iso-8859-9', 'windows-1254'], ['x-x-big5', 'big5'], ['koi8-ru', 'koi8-u'], ['iso-2022-jp', 'iso-2022-jp'],
  ]) {
    assert.equal(new TextDecoder(label).encoding, name, label);
  }
  for (const label of ['', 'utf-7', 'utf-32', 'utf8\0', '\u2028utf-8', 'iso-8859-17']) assert.throws(() => new TextDecoder(label), RangeError, label);
});

test('the names of the replacement encoding cannot be decoded', () => {
  for (const label of ['replacement', 'iso-2022-kr', 'hz-gb-2312', 'iso-2022-cn']) assert.throws(() => new TextDecoder(label), RangeError, label);
});

test('every encoding is there', () => {
  const decoded = {
    'utf-8': [[0xe2, 0x82, 0xac], '€'], 'utf-16le': [[0xac, 0x20], '€'], 'utf-16be': [[0x20, 0xac], '€'], 'windows-1252': [[0xe4], 'ä'],
    'iso-8859-2': [[0xb1], 'ą'], 'iso-8859-15': [[0xa4], '€'], 'koi8-r': [[0xc1], 'а'], 'windows-1251': [[0xe0], 'а'], macintosh: [[0xdb], '€'],
    ibm866: [[0xa0], 'а'], gbk: [[0x80], '€'], gb18030: [[0x81, 0x30, 0x81, 0x30], '\u0080'], big5: [[0xa3, 0xe1], '€'], 'euc-jp': [[0xa4, 0xa2], 'あ'],
    'iso-2022-jp': [[0x1b, 0x24, 0x42, 0x24, 0x22, 0x1b, 0x28, 0x42], 'あ'], shift_jis: [[0x82, 0xa0], 'あ'], 'euc-kr': [[0xb0, 0xa1], '가'],
  };
  for (const [label, [input, text]] of Object.entries(decoded)) assert.equal(new TextDecoder(label).decode(bytes(...input)), text, label);
});

test('what is malformed is replaced, or refused if fatal', () => {
  assert.equal(new TextDecoder().decode(bytes(0x61, 0xff, 0xe2, 0x82, 0x62)), 'a\ufffd\ufffdb');
  assert.equal(new TextDecoder().decode(bytes(0xf0, 0x9f, 0x98)), '\ufffd');
  const fatal = new TextDecoder('utf-8', { fatal: true });
  assert.equal(fatal.fatal, true);
  assert.throws(() => fatal.decode(bytes(0xff)), TypeError);
  assert.throws(() => fatal.decode(bytes(0xe2, 0x82)), TypeError);
  assert.equal(fatal.decode(bytes(0x61)), 'a');
  assert.throws(() => new TextDecoder('utf-16le', { fatal: true }).decode(bytes(0x00, 0xd8)), TypeError);
});

test('a byte order mark is dropped once, unless it is wanted', () => {
  const text = bytes(0xef, 0xbb, 0xbf, 0xef, 0xbb, 0xbf, 0x61);
  assert.equal(new TextDecoder().decode(text), '\ufeffa');
  assert.equal(new TextDecoder('utf-8', { ignoreBOM: true }).decode(text), '\ufeff\ufeffa');
  assert.equal(new TextDecoder('utf-16le').decode(bytes(0xff, 0xfe, 0x61, 0)), 'a');
  const decoder = new TextDecoder();
  assert.equal(decoder.decode(bytes(0xef), { stream: true }), '');
  assert.equal(decoder.decode(bytes(0xbb, 0xbf, 0x61), { stream: true }), 'a');
  assert.equal(decoder.decode(bytes(0xef, 0xbb, 0xbf)), '\ufeff');
  assert.equal(decoder.decode(bytes(0xef, 0xbb, 0xbf)), '');
});

test('characters that are cut apart come together, byte by byte, in every encoding', () => {
  const texts = {
    'utf-8': [0x61, 0xc3, 0xa4, 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80, 0x62],
    'utf-16le': [0x61, 0, 0x3d, 0xd8, 0x00, 0xde, 0x62, 0],
    'utf-16be': [0, 0x61, 0xd8, 0x3d, 0xde, 0x00, 0, 0x62],
    shift_jis: [0x61, 0x82, 0xa0, 0xb1, 0x62],
    'euc-jp': [0x61, 0xa4, 0xa2, 0x8f, 0xb0, 0xa1, 0x8e, 0xb1, 0x62],
    'euc-kr': [0x61, 0xb0, 0xa1, 0x62],
    big5: [0x61, 0xa3, 0xe1, 0x62],
    gbk: [0x61, 0xc4, 0xe3, 0x62],
    gb18030: [0x61, 0x81, 0x30, 0x81, 0x30, 0xc4, 0xe3, 0x62],
    'iso-2022-jp': [0x61, 0x1b, 0x24, 0x42, 0x24, 0x22, 0x24, 0x24, 0x1b, 0x28, 0x4a, 0x5c, 0x1b, 0x28, 0x42, 0x62],
  };
  for (const [label, input] of Object.entries(texts)) {
    const whole = new TextDecoder(label, { fatal: true }).decode(bytes(...input));
    for (const size of [1, 2, 3, 5]) {
      const decoder = new TextDecoder(label, { fatal: true });
      let text = '';
      for (let i = 0; i < input.length; i += size) text += decoder.decode(bytes(...input.slice(i, i + size)), { stream: true });
      assert.equal(text + decoder.decode(), whole, `${label} by ${size}`);
    }
  }
});

test('what is cut off at the end is an error when the end comes', () => {
  const decoder = new TextDecoder();
  assert.equal(decoder.decode(bytes(0xe2, 0x82), { stream: true }), '');
  assert.equal(decoder.decode(), '\ufffd');
  assert.equal(decoder.decode(bytes(0xac)), '\ufffd');
  const fatal = new TextDecoder('utf-8', { fatal: true });
  fatal.decode(bytes(0xe2, 0x82), { stream: true });
  assert.throws(() => fatal.decode(), TypeError);
  // A byte that cannot go on with what came before is told at once.
  assert.equal(new TextDecoder().decode(bytes(0xe0, 0x80), { stream: true }), '\ufffd\ufffd');
});

test('any buffer and any view of it is decoded', () => {
  const buffer = bytes(0x61, 0x62, 0x63, 0x64).buffer;
  const decoder = new TextDecoder();
  assert.equal(decoder.decode(buffer), 'abcd');
  assert.equal(decoder.decode(new DataView(buffer, 1, 2)), 'bc');
  assert.equal(decoder.decode(new Uint16Array(buffer, 2)), 'cd');
  assert.equal(decoder.decode(undefined), '');
  assert.equal(decoder.decode(), '');
  for (const wrong of [null, 'abc', 1, [97], {}]) assert.throws(() => decoder.decode(wrong), TypeError);
});

test('a later change of the input does not change what is kept of it', () => {
  const decoder = new TextDecoder();
  const input = bytes(0xe2, 0x82);
  decoder.decode(input, { stream: true });
  input.fill(0);
  assert.equal(decoder.decode(bytes(0xac)), '€');
});
