using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "hello", worker = .hello), (name = "json", worker = .json)],
  sockets = [
    (name = "hello", address = "127.0.0.1:7491", http = (), service = "hello"),
    (name = "json", address = "127.0.0.1:7492", http = (), service = "json"),
  ]
);
const hello :Workerd.Worker = (modules = [(name = "hello.js", esModule = embed "hello.js")], compatibilityDate = "2026-01-01");
const json :Workerd.Worker = (modules = [(name = "json.js", esModule = embed "json.js")], compatibilityDate = "2026-01-01");
