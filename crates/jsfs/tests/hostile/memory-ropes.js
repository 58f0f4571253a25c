// Tries: strings made of strings without end. Expects: 503 or 507 or 500.
export default {
  async fetch(request, env, ctx) {
    let rope = 'x';
    while (true) rope = rope + rope.slice(1) + 'y';
    return new Response('done');
  },
};
