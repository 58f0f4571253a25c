// Tries: a request while it is loaded. Expects: 422.
await fetch('http://localhost/secret.txt');
export default { fetch() {} };
