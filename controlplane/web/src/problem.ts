/** Prefix of every `type` in the node's problem catalogue. */
const CATALOGUE = "urn:lectern:problem:";

/**
 * An answer of the node that is not a success: RFC 9457 `application/problem+json`, or whatever
 * stood in its place (a proxy's page, an empty body).
 */
export class Problem extends Error {
  /** Last part of the catalogue's `type`, for example `not-live`; empty for foreign answers. */
  readonly slug: string;
  /** HTTP status. */
  readonly status: number;
  /** The sentence written for the person in front of the screen; may be empty. */
  readonly detail: string;
  /** `Retry-After` in seconds, where the node gave one. */
  readonly retryAfterS: number | null;

  constructor(slug: string, status: number, detail: string, retryAfterS: number | null) {
    super(detail || slug || `HTTP ${status}`);
    this.name = "Problem";
    this.slug = slug;
    this.status = status;
    this.detail = detail;
    this.retryAfterS = retryAfterS;
  }

  /** Whether the same request may succeed later without anybody changing anything in it. */
  get transient(): boolean {
    return this.status === 409 || this.status === 429 || this.status >= 500;
  }
}

/** Reads the problem out of an answer; never rejects, whatever the body holds. */
export async function problemFrom(response: Response): Promise<Problem> {
  const retryAfterS = parseRetryAfter(response.headers.get("Retry-After"));
  let slug = "";
  let detail = "";
  if (/^application\/(problem\+)?json\b/i.test(response.headers.get("Content-Type") ?? "")) {
    try {
      const body: unknown = await response.json();
      if (typeof body === "object" && body !== null) {
        const { type, title, detail: sentence } = body as Record<string, unknown>;
        if (typeof type === "string" && type.startsWith(CATALOGUE)) {
          slug = type.slice(CATALOGUE.length);
        }
        detail = typeof sentence === "string" ? sentence : typeof title === "string" ? title : "";
      }
    } catch {
      // A body cut short says no more than the status line does.
    }
  }
  return new Problem(slug, response.status, detail, retryAfterS);
}

/** RFC 9110 section 10.2.3, the form in seconds; the node never sends the form with a date. */
function parseRetryAfter(value: string | null): number | null {
  return value !== null && /^\d{1,6}$/.test(value.trim()) ? Number(value) : null;
}
