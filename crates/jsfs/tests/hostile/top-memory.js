// Tries: to take all memory while it is loaded. Expects: 422.
const all = [];
while (true) all.push(new Uint8Array(1 << 20).fill(1));
export default { fetch() {} };
