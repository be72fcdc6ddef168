// Yjs over Node's ws: joins a document, types a word, waits for another's, and prints the text.
// node collab_ws.mjs URL WORD OTHERS_WORD; updates are binary messages: size of the head, head, payload (docs/protocol.md).
import WebSocket from "ws";
import * as Y from "yjs";

const [url, word, others] = process.argv.slice(2);
const doc = new Y.Doc();
const text = doc.getText("content");
const socket = new WebSocket(`${url}/ws?room=feed`);
let count = 0;

const call = (data) => ({ type: "call", id: `n${++count}`, service: "collab", data: { room: "doc", ...data } });
const send = (request) => socket.send(JSON.stringify(request));

function sendUpdate(update) {
  const head = Buffer.from(JSON.stringify(call({ op: "update" })));
  const size = Buffer.alloc(4);
  size.writeUInt32BE(head.length);
  socket.send(Buffer.concat([size, head, Buffer.from(update)]));
}

function take(envelope, payload) {
  if (envelope.type === "error") throw new Error(JSON.stringify(envelope));
  if (envelope.type === "welcome" && envelope.room === "feed") send({ type: "join", id: "join", room: "doc" });
  if (envelope.type === "ack" && envelope.id === "join") {
    send(call({ op: "open", vector: Buffer.from(Y.encodeStateVector(doc)).toString("base64") }));
  }
  if (envelope.type === "ack" && envelope.data.updates) {
    for (const update of envelope.data.updates) Y.applyUpdate(doc, Buffer.from(update, "base64"), "server");
    doc.on("update", (update, origin) => { if (origin !== "server") sendUpdate(update); });
    text.insert(text.length, word);
  }
  if (envelope.type === "update") Y.applyUpdate(doc, payload, "server");
  if (text.toString().includes(word) && text.toString().includes(others)) {
    console.log(JSON.stringify(text.toString()));
    socket.close(1000, "done");
  }
}

socket.on("message", (message, isBinary) => {
  if (!isBinary) return take(JSON.parse(message), null);
  const end = 4 + message.readUInt32BE(0);
  take(JSON.parse(message.subarray(4, end)), message.subarray(end));
});
