import { problemFrom } from "./problem";

/** What a WHIP or WHEP endpoint made of an offer (RFC 9725 section 4.2). */
export interface Session {
  /** The SDP answer. */
  answer: string;
  /** Where the session lives: DELETE it to leave. */
  resource: string;
  /** STUN and TURN servers from the `Link` headers (RFC 9725 section 4.6). */
  iceServers: RTCIceServer[];
  /** Where the session's server-sent events come from; null where the node offers none. */
  events: string | null;
}

/** The address and the right to speak to it. */
export interface Endpoint {
  url: string;
  /** Room token; null where the deployment lets anybody in. */
  token: string | null;
}

/** The `Link` relation of WHEP's server-sent events extension. */
const EVENTS_RELATION = "urn:ietf:params:whep:ext:core:server-sent-events";

/** A control plane that starts again is back within a second or two. */
const DELETE_PAUSES_MS = [1_000, 2_000, 4_000];

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
  const base = response.url || endpoint.url;
  const links = response.headers.get("Link");
  const events = parseLinks(links).find(({ parameters }) => parameters.get("rel") === EVENTS_RELATION);
  return {
    answer: await response.text(),
    // The endpoint may have been reached through a redirect: the path is relative to where it
    // really answered.
    resource: new URL(location, base).href,
    iceServers: parseIceServers(links),
    events: events === undefined ? null : new URL(events.url, base).href,
  };
}

/**
 * Ends a session. The request outlives the page (`keepalive`), so it also works while the page is
 * being closed. A session that is gone already counts as ended; a node that does not answer, because
 * it starts again, is asked a few times more, or the session would hold the stream's name for half a
 * minute.
 */
export async function deleteSession(resource: string, token: string | null): Promise<void> {
  for (const pauseMs of DELETE_PAUSES_MS) {
    try {
      const response = await fetch(resource, {
        method: "DELETE",
        headers: authorization(token),
        keepalive: true,
      });
      if (response.status < 500) {
        return;
      }
    } catch {
      // Nobody listens there at the moment.
    }
    await new Promise((settle) => setTimeout(settle, pauseMs));
  }
  // The node finds out by itself: it closes a session that is silent for 30 seconds.
}

/**
 * Whether the node still knows a session: `false` only when it says that it does not, `null` when it
 * does not say, because it cannot be reached or is busy.
 */
export async function sessionLives(resource: string, token: string | null): Promise<boolean | null> {
  try {
    const { ok, status } = await fetch(resource, { headers: authorization(token), cache: "no-store" });
    return ok ? true : status === 404 ? false : null;
  } catch {
    return null;
  }
}

function authorization(token: string | null): Record<string, string> {
  return token === null ? {} : { Authorization: `Bearer ${token}` };
}

/** One entry of a `Link` header (RFC 8288). */
interface WebLink {
  url: string;
  parameters: Map<string, string>;
}

/**
 * `fetch` joins several headers with commas; a comma ends a link only where the next `<` follows,
 * because TURN addresses and credentials may hold none.
 */
function parseLinks(header: string | null): WebLink[] {
  const found: WebLink[] = [];
  for (const link of (header ?? "").split(/,(?=\s*<)/)) {
    const [, url, rest = ""] = /^\s*<([^>]*)>(.*)$/s.exec(link) ?? [];
    if (url === undefined) {
      continue;
    }
    const parameters = new Map<string, string>();
    for (const [, name = "", quoted, bare] of rest.matchAll(
      /;\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))/g,
    )) {
      parameters.set(name.toLowerCase(), quoted?.replace(/\\(.)/g, "$1") ?? bare ?? "");
    }
    found.push({ url, parameters });
  }
  return found;
}

/** The STUN and TURN servers among the `Link` headers. */
export function parseIceServers(header: string | null): RTCIceServer[] {
  const servers: RTCIceServer[] = [];
  for (const { url, parameters } of parseLinks(header)) {
    if (!/^(stun|turn)s?:/i.test(url) || parameters.get("rel") !== "ice-server") {
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
