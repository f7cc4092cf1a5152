// Runs the npm client graphql-ws, and its own message checks, against a server; prints the results as JSON.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [url, modules] = process.argv.slice(2);
const require = createRequire(pathToFileURL(`${modules}/package.json`));
const { createClient, CloseCode, GRAPHQL_TRANSPORT_WS_PROTOCOL, MessageType, validateMessage } =
  require("graphql-ws");
const WebSocket = require("ws");

const results = [];

async function check(name, run) {
  let reason = null;
  try {
    await Promise.race([
      run(),
      new Promise((_, reject) => setTimeout(() => reject(new Error("no answer within 5 s")), 5000)),
    ]);
  } catch (error) {
    reason = String(error?.stack ?? JSON.stringify(error));
  }
  results.push({ name, status: reason === null ? "ok" : "error", reason });
}

function same(found, expected) {
  const [left, right] = [JSON.stringify(found), JSON.stringify(expected)];
  if (left !== right) throw new Error(`found ${left}, expected ${right}`);
}

function client(options = {}) {
  return createClient({ url, webSocketImpl: WebSocket, retryAttempts: 0, onNonLazyError: () => {}, ...options });
}

function collect(from, payload) {
  return new Promise((resolve, reject) => {
    const found = [];
    from.subscribe(payload, {
      next: (value) => found.push(value),
      error: reject,
      complete: () => resolve(found),
    });
  });
}

// A bare socket that checks every message of the server with the package's own validator.
function raw(protocol = GRAPHQL_TRANSPORT_WS_PROTOCOL) {
  const socket = protocol ? new WebSocket(url, protocol) : new WebSocket(url);
  const waiting = [];
  const arrived = [];
  const closed = new Promise((resolve) => socket.on("close", (code, reason) => resolve([code, String(reason)])));
  socket.on("message", (data) => {
    const message = validateMessage(JSON.parse(String(data)));
    waiting.length ? waiting.shift()(message) : arrived.push(message);
  });
  return {
    socket,
    closed,
    opened: new Promise((resolve) => socket.on("open", resolve)),
    send: (message) => socket.send(typeof message === "string" ? message : JSON.stringify(message)),
    next: () => (arrived.length ? Promise.resolve(arrived.shift()) : new Promise((r) => waiting.push(r))),
  };
}

async function initialised() {
  const connection = raw();
  await connection.opened;
  connection.send({ type: MessageType.ConnectionInit });
  same((await connection.next()).type, MessageType.ConnectionAck);
  return connection;
}

async function closesWith(code, play, init = true) {
  const connection = init ? await initialised() : raw();
  await connection.opened;
  await play(connection);
  same((await connection.closed)[0], code);
}

const forever = { type: MessageType.Subscribe, id: "x", payload: { query: "subscription { forever }" } };

await check("client: subscription from first event to completion", async () => {
  const values = await collect(client(), { query: "subscription { count(to: 3) }" });
  same(values, [0, 1, 2].map((count) => ({ data: { count } })));
});
await check("client: query with variables", async () => {
  const query = "query ($name: String!) { hello(name: $name) }";
  same(await collect(client(), { query, variables: { name: "泉州" } }), [{ data: { hello: "你好，泉州" } }]);
});
await check("client: mutation", async () => {
  const values = await collect(client(), { query: 'mutation { write(text: "from npm") }' });
  same(values, [{ data: { write: "from npm" } }]);
});
await check("client: several operations on one socket", async () => {
  const one = client({ lazy: false });
  const found = await Promise.all([
    collect(one, { query: "subscription { count(to: 2) }" }),
    collect(one, { query: "{ hello }" }),
    collect(one, { query: "subscription { count(to: 1) }" }),
  ]);
  same(found.map((values) => values.length), [2, 1, 1]);
  await one.dispose();
});
await check("client: async iterator, left early", async () => {
  const one = client();
  for await (const value of one.iterate({ query: "subscription { forever }" })) {
    same(value, { data: { forever: 1 } });
    break;
  }
  same(await collect(one, { query: "{ hello }" }), [{ data: { hello: "你好，世界" } }]);
});
await check("client: field errors come beside data", async () => {
  const [value] = await collect(client(), { query: "{ refused }" });
  same([value.data, value.errors[0].extensions.code], [{ refused: null }, "INVALID_ID"]);
});
await check("client: refused documents are errors", async () => {
  try {
    await collect(client(), { query: "{ nope }" });
  } catch (errors) {
    same(errors[0].extensions.code, "GRAPHQL_VALIDATION_FAILED");
    return;
  }
  throw new Error("was not refused");
});
await check("client: resolver that fails between events", async () => {
  try {
    await collect(client(), { query: "subscription { refused }" });
  } catch (errors) {
    same(errors[0].extensions.code, "INVALID_ID");
    return;
  }
  throw new Error("was not refused");
});
await check("client: signs in with connectionParams", async () => {
  const one = client({ connectionParams: async () => ({ authorization: "Bearer lin" }) });
  same(await collect(one, { query: "{ whoami }" }), [{ data: { whoami: "lin" } }]);
});
await check("client: 4403 for a refused token", async () => {
  try {
    await collect(client({ connectionParams: { authorization: "Basic x" } }), { query: "{ hello }" });
  } catch (event) {
    same(event.code, CloseCode.Forbidden);
    return;
  }
  throw new Error("was let in");
});
await check("client: pings of the client are answered", async () => {
  let ponged;
  const pong = new Promise((resolve) => (ponged = resolve));
  const one = client({ lazy: false, keepAlive: 50, on: { pong: (received) => received && ponged() } });
  await pong;
  await one.dispose();
});
await check("ping: answered before connection_init, with its payload", async () => {
  const connection = raw();
  await connection.opened;
  connection.send({ type: MessageType.Ping, payload: { a: 1 } });
  same(await connection.next(), { type: MessageType.Pong, payload: { a: 1 } });
  connection.socket.close();
});
await check("pong without a ping is ignored", async () => {
  const connection = await initialised();
  connection.send({ type: MessageType.Pong });
  connection.send({ type: MessageType.Ping });
  same((await connection.next()).type, MessageType.Pong);
  connection.socket.close();
});
await check("complete frees the id", async () => {
  const connection = await initialised();
  for (let turn = 0; turn < 3; turn++) {
    connection.send(forever);
    same((await connection.next()).type, MessageType.Next);
    connection.send({ type: MessageType.Complete, id: "x" });
  }
  connection.socket.close();
});
await check("an id is free once complete was received", async () => {
  const connection = await initialised();
  for (let turn = 0; turn < 3; turn++) {
    connection.send({ type: MessageType.Subscribe, id: "q", payload: { query: "{ hello }" } });
    same((await connection.next()).type, MessageType.Next);
    same(await connection.next(), { id: "q", type: MessageType.Complete });
  }
  connection.socket.close();
});
for (const [name, message] of [
  ["text that is not JSON", "{"],
  ["no object", "[]"],
  ["no type", "{}"],
  ["an unknown type", { type: "start", id: "1" }],
  ["a message of the server", { type: MessageType.ConnectionAck }],
  ["subscribe without id", { type: MessageType.Subscribe, payload: { query: "{ hello }" } }],
  ["subscribe without query", { type: MessageType.Subscribe, id: "1", payload: {} }],
]) {
  await check(`4400: ${name}`, () => closesWith(CloseCode.BadRequest, (c) => c.send(message)));
}
await check("4400: connection_init with a payload that is no object", () =>
  closesWith(CloseCode.BadRequest, (c) => c.send({ type: "connection_init", payload: "x" }), false));
await check("4401: subscribe before connection_ack", () =>
  closesWith(CloseCode.Unauthorized, (c) => c.send(forever), false));
await check("4406: another subprotocol", async () => {
  const connection = raw(null);
  same((await connection.closed)[0], CloseCode.SubprotocolNotAcceptable);
});
await check("4408: no connection_init", () =>
  closesWith(CloseCode.ConnectionInitialisationTimeout, () => {}, false));
await check("4409: an id in use", () =>
  closesWith(CloseCode.SubscriberAlreadyExists, (c) => (c.send(forever), c.send(forever))));
await check("4429: a second connection_init", () =>
  closesWith(CloseCode.TooManyInitialisationRequests, (c) => c.send({ type: "connection_init" })));

console.log(JSON.stringify(results));
process.exit(0);
