// Stock socket.io-client, speaking the article's vocabulary: rooms, chat, typing and the document, by two users.
// node article.mjs URL TOKEN_OF_ANN TOKEN_OF_BOB; one JSON object a line says what was heard or answered.
import { io } from "socket.io-client";

const [url, ...tokens] = process.argv.slice(2);
const say = (what, detail) => console.log(JSON.stringify({ what, detail }));
const timeout = setTimeout(() => { say("timeout"); process.exit(1); }, 8000);
const extraHeaders = { origin: "http://app.example" };
const [ann, bob] = tokens.map((token) => io(url, { auth: { token }, reconnectionAttempts: 5, forceNew: true, extraHeaders }));
const next = (socket, name) => new Promise((resolve) => socket.once(name, resolve));
const hears = async (socket, name, cause) => {
  const heard = next(socket, name);
  cause();
  say(name, await heard);
};

await Promise.all([ann, bob].map((socket) => next(socket, "connect")));
for (const name of ["room:user-joined", "typing:user", "typing:stopped"]) {
  ann.on(name, (heard) => { if (heard.userId === "ann") say("ann hears of herself", heard); });
}
say("answer", await ann.emitWithAck("room:join", "tea"));
await hears(ann, "room:user-joined", () => bob.emit("room:join", { roomId: "tea" }));
await hears(bob, "typing:user", () => ann.emit("typing:start", "tea"));
await hears(bob, "typing:stopped", () => ann.emit("typing:stop", "tea"));
let sent;
await hears(bob, "chat:message", () => { sent = ann.emitWithAck("chat:send", { roomId: "tea", content: "hello" }); });
say("answer", await sent);
say("answer", await ann.emitWithAck("chat:send", { roomId: "tea" }));
say("answer", await ann.emitWithAck("chat:send", { roomId: "nowhere", content: "hello" }));
await hears(ann, "doc:sync", () => ann.emit("doc:join"));
await hears(bob, "doc:sync", () => bob.emit("doc:join"));
await hears(ann, "doc:operation", () => bob.emit("doc:operation", { type: "insert", position: 0, text: "brave" }));
await hears(bob, "doc:operation", () => ann.emit("doc:operation", { type: "delete", position: 0, length: 2 }));
await hears(bob, "doc:cursor", () => ann.emit("doc:cursor", { position: 3 }));
await hears(bob, "doc:sync", () => bob.emit("doc:join"));
await hears(ann, "error", () => ann.emit("doc:operation", { type: "replace", position: 0 }));
await hears(ann, "room:user-left", () => bob.emit("room:leave", "tea"));
ann.close();
bob.close();
clearTimeout(timeout);
