// Tries: to recurse without end while it is loaded. Expects: 422.
const down = () => down() + 1;
down();
export default { fetch() {} };
