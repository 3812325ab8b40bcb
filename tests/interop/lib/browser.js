// Debian's Chromium, headless, with fake devices, and the harness page in it.

import { createServer } from "node:http";
import { createReadStream, existsSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const harness = join(import.meta.dirname, "../harness");

const FLAGS = [
  "--no-sandbox",
  "--use-fake-ui-for-media-stream",
  "--use-fake-device-for-media-stream",
  "--allow-loopback-in-peer-connection",
  "--disable-background-networking",
  // Pages behind others must draw and decode at full rate: several are open at once.
  "--disable-background-timer-throttling",
  "--disable-backgrounding-occluded-windows",
  "--disable-renderer-backgrounding",
  "--disable-component-update",
  "--disable-default-apps",
  "--disable-extensions",
  "--disable-gpu",
  "--disable-sync",
  "--metrics-recording-only",
  "--mute-audio",
  "--no-first-run",
];

/** Nothing a test waits for takes longer, on a busy machine with a debug build. */
export const DEADLINE_MS = 20_000;

/** @param {{without?: string[], extra?: string[]}} [change] Flags to leave out or to add. */
export async function startBrowser({ without = [], extra = [] } = {}) {
  return chromium.launch({
    executablePath,
    headless: true,
    args: [...FLAGS.filter((flag) => !without.includes(flag)), ...extra],
  });
}

/** Serves `harness/` on loopback: another origin than the node's, so that CORS is part of each test. */
export async function serveHarness() {
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://harness").pathname;
    const file = join(harness, path === "/" ? "index.html" : path);
    if (!/^\/[\w.-]*$/.test(path) || !existsSync(file)) {
      response.writeHead(404).end();
      return;
    }
    const type = file.endsWith(".js") ? "text/javascript" : "text/html; charset=utf-8";
    response.writeHead(200, { "Content-Type": type });
    createReadStream(file).pipe(response);
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", () => listening(undefined)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return { origin: `http://127.0.0.1:${port}`, close: () => server.close() };
}

/**
 * A person's own browser profile with the harness page open.
 *
 * @param {import("playwright-core").Browser} browser
 * @param {string} origin
 */
export async function openPerson(browser, origin) {
  const context = await browser.newContext();
  context.setDefaultTimeout(DEADLINE_MS);
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(`${origin}/`);
  return { page, complaints, close: () => context.close() };
}
