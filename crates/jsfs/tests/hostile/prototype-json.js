// Tries: to overwrite JSON. Expects: 200 or 500.
export default {
  async fetch(request, env, ctx) {
    JSON.stringify = () => '{"status":999}';
    JSON.parse = () => { throw new Error('taken'); };
    return new Response('done');
  },
};
