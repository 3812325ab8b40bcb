import { expect, it } from "vitest";
import { available, type Codec, preferences } from "./codecs";

/** What Chromium's `RTCRtpSender.getCapabilities("video")` lists, shortened. */
const chromium: Codec[] = [
  { mimeType: "video/VP8" },
  { mimeType: "video/rtx" },
  { mimeType: "video/H264", sdpFmtpLine: "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f" },
  { mimeType: "video/H264", sdpFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f" },
  { mimeType: "video/H264", sdpFmtpLine: "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f" },
  { mimeType: "video/H264", sdpFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f" },
  { mimeType: "video/AV1", sdpFmtpLine: "level-idx=5;profile=0;tier=0" },
  { mimeType: "video/AV1", sdpFmtpLine: "level-idx=5;profile=1;tier=0" },
  { mimeType: "video/VP9", sdpFmtpLine: "profile-id=0" },
  { mimeType: "video/VP9", sdpFmtpLine: "profile-id=2" },
  { mimeType: "video/red" },
  { mimeType: "video/ulpfec" },
];

it("proposes what the browser has, plainest first", () => {
  expect(available(chromium)).toEqual(["VP8", "VP9", "H264", "AV1"]);
  expect(available(chromium.slice(0, 3))).toEqual(["VP8", "H264"]);
  expect(available([])).toEqual([]);
});

it("offers the chosen codec with retransmission and without error correction", () => {
  expect(preferences("VP8", chromium).map(({ mimeType }) => mimeType)).toEqual(["video/VP8", "video/rtx"]);
});

it("starts H.264 with the profile every decoder has", () => {
  expect(preferences("H264", chromium)[0]?.sdpFmtpLine).toContain("packetization-mode=1;profile-level-id=42e01f");
  expect(preferences("H264", chromium)).toHaveLength(5);
});

it("leaves out the profiles for 10 bit and 4:4:4 pictures", () => {
  expect(preferences("VP9", chromium).map(({ sdpFmtpLine }) => sdpFmtpLine)).toEqual(["profile-id=0", undefined]);
  expect(preferences("AV1", chromium)).toHaveLength(2);
});

it("offers an odd profile rather than nothing", () => {
  const odd = [{ mimeType: "video/VP9", sdpFmtpLine: "profile-id=2" }];
  expect(preferences("VP9", odd)).toEqual(odd);
});
