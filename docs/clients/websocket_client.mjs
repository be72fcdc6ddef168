// The article's native WebSocket client, put right: docs/scenarios.md says what was wrong. For browsers, and Node with `ws`.
//   const client = new RealtimeClient("ws://127.0.0.1:8000");
//   client.on("message", (envelope) => console.log(envelope.data));
//   client.connect();
//   await client.join("tea");
//   await client.request({ type: "publish", room: "tea", data: { text: "hi" } });
const MAX_WAITING = 100; // requests
const MAX_TRIES = 10; // connections in a row, some two minutes

export class RealtimeClient {
  clientId = "";
  #url;
  #options;
  #socket;
  #handlers = new Map(); // type -> functions; they belong to the client, and outlive each socket
  #cursors = new Map([["feed", ""]]); // room -> the cursor after the newest message of it
  #waiting = new Map(); // id -> a request without an answer yet
  #instance = crypto.randomUUID(); // a repeated request is told apart from another program's
  #requests = 0;
  #failures = 0;
  #closed = false;
  #beat;

  // Socket: the class to connect with. query: more parameters, as a function, since a token in a URL lives for a minute.
  constructor(url, { Socket = globalThis.WebSocket, query = () => "", beatMs = 25000, maxWaitMs = 30000 } = {}) {
    this.#url = url;
    this.#options = { Socket, query, beatMs, maxWaitMs };
  }

  on(type, handler) {
    this.#handlers.set(type, [...(this.#handlers.get(type) ?? []), handler]);
  }

  connect() {
    const { Socket, query } = this.#options;
    const since = encodeURIComponent(this.#cursors.get("feed"));
    const socket = new Socket(`${this.#url}/ws?room=feed&since=${since}${query()}`);
    socket.onmessage = ({ data }) => { if (typeof data === "string") this.#take(JSON.parse(data)); };
    socket.onerror = () => {}; // a close follows
    socket.onclose = () => this.#retry();
    this.#socket = socket;
  }

  close() {
    this.#closed = true;
    this.#socket?.close(1000);
    this.#giveUp("closed");
  }

  // Resolves with the answer's data. Sent again after a cut, with the same id, until it is answered.
  request(fields) {
    if (this.#closed || this.#waiting.size >= MAX_WAITING) return Promise.reject(new Error("closed, or too many requests"));
    const id = String(++this.#requests);
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { text: JSON.stringify({ ...fields, id, instance: this.#instance }), resolve, reject });
      this.#send(id);
    });
  }

  // From now on the room is joined again after each cut, from where this client was.
  async join(room) {
    if (!this.#cursors.has(room)) this.#cursors.set(room, "");
    try {
      return await this.request({ type: "join", room });
    } catch (error) {
      this.#cursors.delete(room);
      throw error;
    }
  }

  #take(envelope) {
    const { type, id, room, data } = envelope;
    if (type === "ack" || type === "error") return this.#answered(id, type, data);
    if (type === "welcome" && data.client) this.#welcomed(data.client);
    if (this.#cursors.has(room)) this.#cursors.set(room, id);
    for (const handler of this.#handlers.get(type) ?? []) handler(envelope);
  }

  #answered(id, type, data) {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (type === "ack") waiting?.resolve(data);
    else waiting?.reject(new Error(data.message));
  }

  // Only now is the connection good: an open socket may be closed at once.
  #welcomed(client) {
    this.clientId = client;
    this.#failures = 0;
    const unanswered = [...this.#waiting.keys()];
    for (const [room, since] of this.#cursors) {
      if (room !== "feed") this.request({ type: "join", room, since }).catch(() => {});
    }
    unanswered.forEach((id) => this.#send(id));
    clearInterval(this.#beat);
    this.#beat = setInterval(() => this.#check(), this.#options.beatMs);
  }

  // A page cannot see the server's pings: it asks, and takes silence for a dead connection.
  #check() {
    const socket = this.#socket;
    const dead = setTimeout(() => { if (socket === this.#socket) socket.close(); }, this.#options.beatMs / 2);
    this.request({ type: "call", service: "echo" }).catch(() => {}).finally(() => clearTimeout(dead));
  }

  #send(id) {
    if (this.clientId && this.#socket.readyState === 1) this.#socket.send(this.#waiting.get(id).text);
  }

  // Full jitter: without it all clients of a restarted server come back at the same instant.
  #retry() {
    clearInterval(this.#beat);
    this.clientId = "";
    if (this.#closed) return;
    if (++this.#failures > MAX_TRIES) return this.#giveUp("the server cannot be reached");
    const most = Math.min(this.#options.maxWaitMs, 1000 * 2 ** this.#failures);
    setTimeout(() => { if (!this.#closed) this.connect(); }, Math.random() * most);
  }

  #giveUp(why) {
    this.#closed = true;
    for (const { reject } of this.#waiting.values()) reject(new Error(why));
    this.#waiting.clear();
    for (const handler of this.#handlers.get("end") ?? []) handler({ type: "end", data: why });
  }
}
