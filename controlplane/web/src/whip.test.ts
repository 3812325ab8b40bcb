import { afterEach, expect, it, vi } from "vitest";
import { created, FakePeer, fakeFetch, problem } from "./testing/peer";
import { Whip, type WhipOptions } from "./whip";

afterEach(() => vi.unstubAllGlobals());

const microphone = { kind: "audio", label: "microphone" } as MediaStreamTrack;
const camera = { kind: "video", label: "camera" } as MediaStreamTrack;

function prepare(...answers: (Response | Error)[]) {
  const { fetch, requests } = fakeFetch(...answers);
  vi.stubGlobal("fetch", fetch);
  const peer = new FakePeer();
  const options: WhipOptions = {
    url: "http://node.test/whip/math-7",
    token: "secret",
    audio: microphone,
    video: camera,
    codec: null,
    videoBitrateMax: 2_500_000,
    connect: () => peer.asConnection(),
  };
  return { options, peer, requests };
}

it("offers sound first, then the picture under its ceiling, to send only", async () => {
  const { options, peer } = prepare(created("/whip/math-7/main/abc"));
  await Whip.publish(options);
  expect(peer.transceivers.map(({ kind, init }) => ({ kind, ...init }))).toEqual([
    { kind: "audio", direction: "sendonly" },
    { kind: "video", direction: "sendonly", sendEncodings: [{ maxBitrate: 2_500_000 }] },
  ]);
});

it("publishes sound alone when there is no camera", async () => {
  const { options, peer } = prepare(created("/x"));
  const whip = await Whip.publish({ ...options, video: null });
  expect(peer.transceivers.map(({ kind }) => kind)).toEqual(["audio"]);
  expect(whip.carries("audio")).toBe(true);
  expect(whip.carries("video")).toBe(false);
});

it("changes camera for screen without a new offer", async () => {
  const { options, peer, requests } = prepare(created("/x"));
  const whip = await Whip.publish(options);
  const screen = { kind: "video", label: "screen" } as MediaStreamTrack;
  await whip.replace("video", screen);
  expect(peer.transceivers.map(({ sender }) => sender.track)).toEqual([microphone, screen]);
  expect(requests).toHaveLength(1);
});

it("leaves no connection behind when the node refuses", async () => {
  const { options, peer } = prepare(problem("already-publishing", 409, "Ada publishes here.", "2"));
  await expect(Whip.publish(options)).rejects.toMatchObject({ slug: "already-publishing" });
  expect(peer.connectionState).toBe("closed");
});

it("stops once, however often it is told to", async () => {
  const { options, peer, requests } = prepare(created("/whip/math-7/main/abc"), new Response(null, { status: 200 }));
  const whip = await Whip.publish(options);
  await Promise.all([whip.stop(), whip.stop()]);
  expect(requests.map(({ method, url }) => `${method} ${url}`)).toEqual([
    "POST http://node.test/whip/math-7",
    "DELETE http://node.test/whip/math-7/main/abc",
  ]);
  expect(peer.connectionState).toBe("closed");
});
