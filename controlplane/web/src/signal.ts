import { problemFrom } from "./problem";

/** What a WHIP or WHEP endpoint made of an offer (RFC 9725 section 4.2). */
export interface Session {
  /** The SDP answer. */
  answer: string;
  /** Where the session lives: DELETE it to leave. */
  resource: string;
  /** STUN and TURN servers from the `Link` headers (RFC 9725 section 4.6). */
  iceServers: RTCIceServer[];
}

/** The address and the right to speak to it. */
export interface Endpoint {
  url: string;
  /** Room token; null where the deployment lets anybody in. */
  token: string | null;
}

/** An endpoint that answered 201 without what a session needs. */
export class BrokenAnswer extends Error {
  constructor(missing: string) {
    super(missing);
    this.name = "BrokenAnswer";
  }
}

/**
 * Posts an offer.
 *
 * Rejects with `Problem` when the node refuses, with `TypeError` when it cannot be reached.
 */
export async function postOffer(endpoint: Endpoint, offer: string): Promise<Session> {
  const response = await fetch(endpoint.url, {
    method: "POST",
    headers: { "Content-Type": "application/sdp", ...authorization(endpoint.token) },
    body: offer,
  });
  if (response.status !== 201) {
    throw await problemFrom(response);
  }
  const location = response.headers.get("Location");
  if (location === null) {
    throw new BrokenAnswer("Location");
  }
  return {
    answer: await response.text(),
    // The endpoint may have been reached through a redirect: the path is relative to where it
    // really answered.
    resource: new URL(location, response.url || endpoint.url).href,
    iceServers: parseIceServers(response.headers.get("Link")),
  };
}

/**
 * Ends a session. The request outlives the page (`keepalive`), so it also works while the page is
 * being closed. A session that is gone already counts as ended.
 */
export async function deleteSession(resource: string, token: string | null): Promise<void> {
  try {
    await fetch(resource, { method: "DELETE", headers: authorization(token), keepalive: true });
  } catch {
    // The node finds out by itself: it closes a session that is silent for 30 seconds.
  }
}

function authorization(token: string | null): Record<string, string> {
  return token === null ? {} : { Authorization: `Bearer ${token}` };
}

/**
 * `Link` headers to ICE servers. `fetch` joins several headers with commas; a comma ends a link only
 * where the next `<` follows, because TURN addresses and credentials may hold none.
 */
export function parseIceServers(header: string | null): RTCIceServer[] {
  const servers: RTCIceServer[] = [];
  for (const link of (header ?? "").split(/,(?=\s*<)/)) {
    const [, url, rest = ""] = /^\s*<([^>]*)>(.*)$/s.exec(link) ?? [];
    if (url === undefined || !/^(stun|turn)s?:/i.test(url)) {
      continue;
    }
    const parameters = new Map<string, string>();
    for (const [, name = "", quoted, bare] of rest.matchAll(
      /;\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))/g,
    )) {
      parameters.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, "$1") ?? bare ?? "");
    }
    if (parameters.get("rel") !== "ice-server") {
      continue;
    }
    const server: RTCIceServer = { urls: url };
    const username = parameters.get("username");
    const credential = parameters.get("credential");
    if (username !== undefined && credential !== undefined) {
      server.username = username;
      server.credential = credential;
    }
    servers.push(server);
  }
  return servers;
}

/**
 * Offers, posts and applies the answer on a connection whose transceivers stand.
 *
 * The offer becomes the local description only after the answer has arrived: candidate gathering
 * then starts with the ICE servers of the `Link` headers. The node is ICE-lite with its own
 * candidates in the answer, so it needs none of ours. `edit` sees the answer before it is applied.
 */
export async function negotiate(
  connection: RTCPeerConnection,
  endpoint: Endpoint,
  edit: (answer: string) => string = (answer) => answer,
): Promise<Session> {
  const offer = await connection.createOffer();
  const session = await postOffer(endpoint, offer.sdp ?? "");
  try {
    if (session.iceServers.length > 0) {
      connection.setConfiguration({
        ...connection.getConfiguration(),
        iceServers: session.iceServers,
      });
    }
    await connection.setLocalDescription(offer);
    await connection.setRemoteDescription({ type: "answer", sdp: edit(session.answer) });
  } catch (error) {
    // The node holds a session nobody will use: it must not keep the stream's name taken.
    void deleteSession(session.resource, endpoint.token);
    throw error;
  }
  return session;
}
