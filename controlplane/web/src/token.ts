import { problemFrom } from "./problem";

export type UserType = "teacher" | "student";

/** Names that only ever mean this machine; `make run` hands out tokens on these alone. */
export function isLoopback(host: string): boolean {
  return (
    host === "localhost" ||
    host.endsWith(".localhost") ||
    host === "[::1]" ||
    /^127(\.\d{1,3}){3}$/.test(host)
  );
}

/**
 * A room token from a node that hands them out freely (`open_tokens`).
 *
 * Resolves to null when this node does not; rejects when it could not be reached or is broken.
 */
export async function openToken(room: string, userType: UserType): Promise<string | null> {
  const query = new URLSearchParams({ user_type: userType, room });
  const response = await fetch(`/api/token?${query}`, { method: "POST" });
  if (response.status === 401 || response.status === 403 || response.status === 404) {
    return null;
  }
  if (!response.ok) {
    throw await problemFrom(response);
  }
  const body = (await response.json()) as { token?: unknown; webrtc_url?: unknown } | null;
  if (typeof body?.token === "string") {
    return body.token;
  }
  // The playable address carries the token too (`?jwt=`).
  return typeof body?.webrtc_url === "string"
    ? new URL(body.webrtc_url, response.url).searchParams.get("jwt")
    : null;
}
