// File API, section 4: File.

test('a file is a blob with a name and a date', async () => {
  const file = new File(['abc'], 'a/b.txt', { type: 'text/plain', lastModified: 12.7 });
  assert(file instanceof Blob);
  assert.equal(file.name, 'a/b.txt');
  assert.equal(file.lastModified, 12);
  assert.equal(file.type, 'text/plain');
  assert.equal(await file.text(), 'abc');
  assert.equal(Object.prototype.toString.call(file), '[object File]');
  assert.equal(file.slice(1) instanceof File, false);
}, { nodeDiffers: 'keeps fractions of the date' });

test('without a date it is of now', () => {
  const before = Date.now();
  const { lastModified } = new File([], 'x');
  assert(lastModified >= before - 1000 && lastModified <= Date.now() + 1000);
  assert.equal(Number.isInteger(lastModified), true);
});

test('names are text and dates numbers', () => {
  assert.equal(new File([], '\ud800').name, '\ufffd');
  assert.equal(new File([], null).name, 'null');
  assert.equal(new File([], 'x', { lastModified: new Date(5) }).lastModified, 5);
  assert.equal(new File([], 'x', { lastModified: null }).lastModified, 0);
  assert.equal(new File([], 'x', { lastModified: -3 }).lastModified, -3);
  assert.throws(() => new File([]), TypeError);
  assert.throws(() => new File('x', 'y'), TypeError);
  assert.throws(() => new File(), TypeError);
});
