// Tries: functions bound without end. Expects: 200 or 500 or 503 or 507.
export default {
  async fetch(request, env, ctx) {
    let one = () => 1;
    for (let i = 0; i < 100_000; i++) one = one.bind(null);
    one();
    return new Response('done');
  },
};
