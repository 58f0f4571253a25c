// Tries: to overwrite call, apply and bind. Expects: 200 or 500.
export default {
  async fetch(request, env, ctx) {
    Function.prototype.call = Function.prototype.apply = Function.prototype.bind = () => { throw new Error('taken'); };
    return new Response('done');
  },
};
