// Tries: timers of no time that set timers. Expects: 503 or 504.
export default {
  async fetch(request, env, ctx) {
    const again = () => setTimeout(again, 0);
    again();
    await new Promise(() => {});
    return new Response('done');
  },
};
