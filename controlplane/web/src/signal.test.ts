import { afterEach, describe, expect, it, vi } from "vitest";
import { Problem } from "./problem";
import { BrokenAnswer, deleteSession, negotiate, parseIceServers, postOffer, sessionLives } from "./signal";
import { created, FakePeer, fakeFetch, problem } from "./testing/peer";

afterEach(() => vi.unstubAllGlobals());

function serve(...answers: (Response | Error)[]) {
  const { fetch, requests } = fakeFetch(...answers);
  vi.stubGlobal("fetch", fetch);
  return requests;
}

const endpoint = { url: "http://node.test/whip/math-7", token: "secret" };

describe("posting an offer", () => {
  it("sends the SDP with the token and resolves the session's path", async () => {
    const requests = serve(created("/whip/math-7/main/abc"));
    const session = await postOffer(endpoint, "v=0 offer");
    expect(requests).toEqual([
      {
        method: "POST",
        url: "http://node.test/whip/math-7",
        headers: { "content-type": "application/sdp", authorization: "Bearer secret" },
        body: "v=0 offer",
        keepalive: false,
      },
    ]);
    expect(session.resource).toBe("http://node.test/whip/math-7/main/abc");
    expect(session.answer).toBe("v=0 answer");
  });

  it("finds the events of the session beside its ICE servers", async () => {
    const events = '</whep/math-7/main/abc/events>; rel="urn:ietf:params:whep:ext:core:server-sent-events"; events="active,inactive"';
    serve(
      created("/whep/math-7/main/abc", { Link: `<stun:stun.example:3478>; rel="ice-server", ${events}` }),
      created("/whep/math-7/main/abc"),
    );
    const session = await postOffer(endpoint, "v=0 offer");
    expect(session.events).toBe("http://node.test/whep/math-7/main/abc/events");
    expect(session.iceServers).toEqual([{ urls: "stun:stun.example:3478" }]);
    expect((await postOffer(endpoint, "v=0 offer")).events).toBeNull();
  });

  it("sends no header where there is no token", async () => {
    const requests = serve(created("/x"));
    await postOffer({ ...endpoint, token: null }, "v=0 offer");
    expect(requests[0]?.headers).not.toHaveProperty("authorization");
  });

  it("rejects with the node's own words", async () => {
    serve(problem("wrong-room", 403, "This token is for room art-1."));
    const error = await postOffer(endpoint, "v=0 offer").catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(Problem);
    expect(error).toMatchObject({
      slug: "wrong-room",
      status: 403,
      detail: "This token is for room art-1.",
      retryAfterS: null,
      transient: false,
    });
  });

  it("reads how long to wait while nobody publishes", async () => {
    serve(problem("not-live", 409, "Nobody publishes here.", "2"));
    await expect(postOffer(endpoint, "v=0 offer")).rejects.toMatchObject({
      slug: "not-live",
      retryAfterS: 2,
      transient: true,
    });
  });

  it("survives a proxy's page in the place of a problem", async () => {
    serve(new Response("<h1>Bad Gateway</h1>", { status: 502, headers: { "Content-Type": "text/html" } }));
    await expect(postOffer(endpoint, "v=0 offer")).rejects.toMatchObject({ slug: "", status: 502, detail: "" });
  });

  it("survives a problem cut short", async () => {
    serve(new Response('{"type":', { status: 500, headers: { "Content-Type": "application/problem+json" } }));
    await expect(postOffer(endpoint, "v=0 offer")).rejects.toMatchObject({ slug: "", status: 500 });
  });

  it("refuses a success that names no session", async () => {
    serve(new Response("v=0 answer", { status: 201 }));
    await expect(postOffer(endpoint, "v=0 offer")).rejects.toBeInstanceOf(BrokenAnswer);
  });

  it("takes only 201 for success", async () => {
    serve(new Response("v=0 answer", { status: 200, headers: { Location: "/x" } }));
    await expect(postOffer(endpoint, "v=0 offer")).rejects.toMatchObject({ status: 200 });
  });
});

describe("asking after a session", () => {
  it("believes a no, and nothing less", async () => {
    const resource = "http://node.test/whip/math-7/main/abc";
    const requests = serve(
      new Response(null, { status: 204 }),
      problem("unknown-session", 404, "There is no such session."),
      problem("media-down", 503, "Back in a moment."),
      new TypeError("Failed to fetch"),
    );
    const answers = [];
    for (let asked = 0; asked < 4; asked += 1) {
      answers.push(await sessionLives(resource, "secret"));
    }
    expect(answers).toEqual([true, false, null, null]);
    expect(requests[0]).toMatchObject({ method: "GET", headers: { authorization: "Bearer secret" } });
  });
});

describe("ending a session", () => {
  it("outlives the page and carries the token", async () => {
    const requests = serve(new Response(null, { status: 200 }));
    await deleteSession("http://node.test/whip/math-7/main/abc", "secret");
    expect(requests[0]).toMatchObject({
      method: "DELETE",
      keepalive: true,
      headers: { authorization: "Bearer secret" },
    });
  });

  it("asks a node that starts again a few times more, and does not mind one that is gone", async () => {
    vi.useFakeTimers();
    try {
      const down = () => new TypeError("Failed to fetch");
      const requests = serve(down(), problem("media-down", 503, "Back in a moment.", "1"), new Response(null));
      const ended = deleteSession("http://node.test/x", null);
      await vi.advanceTimersByTimeAsync(3_000);
      await ended;
      expect(requests).toHaveLength(3);

      const unheard = serve(down(), down(), down());
      const given = deleteSession("http://node.test/x", null);
      await vi.runAllTimersAsync();
      await given;
      expect(unheard).toHaveLength(3);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("ICE servers", () => {
  const cases: [name: string, header: string | null, expected: RTCIceServer[]][] = [
    ["no header", null, []],
    ["one STUN server", '<stun:stun.example.net>; rel="ice-server"', [{ urls: "stun:stun.example.net" }]],
    [
      "several headers joined by fetch",
      '<stun:stun.example.net>; rel="ice-server", <turn:turn.example.net?transport=tcp>; rel="ice-server"; username="1700000000:u-17"; credential="a+b/c="; credential-type="password"',
      [
        { urls: "stun:stun.example.net" },
        { urls: "turn:turn.example.net?transport=tcp", username: "1700000000:u-17", credential: "a+b/c=" },
      ],
    ],
    ["parameters without quotes", "<stun:stun.example.net>;rel=ice-server", [{ urls: "stun:stun.example.net" }]],
    ["an escaped quote", '<turn:t>; rel="ice-server"; username="a\\"b"; credential="c"', [
      { urls: "turn:t", username: 'a"b', credential: "c" },
    ]],
    ["another relation", '<https://example.net/docs>; rel="help", <stun:s>; rel="ice-server"', [{ urls: "stun:s" }]],
    ["a scheme that is no ICE server", '<javascript:alert(1)>; rel="ice-server"', []],
  ];
  it.each(cases)("%s", (_name, header, expected) => {
    expect(parseIceServers(header)).toEqual(expected);
  });
});

describe("negotiating", () => {
  it("starts to gather only when it knows the ICE servers", async () => {
    serve(created("/x", { Link: '<stun:stun.example.net>; rel="ice-server"' }));
    const peer = new FakePeer({ bundlePolicy: "max-bundle" });
    await negotiate(peer.asConnection(), endpoint);
    expect(peer.done).toEqual(["createOffer", "setConfiguration", "local offer", "remote v=0 answer"]);
    expect(peer.configuration).toEqual({
      bundlePolicy: "max-bundle",
      iceServers: [{ urls: "stun:stun.example.net" }],
    });
  });

  it("gives the session back when the answer cannot be applied", async () => {
    const answer = new Response("broken", { status: 201, headers: { Location: "/whip/math-7/main/abc" } });
    const requests = serve(answer, new Response(null, { status: 200 }));
    await expect(negotiate(new FakePeer().asConnection(), endpoint)).rejects.toThrow("Failed to parse");
    expect(requests[1]).toMatchObject({ method: "DELETE", url: "http://node.test/whip/math-7/main/abc" });
  });
});
