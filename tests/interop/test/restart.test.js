// What happens to a class when its node's processes die or are told to go: a teacher and two students in
// the node's own page.

import assert from "node:assert/strict";
import { after, afterEach, before, it } from "node:test";
import { DEADLINE_MS, startBrowser } from "../lib/browser.js";
import { startNode } from "../lib/node.js";

const ROOM = "restart";
/** The target is 5 s; the rest is for a machine that runs other things too. */
const BACK_MS = 15_000;
/** A quarter of a second at 20 frames a second: two frames late are no gap, five are. */
const GAP_MS = 250;
const ATTEMPTS = 3;

let node;
let browser;
const pages = [];
const complaints = [];

before(async () => {
  node = await startNode({ openTokens: true });
  browser = await startBrowser();
  const teacher = await open(`/publish/${ROOM}`);
  await teacher.getByRole("button", { name: "Go live" }).click();
  await live(teacher);
  pages.push(teacher, await open(`/watch/${ROOM}`), await open(`/watch/${ROOM}`));
  await Promise.all(students().map((student) => shows(student)));
  await Promise.all(students().map((student) => watching(student, 2)));
});
afterEach(() => assert.deepEqual(complaints.splice(0), []));
after(async () => {
  await browser?.close();
  if ((await node?.ended(0)) === null) {
    await node.stop();
  }
});

const students = () => pages.slice(1);

/** A page that keeps its connections and the times of its frames where a test can read them. */
async function open(path) {
  const context = await browser.newContext();
  context.setDefaultTimeout(DEADLINE_MS);
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.addInitScript(() => {
    const made = [];
    const frames = [];
    const curtains = [];
    window.watched = { made, frames, curtains };
    window.RTCPeerConnection = class extends RTCPeerConnection {
      constructor(...args) {
        super(...args);
        made.push(this);
      }
    };
    const follow = (video) => {
      frames.push(performance.timeOrigin + performance.now());
      video.requestVideoFrameCallback(() => follow(video));
    };
    const seen = new WeakSet();
    new MutationObserver(() => {
      const video = document.querySelector("video");
      if (video !== null && !seen.has(video)) {
        seen.add(video);
        video.requestVideoFrameCallback(() => follow(video));
      }
      const words = document.querySelector(".stage-message h2")?.textContent ?? null;
      if (words !== (curtains.at(-1) ?? null)) {
        curtains.push(words);
      }
    }).observe(document, { childList: true, subtree: true, characterData: true });
  });
  await page.goto(new URL(path, node.http).href);
  return page;
}

const live = (page) => page.getByRole("status").filter({ hasText: /^Live$/ }).waitFor();

/** Resolves when the page tells how many watch, as the node counts them. */
const watching = (page, count) => page.getByText(`${count} watching`).waitFor({ state: "attached" });

/** Resolves when the page has shown `count` more frames. */
async function shows(page, count = 20) {
  const before = await page.evaluate(() => window.watched.frames.length);
  await page.waitForFunction((wanted) => window.watched.frames.length >= wanted, before + count);
}

/** Freezes, losses and connections so far; the words that hung before the picture since the last look. */
async function look(page) {
  return page.evaluate(async () => {
    const { made, curtains } = window.watched;
    const open = made.filter(({ connectionState }) => connectionState !== "closed");
    const reports = await Promise.all(open.map((connection) => connection.getStats()));
    const inbound = reports.flatMap((report) => [...report.values()]).filter(({ type }) => type === "inbound-rtp");
    const total = (field) => inbound.reduce((sum, stream) => sum + (stream[field] ?? 0), 0);
    const [freezes, lost] = [total("freezeCount"), total("packetsLost")];
    return { freezes, lost, connections: made.length, words: curtains.splice(0).filter((text) => text !== null) };
  });
}

/** The longest pause between two frames since `sinceMs` (Unix time), and when it ended. */
async function longestGap(page, sinceMs) {
  return page.evaluate((since) => {
    const frames = window.watched.frames.filter((at) => at > since - 100);
    const gaps = frames.slice(1).map((at, index) => ({ ms: at - frames[index], endMs: at - since }));
    return gaps.reduce((longest, gap) => (gap.ms > longest.ms ? gap : longest), { ms: 0, endMs: 0 });
  }, sinceMs);
}

for (const [how, words] of [
  ["SIGKILL", "killed"],
  ["SIGTERM", "replaced, as an upgrade does it"],
]) {
  it(`the control plane is ${words}: nobody in the class notices, and others come in`, async () => {
    // A node that delays frames does so every time. A machine that is too busy to show a quiet class
    // without a pause cannot tell; what was lost is told even there.
    const late = [];
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const quiet = await delaysWhile(async () => undefined);
      const ending = await delaysWhile(async () => {
        const backMs = await node.kill("controlplane", how);
        console.log(`control plane ${how}: ready again after ${backMs.toFixed(0)} ms`);
      });
      if (ending.length === 0) {
        late.splice(0);
        break;
      }
      if (quiet.length === 0) {
        late.push(ending);
      }
    }
    assert.deepEqual(late, []);

    await live(pages[0]);
    const newcomer = await open(`/watch/${ROOM}`);
    await shows(newcomer, 5);
    // Each page hears of it by its own events, which go on where they were.
    await Promise.all(students().map((student) => watching(student, 3)));
    await newcomer.context().close();
    await Promise.all(students().map((student) => watching(student, 2)));
    for (const student of students()) {
      assert.deepEqual((await look(student)).words, [], "something hung before the picture");
    }
  });
}

/** What was late at the students' while `happening` and in the two seconds after; nothing may be lost. */
async function delaysWhile(happening) {
  const before = await Promise.all(students().map(look));
  const sinceMs = Date.now();
  await happening();
  await Promise.all(students().map((student) => shows(student, 40)));
  const late = [];
  for (const [index, student] of students().entries()) {
    const now = await look(student);
    assert.ok(now.lost <= before[index].lost, "packets were lost");
    assert.equal(now.connections, before[index].connections, "the page made a new connection");
    assert.deepEqual(now.words, [], "something hung before the picture");
    const gap = await longestGap(student, sinceMs);
    if (now.freezes > before[index].freezes || gap.ms >= GAP_MS) {
      late.push(`${now.freezes - before[index].freezes} freezes, ${gap.ms.toFixed(0)} ms between two frames`);
    }
  }
  return late;
}

it("the data plane is killed: teacher and students come back by themselves", async () => {
  const before = await Promise.all(students().map(look));
  const sinceMs = Date.now();
  const readyMs = await node.kill("dataplane");
  const back = students().map(async (student, index) => {
    await student.waitForFunction(
      (connections) => window.watched.made.length > connections,
      before[index].connections,
      { timeout: BACK_MS },
    );
    await shows(student);
    return longestGap(student, sinceMs);
  });
  const gaps = await Promise.all(back);
  const endMs = Math.max(...gaps.map((gap) => gap.endMs));
  await live(pages[0]);
  for (const [index, student] of students().entries()) {
    const { words } = await look(student);
    // A picture that is back within a second needs no words.
    assert.ok(words.length > 0 || gaps[index].ms < 1_000, "the break was not explained");
    assert.equal(await student.locator(".stage-message").count(), 0, "the curtain hangs before the picture");
  }
  assert.ok(endMs < BACK_MS, `${endMs.toFixed(0)} ms`);
  console.log(`data plane killed: ready again after ${readyMs.toFixed(0)} ms, every picture back after ${endMs.toFixed(0)} ms`);
});

it("a drain lets the class end in its own time and nobody in; a second SIGTERM ends it", async () => {
  await Promise.all(students().map(look));
  node.terminate();
  await refused();
  for (const { path, role } of [{ path: "whep", role: "student" }, { path: "whip", role: "teacher" }]) {
    const token = await node.token({ role, room: ROOM });
    const response = await post(path, token);
    assert.equal(response.status, 503);
    assert.equal((await response.json()).type, "urn:lectern:problem:draining");
    assert.match(response.headers.get("Retry-After") ?? "", /^\d+$/);
  }
  const readiness = await (await fetch(`http://${node.ready.ops}/readyz`)).json();
  assert.equal(readiness.ready, false);
  assert.equal(readiness.draining, true);

  await Promise.all(students().map((student) => shows(student, 40)));
  for (const student of students()) {
    assert.deepEqual((await look(student)).words, [], "something hung before the picture");
  }
  assert.equal(await node.ended(0), null, "the drain ended with the class still on");
  node.terminate();
  const outcome = await node.ended();
  assert.deepEqual(outcome, { code: 0, signal: null });
  node.tidy();
});

/** Resolves when the control plane knows that the node drains: the data plane tells it. */
async function refused() {
  const deadline = performance.now() + DEADLINE_MS;
  while (performance.now() < deadline) {
    const { draining } = await (await fetch(`http://${node.ready.ops}/readyz`)).json();
    if (draining) {
      return;
    }
    await new Promise((settle) => setTimeout(settle, 20));
  }
  assert.fail("the node never said that it drains");
}

async function post(path, token) {
  const offer = await pages[0].evaluate(async (receives) => {
    const connection = new RTCPeerConnection();
    connection.addTransceiver("video", { direction: receives ? "recvonly" : "sendonly" });
    const { sdp } = await connection.createOffer();
    connection.close();
    return sdp;
  }, path === "whep");
  return fetch(`${node.http}/${path}/${ROOM}`, {
    method: "POST",
    headers: { "Content-Type": "application/sdp", Authorization: `Bearer ${token}` },
    body: offer,
  });
}
