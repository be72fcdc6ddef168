// Node's ws against our WebSocket server: token in a header, events, a request and its answer, a close with a reason.
// node ws.mjs URL TOKEN
import WebSocket from "ws";

const [url, token] = process.argv.slice(2);
const say = (what, detail) => console.log(JSON.stringify({ what, detail }));
const timeout = setTimeout(() => { say("timeout"); process.exit(1); }, 8000);

const refused = new WebSocket(`${url}/ws`);
refused.on("unexpected-response", (request, response) => {
  let body = "";
  response.on("data", (chunk) => (body += chunk));
  response.on("end", () => { say("refused", { status: response.statusCode, body: JSON.parse(body) }); talk(); });
});
refused.on("error", () => {});

function talk() {
  const socket = new WebSocket(`${url}/ws?room=feed`, { headers: { authorization: `Bearer ${token}` } });
  socket.on("message", (text) => {
    const envelope = JSON.parse(text);
    say(envelope.type, envelope);
    if (envelope.type === "welcome" && envelope.room === "feed") {
      socket.send(JSON.stringify({ type: "call", id: "e1", service: "echo", data: { n: 1 } }));
    }
    if (envelope.type === "ack") socket.close(1000, "done");
  });
  socket.on("close", (code, reason) => { say("closed", { code, reason: String(reason) }); clearTimeout(timeout); });
}
