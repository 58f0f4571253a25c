// Tries: to load a module while it runs. Expects: 200.
export default { async fetch() { try { await import('./secret.txt'); } catch { return new Response('refused'); } return new Response('loaded', { status: 500 }); } };
