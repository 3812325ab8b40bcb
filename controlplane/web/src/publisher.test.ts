import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { News } from "./news";
import { Problem } from "./problem";
import { Publisher, type PublisherState } from "./publisher";
import { FakePeer } from "./testing/peer";
import type { Whip } from "./whip";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const taken = new Problem("already-publishing", 409, "Ada publishes here.", 2);

/** A publisher whose attempts end as told, one after the other. */
function publish(...outcomes: ("publishes" | Error)[]) {
  const states: PublisherState[] = [];
  const peers: FakePeer[] = [];
  let attempts = 0;
  let stops = 0;
  const ears: ((news: News) => void)[] = [];
  const viewers: (number | null)[] = [];
  const known = { lives: true as boolean | null, asked: 0 };
  const publisher = new Publisher({
    publish: async () => {
      attempts += 1;
      const outcome = outcomes.shift() ?? "publishes";
      if (outcome !== "publishes") {
        throw outcome;
      }
      const peer = new FakePeer();
      peers.push(peer);
      const stop = async () => {
        stops += 1;
      };
      const listen = (onNews: (news: News) => void) => {
        ears.push(onNews);
      };
      const lives = async () => {
        known.asked += 1;
        return known.lives;
      };
      return { connection: peer.asConnection(), stop, listen, lives } as unknown as Whip;
    },
    onState: (state) => states.push(state),
    onViewers: (count) => viewers.push(count),
    now: () => Date.now(),
    random: () => 0,
  });
  return {
    publisher,
    peers,
    phases: () => states.map(({ phase }) => phase),
    state: () => states.at(-1),
    attempts: () => attempts,
    stops: () => stops,
    viewers,
    known,
    hears: (news: News, session = 0) => ears[session]?.(news),
  };
}

it("is live from the moment the path stands", async () => {
  const story = publish();
  await story.publisher.start();
  expect(story.phases()).toEqual(["connecting"]);
  story.peers[0]?.become("connected");
  expect(story.state()).toEqual({ phase: "live", sinceMs: Date.now() });
});

it("tells at once why a first attempt failed", async () => {
  const story = publish(taken);
  await story.publisher.start();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(story.attempts()).toBe(1);
  expect(story.state()).toEqual({ phase: "failed", why: { kind: "refused", problem: taken } });
});

it("names a firewall when the node answers and no path opens", async () => {
  const story = publish();
  await story.publisher.start();
  await vi.advanceTimersByTimeAsync(12_000);
  expect(story.state()).toEqual({ phase: "failed", why: { kind: "blocked" } });
  expect(story.stops()).toBe(1);
});

it("brings a live session back, even while the node still holds the old one", async () => {
  const story = publish("publishes", new TypeError("Failed to fetch"), taken, "publishes");
  await story.publisher.start();
  const sinceMs = Date.now();
  story.peers[0]?.become("connected");
  story.peers[0]?.become("failed");
  await vi.advanceTimersByTimeAsync(1_000 + 1_500 + 2_250);
  story.peers[1]?.become("connected");
  expect(story.phases()).toEqual(["connecting", "live", "reconnecting", "reconnecting", "reconnecting", "live"]);
  // The clock on the badge goes on: for the class it is one lesson.
  expect(story.state()).toEqual({ phase: "live", sinceMs });
});

it("stops trying when the right to publish is gone", async () => {
  const expired = new Problem("token-expired", 401, "Expired at 10:00.", null);
  const story = publish("publishes", expired);
  await story.publisher.start();
  story.peers[0]?.become("connected");
  story.peers[0]?.become("failed");
  await vi.advanceTimersByTimeAsync(60_000);
  expect(story.attempts()).toBe(2);
  expect(story.state()).toEqual({ phase: "failed", why: { kind: "refused", problem: expired } });
});

it("ends a session that was on its way when the user stopped", async () => {
  const story = publish();
  const starting = story.publisher.start();
  story.publisher.stop();
  await starting;
  expect(story.stops()).toBe(1);
  expect(story.phases()).toEqual(["connecting", "idle"]);
});

/** Reads statistics twice a second, as the page does; nothing comes from the node. */
async function silence(story: ReturnType<typeof publish>, ms: number) {
  for (let waited = 0; waited < ms; waited += 500) {
    await vi.advanceTimersByTimeAsync(500);
    story.publisher.onProgress(1_000);
  }
}

it("notices a node that has lost its media long before ICE does", async () => {
  const story = publish();
  await story.publisher.start();
  const sinceMs = Date.now();
  story.peers[0]?.become("connected");
  story.publisher.onProgress(1_000);
  story.known.lives = false;
  await silence(story, 1_500);
  await vi.advanceTimersByTimeAsync(0);
  story.peers[1]?.become("connected");
  expect(story.phases()).toEqual(["connecting", "live", "reconnecting", "live"]);
  expect(story.state()).toEqual({ phase: "live", sinceMs });
  expect(story.stops()).toBe(1);
});

it("goes on through the restart of a control plane that cannot be asked", async () => {
  const story = publish();
  await story.publisher.start();
  story.peers[0]?.become("connected");
  story.publisher.onProgress(1_000);
  story.known.lives = null;
  await silence(story, 3_000);
  expect(story.known.asked).toBe(2);
  story.known.lives = true;
  await silence(story, 3_000);
  expect(story.attempts()).toBe(1);
  expect(story.phases()).toEqual(["connecting", "live"]);
});

it("does not trouble the node while it reports", async () => {
  const story = publish();
  await story.publisher.start();
  story.peers[0]?.become("connected");
  for (let bytes = 1; bytes < 20; bytes += 1) {
    await vi.advanceTimersByTimeAsync(500);
    story.publisher.onProgress(bytes);
  }
  expect(story.known.asked).toBe(0);
});

it("publishes anew at once when the node says that the session is gone, and stays when it drains", async () => {
  const story = publish();
  await story.publisher.start();
  story.peers[0]?.become("connected");
  story.hears({ event: "viewercount", viewers: 3 });
  story.hears({ event: "reconnect", reason: "draining" });
  await vi.advanceTimersByTimeAsync(60_000);
  expect(story.attempts()).toBe(1);
  story.hears({ event: "reconnect", reason: "gone" });
  await vi.advanceTimersByTimeAsync(0);
  expect(story.attempts()).toBe(2);
  expect(story.viewers).toEqual([null, 3, null]);
});
