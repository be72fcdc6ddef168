// Yjs over socket.io-client: joins a document, types a word, waits for another's, and prints the text.
// node collab_socketio.mjs URL WORD OTHERS_WORD; updates are binary attachments.
import { io } from "socket.io-client";
import * as Y from "yjs";

const [url, word, others] = process.argv.slice(2);
const doc = new Y.Doc();
const text = doc.getText("content");
const socket = io(url, { auth: { room: "feed" }, forceNew: true });
let count = 0;

async function ask(request) {
  const envelope = await socket.emitWithAck("request", { id: `n${++count}`, ...request });
  if (envelope.type === "error") throw new Error(JSON.stringify(envelope));
  return envelope.data;
}
const call = (data, more) => ask({ type: "call", service: "collab", data: { room: "doc", ...data }, ...more });

socket.on("update", (envelope) => {
  Y.applyUpdate(doc, new Uint8Array(envelope.payload), "server");
  done();
});

function done() {
  if (!text.toString().includes(word) || !text.toString().includes(others)) return;
  console.log(JSON.stringify(text.toString()));
  socket.close();
}

socket.on("connect", async () => {
  await ask({ type: "join", room: "doc" });
  const opened = await call({ op: "open", vector: Buffer.from(Y.encodeStateVector(doc)).toString("base64") });
  for (const update of opened.updates) Y.applyUpdate(doc, Buffer.from(update, "base64"), "server");
  doc.on("update", (update, origin) => {
    if (origin !== "server") call({ op: "update" }, { payload: Buffer.from(update) }).then(done);
  });
  text.insert(text.length, word);
});
