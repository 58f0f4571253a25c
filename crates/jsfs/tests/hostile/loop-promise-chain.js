// Tries: a chain of promises without end. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    // None waits for the next: otherwise it depends on the machine whether time or memory ends it.
    const again = () => { Promise.resolve().then(again); };
    again();
    await new Promise(() => {});
    return new Response('done');
  },
};
