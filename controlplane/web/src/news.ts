import { retryDelayMs } from "./backoff";

/** Why the node asks for a new session. */
export type ReconnectReason =
  /** The node is about to go; the present session plays on meanwhile. */
  | "draining"
  /** The present session is gone: the media process was lost, or the stream goes on in other formats. */
  | "gone";

/** What a node says of the stream beside its media (WHEP's server-sent events). */
export type News =
  | { event: "active" }
  | { event: "inactive" }
  | { event: "viewercount"; viewers: number }
  | { event: "reconnect"; reason: ReconnectReason };

/** The part of `EventSource` that is used; a test passes its own. */
export type Source = Pick<EventSource, "addEventListener" | "close" | "readyState">;

const CLOSED = 2;

/**
 * Listens to a session's events until the returned function is called.
 *
 * `EventSource` cannot set headers, so the token goes into the query string, which the node never logs.
 * A broken connection is the browser's to mend; an answer it takes for final (a proxy's 502 while the
 * node starts again) is not, so the stream is opened anew.
 */
export function listen(
  url: string,
  token: string | null,
  onNews: (news: News) => void,
  open: (url: string) => Source = (address) => new EventSource(address),
): () => void {
  const address = new URL(url);
  if (token !== null) {
    address.searchParams.set("jwt", token);
  }
  let source: Source | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let attempt = 0;
  const start = () => {
    const opened = open(address.href);
    source = opened;
    for (const name of ["active", "inactive", "viewercount", "reconnect"] as const) {
      opened.addEventListener(name, (event) => {
        attempt = 0;
        const news = newsFrom(name, (event as MessageEvent<unknown>).data);
        if (news !== null && source === opened) {
          onNews(news);
        }
      });
    }
    opened.addEventListener("error", () => {
      if (source === opened && opened.readyState === CLOSED) {
        attempt += 1;
        timer = setTimeout(start, retryDelayMs(attempt, null, Math.random()));
      }
    });
  };
  start();
  return () => {
    clearTimeout(timer);
    source?.close();
    source = null;
  };
}

/** Reads one event; null for what says nothing. Unknown fields are passed over. */
export function newsFrom(event: News["event"], data: unknown): News | null {
  const fields = parse(data);
  switch (event) {
    case "active":
    case "inactive":
      return { event };
    case "viewercount": {
      const viewers = Number(fields.viewercount ?? fields.viewers ?? Number.NaN);
      return Number.isInteger(viewers) && viewers >= 0 ? { event, viewers } : null;
    }
    case "reconnect":
      return { event, reason: fields.reason === "draining" ? "draining" : "gone" };
  }
}

function parse(data: unknown): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(String(data));
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
