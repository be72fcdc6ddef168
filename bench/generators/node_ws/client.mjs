// Subscribers on Node's `ws`: the steps of bench/generators/channel.py, and the same records (as JSON).
// It does what a load script for Node does: parse the envelope, note the time. No resume, no requests, no byte counts.

import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { PerformanceObserver } from "node:perf_hooks";
import { createInterface } from "node:readline";
import WebSocket from "ws";

const spec = JSON.parse(readFileSync(process.env.PUSHMARK_LOAD_SPEC, "utf8"));
const beginNs = BigInt(process.argv[2]); // of the measured part, counted from the start of the feed
const endNs = BigInt(process.argv[3]);
const SAMPLE_FIELDS = 4;

let samples = new BigInt64Array(1 << 16);
let used = 0;
let deliveries = 0;
let payloadBytes = 0;
let opened = 0;
let reconnects = 0;
const failures = [];
const sockets = [];

let gcMaxMs = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) gcMaxMs = Math.max(gcMaxMs, entry.duration);
}).observe({ entryTypes: ["gc"] });

function record(subscriber, n, dueNs, receiveNs) {
  if (used + SAMPLE_FIELDS > samples.length) {
    const larger = new BigInt64Array(2 * samples.length);
    larger.set(samples);
    samples = larger;
  }
  samples[used++] = BigInt(subscriber);
  samples[used++] = BigInt(n);
  samples[used++] = BigInt(dueNs);
  samples[used++] = receiveNs;
}

// JSON.parse would round nanoseconds beyond 2^53, which is 104 days after the host was started.
const digits = (text, name) => new RegExp(`"${name}": ?(\\d+)`).exec(text)[1];

function subscribe(subscriber, url) {
  const room = subscriber % spec.rooms;
  const socket = new WebSocket(`${url}/ws?room=${room ? `feed-${room}` : "feed"}`, { perMessageDeflate: false });
  sockets.push(socket);
  socket.on("message", (data) => {
    const receiveNs = process.hrtime.bigint(); // CLOCK_MONOTONIC, as on the server
    const envelope = JSON.parse(data);
    if (envelope.type === "event") {
      deliveries += 1;
      record(subscriber, envelope.data.n, digits(data.toString(), "due_ns"), receiveNs);
    } else if (envelope.type === "welcome") {
      opened += 1;
    }
  });
  socket.on("error", (error) => failures.push(`subscriber ${subscriber}: ${error.message}`));
}

function mark() {
  const { user, system } = process.cpuUsage();
  const totals = { deliveries, opened, payload_bytes: deliveries * spec.payload_bytes };
  return { totals, cpu_ns: (user + system) * 1000, at_ns: Number(process.hrtime.bigint()) };
}

const sleep = (ms) => new Promise((done) => setTimeout(done, Math.max(0, ms)));
const until = (atNs) => sleep(Number(atNs - process.hrtime.bigint()) / 1e6);

const channel = connect(spec.socket);
const commands = createInterface({ input: channel })[Symbol.asyncIterator]();
const send = (event) => channel.write(`${JSON.stringify({ event })}\n`);
async function receive(command) {
  const { value } = await commands.next();
  const received = JSON.parse(value ?? "{}");
  if (received.command !== command) throw new Error(`expected the command ${command}, not ${value}`);
  return { ...received, text: value };
}

send("ready");
const { url } = await receive("go");
for (let subscriber = 0; subscriber < spec.subscribers; subscriber++) {
  subscribe(subscriber, url);
  if (subscriber % 20 === 19) await sleep(20);
}
while (opened < spec.subscribers) {
  if (failures.length) throw new Error(failures[0]);
  await sleep(20);
}
send("connected");
const startNs = BigInt(digits((await receive("window")).text, "start_ns"));
await until(startNs + beginNs);
const begin = mark();
await until(startNs + endNs);
const end = mark();
await until(startNs + endNs + BigInt(Math.round(spec.drain_s * 1e9)));
for (const socket of sockets) socket.terminate();
const process_ = {
  pid: process.pid,
  probes: sockets.map((_, subscriber) => subscriber),
  loads: [],
  samples: Buffer.from(samples.buffer, 0, used * 8).toString("base64"),
  begin,
  end,
  final: mark(),
  counts: { duplicates: 0, out_of_order: 0, gaps: 0, missed: 0, reconnects },
  failures,
  loop_lag: {},
  gc_pauses: { max_ms: gcMaxMs },
};
writeFileSync(spec.records_file, JSON.stringify({ processes: [process_] }));
send("records");
channel.end();
