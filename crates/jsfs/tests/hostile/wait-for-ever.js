// Tries: to wait for what never comes. Expects: 500.
export default {
  async fetch(request, env, ctx) {
    await new Promise(() => {});
    return new Response('done');
  },
};
