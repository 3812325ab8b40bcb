// Debian's Firefox ESR, headless with fake devices, driven by WebDriver BiDi: NSS's DTLS, its own ICE agent.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Bidi } from "./bidi.js";

const executablePath = process.env.FIREFOX ?? "/usr/bin/firefox-esr";

/** A cold start on a busy machine. */
const START_MS = 60_000;

const PREFERENCES = {
  "media.navigator.streams.fake": true,
  "media.navigator.permission.disabled": true,
  "media.autoplay.default": 0,
  // Without these a node on 127.0.0.1 cannot be reached, and candidates are names that nobody resolves.
  "media.peerconnection.ice.loopback": true,
  "media.peerconnection.ice.obfuscate_host_addresses": false,
  // H.264 needs a plugin that is downloaded at run time: not from a test.
  "media.gmp-manager.updateEnabled": false,
  "app.update.auto": false,
  "browser.shell.checkDefaultBrowser": false,
  "datareporting.policy.dataSubmissionEnabled": false,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "toolkit.telemetry.enabled": false,
};

export const hasFirefox = () => existsSync(executablePath);

/** Starts a browser with a profile of its own. Resolves to what opens pages in it. */
export async function startFirefox() {
  const profile = mkdtempSync(join(tmpdir(), "lectern-firefox-"));
  const preferences = Object.entries(PREFERENCES).map(
    ([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`,
  );
  writeFileSync(join(profile, "user.js"), preferences.join(""));
  const child = spawn(
    executablePath,
    ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0", "about:blank"],
    // A group of its own: the children of a browser end with it.
    { stdio: ["ignore", "ignore", "pipe"], detached: true, env: { ...process.env, HOME: profile } },
  );
  const exited = once(child, "exit");
  const end = async () => {
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch {
      // It is gone already.
    }
    await exited;
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    const bidi = await Bidi.connect(`${await address(child)}/session`);
    return {
      open: (url) => bidi.open(url),
      async close() {
        bidi.close();
        await end();
      },
    };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Where the browser says that it listens. */
function address(child) {
  const said = [];
  return new Promise((settle, fail) => {
    const timer = setTimeout(() => fail(new Error(`Firefox does not listen:\n${said.join("\n")}`)), START_MS);
    createInterface({ input: child.stderr }).on("line", (line) => {
      said.push(line);
      const [, url] = line.match(/^WebDriver BiDi listening on (ws:\S+)/) ?? [];
      if (url !== undefined) {
        clearTimeout(timer);
        settle(url);
      }
    });
    child.once("exit", (code, signal) => {
      clearTimeout(timer);
      fail(new Error(`Firefox ended (${signal ?? code}):\n${said.join("\n")}`));
    });
  });
}
