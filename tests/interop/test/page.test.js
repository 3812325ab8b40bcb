// The page as people use it: by mouse, by keyboard, on a phone, with and without permission.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, it } from "node:test";
import { DEADLINE_MS, startBrowser } from "../lib/browser.js";
import { writeLesson } from "../lib/lesson.js";
import { artifacts, startNode } from "../lib/node.js";

const DESKTOP = { viewport: { width: 1280, height: 800 } };
const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };
/** Pictures for the documentation on request only: a test run must not change tracked files. */
const forDocumentation = process.env.LECTERN_SCREENSHOTS === "1";
const images = forDocumentation ? join(import.meta.dirname, "../../../docs/images") : join(artifacts, "images");

let node;
let browser;
const contexts = [];
/** What the browser itself complained about: blocked by the content security policy, or thrown. */
const complaints = [];

before(async () => {
  node = await startNode({ openTokens: true });
  // Sound only after a gesture, as people's browsers have it.
  const extra = ["--autoplay-policy=document-user-activation-required"];
  if (forDocumentation) {
    const lesson = join(node.dataDir, "lesson.y4m");
    await writeLesson(lesson);
    extra.push(`--use-file-for-fake-video-capture=${lesson}`);
  }
  browser = await startBrowser({ extra });
});
afterEach(async () => {
  await Promise.all(contexts.splice(0).map((context) => context.close()));
  assert.deepEqual(complaints.splice(0), []);
});
after(async () => {
  await browser?.close();
  await node?.stop();
});

async function open(path, options = DESKTOP, from = browser) {
  const context = await from.newContext(options);
  context.setDefaultTimeout(DEADLINE_MS);
  contexts.push(context);
  const page = await context.newPage();
  if (forDocumentation) {
    // Chromium calls the camera by its file and the microphone a fake.
    await page.addInitScript(() => {
      if (!window.isSecureContext) {
        return;
      }
      const label = Object.getOwnPropertyDescriptor(MediaDeviceInfo.prototype, "label");
      Object.defineProperty(MediaDeviceInfo.prototype, "label", {
        get() {
          const names = { videoinput: "Classroom camera", audioinput: "Classroom microphone" };
          return names[this.kind] ?? label.get.call(this);
        },
      });
    });
  }
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    if (/Content.Security.Policy/i.test(message.text())) {
      complaints.push(message.text());
    }
  });
  await page.goto(new URL(path, node.http).href);
  return page;
}

/**
 * Opens a page as somebody who has not touched it yet, and waits until the browser holds its sound back.
 * Everything Playwright evaluates in a page counts as a touch: the page itself has to tell.
 */
async function openUntouched(path) {
  const context = await browser.newContext(DESKTOP);
  context.setDefaultTimeout(DEADLINE_MS);
  contexts.push(context);
  const page = await context.newPage();
  await page.addInitScript(() => {
    const held = () => document.querySelector(".stage-unmute") !== null;
    new MutationObserver(() => held() && console.log("sound is held back")).observe(document, {
      childList: true,
      subtree: true,
    });
  });
  const told = page.waitForEvent("console", { predicate: (message) => message.text() === "sound is held back" });
  await page.goto(new URL(path, node.http).href);
  await told;
  return page;
}

async function picture(page, name) {
  mkdirSync(images, { recursive: true });
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: join(images, `${name}.png`) });
}

/** Resolves when the page's own video has shown `frames` more frames. */
async function shows(page, frames = 20) {
  await page.waitForFunction(
    async (count) => {
      const video = document.querySelector("video");
      for (let shown = 0; video !== null && shown < count; shown += 1) {
        await new Promise((settle) => video.requestVideoFrameCallback(settle));
      }
      return video !== null;
    },
    frames,
  );
}

const live = (page) => page.getByRole("status").filter({ hasText: /^Live$/ }).waitFor();
const goLive = (page) => page.getByRole("button", { name: "Go live" }).click();

async function fits(page) {
  const { scroll, width } = await page.evaluate(() => ({
    scroll: document.documentElement.scrollWidth,
    width: document.documentElement.clientWidth,
  }));
  assert.ok(scroll <= width, `${page.url()}: ${scroll} px of content in ${width} px`);
}

/** Every control says what it is to those who do not see it. */
async function speaks(page) {
  const session = await page.context().newCDPSession(page);
  const { nodes } = await session.send("Accessibility.getFullAXTree");
  const controls = ["button", "link", "textbox", "combobox", "slider", "radio", "meter"];
  const silent = nodes.filter(
    ({ role, name, ignored }) => !ignored && controls.includes(role?.value) && !name?.value?.trim(),
  );
  assert.deepEqual(silent.map(({ role }) => role.value), [], page.url());
}

describe("a class", () => {
  it("is published and watched by clicking, and ends as gently as it began", async () => {
    const teacher = await open("/");
    await picture(teacher, "home-desktop");
    await teacher.getByRole("textbox", { name: "Room" }).fill("math-7");
    await teacher.getByRole("button", { name: /^Publish here/ }).click();
    await teacher.waitForURL(/\/publish\/math-7#token=/);
    await goLive(teacher);
    await live(teacher);

    const link = await teacher.getByRole("textbox", { name: "Link for viewers" }).inputValue();
    assert.match(link, /\/watch\/math-7#token=/);
    const student = await openUntouched(link);
    await student.getByRole("button", { name: "Tap for sound" }).click();
    await shows(student, 60);
    assert.equal(await student.evaluate(() => document.querySelector("video").muted), false);
    await student.getByText("Connection quality: Good").waitFor({ state: "attached" });
    await student.getByText("VP8", { exact: true }).waitFor();
    await shows(teacher, 5);
    await teacher.getByText("Resolution").waitFor();
    if (forDocumentation) {
      await student.getByText("1280 × 720").waitFor({ timeout: 60_000 });
    }
    await picture(teacher, "publish-desktop");
    await picture(student, "watch-desktop");
    await Promise.all([speaks(teacher), speaks(student)]);

    await teacher.getByRole("button", { name: "Stop", exact: true }).click();
    await teacher.getByRole("button", { name: "Go live" }).waitFor();
    await student.getByText(/The picture has stopped|The teacher is away/).waitFor();
    await goLive(teacher);
    await live(teacher);
    await student.getByText(/The picture has stopped|The teacher is away|Reconnecting/).waitFor({ state: "hidden", timeout: 60_000 });
    await shows(student);
  });

  it("is waited for: who comes too early sees it begin without doing anything", async () => {
    const student = await open("/watch/early");
    await student.getByRole("heading", { name: "Waiting for the class to begin" }).waitFor();
    await picture(student, "waiting-desktop");
    await speaks(student);
    const teacher = await open("/publish/early");
    await goLive(teacher);
    await live(teacher);
    await shows(student);
  });

  it("needs no mouse", async () => {
    const teacher = await open("/");
    await reach(teacher, "Room");
    await teacher.keyboard.press("ControlOrMeta+a");
    await teacher.keyboard.type("keys");
    await teacher.keyboard.press("Enter");
    await teacher.waitForURL(/\/publish\/keys#token=/);
    await teacher.getByRole("button", { name: "Go live" }).and(teacher.locator(":enabled")).waitFor();
    await reach(teacher, "Mute microphone");
    await teacher.keyboard.press("Space");
    await reach(teacher, "Go live");
    await teacher.keyboard.press("Enter");
    await live(teacher);

    const student = await openUntouched("/watch/keys");
    await shows(student, 5);
    await reach(student, "Tap for sound");
    await student.keyboard.press("Enter");
    await reach(student, "Volume");
    await student.keyboard.press("ArrowLeft");
    assert.equal(await student.getByRole("slider", { name: "Volume" }).inputValue(), "99");
    await reach(student, "Full screen");
    await student.keyboard.press("Enter");
    await student.waitForFunction(() => document.fullscreenElement !== null);
    await student.keyboard.press("Enter");
    await student.waitForFunction(() => document.fullscreenElement === null);
    await reach(student, "Leave");
    await student.keyboard.press("Enter");
    await student.getByRole("heading", { name: "You have left the class" }).waitFor();
  });

  it("is published in the codec that was chosen", async () => {
    const teacher = await open("/publish/codec");
    await teacher.getByRole("radio", { name: /VP9/ }).check();
    await goLive(teacher);
    await live(teacher);
    const student = await open("/watch/codec");
    await shows(student);
    await student.getByText("VP9", { exact: true }).waitFor();
  });
});

/** Presses Tab until the control of this name has the focus. */
async function reach(page, name) {
  for (let presses = 0; presses < 40; presses += 1) {
    await page.keyboard.press("Tab");
    const focused = await page.evaluate(() => {
      const element = document.activeElement;
      return element?.getAttribute("aria-label") ?? element?.labels?.[0]?.textContent ?? element?.textContent ?? "";
    });
    if (focused === name) {
      return;
    }
  }
  assert.fail(`Tab never reached ${name} on ${page.url()}`);
}

describe("a phone of 360 px", () => {
  it("holds every page without scrolling sideways, in both directions of writing", async () => {
    for (const search of ["", "?pseudo"]) {
      const suffix = search === "" ? "phone" : "pseudo";
      const home = await open(`/${search}`, PHONE);
      await fits(home);
      const teacher = await open(`/publish/${suffix}${search}`, PHONE);
      await teacher.locator(".controls-main:enabled").tap();
      await teacher.locator(".badge-live").waitFor();
      await shows(teacher, 5);
      await teacher.locator(".reading").first().waitFor();
      await fits(teacher);
      const student = await open(`/watch/${suffix}${search}`, PHONE);
      await shows(student, 60);
      await student.locator(".reading").first().waitFor();
      await fits(student);
      assert.equal(await student.evaluate(() => document.documentElement.dir), search === "" ? "ltr" : "rtl");
      if (search === "") {
        await student.getByText("VP8", { exact: true }).waitFor();
        await picture(home, "home-phone");
        await picture(teacher, "publish-phone");
        await picture(student, "watch-phone");
      }
    }
  });

  it("shows a dark page to who prefers it, and no movement to who does not", async () => {
    const dark = await open("/watch/nobody", { ...DESKTOP, colorScheme: "dark", reducedMotion: "reduce" });
    await dark.getByRole("heading", { name: "Waiting for the class to begin" }).waitFor();
    const { ground, animation } = await dark.evaluate(() => ({
      ground: getComputedStyle(document.body).backgroundColor,
      animation: getComputedStyle(document.querySelector(".waiting span")).animationName,
    }));
    assert.equal(ground, "rgb(20, 21, 23)");
    assert.equal(animation, "none");
    await picture(dark, "waiting-dark");
  });
});

describe("when something is in the way", () => {
  it("a camera that was denied is explained, with the way out", async () => {
    const strict = await startBrowser({ without: ["--use-fake-ui-for-media-stream"] });
    try {
      const context = { ...DESKTOP, permissions: [] };
      const teacher = await open("/publish/denied", context, strict);
      await teacher.getByRole("button", { name: "Use camera and microphone" }).click();
      await teacher.getByRole("alert").getByText(/Allow them in the site settings/).waitFor();
      assert.equal(await teacher.getByRole("button", { name: "Go live" }).isDisabled(), true);
      await picture(teacher, "denied-desktop");
      contexts.splice(0);
    } finally {
      await strict.close();
    }
  });

  it("a page that is not secure is told that the camera needs https:// or localhost", async () => {
    const mapped = await startBrowser({ extra: ["--host-resolver-rules=MAP school.example 127.0.0.1"] });
    try {
      const { port } = new URL(node.http);
      const token = await node.token({ role: "teacher", room: "plain" });
      const teacher = await open(`http://school.example:${port}/publish/plain#token=${token}`, DESKTOP, mapped);
      await teacher.getByRole("button", { name: "Use camera and microphone" }).click();
      await teacher.getByRole("alert").getByText(/The camera needs https:\/\/ or localhost/).waitFor();
      contexts.splice(0);
    } finally {
      await mapped.close();
    }
  });

  it("a link of another room says so in the node's words", async () => {
    const token = await node.token({ role: "student", room: "art-1" });
    const student = await open(`/watch/math-7#token=${token}`);
    const alert = student.getByRole("alert");
    await alert.getByText("Your link belongs to another room.").waitFor();
    await alert.getByText(/art-1/).waitFor();
  });

  it("a second teacher is told that somebody publishes already", async () => {
    const first = await open("/publish/taken");
    await goLive(first);
    await live(first);
    const second = await open("/publish/taken");
    await goLive(second);
    await second.getByRole("alert").getByText("Somebody is publishing in this room already.").waitFor();
  });

  it("a node that hands out no tokens asks for one", async () => {
    const closed = await startNode();
    try {
      const student = await open(`${closed.http}/watch/math-7`);
      await student.getByRole("heading", { name: "This room needs a token" }).waitFor();
      await student.getByRole("textbox", { name: "Token or link" }).fill("nonsense here");
      await student.getByRole("button", { name: "Continue" }).click();
      await student.getByRole("alert").getByText(/This holds no token/).waitFor();
      const token = await closed.token({ role: "student", room: "math-7" });
      await student.getByRole("textbox", { name: "Token or link" }).fill(`${closed.http}/watch/math-7#token=${token}`);
      await student.getByRole("button", { name: "Continue" }).click();
      await student.getByRole("heading", { name: "Waiting for the class to begin" }).waitFor();
      await Promise.all(contexts.splice(0).map((context) => context.close()));
    } finally {
      await closed.stop();
    }
  });
});
