// `lectern up` from its ready line to Ctrl-C.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { it } from "node:test";
import { startNode } from "../lib/node.js";

/** Both processes start within a quarter of a second; the rest is for a busy machine. */
const BACK_MS = 3_000;

it("tells where everything is in one line, and Ctrl-C leaves nothing behind", async () => {
  const node = await startNode();
  const { ready } = node;
  assert.deepEqual(Object.keys(ready).sort(), ["data_dir", "http", "links", "media", "media_ops", "ops", "pids", "version"]);
  for (const origin of [ready.ops, ready.media_ops]) {
    const url = origin.startsWith("http") ? origin : `http://${origin}`;
    assert.equal((await fetch(`${url}/healthz`)).status, 200);
    assert.equal((await fetch(`${url}/readyz`)).status, 200);
    assert.match(await (await fetch(`${url}/metrics`)).text(), /^lectern_build_info\{/m);
  }
  assert.ok(ready.media.length > 0 && ready.media.every((address) => /:\d+$/.test(address)));
  const pids = Object.values(ready.pids);
  assert.equal(pids.length, 2);
  assert.ok(pids.every(alive), "both processes run");
  assert.ok(readdirSync(node.dataDir).includes("keys.json"));

  const { code } = await node.stop();
  assert.equal(code, 0);
  assert.ok(!pids.some(alive), "a process outlived Ctrl-C");
  await assert.rejects(fetch(node.http), "the port is still open");
});

it("SIGTERM ends a node that nobody uses at once: there is nothing to wait for", async () => {
  const node = await startNode();
  const pids = Object.values(node.ready.pids);
  node.terminate();
  assert.deepEqual(await node.ended(), { code: 0, signal: null });
  assert.ok(!pids.some(alive), "a process outlived the drain");
  node.tidy();
});

it("each process is back at once, at the same address, however often it is killed", async () => {
  const node = await startNode();
  try {
    for (const part of ["dataplane", "controlplane", "dataplane", "controlplane"]) {
      const ms = await node.kill(part);
      assert.ok(ms < BACK_MS, `${part}: ${ms.toFixed(0)} ms`);
      assert.equal((await fetch(node.http)).status, 200);
    }
  } finally {
    await node.stop();
  }
});

it("every link of the ready line opens", async () => {
  const node = await startNode({ openTokens: true });
  try {
    for (const link of [node.ready.links.publish, node.ready.links.watch]) {
      const response = await fetch(link);
      assert.equal(response.status, 200, link);
      assert.match(new URL(link).hash, /^#token=[\w-]+\.[\w-]+\.[\w-]+$/);
    }
  } finally {
    await node.stop();
  }
});

function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
