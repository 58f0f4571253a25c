// A program for any host of wasi:http, written as componentize-js documents it: StarlingMonkey hands requests over as fetch events.

addEventListener('fetch', (event) => event.respondWith(answer(event.request)));

async function answer(request) {
  const { pathname, searchParams } = new URL(request.url);
  if (request.method === 'POST') {
    const { name } = await request.json();
    return Response.json({ greeting: `Hello, ${name}` }, { status: 201 });
  }
  const of = searchParams.get('fetch');
  if (of !== null) return fetch(new URL(of, request.url));
  return new Response(`${pathname} in StarlingMonkey\n`, { headers: { 'x-made-by': 'componentize-js' } });
}
