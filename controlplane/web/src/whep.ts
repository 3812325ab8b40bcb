import { MediaSession } from "./session";
import { type Endpoint, negotiate, type Session } from "./signal";

export interface WhepOptions extends Endpoint {
  /** Makes the connection; a test passes its own. */
  connect?: (configuration: RTCConfiguration) => RTCPeerConnection;
}

/** A WHEP viewer (draft-ietf-wish-whep): one POST, one peer connection, one DELETE. */
export class Whep extends MediaSession {
  /** The stream's tracks; they stand from the start and fill when media flows. */
  readonly tracks: readonly MediaStreamTrack[];

  private constructor(
    connection: RTCPeerConnection,
    tracks: readonly MediaStreamTrack[],
    session: Session,
    token: string | null,
  ) {
    super(connection, session, token);
    this.tracks = tracks;
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
      return new Whep(connection, tracks, session, options.token);
    } catch (error) {
      connection.close();
      throw error;
    }
  }
}
