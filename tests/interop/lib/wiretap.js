// A UDP relay on loopback between a browser and the node's media port, which notes what passes.

import { createSocket } from "node:dgram";
import { once } from "node:events";

/** RFC 7983 section 7: DTLS records begin with 20 to 63; RFC 6347 section 4.1: 22 is a handshake. */
const HANDSHAKE = 22;

/**
 * @param {string} media The node's media address, `ip:port`.
 */
export async function wiretap(media) {
  const colon = media.lastIndexOf(":");
  const target = { host: media.slice(0, colon), port: Number(media.slice(colon + 1)) };
  const front = createSocket("udp4");
  /** Each browser socket gets a socket of its own towards the node, so that answers find back. */
  const backs = new Map();
  /** @type {{from: "browser" | "node", bytes: Buffer}[]} */
  const handshake = [];
  const note = (from, bytes) => {
    if (bytes[0] === HANDSHAKE) {
      handshake.push({ from, bytes });
    }
  };
  front.on("message", (bytes, { address, port }) => {
    note("browser", bytes);
    let back = backs.get(port);
    if (back === undefined) {
      back = createSocket("udp4");
      back.on("message", (answer) => {
        note("node", answer);
        front.send(answer, port, address);
      });
      backs.set(port, back);
    }
    back.send(bytes, target.port, target.host);
  });
  front.bind(0, "127.0.0.1");
  await once(front, "listening");
  return {
    port: front.address().port,
    handshake,
    close() {
      front.close();
      for (const back of backs.values()) {
        back.close();
      }
    },
  };
}
