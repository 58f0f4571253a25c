// Tries: a stream without end. Expects: cut.
export default {
  async fetch(request, env, ctx) {
    return new Response(new ReadableStream({ pull(controller) { controller.enqueue(new Uint8Array(1 << 16)); } }));
    return new Response('done');
  },
};
