// XMLHttpRequest Standard, section 5: FormData. HTML 4.10.21.8 and RFC 7578: multipart/form-data. Fetch Standard: a form as a body.

test('entries are appended, read, set and deleted', () => {
  const form = new FormData();
  form.append('a', 1);
  form.append('a', 'ä\ud800');
  form.append('b', null);
  assert.equal(form.get('a'), '1');
  assert.deepEqual(form.getAll('a'), ['1', 'ä\ufffd']);
  assert.equal(form.get('x'), null);
  assert.deepEqual(form.getAll('x'), []);
  form.set('a', '3');
  form.set('c', '4');
  assert.deepEqual([...form], [['a', '3'], ['b', 'null'], ['c', '4']]);
  form.delete('b');
  assert.equal(form.has('b'), false);
  assert.deepEqual([...form.keys()], ['a', 'c']);
});

test('blobs become files, and files stay', () => {
  const form = new FormData();
  const file = new File(['x'], 'x.txt', { type: 'text/plain', lastModified: 7 });
  form.append('blob', new Blob(['y'], { type: 'a/b' }));
  form.append('named', new Blob(['y']), 'y.bin');
  form.append('file', file);
  form.append('renamed', file, 'z.txt');
  assert.equal(form.get('blob').name, 'blob');
  assert.equal(form.get('blob').type, 'a/b');
  assert.equal(form.get('named').name, 'y.bin');
  assert.equal(form.get('file'), file);
  assert.equal(form.get('renamed').name, 'z.txt');
  assert.equal(form.get('renamed').size, 1);
});

test('what is no form and no blob is refused', () => {
  assert.throws(() => new FormData(null), TypeError);
  assert.throws(() => new FormData({}), TypeError);
  assert.throws(() => new FormData().append('a'), TypeError);
  assert.throws(() => new FormData().append('a', 'text', 'name'), TypeError);
  assert.throws(() => new FormData().set('a', {}, 'name'), TypeError);
});

async function again(form) {
  const response = new Response(form);
  return { text: await response.clone().text(), type: response.headers.get('content-type'), form: await response.formData() };
}

test('a form goes through multipart/form-data unchanged', async () => {
  const form = new FormData();
  form.append('plain', 'text');
  form.append('na"me\r\n', 'a\nb\rc\r\nd');
  form.append('ä', '€');
  form.append('file', new File([new Uint8Array([0, 13, 10, 45, 45, 255])], 'q"\r\n%22.bin', { type: 'a/b' }));
  form.append('empty', new File([], ''));
  const { text, type, form: got } = await again(form);
  const boundary = /^multipart\/form-data; ?boundary=(.*)$/.exec(type)[1];
  assert(text.startsWith(`--${boundary}\r\nContent-Disposition: form-data; name="plain"\r\n\r\ntext\r\n--${boundary}\r\n`));
  assert(text.endsWith(`\r\n--${boundary}--\r\n`));
  assert(text.includes('name="na%22me%0D%0A"\r\n\r\na\r\nb\r\nc\r\nd\r\n'));
  assert(text.includes('name="file"; filename="q%22%0D%0A%22.bin"\r\nContent-Type: a/b\r\n\r\n'));
  assert(text.includes('name="empty"; filename=""\r\nContent-Type: application/octet-stream\r\n\r\n\r\n'));
  assert.deepEqual([...got.keys()], ['plain', 'na"me\r\n', 'ä', 'file', 'empty']);
  assert.equal(got.get('na"me\r\n'), 'a\r\nb\r\nc\r\nd');
  assert.equal(got.get('file').name, 'q"\r\n".bin');
  assert.deepEqual(new Uint8Array(await got.get('file').arrayBuffer()), new Uint8Array([0, 13, 10, 45, 45, 255]));
  assert.equal(got.get('empty').size, 0);
}, { nodeDiffers: 'ends without a line end, and does not read what it wrote' });

test('an empty form is a form', async () => {
  const { form } = await again(new FormData());
  assert.deepEqual([...form], []);
}, { nodeDiffers: 'does not read it' });

const read = (body, type) => new Response(body, { headers: { 'content-type': type } }).formData();

test('forms of others are read', async () => {
  const body = '--b\r\ncontent-disposition: FORM-data; name=a\r\nX-Other: y\r\n\r\none\r\n--b  \r\nContent-Type: text/x\r\n' +
    'Content-Disposition: form-data; name="f"; filename="n;a.txt"\r\n\r\n--c\r\n\r\n--b--\r\nepilogue';
  const form = await read(body, 'Multipart/Form-Data; charset=utf-8; boundary="b"');
  assert.equal(form.get('a'), 'one');
  assert.equal(form.get('f').name, 'n;a.txt');
  assert.equal(form.get('f').type, 'text/x');
  assert.equal(await form.get('f').text(), '--c\r\n');
}, { nodeDiffers: 'wants names in quotation marks' });

test('a file without a type is text', async () => {
  const form = await read('--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\nx\r\n--b--', 'multipart/form-data; boundary=b');
  assert.equal(form.get('f').type, 'text/plain');
});

test('what is no form is a TypeError', async () => {
  const part = '--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n';
  for (const [body, type] of [
    [part, 'multipart/form-data; boundary=b'], [`${part}--b`, 'multipart/form-data; boundary=b'], [`${part}--b--`, 'multipart/form-data'],
    [`${part}--b--`, 'multipart/form-data; boundary=other'], ['', 'multipart/form-data; boundary=b'], ['x', 'multipart/form-data; boundary=b'],
    ['--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--', 'multipart/form-data; boundary=b'],
    ['--b\r\n\r\nx\r\n--b--', 'multipart/form-data; boundary=b'], ['a=b', 'text/plain'], ['a=b', 'multipart/mixed; boundary=b'],
  ]) {
    await assert.rejects(read(body, type), TypeError, JSON.stringify([body, type]));
  }
}, { nodeDiffers: 'reads an empty body' });

test('an urlencoded body is a form too', async () => {
  const form = await read('a=1&b=%C3%A4+x&a=2', 'application/x-www-form-urlencoded;charset=UTF-8');
  assert.deepEqual([...form], [['a', '1'], ['b', 'ä x'], ['a', '2']]);
});
