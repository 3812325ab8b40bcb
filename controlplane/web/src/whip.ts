import { preferences, type VideoCodec } from "./codecs";
import { MediaSession } from "./session";
import { type Endpoint, negotiate } from "./signal";
import { withStartBitrate } from "./start-bitrate";

/** Enough for a first picture that is worth looking at; half of the default ceiling. */
const VIDEO_START_KBPS = 1_200;

/** What is published: at most one track of each kind, at least one in all. */
export interface WhipOptions extends Endpoint {
  audio: MediaStreamTrack | null;
  video: MediaStreamTrack | null;
  /** The one video codec offered; null offers all the browser has. */
  codec: VideoCodec | null;
  /** Ceiling of the video encoder in bit/s. */
  videoBitrateMax: number;
  /** Makes the connection; a test passes its own. */
  connect?: (configuration: RTCConfiguration) => RTCPeerConnection;
}

/** A WHIP publisher (RFC 9725): one POST, one peer connection, one DELETE. */
export class Whip extends MediaSession {
  /**
   * Resolves when the answer is applied; `connection` then reports how the media path fares.
   *
   * Rejects with `Problem` when the node refuses, `TypeError` when it cannot be reached.
   */
  static async publish(options: WhipOptions): Promise<Whip> {
    const configuration: RTCConfiguration = { bundlePolicy: "max-bundle" };
    const connection = options.connect?.(configuration) ?? new RTCPeerConnection(configuration);
    try {
      if (options.audio !== null) {
        connection.addTransceiver(options.audio, { direction: "sendonly" });
      }
      if (options.video !== null) {
        const transceiver = connection.addTransceiver(options.video, {
          direction: "sendonly",
          sendEncodings: [{ maxBitrate: options.videoBitrateMax }],
        });
        const capabilities = globalThis.RTCRtpSender?.getCapabilities("video")?.codecs ?? [];
        if (options.codec !== null && capabilities.length > 0) {
          transceiver.setCodecPreferences(preferences(options.codec, capabilities));
        }
      }
      const session = await negotiate(connection, options, (answer) =>
        withStartBitrate(answer, VIDEO_START_KBPS),
      );
      // The node names no events to publishers, because encoders split `Link` at commas; it has them.
      const events = session.events ?? `${session.resource}/sse`;
      return new Whip(connection, { ...session, events }, options.token);
    } catch (error) {
      connection.close();
      throw error;
    }
  }

  /** Sends another track from the next frame on, or nothing for null, without a new offer. */
  async replace(kind: "audio" | "video", track: MediaStreamTrack | null): Promise<void> {
    await this.#sender(kind)?.replaceTrack(track);
  }

  /** Whether the session was published with a track of this kind, so that `replace` can reach it. */
  carries(kind: "audio" | "video"): boolean {
    return this.#sender(kind) !== undefined;
  }

  #sender(kind: "audio" | "video"): RTCRtpSender | undefined {
    return this.connection
      .getTransceivers()
      .find((transceiver) => transceiver.receiver.track.kind === kind)?.sender;
  }
}
