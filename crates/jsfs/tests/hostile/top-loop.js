// Tries: an endless loop while it is loaded. Expects: 422.
while (true);
export default { fetch() {} };
