// Tries: a module of another host, by its address on this machine. Expects: 422.
import 'http://127.0.0.1:22/x.js';
export default { fetch() {} };
