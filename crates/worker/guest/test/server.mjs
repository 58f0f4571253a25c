// The server that tests fetch from: over real HTTP, for Node.js and for the engine.

import { createServer } from 'node:http';

export async function startServer() {
  const server = createServer(answer);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { origin: `http://127.0.0.1:${server.address().port}`, close: () => (server.closeAllConnections(), server.close()) };
}

async function answer(request, response) {
  const url = new URL(request.url, 'http://localhost');
  const [, room, argument] = url.pathname.split('/');
  switch (room) {
    case 'echo': {
      const pieces = [];
      try {
        for await (const piece of request) pieces.push(piece);
      } catch {
        return;
      }
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ method: request.method, url: request.url, headers: request.headers, body: Buffer.concat(pieces).toString() }));
      return;
    }
    case 'text':
      response.setHeader('content-type', 'text/plain;charset=utf-8');
      response.end(url.searchParams.get('body') ?? 'text');
      return;
    case 'status':
      response.statusCode = Number(argument);
      response.end(url.searchParams.get('body') ?? undefined);
      return;
    case 'redirect':
      response.statusCode = Number(argument);
      response.setHeader('location', url.searchParams.get('to') ?? '/text');
      response.end();
      return;
    case 'headers':
      response.setHeader('set-cookie', ['a=1', 'b=2']);
      response.setHeader('x-two', ['1', '2']);
      response.end('ok');
      return;
    case 'slow':
      setTimeout(() => response.end('slow'), Number(argument));
      return;
    case 'stream': {
      // Pieces with time between them, endless if the number is 0.
      let left = Number(argument) || Infinity;
      const timer = setInterval(() => {
        if (left-- <= 0) {
          clearInterval(timer);
          response.end();
        } else {
          response.write('piece,');
        }
      }, 5);
      response.on('close', () => clearInterval(timer));
      return;
    }
    case 'break':
      response.setHeader('content-length', '100');
      response.write('only this');
      setTimeout(() => response.destroy(), 10);
      return;
    default:
      response.statusCode = 404;
      response.end();
  }
}
