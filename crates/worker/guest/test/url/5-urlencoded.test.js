// URL Standard, section 5: application/x-www-form-urlencoded.

const parsed = (text) => [...new URLSearchParams(text)];

test('pairs are separated by ampersands and split at the first equals sign', () => {
  assert.deepEqual(parsed('a=b&c&=d&e=f=g&&h='), [['a', 'b'], ['c', ''], ['', 'd'], ['e', 'f=g'], ['h', '']]);
  assert.deepEqual(parsed(''), []);
});

test('plus signs are spaces and percent signs begin bytes', () => {
  assert.deepEqual(parsed('a+b=c%20d%2Be'), [['a b', 'c d+e']]);
  assert.deepEqual(parsed('%C3%A4=%e2%82%ac'), [['ä', '€']]);
});

test('a percent sign that begins no byte stands for itself', () => {
  assert.deepEqual(parsed('a=%&b=%1&c=%zz&d=%C3%A4%'), [['a', '%'], ['b', '%1'], ['c', '%zz'], ['d', 'ä%']]);
});

test('bytes that are no UTF-8 become replacement characters', () => {
  assert.deepEqual(parsed('a=%FF%C3%A4&b=%C3'), [['a', '\ufffdä'], ['b', '\ufffd']]);
  assert.deepEqual(parsed('a=%EF%BB%BFb'), [['a', '\ufeffb']]);
  assert.deepEqual(parsed('\u{1f600}=%FF'), [['\u{1f600}', '\ufffd']]);
});

test('everything but letters, digits and four signs is escaped', () => {
  const text = new URLSearchParams([['a b', "*-._ !\"#$%&'()+,/:;<=>?@[\\]^`{|}~"], ['ä', '\u{1f600}\0']]).toString();
  assert.equal(text, 'a+b=*-._+%21%22%23%24%25%26%27%28%29%2B%2C%2F%3A%3B%3C%3D%3E%3F%40%5B%5C%5D%5E%60%7B%7C%7D%7E&%C3%A4=%F0%9F%98%80%00');
});
