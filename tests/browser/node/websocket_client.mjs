// docs/clients/websocket_client.mjs on Node's ws: prints each event, and an answer to each tenth request of its own.
// node websocket_client.mjs URL
import WebSocket from "ws";
import { RealtimeClient } from "../../../docs/clients/websocket_client.mjs";

const client = new RealtimeClient(process.argv[2], { Socket: WebSocket, beatMs: 1000, maxWaitMs: 2000 });
let seen = 0;
client.on("event", (envelope) => {
  console.log(JSON.stringify({ id: envelope.id }));
  if (++seen % 10 === 0) client.request({ type: "publish", room: "tea", data: seen });
});
client.on("message", ({ data }) => console.log(JSON.stringify({ said: data.data })));
client.on("end", ({ data }) => console.log(JSON.stringify({ end: data })));
client.connect();
client.join("tea").then((answer) => console.log(JSON.stringify({ joined: answer, client: client.clientId })));
