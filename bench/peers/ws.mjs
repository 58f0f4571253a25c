// The floor for sockets: a server that keeps nothing, decides nothing and hands every message of one client to all that listen.
//   node ws.mjs        prints the URL that it listens at
// A client says {"watch":true} to listen; {"ping":n} is answered to its sender; any other text goes to all listeners.
import { WebSocketServer } from "ws";

const listeners = new Set();
const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false }, () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});

server.on("connection", (socket) => {
  socket.on("message", (data, isBinary) => {
    if (isBinary) return;
    const text = data.toString();
    if (text.startsWith('{"watch"')) {
      listeners.add(socket);
      socket.send('{"watch":"w1"}');
    } else if (text.startsWith('{"ping"')) {
      socket.send(text);
    } else {
      for (const listener of listeners) listener.send(text);
    }
  });
  socket.on("close", () => listeners.delete(socket));
});
