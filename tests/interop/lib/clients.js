// Every kind of client that the matrix knows. Each publishes or watches and tells its readings in the
// same terms, so that one test judges all.

import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { hasFirefox, startFirefox } from "./firefox.js";
import { Puppet } from "./puppet.js";

const here = join(import.meta.dirname, "..");
const run = promisify(execFile);
/** As in tally.py. */
const SETTLE_FRAMES = 30;
const venv = join(here, ".venv/bin/python");
/** The bindings of GStreamer are Debian's, for Debian's own interpreter. */
const debian = "/usr/bin/python3";

/**
 * What a watcher counted since it began; `longestGapMs` is of the time since the last reading.
 *
 * @typedef {{frames: number, moved: number, freezes: number, longestGapMs: number, samples: number,
 *   loud: number, codec: string, state: string, cipher?: string}} Reading
 */

function puppeteer(name, command, version, codecs, { reason, ...own } = {}) {
  let turn = 0;
  return {
    name,
    version,
    codecs,
    /** Why the codecs that are missing are. */
    reason,
    async start() {
      const puppets = new Set();
      const play = async (wish) => {
        turn += 1;
        const puppet = new Puppet(command, `client-${name.replaceAll(/[^\w.]/g, "")}-${turn}-${wish.do}`);
        puppets.add(puppet);
        await puppet.ask({ ...own, ...wish });
        return {
          reading: async () => (await puppet.ask({ do: "read" })).reading,
          async leave() {
            puppets.delete(puppet);
            return puppet.end();
          },
        };
      };
      return {
        publish: (wish) => play({ do: "publish", ...wish }),
        watch: (wish) => play({ do: "watch", ...wish }),
        /** Ends what a failed test left. */
        async close() {
          for (const puppet of puppets) {
            puppet.kill();
          }
        },
      };
    },
  };
}

/** @param {(url: string) => Promise<{evaluate: Function, close: () => Promise<unknown>}>} open */
function browser(open, close) {
  const pages = new Set();
  const play = async (method, wish) => {
    const page = await open();
    pages.add(page);
    await page.evaluate(([asked, how]) => window.harness[asked](how), [method, wish]);
    if (method === "watch") {
      await page.evaluate((frames) => window.harness.settle(frames), SETTLE_FRAMES);
    }
    return {
      page,
      reading: () => page.evaluate(() => window.harness.tally()),
      async leave() {
        pages.delete(page);
        await page.evaluate(() => window.harness.leave());
        await page.close();
      },
    };
  };
  return {
    publish: (wish) => play("publish", wish),
    watch: (wish) => play("watch", wish),
    async close() {
      await Promise.all([...pages].map((page) => page.close().catch(() => undefined)));
      await close();
    },
  };
}

export const CHROMIUM = {
  name: "Chromium",
  version: async (stage) => stage.browser.version(),
  codecs: ["VP8", "H264"],
  start: async (stage) =>
    browser(
      async () => {
        const { page, close } = await stage.person();
        return { evaluate: (...given) => page.evaluate(...given), close };
      },
      async () => undefined,
    ),
};

export const FIREFOX = {
  name: "Firefox",
  version: async () => (await run("/usr/bin/firefox-esr", ["--version"])).stdout.match(/[\d.]+\w*/)[0],
  codecs: ["VP8"],
  reason: "Firefox downloads its H.264 plugin at run time",
  missing: () => (hasFirefox() ? null : "firefox-esr is not installed"),
  async start(stage) {
    const firefox = await startFirefox();
    return browser(
      () => firefox.open(`${stage.harness.origin}/`),
      () => firefox.close(),
    );
  },
};

export const AIORTC = {
  ...puppeteer(
    "aiortc",
    [venv, join(here, "clients/on_aiortc.py")],
    async () => (await run(venv, ["-c", "import aiortc; print(aiortc.__version__)"])).stdout.trim(),
    ["VP8", "H264"],
  ),
  missing: () => (existsSync(venv) ? null : "tests/interop/.venv is not there"),
};

const gstreamer = (name, certificate) => ({
  ...puppeteer(
    name,
    [debian, join(here, "clients/on_gstreamer.py")],
    async () => {
      const { stdout } = await run("dpkg-query", ["-W", "-f=${Version}", "gstreamer1.0-plugins-bad"]);
      return stdout.split("-")[0];
    },
    ["VP8", "H264"],
    { certificate },
  ),
  missing: () => (existsSync(debian) ? null : `${debian} is not there`),
});

/** With a certificate made for it. */
export const GSTREAMER = gstreamer("GStreamer", "ecdsa");

/** As it comes: with an RSA certificate of its own making. */
export const GSTREAMER_RSA = gstreamer("GStreamer (RSA)", "rsa");

export const OLDER_LIBWEBRTC = puppeteer(
  "wrtc",
  [process.execPath, join(here, "clients/on_wrtc.js")],
  async () => JSON.parse(readFileSync(join(here, "node_modules/@roamhq/wrtc/package.json"), "utf8")).version,
  ["VP8"],
  { reason: "this build of libwebrtc has no H.264" },
);

export const CLIENTS = [CHROMIUM, FIREFOX, AIORTC, GSTREAMER, OLDER_LIBWEBRTC];
