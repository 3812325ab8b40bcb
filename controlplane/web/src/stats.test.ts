import { describe, expect, it } from "vitest";
import { gradeSending, gradeWatching, readSending, readWatching, receivedBytes, type Stat } from "./stats";

/** Chromium's clock for playout: milliseconds since 1900. */
const NTP_OFFSET_MS = 2_208_988_800_000;
const NOW_MS = 1_795_000_000_000;

function watching(second: number, change: Partial<Record<string, unknown>> = {}): Stat[] {
  return [
    { id: "T", type: "transport", timestamp: second * 1_000, selectedCandidatePairId: "P" },
    { id: "P", type: "candidate-pair", timestamp: second * 1_000, currentRoundTripTime: 0.02 },
    { id: "other", type: "candidate-pair", timestamp: second * 1_000, nominated: true, currentRoundTripTime: 9 },
    { id: "C", type: "codec", timestamp: 0, mimeType: "video/VP8" },
    {
      id: "A",
      type: "inbound-rtp",
      kind: "audio",
      timestamp: second * 1_000,
      bytesReceived: second * 4_000,
      headerBytesReceived: second * 1_000,
      packetsReceived: second * 50,
      packetsLost: 0,
    },
    {
      id: "V",
      type: "inbound-rtp",
      kind: "video",
      timestamp: second * 1_000,
      codecId: "C",
      bytesReceived: second * 120_000,
      headerBytesReceived: 0,
      packetsReceived: second * 100,
      packetsLost: 0,
      frameWidth: 1_280,
      frameHeight: 720,
      framesPerSecond: 30,
      framesDecoded: second * 30,
      totalDecodeTime: second * 0.15,
      jitterBufferDelay: second * 1.2,
      jitterBufferEmittedCount: second * 30,
      freezeCount: 0,
      totalFreezesDuration: 0,
      ...change,
    },
  ];
}

describe("watching", () => {
  it("reads rates and means over the last interval", () => {
    const before = readWatching(watching(1), null, NOW_MS);
    const now = readWatching(watching(2), before.totals, NOW_MS);
    expect(before.bitrate).toBeNull();
    expect(now).toMatchObject({
      bitrate: 1_000_000,
      rttMs: 20,
      width: 1_280,
      height: 720,
      fps: 30,
      codec: "VP8",
      freezes: 0,
      loss: 0,
    });
    expect(now.jitterBufferMs).toBeCloseTo(40);
  });

  it("adds up the way from the node where the clocks do not tell", () => {
    const { delay } = readWatching(watching(2), readWatching(watching(1), null, NOW_MS).totals, NOW_MS);
    expect(delay?.from).toBe("node");
    // Half of 20 ms on the way, 40 ms in the buffer, 5 ms to decode.
    expect(delay?.ms).toBeCloseTo(55);
  });

  it("reads the whole way from camera to screen where the clocks agree", () => {
    const playout = { estimatedPlayoutTimestamp: NOW_MS - 180 + NTP_OFFSET_MS };
    expect(readWatching(watching(2, playout), null, NOW_MS).delay).toEqual({ from: "camera", ms: 180 });
    const unix = { estimatedPlayoutTimestamp: NOW_MS - 180 };
    expect(readWatching(watching(2, unix), null, NOW_MS).delay).toEqual({ from: "camera", ms: 180 });
  });

  it("does not believe a publisher's clock that is wrong", () => {
    const ahead = { estimatedPlayoutTimestamp: NOW_MS + 60_000 + NTP_OFFSET_MS };
    expect(readWatching(watching(2, ahead), null, NOW_MS).delay?.from).toBe("node");
    const behind = { estimatedPlayoutTimestamp: NOW_MS - 60_000 + NTP_OFFSET_MS };
    expect(readWatching(watching(2, behind), null, NOW_MS).delay?.from).toBe("node");
  });

  it("counts the loss of the interval, not of the whole lesson", () => {
    const before = readWatching(watching(1, { packetsLost: 900 }), null, NOW_MS);
    expect(readWatching(watching(2, { packetsLost: 900 }), before.totals, NOW_MS).loss).toBe(0);
    expect(readWatching(watching(2, { packetsLost: 950 }), before.totals, NOW_MS).loss).toBeCloseTo(0.25);
  });

  it("says nothing about what an empty report does not hold", () => {
    expect(readWatching([], null, NOW_MS)).toMatchObject({
      bitrate: null,
      rttMs: null,
      width: null,
      fps: null,
      codec: null,
      delay: null,
      freezes: 0,
    });
  });

  it("calls a new freeze poor and forgets an old one", () => {
    const frozen = readWatching(watching(2, { freezeCount: 1 }), readWatching(watching(1), null, 0).totals, 0);
    expect(gradeWatching(frozen, 0)).toBe("poor");
    expect(gradeWatching(frozen, 1)).toBe("good");
  });
});

describe("sending", () => {
  const sending = (second: number, change: Record<string, unknown> = {}): Stat[] => [
    { id: "P", type: "candidate-pair", timestamp: second * 1_000, nominated: true, currentRoundTripTime: 0.03 },
    {
      id: "V",
      type: "outbound-rtp",
      kind: "video",
      timestamp: second * 1_000,
      bytesSent: second * 250_000,
      headerBytesSent: 0,
      frameWidth: 640,
      frameHeight: 360,
      framesPerSecond: 29,
      qualityLimitationReason: "none",
      ...change,
    },
    { id: "R", type: "remote-inbound-rtp", timestamp: second * 1_000, fractionLost: 0.01 },
  ];

  it("reads bitrate, round trip and picture", () => {
    const before = readSending(sending(1), null);
    expect(readSending(sending(2), before.totals)).toMatchObject({
      bitrate: 2_000_000,
      rttMs: 30,
      width: 640,
      height: 360,
      fps: 29,
      limitation: "none",
      loss: 0.01,
    });
  });

  it("starts over when the connection was made anew", () => {
    const before = readSending(sending(9), null);
    expect(readSending(sending(10, { bytesSent: 10 }), before.totals).bitrate).toBeNull();
  });

  it("grades by what holds the picture back", () => {
    expect(gradeSending(readSending(sending(1), null))).toBe("good");
    expect(gradeSending(readSending(sending(1, { qualityLimitationReason: "bandwidth" }), null))).toBe("fair");
    expect(gradeSending(readSending(sending(1, { framesPerSecond: 5 }), null))).toBe("poor");
  });
});

describe("hearing the other side", () => {
  it("counts all that came over the path, wherever the browser writes it down", () => {
    const stat = (type: string, bytesReceived: number): Stat => ({ id: type, type, timestamp: 0, bytesReceived });
    expect(receivedBytes([stat("transport", 900), stat("candidate-pair", 900)])).toBe(900);
    expect(receivedBytes([stat("candidate-pair", 700), stat("inbound-rtp", 5)])).toBe(700);
    expect(receivedBytes([])).toBe(0);
  });
});
