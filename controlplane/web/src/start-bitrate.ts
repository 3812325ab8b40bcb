/** The codecs that carry pictures; retransmission and error correction have no encoder to start. */
const PICTURE = /^a=rtpmap:(\d+) (?:VP8|VP9|H264|AV1|H265)\//i;

/**
 * Lets Chromium's encoder start at `kbps` instead of its 300 kbit/s, which it stretches over a
 * 320 × 180 picture for the first seconds of every class. Bandwidth estimation takes over at once, so
 * a narrow uplink still gets what it can carry. The parameter is Chromium's own; others ignore it
 * (RFC 4566 section 6: unknown parameters of `fmtp` are passed over).
 */
export function withStartBitrate(answer: string, kbps: number): string {
  const parameter = `x-google-start-bitrate=${kbps}`;
  const lines = answer.split("\r\n");
  const types = lines.flatMap((line) => PICTURE.exec(line)?.[1] ?? []);
  return lines
    .flatMap((line) => {
      const told = types.find((type) => line.startsWith(`a=fmtp:${type} `));
      if (told !== undefined) {
        return [`${line};${parameter}`];
      }
      const type = PICTURE.exec(line)?.[1];
      const silent = type !== undefined && !lines.some((other) => other.startsWith(`a=fmtp:${type} `));
      return silent ? [line, `a=fmtp:${type} ${parameter}`] : [line];
    })
    .join("\r\n");
}
