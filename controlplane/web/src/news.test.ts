import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { listen, type News, newsFrom } from "./news";
import { FakeSource } from "./testing/peer";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

function hear(token: string | null = "secret") {
  const sources: FakeSource[] = [];
  const heard: News[] = [];
  const silence = listen(
    "http://node.test/whep/math-7/main/abc/events",
    token,
    (news) => heard.push(news),
    (url) => {
      const source = new FakeSource(url);
      sources.push(source);
      return source as unknown as EventSource;
    },
  );
  return { sources, heard, silence };
}

it("shows its token where an event source can", () => {
  expect(hear().sources[0]?.url).toBe("http://node.test/whep/math-7/main/abc/events?jwt=secret");
  expect(hear(null).sources[0]?.url).toBe("http://node.test/whep/math-7/main/abc/events");
});

it("hears what it knows, and passes over the rest", () => {
  const { sources, heard } = hear();
  const [source] = sources;
  source?.say("inactive", {});
  source?.say("layers", { tracks: [] });
  source?.say("viewercount", { viewercount: 3, more: true });
  source?.say("viewercount", "{ cut sho");
  source?.say("viewercount", { viewercount: -1 });
  source?.say("reconnect", { reason: "draining" });
  source?.say("active", "[]");
  expect(heard).toEqual([
    { event: "inactive" },
    { event: "viewercount", viewers: 3 },
    { event: "reconnect", reason: "draining" },
    { event: "active" },
  ]);
});

it("takes every reason but a drain for a session that is gone", () => {
  for (const reason of ["media-down", "other-formats", "something-new", undefined]) {
    expect(newsFrom("reconnect", JSON.stringify({ reason }))).toEqual({ event: "reconnect", reason: "gone" });
  }
});

it("leaves a broken connection to the browser, and mends what the browser gives up", async () => {
  const { sources, heard } = hear();
  sources[0]?.dispatchEvent(new Event("error"));
  await vi.advanceTimersByTimeAsync(60_000);
  expect(sources).toHaveLength(1);
  sources[0]?.fail();
  await vi.advanceTimersByTimeAsync(1_250);
  expect(sources).toHaveLength(2);
  sources[1]?.say("active", {});
  expect(heard).toEqual([{ event: "active" }]);
});

it("is silent once it is told to", async () => {
  const { sources, heard, silence } = hear();
  sources[0]?.fail();
  silence();
  sources[0]?.say("active", {});
  await vi.advanceTimersByTimeAsync(60_000);
  expect(sources).toHaveLength(1);
  expect(heard).toEqual([]);
});
