// Tries: to fail with an enormous message while it is loaded. Expects: 422.
throw new Error('x'.repeat(4 << 20));
export default {};
