// The table of clients: who saw whom, in which codec, for how long and how well. Printed at the end of a
// run by `node lib/matrix.js`, kept as JSON for whoever compares runs.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { full } from "./cast.js";

const path = resolve(join(import.meta.dirname, `../../../target/interop/matrix-${full ? "full" : "ci"}.json`));

/** All publishers here send 20 frames a second; a tenth fewer may come on a busy machine. */
const FRAMES_PER_S_MIN = 18;
const OPUS_HZ = 48_000;
/** A busy machine's encoder repeats a picture now and then. */
const MOVED_MIN = 0.9;

/**
 * What is wrong with what a watcher counted between two readings; empty when nothing is.
 *
 * @param {{start: import("./clients.js").Reading, end: import("./clients.js").Reading, seconds: number, codec: string}} seen
 */
export function judge({ start, end, seconds, codec }) {
  const more = (field) => end[field] - start[field];
  const checks = [
    [end.state === "connected", `the connection is ${end.state}`],
    [end.codec === codec, `the codec is ${end.codec}`],
    [more("frames") >= FRAMES_PER_S_MIN * seconds, `${more("frames")} frames in ${seconds.toFixed(1)} s`],
    [more("moved") >= MOVED_MIN * more("frames"), `only ${more("moved")} of ${more("frames")} pictures moved`],
    [more("freezes") === 0, `${more("freezes")} freezes, the longest ${end.longestGapMs} ms`],
    [more("samples") >= OPUS_HZ * seconds * MOVED_MIN, `${more("samples")} samples in ${seconds.toFixed(1)} s`],
    [more("loud") > 0, "silence"],
  ];
  return checks.filter(([good]) => !good).map(([, why]) => why);
}

/** Collects rows and writes them. */
export class Matrix {
  #rows = [];
  #clients = {};

  /** A row: a pairing that ran, or one that cannot, with its reason. */
  add(row) {
    this.#rows.push(row);
  }

  /** Which version of a client took part. */
  client(name, version) {
    this.#clients[name] = version;
  }

  write() {
    mkdirSync(dirname(path), { recursive: true });
    const record = { schema: "lectern-interop/1", mode: full ? "full" : "ci", clients: this.#clients, rows: this.#rows };
    writeFileSync(path, `${JSON.stringify(record, null, 2)}\n`);
  }

  /** Forgets the last run's, so that a run that breaks off shows no old table. */
  static clear() {
    rmSync(path, { force: true });
  }
}

/** A publisher that cannot send a codec fills one line, not one for each viewer. */
function lines(rows) {
  const impossible = rows.filter(({ pass, impossible: whose }) => pass === null && whose === "publisher");
  const first = new Set(
    impossible.filter((row, index) => impossible.findIndex((other) => alike(other, row)) === index),
  );
  return rows
    .filter((row) => !impossible.includes(row) || first.has(row))
    .map((row) => (first.has(row) ? { ...row, viewer: "anybody" } : row));
}

const alike = (left, right) => left.publisher === right.publisher && left.codec === right.codec;

function print() {
  let record;
  try {
    record = JSON.parse(readFileSync(path, "utf8"));
  } catch {
    process.stdout.write("\nNo client matrix: its tests did not come to an end.\n");
    return;
  }
  const head = ["publishes", "codec", "watches", "s", "frames", "freezes", "gap ms", "audio s", "result"];
  const cells = lines(record.rows).map((row) =>
    [
      row.publisher,
      row.codec,
      row.viewer,
      row.seconds?.toFixed(0) ?? "-",
      row.frames ?? "-",
      row.freezes ?? "-",
      row.longestGapMs ?? "-",
      row.audioSeconds?.toFixed(0) ?? "-",
      row.pass === null ? `not possible: ${row.why}` : row.pass ? "pass" : `FAIL: ${row.why}`,
    ].map(String),
  );
  const last = head.length - 1;
  const widths = head.map((_, column) => Math.max(...[head, ...cells].map((line) => line[column].length)));
  const line = (cell) =>
    cell.map((text, column) => (column < 3 || column === last ? text.padEnd(widths[column]) : text.padStart(widths[column]))).join("  ").trimEnd();
  const versions = Object.entries(record.clients).map(([name, version]) => `${name} ${version}`);
  process.stdout.write(`\nClients: ${versions.join(", ")}\n${[head, ...cells].map(line).join("\n")}\n\n`);
}

if (process.argv[1] === import.meta.filename) {
  print();
}
