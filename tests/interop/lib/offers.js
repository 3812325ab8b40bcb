// Offers written by hand, for answers that need no browser.

import { randomBytes } from "node:crypto";

const CODECS = {
  VP8: ["a=rtpmap:96 VP8/90000", "a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack pli"],
  H265: ["a=rtpmap:96 H265/90000", "a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack pli"],
};

/**
 * One Opus section and one video section, as a browser would offer them.
 *
 * @param {"sendonly" | "recvonly"} direction
 * @param {{codec?: keyof typeof CODECS, extra?: string[]}} [wish]
 */
export function offer(direction, { codec = "VP8", extra = [] } = {}) {
  const fingerprint = [...randomBytes(32)].map((byte) => byte.toString(16).padStart(2, "0").toUpperCase()).join(":");
  const transport = [
    "c=IN IP4 0.0.0.0",
    "a=rtcp:9 IN IP4 0.0.0.0",
    `a=ice-ufrag:${randomBytes(3).toString("hex")}`,
    `a=ice-pwd:${randomBytes(12).toString("hex")}`,
    "a=ice-options:trickle",
    `a=fingerprint:sha-256 ${fingerprint}`,
    "a=setup:actpass",
  ];
  const ssrc = (cname) => (direction === "sendonly" ? [`a=ssrc:${randomBytes(4).readUInt32BE()} cname:${cname}`] : []);
  const lines = [
    "v=0",
    "o=- 4611731400430051336 2 IN IP4 127.0.0.1",
    "s=-",
    "t=0 0",
    "a=group:BUNDLE 0 1",
    "m=audio 9 UDP/TLS/RTP/SAVPF 111",
    ...transport,
    "a=mid:0",
    `a=${direction}`,
    "a=rtcp-mux",
    "a=rtpmap:111 opus/48000/2",
    "a=fmtp:111 minptime=10;useinbandfec=1",
    ...ssrc("story"),
    "m=video 9 UDP/TLS/RTP/SAVPF 96",
    ...transport,
    "a=mid:1",
    `a=${direction}`,
    "a=rtcp-mux",
    ...CODECS[codec],
    ...ssrc("story"),
    ...extra,
  ];
  return `${lines.join("\r\n")}\r\n`;
}
