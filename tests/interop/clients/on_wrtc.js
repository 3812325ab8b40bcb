// Publishes or watches with @roamhq/wrtc, a libwebrtc of some years ago: DTLS 1.2, AES128_CM_SHA1_80 only,
// a ClientHello in one datagram (api.md, "What real clients do"). Orders and answers as in orders.py. Whoever
// starts it kills it after the last answer, because its native part crashes on exit.

import { createInterface } from "node:readline";
import wrtc from "@roamhq/wrtc";

const WIDTH = 320;
const HEIGHT = 240;
const FPS = 20;
const HZ = 48_000;
/** The library takes and gives sound in blocks of 10 ms. */
const BLOCK = HZ / 100;
/** Media flows within this, or it never comes. */
const LIVE_MS = 20_000;
/** As in tally.py. */
const FREEZE_MS = 500;
const SETTLE_FRAMES = 30;
const LOUD = 2_048;

const orders = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const nextOrder = async () => {
  const { value, done } = await orders.next();
  return done ? { do: "leave" } : JSON.parse(value);
};
const tell = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);

/** Diagonal stripes that wander, and a tone of 400 Hz: eight periods fill a block twice. */
function scene() {
  const video = new wrtc.nonstandard.RTCVideoSource();
  const audio = new wrtc.nonstandard.RTCAudioSource();
  const tone = Int16Array.from({ length: BLOCK }, (_, at) => Math.round(8_000 * Math.sin((2 * Math.PI * 400 * at) / HZ)));
  const picture = new Uint8ClampedArray((WIDTH * HEIGHT * 3) / 2).fill(128);
  let shown = 0;
  const draw = () => {
    shown += 1;
    for (let at = 0; at < WIDTH * HEIGHT; at += 1) {
      picture[at] = (2 * (at % WIDTH) + 3 * Math.floor(at / WIDTH) + 4 * shown) % 256;
    }
    video.onFrame({ width: WIDTH, height: HEIGHT, data: picture });
  };
  const timers = [
    every(1_000 / FPS, draw),
    every(10, () =>
      audio.onData({ samples: tone, sampleRate: HZ, bitsPerSample: 16, channelCount: 1, numberOfFrames: BLOCK }),
    ),
  ];
  const tracks = [audio.createTrack(), video.createTrack()];
  return {
    tracks,
    stop() {
      for (const timer of timers) {
        timer.stop();
      }
      for (const track of tracks) {
        track.stop();
      }
    },
  };
}

/** Calls `work` at a steady rate: who comes late makes up for it. */
function every(ms, work) {
  const begin = performance.now();
  let turn = 0;
  let timer;
  const next = () => {
    work();
    turn += 1;
    timer = setTimeout(next, Math.max(0, begin + turn * ms - performance.now()));
  };
  next();
  return { stop: () => clearTimeout(timer) };
}

/** Counts what comes, as tally.py does. */
function tally(audio, video) {
  const seen = { frames: 0, moved: 0, freezes: 0, samples: 0, loud: 0 };
  const sinks = [new wrtc.nonstandard.RTCAudioSink(audio), new wrtc.nonstandard.RTCVideoSink(video)];
  let shownAt = null;
  let checksum = null;
  let longestGapMs = 0;
  let settled;
  const live = new Promise((settle) => {
    settled = settle;
  });
  sinks[0].ondata = ({ samples, numberOfFrames }) => {
    seen.samples += numberOfFrames;
    seen.loud += Number(Math.max(...samples) >= LOUD);
  };
  sinks[1].onframe = ({ frame: { width, height, data } }) => {
    const now = performance.now();
    if (shownAt !== null) {
      longestGapMs = Math.max(longestGapMs, now - shownAt);
      seen.freezes += Number(now - shownAt >= FREEZE_MS);
    }
    shownAt = now;
    let sum = 0;
    for (let at = 0; at < width * height; at += 7) {
      sum = (sum * 31 + data[at]) | 0;
    }
    seen.moved += Number(sum !== checksum);
    checksum = sum;
    seen.frames += 1;
    if (seen.frames >= SETTLE_FRAMES) {
      settled();
    }
  };
  return {
    live,
    reading() {
      const gapMs = Math.max(longestGapMs, shownAt === null ? 0 : performance.now() - shownAt);
      longestGapMs = 0;
      return { ...seen, longestGapMs: Math.round(gapMs) };
    },
    stop: () => sinks.forEach((sink) => sink.stop()),
  };
}

function connected(connection) {
  return new Promise((settle, fail) => {
    const check = () => {
      if (connection.connectionState === "connected") {
        settle();
      } else if (connection.connectionState === "failed") {
        fail(new Error("the connection failed"));
      }
    };
    connection.addEventListener("connectionstatechange", check);
    check();
  });
}

async function main() {
  const wish = await nextOrder();
  const connection = new wrtc.RTCPeerConnection({ bundlePolicy: "max-bundle" });
  let source;
  let counted;
  let live;
  let session;
  const headers = { Authorization: `Bearer ${wish.token}` };
  try {
    if (wish.do === "publish") {
      source = scene();
      for (const track of source.tracks) {
        connection.addTransceiver(track, { direction: "sendonly" });
      }
      live = connected(connection);
    } else {
      const [audio, video] = ["audio", "video"].map(
        (kind) => connection.addTransceiver(kind, { direction: "recvonly" }).receiver.track,
      );
      counted = tally(audio, video);
      live = connected(connection).then(() => counted.live);
    }
    await connection.setLocalDescription(await connection.createOffer());
    const response = await fetch(wish.endpoint, {
      method: "POST",
      headers: { ...headers, "Content-Type": "application/sdp" },
      body: connection.localDescription.sdp,
    });
    const answer = await response.text();
    if (response.status !== 201) {
      throw new Error(`${response.status} ${answer}`);
    }
    session = new URL(response.headers.get("Location"), wish.endpoint);
    await connection.setRemoteDescription({ type: "answer", sdp: answer });
    const [, first] = answer.match(/^m=video \d+ \S+ (\d+)/m);
    const [, codec] = answer.match(new RegExp(`^a=rtpmap:${first} ([^/]+)/`, "m"));
    let watchdog;
    const deadline = new Promise((_, fail) => {
      watchdog = setTimeout(
        () => fail(new Error(`no media within ${LIVE_MS} ms; ICE ${connection.iceConnectionState}, ${connection.connectionState}`)),
        LIVE_MS,
      );
    });
    await Promise.race([live, deadline]);
    clearTimeout(watchdog);
    tell({ live: true });
    while ((await nextOrder()).do === "read") {
      const stats = [...(await connection.getStats()).values()];
      const { srtpCipher, tlsVersion } = stats.find(({ type }) => type === "transport") ?? {};
      tell({
        reading: { ...counted?.reading(), codec, state: connection.connectionState, cipher: srtpCipher, tlsVersion },
      });
    }
  } finally {
    counted?.stop();
    source?.stop();
    if (session !== undefined) {
      const { status } = await fetch(session, { method: "DELETE", headers });
      session = status;
    }
    connection.close();
  }
  tell({ left: session });
}

await main().catch((error) => tell({ error: error.message }));
