/** Video codecs a browser may encode, in the order they are proposed. */
export const VIDEO_CODECS = ["VP8", "VP9", "H264", "AV1"] as const;

export type VideoCodec = (typeof VIDEO_CODECS)[number];

/** The part of `RTCRtpCodec` that the choice depends on. */
export interface Codec {
  mimeType: string;
  sdpFmtpLine?: string;
}

/** The codecs among `VIDEO_CODECS` that this browser has. */
export function available(capabilities: readonly Codec[]): VideoCodec[] {
  return VIDEO_CODECS.filter((codec) => capabilities.some((entry) => is(entry, codec)));
}

/**
 * What to hand to `setCodecPreferences` so that exactly `codec` is offered, with retransmission.
 *
 * H.264 starts with constrained baseline in packetization mode 1, the one profile every decoder
 * has. VP9 keeps to profile 0 and AV1 to main for the same reason: their other profiles are for
 * 10 bit or 4:4:4 pictures. Forward error correction is left out: the node repairs by
 * retransmission.
 */
export function preferences<C extends Codec>(codec: VideoCodec, capabilities: readonly C[]): C[] {
  const chosen = capabilities.filter((entry) => is(entry, codec) && common(entry));
  const entries = chosen.length > 0 ? chosen : capabilities.filter((entry) => is(entry, codec));
  return [
    ...entries.toSorted((left, right) => rank(left) - rank(right)),
    ...capabilities.filter((entry) => entry.mimeType.toLowerCase() === "video/rtx"),
  ];
}

function is(entry: Codec, codec: VideoCodec): boolean {
  return entry.mimeType.toLowerCase() === `video/${codec.toLowerCase()}`;
}

function common(entry: Codec): boolean {
  return /profile-id=[^0]|profile=[^0]/.test(entry.sdpFmtpLine ?? "") === false;
}

/** RFC 6184 section 8.1: 42 with the constraint_set1 bit is constrained baseline. */
function rank(entry: Codec): number {
  const line = (entry.sdpFmtpLine ?? "").toLowerCase();
  const profile = /profile-level-id=42([0-9a-f]{2})/.exec(line)?.[1];
  const constrained = profile !== undefined && (Number.parseInt(profile, 16) & 0x40) !== 0;
  return (constrained ? 0 : 2) + (line.includes("packetization-mode=1") ? 0 : 1);
}
