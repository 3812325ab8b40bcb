import { deleteSession, type Endpoint, negotiate } from "./signal";

export interface WhepOptions extends Endpoint {
  /** Makes the connection; a test passes its own. */
  connect?: (configuration: RTCConfiguration) => RTCPeerConnection;
}

/** A WHEP viewer (draft-ietf-wish-whep): one POST, one peer connection, one DELETE. */
export class Whep {
  readonly connection: RTCPeerConnection;
  /** The stream's tracks; they stand from the start and fill when media flows. */
  readonly tracks: readonly MediaStreamTrack[];
  readonly #resource: string;
  readonly #token: string | null;
  #stopped = false;

  private constructor(
    connection: RTCPeerConnection,
    tracks: readonly MediaStreamTrack[],
    resource: string,
    token: string | null,
  ) {
    this.connection = connection;
    this.tracks = tracks;
    this.#resource = resource;
    this.#token = token;
  }

  /**
   * Resolves when the answer is applied; `connection` then reports how the media path fares.
   *
   * Rejects with `Problem` when the node refuses (`not-live`: nobody publishes yet), `TypeError`
   * when it cannot be reached.
   */
  static async watch(options: WhepOptions): Promise<Whep> {
    const configuration: RTCConfiguration = { bundlePolicy: "max-bundle" };
    const connection = options.connect?.(configuration) ?? new RTCPeerConnection(configuration);
    try {
      const tracks = (["audio", "video"] as const).map(
        (kind) => connection.addTransceiver(kind, { direction: "recvonly" }).receiver.track,
      );
      const session = await negotiate(connection, options);
      return new Whep(connection, tracks, session.resource, options.token);
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** Ends the session. Safe to call twice, and while the page is being closed. */
  async stop(): Promise<void> {
    if (this.#stopped) {
      return;
    }
    this.#stopped = true;
    const ended = deleteSession(this.#resource, this.#token);
    this.connection.close();
    await ended;
  }
}
