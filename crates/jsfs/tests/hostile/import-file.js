// Tries: a file of the machine as a module. Expects: 422.
import 'file:///etc/passwd';
export default { fetch() {} };
