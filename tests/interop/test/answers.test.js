// What the node answers to requests that must not work: the catalogue of domain.md, word for word.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { startNode } from "../lib/node.js";
import { offer } from "../lib/offers.js";

let node;
/** Everything secret that went over the wire; none of it may turn up in an answer or a log. */
const secrets = [];

before(async () => {
  node = await startNode();
});
after(async () => {
  await node?.stop();
});

async function token(role, room) {
  const made = await node.token({ role, room });
  secrets.push(made);
  return made;
}

async function send(method, path, { as, body, type = "application/sdp", headers = {} } = {}) {
  const response = await fetch(new URL(path, node.http), {
    method,
    headers: {
      ...(body === undefined ? {} : { "Content-Type": type }),
      ...(as === undefined ? {} : { Authorization: `Bearer ${as}` }),
      ...headers,
    },
    body,
    // A test of answers does not follow them.
    redirect: "manual",
  });
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** Asserts one row of the catalogue; resolves to its `detail`. */
function assertProblem(answer, slug, status) {
  assert.equal(answer.status, status, answer.text);
  assert.match(answer.headers.get("content-type") ?? "", /^application\/problem\+json/);
  const problem = JSON.parse(answer.text);
  assert.equal(problem.type, `urn:lectern:problem:${slug}`);
  assert.equal(problem.status, status);
  assert.ok(problem.title.length > 0 && problem.detail.length > 0, answer.text);
  for (const secret of secrets) {
    assert.ok(!answer.text.includes(secret), "the answer repeats a token");
  }
  return problem.detail;
}

describe("tokens", () => {
  for (const endpoint of ["whip", "whep"]) {
    const direction = endpoint === "whip" ? "sendonly" : "recvonly";

    it(`${endpoint}: no token is unauthenticated`, async () => {
      assertProblem(await send("POST", `/${endpoint}/math-7`, { body: offer(direction) }), "unauthenticated", 401);
    });

    it(`${endpoint}: a token with another signature is unauthenticated`, async () => {
      const good = await token("teacher", "math-7");
      const [header, claims, signature] = good.split(".");
      const forged = [header, claims, signature.split("").reverse().join("")].join(".");
      assertProblem(await send("POST", `/${endpoint}/math-7`, { as: forged, body: offer(direction) }), "unauthenticated", 401);
    });

    it(`${endpoint}: a token without signature is unauthenticated`, async () => {
      const [, claims] = (await token("teacher", "math-7")).split(".");
      const none = `${Buffer.from('{"alg":"none","typ":"JWT"}').toString("base64url")}.${claims}.`;
      assertProblem(await send("POST", `/${endpoint}/math-7`, { as: none, body: offer(direction) }), "unauthenticated", 401);
    });

    it(`${endpoint}: a token of another room names its room`, async () => {
      const elsewhere = await token("teacher", "art-1");
      const detail = assertProblem(
        await send("POST", `/${endpoint}/math-7`, { as: elsewhere, body: offer(direction) }),
        "wrong-room",
        403,
      );
      assert.match(detail, /art-1/);
    });
  }

  it("a student may not publish, and reads which grant is missing", async () => {
    const student = await token("student", "math-7");
    const detail = assertProblem(
      await send("POST", "/whip/math-7", { as: student, body: offer("sendonly") }),
      "not-allowed",
      403,
    );
    assert.match(detail, /publish/i);
  });
});

describe("offers", () => {
  it("a room nobody publishes in is not live, and says when to ask again", async () => {
    const student = await token("student", "empty");
    for (const path of ["/whep/empty", "/whep/empty/main", "/empty/whep"]) {
      const answer = await send("POST", path, { as: student, body: offer("recvonly") });
      assertProblem(answer, "not-live", 409);
      assert.equal(answer.headers.get("retry-after"), "2", path);
    }
  });

  it("a second publisher of another sub is told that somebody publishes", async () => {
    const [first, second] = [await token("teacher", "taken"), await token("teacher", "taken")];
    const published = await send("POST", "/whip/taken", { as: first, body: offer("sendonly") });
    assert.equal(published.status, 201, published.text);
    const answer = await send("POST", "/whip/taken", { as: second, body: offer("sendonly") });
    assertProblem(answer, "already-publishing", 409);
    assert.equal(answer.headers.get("retry-after"), "2");
    // Another stream of the same room is free.
    const beside = await send("POST", "/whip/taken/board", { as: second, body: offer("sendonly") });
    assert.equal(beside.status, 201, beside.text);
  });

  it("another media type is refused by name", async () => {
    const teacher = await token("teacher", "math-7");
    const answer = await send("POST", "/whip/math-7", { as: teacher, body: "{}", type: "application/json" });
    assert.match(assertProblem(answer, "wrong-type", 415), /application\/sdp/);
  });

  it("what is no SDP is refused with its line", async () => {
    const teacher = await token("teacher", "math-7");
    const broken = offer("sendonly").replace("t=0 0\r\n", "this is no line\r\n");
    const answer = await send("POST", "/whip/math-7", { as: teacher, body: broken });
    assert.match(assertProblem(answer, "bad-sdp", 400), /line 4/i);
    assertProblem(await send("POST", "/whip/math-7", { as: teacher, body: "" }), "bad-sdp", 400);
  });

  it("an SDP beyond 64 KiB and a body beyond 256 KiB are too large", async () => {
    const teacher = await token("teacher", "math-7");
    for (const kib of [65, 257]) {
      const padding = Array.from({ length: kib * 16 }, () => `a=x-padding:${"0".repeat(50)}`);
      const body = offer("sendonly", { extra: padding });
      assert.ok(body.length > kib * 1024);
      assertProblem(await send("POST", "/whip/math-7", { as: teacher, body }), "too-large", 413);
    }
  });

  it("a codec the node does not know is a codec not in common", async () => {
    const [teacher, student] = [await token("teacher", "codecs"), await token("student", "codecs")];
    const published = await send("POST", "/whip/codecs", { as: teacher, body: offer("sendonly") });
    assert.equal(published.status, 201, published.text);
    const answer = await send("POST", "/whep/codecs", { as: student, body: offer("recvonly", { codec: "H265" }) });
    assert.match(assertProblem(answer, "no-common-codec", 422), /VP8/);
  });
});

describe("sessions", () => {
  it("belong to who made them: others may not end them, the owner may once", async () => {
    const [owner, other] = [await token("teacher", "owned"), await token("student", "owned")];
    const published = await send("POST", "/whip/owned", { as: owner, body: offer("sendonly") });
    assert.equal(published.status, 201, published.text);
    const session = published.headers.get("location");
    assert.match(session, /^\/whip\/owned\/main\/[\w-]{16,}$/);
    assert.match(published.headers.get("etag") ?? "", /^"[^"]+"$/);
    assertProblem(await send("DELETE", session), "unauthenticated", 401);
    assertProblem(await send("DELETE", session, { as: other }), "not-allowed", 403);
    assert.equal((await send("DELETE", session, { as: owner })).status, 200);
    assertProblem(await send("DELETE", session, { as: owner }), "unknown-session", 404);
  });

  it("an address nobody was given is unknown", async () => {
    const teacher = await token("teacher", "owned");
    const answer = await send("DELETE", `/whip/owned/main/${"0".repeat(32)}`, { as: teacher });
    assertProblem(answer, "unknown-session", 404);
  });

  it("an answer is whole: ICE-lite, passive, bundled, with every section and candidates", async () => {
    const teacher = await token("teacher", "whole");
    const { text, status, headers } = await send("POST", "/whip/whole", { as: teacher, body: offer("sendonly") });
    assert.equal(status, 201, text);
    assert.equal(headers.get("content-type"), "application/sdp");
    assert.match(text, /^a=ice-lite\r$/m);
    assert.match(text, /^a=group:BUNDLE 0 1\r$/m);
    assert.equal(text.match(/^m=/gm)?.length, 2);
    assert.equal(text.match(/^a=recvonly\r$/gm)?.length, 2);
    assert.equal(text.match(/^a=setup:passive\r$/gm)?.length >= 1, true);
    assert.match(text, /^a=candidate:.* typ host/m);
    assert.match(text, /^a=fingerprint:sha-256 /m);
  });
});

describe("asking before sending", () => {
  it("OPTIONS tells any origin what it may send and read, without a token", async () => {
    for (const path of ["/whip/math-7", "/whep/math-7", "/math-7/whip", "/math-7/whep"]) {
      const { status, headers } = await send("OPTIONS", path, {
        headers: {
          Origin: "https://school.example",
          "Access-Control-Request-Method": "POST",
          "Access-Control-Request-Headers": "authorization,content-type",
        },
      });
      assert.ok(status === 200 || status === 204, `${path}: ${status}`);
      const list = (name) => (headers.get(name) ?? "").toLowerCase();
      assert.equal(list("access-control-allow-origin"), "*");
      for (const method of ["POST", "PATCH", "DELETE"]) {
        assert.match(list("access-control-allow-methods"), new RegExp(method.toLowerCase()));
      }
      for (const header of ["authorization", "content-type", "if-match"]) {
        assert.match(list("access-control-allow-headers"), new RegExp(header));
      }
      assert.match(list("accept-post"), /application\/sdp/);
    }
  });

  it("an answer exposes what a page has to read", async () => {
    const student = await token("student", "empty");
    const { headers } = await send("POST", "/whep/empty", {
      as: student,
      body: offer("recvonly"),
      headers: { Origin: "https://school.example" },
    });
    for (const header of ["location", "etag", "link"]) {
      assert.match((headers.get("access-control-expose-headers") ?? "").toLowerCase(), new RegExp(header));
    }
  });

  it("GET and HEAD of an endpoint are harmless", async () => {
    assert.equal((await send("GET", "/whip/math-7")).status, 204);
    assert.equal((await send("HEAD", "/whip/math-7")).status, 204);
    const whep = await send("HEAD", "/whep/math-7");
    assert.equal(whep.status, 200);
    assert.match(whep.headers.get("content-type") ?? "", /application\/sdp/);
  });
});

it("no token stands in the log", () => {
  const log = readFileSync(node.log, "utf8");
  assert.ok(secrets.length > 10);
  for (const secret of secrets) {
    assert.ok(!log.includes(secret), "the log holds a token");
    assert.ok(!log.includes(secret.split(".")[2]), "the log holds a signature");
  }
});
