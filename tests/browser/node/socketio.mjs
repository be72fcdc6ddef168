// Node's socket.io-client against our Socket.IO server: connect with auth, join, publish with ack, disconnect reasons.
// node socketio.mjs URL TOKEN; one JSON object a line says what happened.
import { io } from "socket.io-client";

const [url, token] = process.argv.slice(2);
const say = (what, detail) => console.log(JSON.stringify({ what, detail }));
const timeout = setTimeout(() => { say("timeout"); process.exit(1); }, 8000);

const refused = io(url, { auth: { token: "forged" }, reconnection: false, forceNew: true });
refused.on("connect", () => say("connected with a forged token"));
refused.on("connect_error", (error) => {
  say("refused", error.data);
  refused.close();
  talk();
});

function talk() {
  const socket = io(url, { auth: { token, room: "feed" }, forceNew: true });
  socket.on("connect", () => say("connected", socket.io.engine.transport.name));
  socket.io.engine.on("upgrade", (transport) => say("upgraded", transport.name));
  const event = new Promise((resolve) => socket.on("event", (envelope) => { say("event", envelope); resolve(); }));
  socket.on("joined", (envelope) => say("joined", envelope.data.user));
  socket.on("welcome", async (envelope) => {
    say("welcome", envelope);
    if (envelope.room !== "feed") return;
    say("ack", await socket.emitWithAck("request", { type: "join", id: "1", room: "tea" }));
    say("ack", await socket.emitWithAck("request", { type: "publish", id: "2", room: "tea", data: { text: "hi" } }));
    say("ack", await socket.emitWithAck("request", { type: "publish", id: "3", room: "nowhere", data: 1 }));
    say("ack", await socket.emitWithAck("request", "nonsense"));
    say("message", await message);
    await event;
    say("ready");
  });
  const message = new Promise((resolve) => socket.on("message", resolve));
  socket.on("disconnect", (reason) => {
    say("disconnected", reason);
    clearTimeout(timeout);
    socket.close();
  });
}
