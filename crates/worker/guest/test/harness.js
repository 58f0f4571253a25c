// What test files use, in Node.js and in the engine alike: `test(name, fn, options)`, `assert`, and `ORIGIN`, the address of the test server.
// A classic script without imports; it answers the functions that the runner needs.
//
// `options.nodeDiffers` says why Node.js is known to fail it; it is then run in the engine only.

(function () {
  const tests = [];

  function test(name, fn, options = {}) {
    tests.push({ name, fn, options });
  }

  function show(value) {
    if (typeof value === 'string') return JSON.stringify(value);
    if (typeof value === 'function') return value.name || 'function';
    if (value instanceof Error) return `${value.name}: ${value.message}`;
    if (ArrayBuffer.isView(value)) return `${value.constructor.name}[${Array.from(value)}]`;
    try {
      return typeof value === 'object' && value !== null ? (JSON.stringify(value) ?? String(value)) : String(value);
    } catch {
      return Object.prototype.toString.call(value);
    }
  }

  function fail(message, note) {
    throw new Error(note === undefined ? message : `${note}: ${message}`);
  }

  function assert(condition, note) {
    if (!condition) fail('expected to be true', note);
  }

  assert.equal = (actual, expected, note) => {
    if (!Object.is(actual, expected)) fail(`got ${show(actual)}, expected ${show(expected)}`, note);
  };

  function same(a, b) {
    if (Object.is(a, b)) return true;
    if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
    if (ArrayBuffer.isView(a) || ArrayBuffer.isView(b)) {
      return ArrayBuffer.isView(a) && ArrayBuffer.isView(b) && a.length === b.length && Array.from(a).every((x, i) => x === b[i]);
    }
    if (Array.isArray(a) !== Array.isArray(b)) return false;
    const keys = Object.keys(a);
    return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]));
  }

  assert.deepEqual = (actual, expected, note) => {
    if (!same(actual, expected)) fail(`got ${show(actual)}, expected ${show(expected)}`, note);
  };

  function matches(error, expected) {
    if (expected === undefined) return true;
    if (typeof expected === 'string') return error instanceof DOMException && error.name === expected;
    if (typeof expected === 'function') return error?.constructor === expected;
    return Object.is(error, expected);
  }

  function check(error, expected, note) {
    if (!matches(error, expected)) fail(`threw ${show(error)}, expected ${show(expected)}`, note);
  }

  /** `expected`: a class, the name of a DOMException, or the very value. */
  assert.throws = (fn, expected, note) => {
    try {
      fn();
    } catch (error) {
      check(error, expected, note);
      return;
    }
    fail('did not throw', note);
  };

  assert.rejects = async (promise, expected, note) => {
    try {
      await promise;
    } catch (error) {
      check(error, expected, note);
      return;
    }
    fail('did not reject', note);
  };

  /** Runs them one after the other: answers a list of `{name, error}`. */
  async function runTests(skip) {
    const results = [];
    for (const { name, fn, options } of tests) {
      if (skip(options)) continue;
      let error = null;
      try {
        let timer;
        const late = new Promise((_, reject) => {
          timer = setTimeout(() => reject(new Error('took longer than 5 s')), 5000);
        });
        await Promise.race([Promise.resolve().then(fn), late]);
        clearTimeout(timer);
      } catch (thrown) {
        error = `${show(thrown)}${thrown?.stack ? `\n${thrown.stack}` : ''}`;
      }
      results.push({ name, error });
    }
    return results;
  }

  return { test, assert, runTests };
})();
