// Every client that can be had publishes, and every client watches it: ICE, DTLS, SRTP and RTP of five
// makers against one node (contracts.md 6: for at least a minute, because some clients authenticate
// themselves once and never again).

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { full, raiseCurtain } from "../lib/cast.js";
import { AIORTC, CHROMIUM, CLIENTS, GSTREAMER, GSTREAMER_RSA, OLDER_LIBWEBRTC } from "../lib/clients.js";
import { judge, Matrix } from "../lib/matrix.js";
import { tail } from "../lib/node.js";

const OBSERVE_MS = full ? 60_000 : 8_000;
const CODECS = ["VP8", "H264"];

/** The short form has the pairings in which most differs; the long form has all. */
const CLASSES = full
  ? CLIENTS.flatMap((publisher) => CODECS.map((codec) => ({ publisher, codec, viewers: CLIENTS })))
  : [
      { publisher: AIORTC, codec: "VP8", viewers: [CHROMIUM] },
      { publisher: GSTREAMER, codec: "H264", viewers: [CHROMIUM] },
      { publisher: CHROMIUM, codec: "VP8", viewers: [GSTREAMER, OLDER_LIBWEBRTC, CHROMIUM] },
      { publisher: CHROMIUM, codec: "H264", viewers: [AIORTC] },
    ];

let stage;
const matrix = new Matrix();
/** Started when first needed; ended together. */
const troupes = new Map();

before(async () => {
  Matrix.clear();
  stage = await raiseCurtain();
});
after(async () => {
  matrix.write();
  await Promise.all([...troupes.values()].map(async (troupe) => (await troupe).close()));
  await stage?.fall();
});

/** The client, started once. */
async function troupe(client) {
  assert.equal(client.missing?.() ?? null, null, "run `make setup`");
  if (!troupes.has(client)) {
    troupes.set(client, client.start(stage));
    matrix.client(client.name, await client.version(stage));
  }
  return troupes.get(client);
}

async function publish(client, room, codec) {
  const token = await stage.node.token({ role: "teacher", room });
  return (await troupe(client)).publish({ endpoint: `${stage.node.http}/whip/${room}`, token, codec });
}

async function watch(client, room, codec) {
  const token = await stage.node.token({ role: "student", room });
  return (await troupe(client)).watch({ endpoint: `${stage.node.http}/whep/${room}`, token, codec });
}

/** Watches a while, from a moment when media flows; resolves to the row's numbers. */
async function observe(session, codec, over) {
  const begin = performance.now();
  const start = await session.reading();
  await over;
  const end = await session.reading();
  const seconds = (performance.now() - begin) / 1_000;
  const why = judge({ start, end, seconds, codec });
  return {
    seconds,
    frames: end.frames - start.frames,
    freezes: end.freezes - start.freezes,
    longestGapMs: end.longestGapMs,
    audioSeconds: (end.samples - start.samples) / 48_000,
    cipher: end.cipher,
    pass: why.length === 0,
    why: why.join("; "),
  };
}

for (const { publisher, codec, viewers } of CLASSES) {
  describe(`${publisher.name} publishes ${codec}`, () => {
    const able = viewers.filter(({ codecs }) => codecs.includes(codec));
    const possible = publisher.codecs.includes(codec);
    /** What each viewer saw, or why it saw nothing. */
    const outcomes = new Map();
    let published;

    before(async () => {
      if (!possible) {
        return;
      }
      const room = `${publisher.name}-${codec}`.toLowerCase();
      published = await publish(publisher, room, codec);
      const joined = await Promise.allSettled(able.map((viewer) => watch(viewer, room, codec)));
      const over = new Promise((settle) => setTimeout(settle, OBSERVE_MS));
      await Promise.all(
        joined.map(async ({ value: session, reason }, index) => {
          const failed = (error) => ({ pass: false, why: error.message });
          const outcome = session === undefined ? failed(reason) : await observe(session, codec, over).catch(failed);
          outcomes.set(able[index], outcome);
        }),
      );
      await Promise.all(joined.map(({ value: session }) => session?.leave().catch(() => undefined)));
    });
    after(async () => {
      await published?.leave();
    });

    for (const viewer of viewers) {
      const row = { publisher: publisher.name, codec, viewer: viewer.name };
      it(`${viewer.name} watches`, (context) => {
        if (!possible || !able.includes(viewer)) {
          const [impossible, { reason: why }] = possible ? ["viewer", viewer] : ["publisher", publisher];
          matrix.add({ ...row, pass: null, impossible, why });
          context.skip(why);
          return;
        }
        const outcome = outcomes.get(viewer) ?? { pass: false, why: "its publisher did not come" };
        matrix.add({ ...row, ...outcome });
        if (viewer === OLDER_LIBWEBRTC) {
          // It can do nothing else, beside others who are served with GCM.
          assert.equal(outcome.cipher, "AES_CM_128_HMAC_SHA1_80");
        } else if (outcome.cipher !== undefined) {
          assert.match(outcome.cipher, /GCM/);
        }
        assert.ok(outcome.pass, `${outcome.why}\n${JSON.stringify(outcome)}\n${tail(stage.node.log, 10)}`);
      });
    }
  });
}

if (full) {
  // dimpl asks for and verifies ECDSA only. Should it learn RSA, this row passes by itself.
  it("GStreamer publishes with the RSA certificate it comes with, or is turned away at once", async (context) => {
    const row = { publisher: GSTREAMER_RSA.name, codec: "VP8", viewer: CHROMIUM.name };
    const room = "rsa";
    try {
      const published = await publish(GSTREAMER_RSA, room, "VP8");
      const viewer = await watch(CHROMIUM, room, "VP8");
      const outcome = await observe(viewer, "VP8", new Promise((settle) => setTimeout(settle, OBSERVE_MS)));
      matrix.add({ ...row, ...outcome });
      await viewer.leave();
      await published.leave();
      assert.ok(outcome.pass, outcome.why);
    } catch (error) {
      const why = "the node's DTLS verifies ECDSA certificates only";
      matrix.add({ ...row, pass: null, impossible: "viewer", why });
      assert.match(readFileSync(stage.node.log, "utf8"), /"HandshakeFailed"/, error.message);
      context.skip(why);
    }
  });
}
