// A browser that answers the node's offer instead of making its own.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { full, raiseCurtain } from "../lib/cast.js";
import { offer } from "../lib/offers.js";

/** Frames to let pass before counting: a jitter buffer that fills says nothing of the node. */
const SETTLE_FRAMES = 20;

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

/** Answers the node's offer as a new person; resolves when the first frame is decoded. */
async function answer(room, wish = {}) {
  const person = await stage.person();
  const token = await stage.node.token({ role: "student", room });
  const endpoint = `${stage.node.http}/whep/${room}`;
  const result = await person.page.evaluate((asked) => window.harness.answer(asked), { endpoint, token, ...wish });
  return { ...person, token, ...result };
}

async function assertPlays(viewer, codec) {
  await viewer.page.evaluate((frames) => window.harness.settle(frames), SETTLE_FRAMES);
  const { before: start, after: end } = await viewer.page.evaluate((ms) => window.harness.observe(ms), 2_000);
  const told = JSON.stringify({ start, end });
  assert.ok(end.video.framesDecoded - start.video.framesDecoded >= 20, told);
  assert.equal(end.video.packetsLost, 0, told);
  assert.ok(end.audio.totalSamplesReceived > start.audio.totalSamplesReceived, told);
  assert.equal(end.video.codec, `video/${codec}`);
  assert.equal(end.audio.codec, "audio/opus");
}

describe("counter-offers", () => {
  for (const codec of full ? ["VP8", "VP9", "H264", "AV1"] : ["VP8", "H264"]) {
    it(`Chromium answers an offer of ${codec} and Opus, and plays it`, async (t) => {
      const publisher = await stage.person();
      const encodes = await publisher.page.evaluate(() => window.harness.codecs());
      if (!encodes.includes(codec)) {
        return t.skip(`this browser does not encode ${codec}`);
      }
      await stage.publish(`offer-${codec}`, { codec });
      const viewer = await answer(`offer-${codec}`);
      assert.equal(viewer.status, 204);
      assert.match(viewer.type, /^application\/sdp; valid-until="\w{3}, \d\d \w{3} \d{4} [\d:]+ GMT"$/);
      await assertPlays(viewer, codec);
    });
  }

  it("an offer that only sends is answered with the node's own", async () => {
    await stage.publish("sender");
    const viewer = await answer("sender", { body: offer("sendonly") });
    assert.equal(viewer.status, 204);
    await assertPlays(viewer, "VP8");
  });

  it("such a session trickles, and ends, as any other", async () => {
    await stage.publish("any");
    const viewer = await answer("any");
    const trickled = await viewer.page.evaluate(() => window.harness.trickle());
    assert.equal(trickled.status, 204);
    await assertPlays(viewer, "VP8");
    await viewer.page.evaluate(() => window.harness.leave());
  });
});

describe("server-sent events", () => {
  it("an EventSource hears that the stream is live and how many watch", async () => {
    await stage.publish("news");
    const viewer = await stage.watch("news");
    const heard = await viewer.page.evaluate((wanted) => window.harness.hear(wanted), "viewercount");
    assert.deepEqual(heard[0], { name: "active", data: {} });
    assert.deepEqual(heard.at(-1), { name: "viewercount", data: { viewercount: 1 } });
  });

  it("hears when the publisher goes", async () => {
    const publisher = await stage.publish("gone");
    const viewer = await answer("gone");
    const hearing = viewer.page.evaluate((wanted) => window.harness.hear(wanted), "inactive");
    await viewer.page.evaluate((wanted) => window.harness.hear(wanted), "active");
    await publisher.page.evaluate(() => window.harness.leave());
    const heard = await hearing;
    assert.equal(heard.at(-1).name, "inactive");
  });
});
