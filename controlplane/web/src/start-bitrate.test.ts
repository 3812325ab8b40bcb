import { expect, it } from "vitest";
import { withStartBitrate } from "./start-bitrate";

const sdp = (...lines: string[]) => `${["v=0", ...lines].join("\r\n")}\r\n`;

it("adds a line where a codec has no parameters, and leaves its retransmission alone", () => {
  const answer = sdp("m=video 9 UDP/TLS/RTP/SAVPF 96 97", "a=rtpmap:96 VP8/90000", "a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=96");
  expect(withStartBitrate(answer, 1_200)).toBe(
    sdp(
      "m=video 9 UDP/TLS/RTP/SAVPF 96 97",
      "a=rtpmap:96 VP8/90000",
      "a=fmtp:96 x-google-start-bitrate=1200",
      "a=rtpmap:97 rtx/90000",
      "a=fmtp:97 apt=96",
    ),
  );
});

it("extends the parameters a codec has", () => {
  const answer = sdp("a=rtpmap:103 H264/90000", "a=fmtp:103 packetization-mode=1;profile-level-id=42e01f");
  expect(withStartBitrate(answer, 1_200)).toContain(
    "a=fmtp:103 packetization-mode=1;profile-level-id=42e01f;x-google-start-bitrate=1200\r\n",
  );
});

it("does not touch sound", () => {
  const answer = sdp("a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1");
  expect(withStartBitrate(answer, 1_200)).toBe(answer);
});
