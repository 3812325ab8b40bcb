/** A peer connection that notes what is done to it, and moves only when a test moves it. */
export class FakePeer extends EventTarget {
  connectionState: RTCPeerConnectionState = "new";
  readonly done: string[] = [];
  readonly transceivers: {
    kind: string;
    init: RTCRtpTransceiverInit | undefined;
    receiver: { track: { kind: string } };
    sender: { track: unknown; replaceTrack: (track: unknown) => Promise<void> };
  }[] = [];
  configuration: RTCConfiguration;
  /** What a viewer shows of it; without media at first. */
  readonly track = Object.assign(new EventTarget(), { kind: "video", muted: true });

  constructor(configuration: RTCConfiguration = {}) {
    super();
    this.configuration = configuration;
  }

  addTransceiver(what: string | { kind: string }, init?: RTCRtpTransceiverInit): unknown {
    const kind = typeof what === "string" ? what : what.kind;
    const sender = {
      track: typeof what === "string" ? null : (what as unknown),
      replaceTrack: async (track: unknown) => {
        sender.track = track;
      },
    };
    const transceiver = { kind, init, receiver: { track: { kind } }, sender };
    this.transceivers.push(transceiver);
    return transceiver;
  }

  getTransceivers(): unknown[] {
    return this.transceivers;
  }

  async createOffer(): Promise<RTCSessionDescriptionInit> {
    this.done.push("createOffer");
    return { type: "offer", sdp: "v=0 offer" };
  }

  getConfiguration(): RTCConfiguration {
    return this.configuration;
  }

  setConfiguration(configuration: RTCConfiguration): void {
    this.done.push("setConfiguration");
    this.configuration = configuration;
  }

  async setLocalDescription(description: RTCSessionDescriptionInit): Promise<void> {
    this.done.push(`local ${description.type}`);
  }

  async setRemoteDescription(description: RTCSessionDescriptionInit): Promise<void> {
    if (description.sdp === "broken") {
      throw new Error("Failed to parse SessionDescription");
    }
    this.done.push(`remote ${description.sdp}`);
  }

  close(): void {
    this.done.push("close");
    this.connectionState = "closed";
  }

  /** Moves the connection on and tells whoever listens. */
  become(state: RTCPeerConnectionState): void {
    this.connectionState = state;
    this.dispatchEvent(new Event("connectionstatechange"));
  }

  hearsMedia(): void {
    this.track.muted = false;
    this.track.dispatchEvent(new Event("unmute"));
  }

  asConnection(): RTCPeerConnection {
    return this as unknown as RTCPeerConnection;
  }
}

/** An event source that says what a test lets it say. */
export class FakeSource extends EventTarget {
  readyState = 1;
  readonly url: string;

  constructor(url: string) {
    super();
    this.url = url;
  }

  close(): void {
    this.readyState = 2;
  }

  say(event: string, data: unknown): void {
    const text = typeof data === "string" ? data : JSON.stringify(data);
    this.dispatchEvent(Object.assign(new Event(event), { data: text }));
  }

  /** The browser met an answer that it takes for final. */
  fail(): void {
    this.readyState = 2;
    this.dispatchEvent(new Event("error"));
  }
}

export interface Request {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string | null;
  keepalive: boolean;
}

/** Stands in for `fetch`: answers from a list, in order, and keeps the requests. */
export function fakeFetch(...answers: (Response | Error)[]): { fetch: typeof fetch; requests: Request[] } {
  const requests: Request[] = [];
  const fetch = async (url: RequestInfo | URL, init: RequestInit = {}): Promise<Response> => {
    requests.push({
      method: init.method ?? "GET",
      url: String(url),
      headers: Object.fromEntries(new Headers(init.headers)),
      body: (init.body as string | undefined) ?? null,
      keepalive: init.keepalive ?? false,
    });
    const answer = answers.shift();
    if (answer === undefined) {
      throw new Error(`no answer left for ${init.method ?? "GET"} ${String(url)}`);
    }
    if (answer instanceof Error) {
      throw answer;
    }
    // A real answer knows its own address; a constructed one does not.
    Object.defineProperty(answer, "url", { value: new URL(String(url), "http://node.test").href });
    return answer;
  };
  return { fetch, requests };
}

export function created(location: string, headers: Record<string, string> = {}): Response {
  return new Response("v=0 answer", {
    status: 201,
    headers: { "Content-Type": "application/sdp", Location: location, ...headers },
  });
}

export function problem(slug: string, status: number, detail: string, retryAfter?: string): Response {
  return new Response(
    JSON.stringify({ type: `urn:lectern:problem:${slug}`, title: slug, status, detail }),
    {
      status,
      headers: {
        "Content-Type": "application/problem+json",
        ...(retryAfter === undefined ? {} : { "Retry-After": retryAfter }),
      },
    },
  );
}
