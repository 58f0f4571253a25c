// Tries: to begin and cancel requests without end. Expects: 200 or 500 or 503.
export default {
  async fetch(request, env, ctx) {
    for (let i = 0; i < 5000; i++) {
      const control = new AbortController();
      fetch('/good.txt', { signal: control.signal }).catch(() => {});
      control.abort();
    }
    return new Response('done');
  },
};
