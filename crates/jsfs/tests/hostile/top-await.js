// Tries: to wait for ever while it is loaded. Expects: 422.
await new Promise(() => {});
export default { fetch() {} };
