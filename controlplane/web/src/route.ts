/** RFC 3986 unreserved characters only: a room's name is safe in a path as it is. */
const ROOM = /^[A-Za-z0-9_-]{1,64}$/;

export type Route =
  | { page: "home" }
  | { page: "publish"; room: string }
  | { page: "watch"; room: string }
  | { page: "unknown" };

export function isRoom(name: string): boolean {
  return ROOM.test(name);
}

export function parseRoute(path: string): Route {
  const parts = path.split("/").filter((part) => part !== "");
  const [page, room] = parts;
  if (page === undefined) {
    return { page: "home" };
  }
  if (parts.length === 2 && room !== undefined && isRoom(room)) {
    if (page === "publish" || page === "watch") {
      return { page, room };
    }
  }
  return { page: "unknown" };
}

/**
 * The token of a link. It travels in the fragment, which browsers send to no server and proxies
 * therefore never log.
 */
export function tokenFrom(fragment: string): string | null {
  const token = new URLSearchParams(fragment.replace(/^#/, "")).get("token");
  return token === null || token === "" ? null : token;
}

/** Path, search and fragment of a page; `search` keeps `?pseudo` across pages. */
export function linkTo(
  page: "publish" | "watch",
  room: string,
  token: string | null,
  search = "",
): string {
  const fragment = token === null ? "" : `#${new URLSearchParams({ token })}`;
  return `/${page}/${encodeURIComponent(room)}${search}${fragment}`;
}

/** What somebody pasted where a token was asked for: the token itself or a whole link. */
export function tokenFromPaste(pasted: string): string | null {
  const text = pasted.trim();
  const fragment = text.indexOf("#");
  return fragment >= 0 ? tokenFrom(text.slice(fragment)) : /^[\w.~-]+$/.test(text) ? text : null;
}
