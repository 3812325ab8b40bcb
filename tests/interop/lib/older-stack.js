// A viewer on @roamhq/wrtc: DTLS 1.2, AES128_CM_SHA1_80 only, a ClientHello in one datagram (api.md,
// "What real clients do"). It runs in a process of its own, because its native part crashes on exit.

import { fork } from "node:child_process";
import { once } from "node:events";

/** Whether the library's prebuilt binary is there for this machine. */
export async function hasOlderStack() {
  const child = fork(import.meta.filename, ["probe"]);
  const [answer] = await Promise.race([once(child, "message"), once(child, "exit").then(() => [null])]);
  child.kill("SIGKILL");
  return answer === "here";
}

/** A picture is there within this, or it never comes. */
const WATCH_MS = 20_000;

/**
 * Watches until `frames` frames were decoded.
 *
 * @param {string} endpoint
 * @param {string} token
 * @param {number} frames
 */
export async function watchWithOlderStack(endpoint, token, frames) {
  const child = fork(import.meta.filename, ["watch"]);
  child.send({ endpoint, token, frames });
  const [answer] = await Promise.race([
    once(child, "message"),
    once(child, "exit").then(([code, signal]) => [{ error: `it ended (${signal ?? code}) without an answer` }]),
  ]);
  child.kill("SIGKILL");
  if (answer.error !== undefined) {
    throw new Error(`the older stack: ${answer.error}`);
  }
  return answer;
}

async function watch(wrtc, { endpoint, token, frames }) {
  const connection = new wrtc.RTCPeerConnection({ bundlePolicy: "max-bundle" });
  const audio = connection.addTransceiver("audio", { direction: "recvonly" }).receiver.track;
  const video = connection.addTransceiver("video", { direction: "recvonly" }).receiver.track;
  const sinks = [new wrtc.nonstandard.RTCVideoSink(video), new wrtc.nonstandard.RTCAudioSink(audio)];
  const seen = { frames: 0, samples: 0 };
  sinks[1].ondata = ({ numberOfFrames }) => {
    seen.samples += numberOfFrames;
  };
  let session;
  try {
    await connection.setLocalDescription(await connection.createOffer());
    const response = await fetch(endpoint, {
      method: "POST",
      headers: { "Content-Type": "application/sdp", Authorization: `Bearer ${token}` },
      body: connection.localDescription.sdp,
    });
    const answer = await response.text();
    if (response.status !== 201) {
      throw new Error(`${response.status} ${answer}`);
    }
    session = new URL(response.headers.get("Location"), endpoint);
    await connection.setRemoteDescription({ type: "answer", sdp: answer });
    await new Promise((settle, fail) => {
      const watchdog = setTimeout(
        () => fail(new Error(`${seen.frames} of ${frames} frames; ICE ${connection.iceConnectionState}, ${connection.connectionState}`)),
        WATCH_MS,
      );
      sinks[0].onframe = () => {
        seen.frames += 1;
        if (seen.frames >= frames) {
          clearTimeout(watchdog);
          settle();
        }
      };
    });
    const transport = [...(await connection.getStats()).values()].find(({ type }) => type === "transport");
    return { ...seen, srtpCipher: transport?.srtpCipher, tlsVersion: transport?.tlsVersion };
  } finally {
    for (const sink of sinks) {
      sink.stop();
    }
    connection.close();
    if (session !== undefined) {
      await fetch(session, { method: "DELETE", headers: { Authorization: `Bearer ${token}` } });
    }
  }
}

const mode = process.send === undefined ? undefined : process.argv[2];
if (mode === "probe" || mode === "watch") {
  const { default: wrtc } = await import("@roamhq/wrtc");
  if (mode === "probe") {
    process.send("here");
  } else {
    const [wish] = await once(process, "message");
    process.send(await watch(wrtc, wish).catch((error) => ({ error: error.message })));
  }
}
