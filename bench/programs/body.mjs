// 10 KB of JSON on standard output.
const entries = Array.from({ length: 100 }, (_, id) => ({ id, name: `entry number ${id}`, tags: ["delta", "alpha", "charlie", "bravo", String(id * 7919)] }));
process.stdout.write(JSON.stringify({ entries }));
