// Tries: two modules that import each other without end. Expects: 200 or 422.
import self from './import-cycle.js';
export default { fetch() { return new Response('done'); } };
