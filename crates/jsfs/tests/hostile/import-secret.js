// Tries: a private file as a module. Expects: 422.
import './secret.txt';
export default { fetch() {} };
