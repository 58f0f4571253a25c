// Tries: a string that doubles. Expects: 507 or 500.
export default {
  async fetch(request, env, ctx) {
    let text = 'x';
    while (true) text += text;
    return new Response('done');
  },
};
