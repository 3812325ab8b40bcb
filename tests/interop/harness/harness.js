// Plain WHIP and WHEP, apart from the product's own client, so that an error in one of the two
// implementations does not hide in the other.

import { direct, measure, TimeCode } from "./glass.js";
import { Motion } from "./motion.js";

const sessions = [];
let latest = null;

/** Sends the complete offer, candidates included, and applies the answer. */
async function exchange(connection, endpoint, token, { gather = false, munge = (sdp) => sdp } = {}) {
  await connection.setLocalDescription(await connection.createOffer());
  if (gather && connection.iceGatheringState !== "complete") {
    await new Promise((settle) => {
      connection.addEventListener("icegatheringstatechange", () => {
        if (connection.iceGatheringState === "complete") {
          settle();
        }
      });
    });
  }
  const offer = connection.localDescription.sdp;
  const response = await fetch(endpoint, {
    method: "POST",
    headers: { "Content-Type": "application/sdp", Authorization: `Bearer ${token}` },
    body: offer,
  });
  if (response.status !== 201) {
    throw new Error(`${response.status} ${await response.text()}`);
  }
  const location = response.headers.get("Location");
  const answer = await response.text();
  await connection.setRemoteDescription({ type: "answer", sdp: munge(answer) });
  const etag = response.headers.get("ETag");
  const session = { connection, url: new URL(location, endpoint).href, token, etag };
  sessions.push(session);
  latest = session;
  return { offer, answer, location, etag };
}

/** Asks with `body`, which offers nothing, and answers the node's own offer. */
async function counter(connection, endpoint, token, body) {
  const headers = { Authorization: `Bearer ${token}` };
  const type = { "Content-Type": "application/sdp" };
  const response = await fetch(endpoint, { method: "POST", headers: { ...headers, ...(body && type) }, body });
  if (response.status !== 406) {
    throw new Error(`${response.status} ${await response.text()}`);
  }
  const url = new URL(response.headers.get("Location"), endpoint).href;
  await connection.setRemoteDescription({ type: "offer", sdp: await response.text() });
  await connection.setLocalDescription(await connection.createAnswer());
  // As the draft's players do it: without an If-Match.
  const answer = connection.localDescription.sdp;
  const patched = await fetch(url, { method: "PATCH", headers: { ...headers, ...type }, body: answer });
  const session = { connection, url, token, etag: response.headers.get("ETag") };
  sessions.push(session);
  latest = session;
  return {
    status: patched.status,
    type: response.headers.get("Content-Type"),
    link: response.headers.get("Link"),
  };
}

function patch({ url, token }, ifMatch, body) {
  const type = "application/trickle-ice-sdpfrag";
  const headers = { "Content-Type": type, "If-Match": ifMatch, Authorization: `Bearer ${token}` };
  return fetch(url, { method: "PATCH", headers, body });
}

/** The media path stands, or a frame shows, within this; else the failure tells how far it came. */
const DEADLINE_MS = 15_000;

/** Waits for `wanted`; when it does not come, says how far each layer of the connection came. */
async function within(what, connection, wanted) {
  let timer;
  const deadline = new Promise((_, fail) => {
    timer = setTimeout(async () => {
      const report = [...(await connection.getStats()).values()];
      const pair = report.find(({ type, nominated }) => type === "candidate-pair" && nominated) ?? {};
      const transport = report.find(({ type }) => type === "transport") ?? {};
      const inbound = report.filter(({ type }) => type === "inbound-rtp");
      const counts = inbound.map(
        ({ kind, packetsReceived, framesReceived, framesDecoded, keyFramesDecoded, pliCount }) =>
          JSON.stringify({ kind, packetsReceived, framesReceived, framesDecoded, keyFramesDecoded, pliCount }),
      );
      fail(
        new Error(
          `no ${what} within ${DEADLINE_MS} ms: ICE ${connection.iceConnectionState} ` +
            `(${pair.responsesReceived ?? 0} answers to ${pair.requestsSent ?? 0} checks), ` +
            `DTLS ${transport.dtlsState}, connection ${connection.connectionState}, ${counts.join(" ")}`,
        ),
      );
    }, DEADLINE_MS);
  });
  try {
    return await Promise.race([wanted, deadline]);
  } finally {
    clearTimeout(timer);
  }
}

function connected(connection) {
  const moved = new Promise((settle, fail) => {
    const check = () => {
      if (connection.connectionState === "connected") {
        settle();
      } else if (connection.connectionState === "failed" || connection.connectionState === "closed") {
        fail(new Error(`the connection ${connection.connectionState}: ICE ${connection.iceConnectionState}`));
      }
    };
    connection.addEventListener("connectionstatechange", check);
    check();
  });
  return within("media path", connection, moved);
}

function prefer(transceiver, codec) {
  const { codecs } = RTCRtpSender.getCapabilities("video");
  const wanted = codecs.filter(({ mimeType }) => mimeType.toLowerCase() === `video/${codec.toLowerCase()}`);
  if (wanted.length === 0) {
    throw new Error(`this browser does not encode ${codec}`);
  }
  transceiver.setCodecPreferences([...wanted, ...codecs.filter(({ mimeType }) => mimeType === "video/rtx")]);
}

/** Resolves when `video` has shown a frame. */
function firstFrame(video) {
  return new Promise((settle) => video.requestVideoFrameCallback(settle));
}

/**
 * What a restart tells the node: the new credentials and candidates (RFC 9725 section 4.3.2, RFC 8840
 * section 9), of the bundle's first section.
 */
function fragment(sdp) {
  const wanted = /^(a=group:BUNDLE |a=ice-options:|m=|a=mid:|a=ice-ufrag:|a=ice-pwd:|a=candidate:)/;
  const [session, first] = sdp.split(/(?=^m=)/m);
  const lines = `${session}${first}`.split("\r\n").filter((line) => wanted.test(line));
  return [...lines, "a=end-of-candidates", ""].join("\r\n");
}

/** The answer so far with the credentials and candidates of the node's fragment. */
function renewed(answer, text) {
  const [ufrag] = text.match(/^a=ice-ufrag:.*$/m);
  const [pwd] = text.match(/^a=ice-pwd:.*$/m);
  const candidates = text.match(/^a=candidate:.*$/gm);
  return answer
    .split(/(?=^m=)/m)
    .map((section, index) =>
      index === 0
        ? section
        : `${section
            .replace(/^a=ice-ufrag:.*$/m, ufrag.trim())
            .replace(/^a=ice-pwd:.*$/m, pwd.trim())
            .replace(/^a=(candidate:.*|end-of-candidates)\r\n/gm, "")}${
            index === 1 ? candidates.map((line) => `${line.trim()}\r\n`).join("") : ""
          }`,
    )
    .join("");
}

/** An answer whose only way to the node is a wiretap on loopback at `port`. */
function through(port) {
  if (port === undefined) {
    return (sdp) => sdp;
  }
  return (sdp) =>
    sdp
      .replace(/^a=candidate:(\S+ \d+ \S+ \d+) \S+ \d+ (typ host.*)$/gm, `a=candidate:$1 127.0.0.1 ${port} $2`)
      .split("\r\n")
      .filter((line, index, lines) => !line.startsWith("a=candidate:") || lines.indexOf(line) === index)
      .join("\r\n");
}

const timeCode = new TimeCode();
const motion = new Motion();

window.harness = {
  /** Names of the video codecs this browser encodes. */
  codecs() {
    const names = RTCRtpSender.getCapabilities("video").codecs.map(({ mimeType }) => mimeType.slice(6));
    return [...new Set(names)];
  },

  /** @param {{endpoint: string, token: string, codec?: string, source?: "devices" | "timecode", port?: number}} wish */
  async publish({ endpoint, token, codec = "VP8", source = "devices", port }) {
    const stream =
      source === "timecode"
        ? timeCode.start()
        : await navigator.mediaDevices.getUserMedia({ audio: true, video: { width: 640, height: 360, frameRate: 30 } });
    const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    for (const track of stream.getTracks()) {
      const transceiver = connection.addTransceiver(track, { direction: "sendonly", streams: [stream] });
      if (track.kind === "video") {
        prefer(transceiver, codec);
      }
    }
    const result = await exchange(connection, endpoint, token, { munge: through(port) });
    await connected(connection);
    return result;
  },

  /** @param {{endpoint: string, token: string, gather?: boolean, port?: number}} wish */
  async watch({ endpoint, token, gather = false, port }) {
    const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    const stream = new MediaStream(
      ["audio", "video"].map((kind) => connection.addTransceiver(kind, { direction: "recvonly" }).receiver.track),
    );
    const video = document.getElementById("screen");
    const shown = firstFrame(video);
    video.srcObject = stream;
    // What a muted element plays has no energy in the statistics.
    video.muted = false;
    motion.follow(video);
    const result = await exchange(connection, endpoint, token, { gather, munge: through(port) });
    await connected(connection);
    await within("first frame", connection, shown);
    return result;
  },

  /**
   * Watches by answering the node's offer, having asked with `body`.
   *
   * @param {{endpoint: string, token: string, body?: string}} wish
   */
  async answer({ endpoint, token, body = "" }) {
    const connection = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    const stream = new MediaStream();
    connection.addEventListener("track", ({ track }) => stream.addTrack(track));
    const video = document.getElementById("screen");
    const shown = firstFrame(video);
    video.srcObject = stream;
    video.muted = false;
    motion.follow(video);
    const result = await counter(connection, endpoint, token, body);
    await connected(connection);
    await within("first frame", connection, shown);
    return result;
  },

  /** What the newest session's events say until one has this name; an EventSource, as players have it. */
  async hear(wanted) {
    const { url, token } = latest;
    const source = new EventSource(`${url}/sse?jwt=${token}`);
    const heard = [];
    try {
      await new Promise((settle, fail) => {
        const names = ["active", "inactive", "layers", "viewercount", "reconnect"];
        for (const name of names) {
          source.addEventListener(name, ({ data }) => {
            heard.push({ name, data: JSON.parse(data) });
            if (name === wanted) {
              settle();
            }
          });
        }
        source.addEventListener("error", () => fail(new Error(`events ended after ${JSON.stringify(heard)}`)));
        setTimeout(() => fail(new Error(`no ${wanted} in ${JSON.stringify(heard)}`)), DEADLINE_MS);
      });
    } finally {
      source.close();
    }
    return heard;
  },

  /**
   * ICE restart of the newest connection; the media goes through `port` from then on. What the node refuses
   * is rolled back. Resolves to the status and, when it was accepted, the session's new ETag.
   */
  async restart({ port, ifMatch = "*" } = {}) {
    const { connection, url, token } = latest;
    const before = connection.remoteDescription.sdp;
    await connection.setLocalDescription(await connection.createOffer({ iceRestart: true }));
    const response = await patch({ url, token }, ifMatch, fragment(connection.localDescription.sdp));
    if (response.status !== 200) {
      await connection.setLocalDescription({ type: "rollback" });
      return { status: response.status };
    }
    const answer = renewed(before, await response.text());
    await connection.setRemoteDescription({ type: "answer", sdp: through(port)(answer) });
    latest.etag = response.headers.get("ETag");
    return { status: response.status, etag: latest.etag };
  },

  /** Tells the node the present credentials once more, as a client does with each candidate it finds. */
  async trickle() {
    const response = await patch(latest, latest.etag, fragment(latest.connection.localDescription.sdp));
    return { status: response.status, etag: response.headers.get("ETag") };
  },

  /** What the newest connection received until now, in the terms of the statistics. */
  async reading() {
    const report = [...(await latest.connection.getStats()).values()];
    const find = (type, kind) => report.find((entry) => entry.type === type && entry.kind === kind) ?? {};
    const transport = report.find((entry) => entry.type === "transport") ?? {};
    const pick = (entry, ...fields) => Object.fromEntries(fields.map((field) => [field, entry[field] ?? null]));
    const codecOf = (entry) => report.find(({ id }) => id === entry.codecId)?.mimeType ?? null;
    const video = find("inbound-rtp", "video");
    const audio = find("inbound-rtp", "audio");
    const outbound = find("outbound-rtp", "video");
    return {
      video: {
        codec: codecOf(video),
        ...pick(video, "framesDecoded", "framesDropped", "framesReceived", "keyFramesDecoded", "freezeCount",
          "totalFreezesDuration", "packetsReceived", "packetsLost", "nackCount", "pliCount", "frameWidth",
          "frameHeight", "bytesReceived", "retransmittedPacketsReceived"),
      },
      audio: {
        codec: codecOf(audio),
        ...pick(audio, "totalSamplesReceived", "concealedSamples", "silentConcealedSamples",
          "packetsReceived", "packetsLost", "packetsDiscarded", "totalAudioEnergy"),
      },
      outbound: {
        codec: codecOf(outbound),
        ...pick(outbound, "framesEncoded", "keyFramesEncoded", "bytesSent", "frameWidth", "frameHeight",
          "qualityLimitationReason", "pliCount", "nackCount", "targetBitrate",
          "packetsSent", "retransmittedPacketsSent"),
      },
      transport: pick(transport, "srtpCipher", "dtlsCipher", "tlsVersion", "tlsGroup", "dtlsState", "iceState"),
    };
  },

  /** What a watcher counted since it began, in the terms of the clients that are no browsers (tally.py). */
  async tally() {
    const { video, audio, transport } = await this.reading();
    const { moved, freezes, longestGapMs } = motion.reading();
    return {
      frames: video.framesDecoded,
      moved,
      freezes,
      longestGapMs,
      samples: audio.totalSamplesReceived,
      loud: audio.totalAudioEnergy,
      codec: video.codec?.slice(6),
      state: latest.connection.connectionState,
      cipher: transport.srtpCipher,
    };
  },

  /** Lets `ms` of media go by; resolves to the readings before and after. */
  async observe(ms) {
    const before = await this.reading();
    await new Promise((settle) => setTimeout(settle, ms));
    return { before, after: await this.reading() };
  },

  /** Forgets the start: freezes and concealment while a jitter buffer fills say nothing of the node. */
  async settle(frames) {
    const video = document.getElementById("screen");
    const several = async () => {
      for (let shown = 0; shown < frames; shown += 1) {
        await firstFrame(video);
      }
    };
    await within(`${frames} frames`, latest.connection, several());
  },

  /** Ends every session of this page. */
  async leave() {
    timeCode.stop();
    await Promise.all(
      sessions.splice(0).map(async ({ connection, url, token }) => {
        await fetch(url, { method: "DELETE", headers: { Authorization: `Bearer ${token}` } });
        connection.close();
      }),
    );
  },

  /** Glass to glass over the node, in a page that publishes and watches: one clock for both ends. */
  async relayed({ whip, whep, publisher, viewer, codec, frames, warmUp }) {
    await this.publish({ endpoint: whip, token: publisher, codec, source: "timecode" });
    await this.watch({ endpoint: whep, token: viewer });
    const { connection } = latest;
    const result = await measure(document.getElementById("screen"), frames, warmUp, connection);
    await this.leave();
    return result;
  },

  /** The same without the node: two connections of this page, face to face. */
  async direct({ codec, frames, warmUp }) {
    const call = await direct(timeCode.start(), document.getElementById("screen"), (transceiver) =>
      prefer(transceiver, codec),
    );
    await connected(call.receiver);
    const result = await measure(document.getElementById("screen"), frames, warmUp, call.receiver);
    call.close();
    timeCode.stop();
    return result;
  },
};
