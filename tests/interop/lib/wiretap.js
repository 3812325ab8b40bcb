// A UDP relay on loopback between a browser and the node's media port: it notes what passes, loses what it
// is told to lose, and moves as a NAT does.

import { createSocket } from "node:dgram";
import { once } from "node:events";

/** RFC 7983 section 7: DTLS records begin with 20 to 63; RFC 6347 section 4.1: 22 is a handshake. */
const HANDSHAKE = 22;

/**
 * @param {{ready: {media: string[]}}} node
 * @param {{loses?: (bytes: Buffer, from: "browser" | "node") => boolean}} [how] Whether a datagram gets lost.
 */
export async function wiretap(node, { loses = () => false } = {}) {
  const media = node.ready.media.find((address) => address.startsWith("127.")) ?? node.ready.media[0];
  const colon = media.lastIndexOf(":");
  const target = { host: media.slice(0, colon), port: Number(media.slice(colon + 1)) };
  const front = createSocket("udp4");
  /** Each browser socket gets a socket of its own towards the node, so that answers find back. */
  const backs = new Map();
  /** @type {{from: "browser" | "node", bytes: Buffer}[]} */
  const handshake = [];
  const counts = { passed: 0, lost: 0 };
  let isCut = false;
  const passes = (from, bytes) => {
    if (isCut || loses(bytes, from)) {
      counts.lost += 1;
      return false;
    }
    counts.passed += 1;
    if (bytes[0] === HANDSHAKE) {
      handshake.push({ from, bytes });
    }
    return true;
  };
  front.on("message", (bytes, { address, port }) => {
    if (!passes("browser", bytes)) {
      return;
    }
    let back = backs.get(port);
    if (back === undefined) {
      back = createSocket("udp4");
      back.on("message", (answer) => {
        if (passes("node", answer)) {
          front.send(answer, port, address);
        }
      });
      backs.set(port, back);
    }
    back.send(bytes, target.port, target.host);
  });
  front.bind(0, "127.0.0.1");
  await once(front, "listening");
  const forget = () => {
    for (const back of backs.values()) {
      back.close();
    }
    backs.clear();
  };
  return {
    port: front.address().port,
    handshake,
    counts,
    /** From now on the node sees the browser behind another port, as after a NAT forgot it. */
    rebind: forget,
    /** Nothing passes any more. */
    cut() {
      isCut = true;
    },
    close() {
      front.close();
      forget();
    },
  };
}

/**
 * Loses this share of SRTP and SRTCP (RFC 7983 section 7: 128 to 191), the same packets for the same seed;
 * handshakes are left alone.
 *
 * @param {number} share Of 1.
 * @param {number} seed Not 0.
 */
export function losing(share, seed) {
  let state = seed;
  return (bytes) => {
    if (bytes[0] < 128 || bytes[0] > 191) {
      return false;
    }
    // xorshift32 (Marsaglia 2003).
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32 < share;
  };
}
