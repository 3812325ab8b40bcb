/** One entry of an `RTCStatsReport`, as loose as browsers are about it. */
export type Stat = { id: string; type: string; timestamp: number } & Record<string, unknown>;

/** Anything with the entries of an `RTCStatsReport`. */
export type Report = Iterable<Stat>;

/** Why the encoder sends less than it could. */
export type Limitation = "none" | "cpu" | "bandwidth" | "other";

export interface Sending {
  /** Audio and video together, bit/s over the last interval; null in the first. */
  bitrate: number | null;
  rttMs: number | null;
  width: number | null;
  height: number | null;
  fps: number | null;
  limitation: Limitation;
  /** Name from the MIME type, for example `VP8`. */
  codec: string | null;
  /** Share of packets the node reports as lost, 0 to 1. */
  loss: number | null;
  totals: Totals;
}

export interface Watching {
  bitrate: number | null;
  rttMs: number | null;
  width: number | null;
  height: number | null;
  fps: number | null;
  codec: string | null;
  /** Mean time a frame waited in the jitter buffer in the last interval. */
  jitterBufferMs: number | null;
  /** How old what is on the screen is. */
  delay: Delay | null;
  /** Since the viewer joined. */
  freezes: number;
  /** Time stood still since the viewer joined. */
  frozenMs: number;
  /** Share of packets lost in the last interval, 0 to 1. */
  loss: number | null;
  totals: Totals;
}

/**
 * Delay to the screen. From the `camera` when both machines' clocks agree well enough to tell; else
 * from the `node`, as half the round trip plus what this browser adds.
 */
export interface Delay {
  from: "camera" | "node";
  ms: number;
}

/** Counters to take differences from in the next reading. */
export interface Totals {
  atMs: number;
  bytes: number;
  packets: number;
  lost: number;
  bufferS: number;
  buffered: number;
  decodeS: number;
  decoded: number;
}

/** Seconds from 1900, where NTP counts from, to 1970: RFC 868. */
const NTP_TO_UNIX_S = 2_208_988_800;

/** A delay beyond this says that the two clocks differ, not that the picture is so old. */
const CREDIBLE_DELAY_MS = 5_000;

export function readSending(report: Report, before: Totals | null): Sending {
  const entries = [...report];
  const streams = entries.filter((entry) => entry.type === "outbound-rtp");
  const video = streams.find((entry) => entry["kind"] === "video");
  const remote = entries.filter((entry) => entry.type === "remote-inbound-rtp");
  const totals = totalsOf(entries, sum(streams, "bytesSent") + sum(streams, "headerBytesSent"));
  const losses = remote.map((entry) => number(entry["fractionLost"])).filter((loss) => loss !== null);
  return {
    bitrate: bitrate(before, totals),
    rttMs: roundTripMs(entries),
    width: number(video?.["frameWidth"]),
    height: number(video?.["frameHeight"]),
    fps: number(video?.["framesPerSecond"]),
    limitation: limitation(video?.["qualityLimitationReason"]),
    codec: codecOf(entries, video),
    loss: losses.length > 0 ? Math.max(...losses) : null,
    totals,
  };
}

/** All bytes that came over the path, RTCP with them: what tells that the other side is there. */
export function receivedBytes(report: Report): number {
  const entries = [...report];
  const of = (type: string) => sum(entries.filter((entry) => entry.type === type), "bytesReceived");
  // Firefox has no transports in its report, and counts by candidate pair.
  return of("transport") || of("candidate-pair");
}

/** `nowUnixMs` is the wall clock, comparable with the publisher's sender reports. */
export function readWatching(report: Report, before: Totals | null, nowUnixMs: number): Watching {
  const entries = [...report];
  const streams = entries.filter((entry) => entry.type === "inbound-rtp");
  const video = streams.find((entry) => entry["kind"] === "video");
  const totals: Totals = {
    ...totalsOf(entries, sum(streams, "bytesReceived") + sum(streams, "headerBytesReceived")),
    packets: sum(streams, "packetsReceived"),
    lost: sum(streams, "packetsLost"),
    bufferS: number(video?.["jitterBufferDelay"]) ?? 0,
    buffered: number(video?.["jitterBufferEmittedCount"]) ?? 0,
    decodeS: number(video?.["totalDecodeTime"]) ?? 0,
    decoded: number(video?.["framesDecoded"]) ?? 0,
  };
  const rttMs = roundTripMs(entries);
  const jitterBufferMs = mean(before, totals, "bufferS", "buffered");
  const decodeMs = mean(before, totals, "decodeS", "decoded");
  const lost = totals.lost - (before?.lost ?? 0);
  const arrived = totals.packets - (before?.packets ?? 0);
  return {
    bitrate: bitrate(before, totals),
    rttMs,
    width: number(video?.["frameWidth"]),
    height: number(video?.["frameHeight"]),
    fps: number(video?.["framesPerSecond"]),
    codec: codecOf(entries, video),
    jitterBufferMs,
    delay: delayOf(number(video?.["estimatedPlayoutTimestamp"]), nowUnixMs, rttMs, jitterBufferMs, decodeMs),
    freezes: number(video?.["freezeCount"]) ?? 0,
    frozenMs: (number(video?.["totalFreezesDuration"]) ?? 0) * 1_000,
    loss: before !== null && arrived + lost > 0 ? Math.max(0, lost) / (arrived + lost) : null,
    totals,
  };
}

/** How well a connection does, in one word for a badge. */
export type Grade = "good" | "fair" | "poor";

export function gradeSending(quality: Sending): Grade {
  const loss = quality.loss ?? 0;
  const rtt = quality.rttMs ?? 0;
  if (loss > 0.1 || rtt > 500 || (quality.fps !== null && quality.fps < 8)) {
    return "poor";
  }
  return loss > 0.03 || rtt > 250 || quality.limitation !== "none" ? "fair" : "good";
}

/** `freezesBefore` is the count some seconds ago: a freeze long past no longer troubles anybody. */
export function gradeWatching(quality: Watching, freezesBefore: number): Grade {
  const loss = quality.loss ?? 0;
  const delay = quality.delay?.ms ?? 0;
  if (quality.freezes > freezesBefore || loss > 0.1 || delay > 1_000) {
    return "poor";
  }
  return loss > 0.03 || delay > 500 ? "fair" : "good";
}

function totalsOf(entries: readonly Stat[], bytes: number): Totals {
  const atMs = Math.max(0, ...entries.map((entry) => entry.timestamp));
  return { atMs, bytes, packets: 0, lost: 0, bufferS: 0, buffered: 0, decodeS: 0, decoded: 0 };
}

function bitrate(before: Totals | null, now: Totals): number | null {
  const elapsedMs = before === null ? 0 : now.atMs - before.atMs;
  return before !== null && elapsedMs > 0 && now.bytes >= before.bytes
    ? ((now.bytes - before.bytes) * 8_000) / elapsedMs
    : null;
}

/** Mean of a sum of seconds over a count since `before`, in milliseconds. */
function mean(
  before: Totals | null,
  now: Totals,
  seconds: "bufferS" | "decodeS",
  count: "buffered" | "decoded",
): number | null {
  const events = now[count] - (before?.[count] ?? 0);
  return events > 0 ? ((now[seconds] - (before?.[seconds] ?? 0)) * 1_000) / events : null;
}

function roundTripMs(entries: readonly Stat[]): number | null {
  const transport = entries.find(
    (entry) => entry.type === "transport" && entry["selectedCandidatePairId"] !== undefined,
  );
  const pair =
    entries.find((entry) => entry.id === transport?.["selectedCandidatePairId"]) ??
    entries.find((entry) => entry.type === "candidate-pair" && entry["nominated"] === true);
  const seconds = number(pair?.["currentRoundTripTime"]);
  return seconds === null ? null : seconds * 1_000;
}

/** `playout` is what is shown now, on the publisher's clock, in milliseconds. */
function delayOf(
  playout: number | null,
  nowUnixMs: number,
  rttMs: number | null,
  jitterBufferMs: number | null,
  decodeMs: number | null,
): Delay | null {
  if (playout !== null && playout > 0) {
    // Chromium counts from 1900, the specification from 1970: a value beyond 2040 is the former.
    const unix = playout > NTP_TO_UNIX_S * 1_000 ? playout - NTP_TO_UNIX_S * 1_000 : playout;
    const ms = nowUnixMs - unix;
    if (ms >= 0 && ms <= CREDIBLE_DELAY_MS) {
      return { from: "camera", ms };
    }
  }
  if (rttMs === null || jitterBufferMs === null) {
    return null;
  }
  return { from: "node", ms: rttMs / 2 + jitterBufferMs + (decodeMs ?? 0) };
}

function codecOf(entries: readonly Stat[], stream: Stat | undefined): string | null {
  const mime = entries.find((entry) => entry.id === stream?.["codecId"])?.["mimeType"];
  return typeof mime === "string" ? mime.replace(/^\w+\//, "") : null;
}

function limitation(reason: unknown): Limitation {
  return reason === "cpu" || reason === "bandwidth" || reason === "other" ? reason : "none";
}

function number(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

function sum(entries: readonly Stat[], field: string): number {
  return entries.reduce((total, entry) => total + (number(entry[field]) ?? 0), 0);
}
