// Tries: a module of the platform. Expects: 422.
import { readFileSync } from 'node:fs';
export default { fetch() {} };
