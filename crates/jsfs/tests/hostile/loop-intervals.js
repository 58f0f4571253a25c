// Tries: four thousand timers at once, again and again. Expects: 503 or 504 or 500.
export default {
  async fetch(request, env, ctx) {
    for (let i = 0; i < 4000; i++) setInterval(() => {}, 0);
    await new Promise(() => {});
    return new Response('done');
  },
};
