// Packets get lost between a browser and the node, and nobody sees it: what is missing is asked for again
// and comes again, on the way up from the publisher and on the way down to the viewer.

import assert from "node:assert/strict";
import { after, afterEach, before, it } from "node:test";
import { full, raiseCurtain } from "../lib/cast.js";
import { tail } from "../lib/node.js";
import { losing, wiretap } from "../lib/wiretap.js";

const OBSERVE_MS = full ? 20_000 : 6_000;
const SETTLE_FRAMES = 30;
const FRAMES_PER_S_MIN = 18;
/**
 * A browser that only receives knows no round trip and repeats a request after 100 ms: what is lost twice or
 * three times leaves a gap that its own statistics call a freeze, at 20 frames a second. A second would mean
 * that the repair came from a keyframe.
 */
const GAP_MS_MAX = 1_000;
/** What is on its way when the reading is taken, or lost several times in a row. */
const MISSING_PERCENT_MAX = 1;
/** What the relay loses begins here. */
const SEED = 20_261;

const WEATHER = (full ? ["VP8", "H264"] : ["VP8"]).flatMap((codec) => [
  { codec, up: 5, down: 0 },
  { codec, up: 0, down: 5 },
]);

let stage;
const taps = [];

before(async () => {
  stage = await raiseCurtain();
});
afterEach(async () => {
  await stage?.clear();
  for (const tap of taps.splice(0)) {
    tap.close();
  }
});
after(async () => {
  await stage?.fall();
});

async function lossy(percent, seed) {
  const tap = await wiretap(stage.node, { loses: losing(percent / 100, seed) });
  taps.push(tap);
  return tap;
}

for (const { codec, up, down } of WEATHER) {
  it(`${codec}: ${up} % lost on the publisher's way and ${down} % on the viewer's are repaired`, async (context) => {
    const room = `loss-${codec}-${up}-${down}`.toLowerCase();
    const [above, below] = [await lossy(up, SEED), await lossy(down, SEED + 1)];
    const publisher = await stage.publish(room, { codec, port: above.port });
    const viewer = await stage.watch(room, { port: below.port });
    await viewer.page.evaluate((frames) => window.harness.settle(frames), SETTLE_FRAMES);
    await viewer.page.evaluate(() => window.harness.tally());
    const { before: start, after: end } = await viewer.page.evaluate((ms) => window.harness.observe(ms), OBSERVE_MS);
    const { longestGapMs } = await viewer.page.evaluate(() => window.harness.tally());
    const { outbound } = await publisher.page.evaluate(() => window.harness.reading());
    const told = JSON.stringify({ longestGapMs, start: start.video, end: end.video, outbound, up: above.counts, down: below.counts });
    context.diagnostic(told);
    const more = (field) => end.video[field] - start.video[field];
    const explained = `${told}\n${tail(stage.node.log, 10)}`;

    assert.ok(more("framesDecoded") >= (FRAMES_PER_S_MIN * OBSERVE_MS) / 1_000, explained);
    assert.ok(longestGapMs < GAP_MS_MAX, explained);
    assert.equal(more("framesDropped"), 0, explained);
    assert.equal(more("pliCount"), 0, `it was a keyframe that repaired: ${explained}`);
    // RFC 4588: what comes by RTX comes on another SSRC, so it stays lost on its own.
    const missing = end.video.packetsLost - end.video.retransmittedPacketsReceived;
    assert.ok(missing <= 1 + (end.video.packetsReceived * MISSING_PERCENT_MAX) / 100, `${missing} are missing: ${explained}`);
    if (up > 0) {
      assert.ok(above.counts.lost > 0, explained);
      assert.ok(outbound.nackCount > 0, `the node asked the publisher for nothing: ${explained}`);
      assert.ok(outbound.retransmittedPacketsSent > 0, explained);
    }
    if (down > 0) {
      assert.ok(below.counts.lost > 0, explained);
      assert.ok(end.video.nackCount > 0, explained);
      assert.ok(end.video.retransmittedPacketsReceived > 0, `nothing came by RTX: ${explained}`);
    }
  });
}
