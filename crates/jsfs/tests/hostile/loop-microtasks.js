// Tries: microtasks that queue microtasks. Expects: 503.
export default {
  async fetch(request, env, ctx) {
    const again = () => queueMicrotask(again);
    again();
    await new Promise(() => {});
    return new Response('done');
  },
};
