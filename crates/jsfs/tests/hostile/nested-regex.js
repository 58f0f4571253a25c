// Tries: a regular expression nested too deep. Expects: 200 or 500 or 422.
export default { fetch() { new RegExp('('.repeat(100_000) + ')'.repeat(100_000)); return new Response('done'); } };
