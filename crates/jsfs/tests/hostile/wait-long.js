// Tries: to wait longer than a run may. Expects: 504.
export default {
  async fetch(request, env, ctx) {
    await new Promise((resolve) => setTimeout(resolve, 3_600_000));
    return new Response('done');
  },
};
