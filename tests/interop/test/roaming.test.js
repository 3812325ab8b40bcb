// A browser moves while it publishes or watches: its NAT forgets it, its network goes away and another
// takes its place. The call goes on.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, it } from "node:test";
import { full, raiseCurtain } from "../lib/cast.js";
import { wiretap } from "../lib/wiretap.js";

/** So many frames after a move mean that the picture is back for good: more than any buffer holds. */
const FRAMES = full ? 60 : 30;
const MOVERS = full ? ["publisher", "viewer"] : ["viewer"];

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

async function tap() {
  const made = await wiretap(stage.node);
  taps.push(made);
  return made;
}

/** A publisher and a viewer, of whom one reaches the node through a wiretap. */
async function call(room, mover) {
  const way = await tap();
  const through = (who) => (who === mover ? { port: way.port } : {});
  const publisher = await stage.publish(room, through("publisher"));
  const viewer = await stage.watch(room, through("viewer"));
  await frames(viewer);
  return { way, viewer, moves: mover === "publisher" ? publisher : viewer };
}

/** The viewer shows `FRAMES` more frames, in time. */
const frames = ({ page }) => page.evaluate((count) => window.harness.settle(count), FRAMES);

for (const mover of MOVERS) {
  describe(`the ${mover}`, () => {
    it("is followed when its NAT gives it another port (contracts.md 5)", async () => {
      const { way, viewer } = await call(`nat-${mover}`, mover);
      const before = way.counts.passed;
      way.rebind();
      await frames(viewer);
      assert.ok(way.counts.passed - before > FRAMES, "the media goes another way");
    });

    it("goes on over another network after an ICE restart by PATCH (RFC 9725 section 4.3.2)", async () => {
      const { way, viewer, moves } = await call(`restart-${mover}`, mover);
      // A refused restart changes nothing.
      const stale = { port: way.port, ifMatch: '"of another time"' };
      const refused = await moves.page.evaluate((wish) => window.harness.restart(wish), stale);
      assert.equal(refused.status, 412);
      await frames(viewer);

      const other = await tap();
      way.cut();
      const restarted = await moves.page.evaluate((wish) => window.harness.restart(wish), { port: other.port });
      assert.equal(restarted.status, 200);
      assert.notEqual(restarted.etag, moves.etag);
      await frames(viewer);
      assert.ok(other.counts.passed > FRAMES, `${other.counts.passed} datagrams went the new way`);
      // RFC 9725 section 4.3.1: a known ufrag only adds candidates, of the session that the ETag names.
      const trickled = await moves.page.evaluate(() => window.harness.trickle());
      assert.deepEqual(trickled, { status: 204, etag: null });
    });
  });
}
