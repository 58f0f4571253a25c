// Tries: a default export whose getter loops. Expects: 422.
export default { get fetch() { while (true); } };
