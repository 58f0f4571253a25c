// Tries: the frames of the platform by the hook for stack traces. Expects: 200.
export default {
  async fetch(request, env, ctx) {
    Error.prepareStackTrace = (error, frames) => frames;
    const { stack } = new Error('x');
    if (Array.isArray(stack)) for (const frame of stack) if (frame.getFunction?.() || frame.getThis?.()) return new Response('found', { status: 500 });
    return new Response('done');
  },
};
