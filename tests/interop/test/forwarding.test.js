// A browser publishes, browsers watch: the whole house at once.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { full, raiseCurtain } from "../lib/cast.js";
import { tail } from "../lib/node.js";
import { wiretap } from "../lib/wiretap.js";

/** Frames to let pass before counting: a jitter buffer that fills says nothing of the node. */
const SETTLE_FRAMES = 30;
/** Chromium's fake camera gives 20 frames a second; a tenth fewer may come on a busy machine. */
const FRAMES_PER_S_MIN = 18;
const OPUS_HZ = 48_000;

let stage;

before(async () => {
  stage = await raiseCurtain();
});
afterEach(async () => {
  await stage?.clear();
});
after(async () => {
  await stage?.fall();
});

/** Watches a while; asserts that the picture moved all the time and stood still never. */
async function assertSmooth(viewer, ms) {
  await viewer.page.evaluate((frames) => window.harness.settle(frames), SETTLE_FRAMES);
  const { before: start, after: end } = await viewer.page.evaluate((wait) => window.harness.observe(wait), ms);
  const told = `${JSON.stringify({ start, end })}\n${tail(stage.node.log, 10)}`;
  const decoded = end.video.framesDecoded - start.video.framesDecoded;
  assert.ok(decoded >= (FRAMES_PER_S_MIN * ms) / 1_000, `${decoded} frames in ${ms} ms: ${told}`);
  assert.equal(end.video.freezeCount - start.video.freezeCount, 0, told);
  assert.equal(end.video.packetsLost, 0, told);
  return { start, end };
}

function assertHeard({ start, end }, ms) {
  const samples = end.audio.totalSamplesReceived - start.audio.totalSamplesReceived;
  const concealed = end.audio.concealedSamples - start.audio.concealedSamples;
  assert.ok(samples >= (OPUS_HZ * ms * 0.9) / 1_000, `${samples} samples in ${ms} ms`);
  assert.ok(concealed <= samples * 0.02, `${concealed} of ${samples} samples concealed`);
}

describe("VP8 and Opus", () => {
  it("one publishes, two watch in browsers of their own for ten seconds without a freeze", async () => {
    const ms = 10_000;
    await stage.publish("math-7");
    const viewers = await Promise.all([stage.watch("math-7"), stage.watch("math-7")]);
    const readings = await Promise.all(viewers.map((viewer) => assertSmooth(viewer, ms)));
    for (const reading of readings) {
      assertHeard(reading, ms);
      assert.equal(reading.end.video.codec, "video/VP8");
      assert.equal(reading.end.audio.codec, "audio/opus");
      assert.match(reading.end.transport.srtpCipher, /GCM/);
    }
  });

  it("a viewer who comes late sees a picture within three seconds", async () => {
    await stage.publish("late");
    await stage.watch("late");
    const begin = performance.now();
    await stage.watch("late");
    const joined = performance.now() - begin;
    assert.ok(joined < 3_000, `${Math.round(joined)} ms to the first frame`);
  });

  it("viewers who come and go leave the others in peace", async () => {
    await stage.publish("door");
    const stays = await stage.watch("door");
    // The page stands before: a browser that starts a process stalls its other pages on a small machine.
    const goes = await stage.person();
    const watching = assertSmooth(stays, full ? 10_000 : 4_000);
    for (let turn = 0; turn < (full ? 5 : 3); turn += 1) {
      await stage.watch("door", { person: goes });
      await goes.page.evaluate(() => window.harness.leave());
    }
    await watching;
  });
});

describe("every codec this browser encodes", () => {
  for (const codec of ["H264", "VP9", "AV1"]) {
    it(`${codec}: frames are decoded and none freezes`, async (context) => {
      const probe = await stage.person();
      const codecs = await probe.page.evaluate(() => window.harness.codecs());
      if (!codecs.includes(codec)) {
        context.skip(`this Chromium encodes ${codecs.join(", ")} only`);
        return;
      }
      const ms = full ? 10_000 : 4_000;
      await stage.publish(codec.toLowerCase(), { codec });
      const viewer = await stage.watch(codec.toLowerCase());
      const { end } = await assertSmooth(viewer, ms);
      assert.equal(end.video.codec, `video/${codec}`);
    });
  }
});

describe("viewers of every kind", () => {
  it("one without camera permission, who offers only .local candidates, connects", async () => {
    await stage.publish("private");
    const viewer = await stage.watch("private", { isShy: true, gather: true });
    const candidates = viewer.offer.match(/^a=candidate:.*$/gm) ?? [];
    assert.ok(candidates.length > 0, viewer.offer);
    for (const candidate of candidates) {
      assert.match(candidate, / [\w-]+\.local \d+ typ host/);
    }
    await assertSmooth(viewer, full ? 5_000 : 2_000);
  });

  it("one whose ClientHello fills two datagrams connects, as Chromium's does today", async (context) => {
    await stage.publish("hello");
    const tap = await wiretap(stage.node);
    try {
      const viewer = await stage.watch("hello", { port: tap.port });
      const answer = tap.handshake.findIndex(({ from }) => from === "node");
      const hello = tap.handshake.slice(0, answer);
      assert.ok(answer >= 2 && hello.every(({ from }) => from === "browser"), `the node spoke after ${answer} datagrams`);
      // RFC 6347 section 4.2.2: a fragment tells the message's length and its own place in it.
      const fragments = hello.map(({ bytes }) => ({
        message: bytes.readUIntBE(14, 3),
        offset: bytes.readUIntBE(19, 3),
        length: bytes.readUIntBE(22, 3),
      }));
      assert.ok(fragments.some(({ offset }) => offset > 0), JSON.stringify(fragments));
      const { end } = await assertSmooth(viewer, full ? 5_000 : 2_000);
      context.diagnostic(`ClientHello ${JSON.stringify(fragments)}, ${JSON.stringify(end.transport)}`);
    } finally {
      tap.close();
    }
  });
});
