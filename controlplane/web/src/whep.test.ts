import { afterEach, expect, it, vi } from "vitest";
import { created, FakePeer, fakeFetch, problem } from "./testing/peer";
import { Whep } from "./whep";

afterEach(() => vi.unstubAllGlobals());

function prepare(...answers: (Response | Error)[]) {
  const { fetch, requests } = fakeFetch(...answers);
  vi.stubGlobal("fetch", fetch);
  const peer = new FakePeer();
  const options = {
    url: "http://node.test/whep/math-7",
    token: "secret",
    connect: () => peer.asConnection(),
  };
  return { options, peer, requests };
}

it("asks to receive one sound and one picture, and hands over their tracks", async () => {
  const { options, peer } = prepare(created("/whep/math-7/main/abc"));
  const whep = await Whep.watch(options);
  expect(peer.transceivers.map(({ kind, init }) => ({ kind, ...init }))).toEqual([
    { kind: "audio", direction: "recvonly" },
    { kind: "video", direction: "recvonly" },
  ]);
  expect(whep.tracks.map(({ kind }) => kind)).toEqual(["audio", "video"]);
});

it("leaves no connection behind while the class has not begun", async () => {
  const { options, peer } = prepare(problem("not-live", 409, "Nobody publishes here.", "2"));
  await expect(Whep.watch(options)).rejects.toMatchObject({ slug: "not-live", retryAfterS: 2 });
  expect(peer.connectionState).toBe("closed");
});

it("leaves once, however often it is told to", async () => {
  const { options, requests } = prepare(created("/whep/math-7/main/abc"), new Response(null, { status: 200 }));
  const whep = await Whep.watch(options);
  await Promise.all([whep.stop(), whep.stop()]);
  expect(requests.map(({ method }) => method)).toEqual(["POST", "DELETE"]);
});
