import { useEffect, useRef, useState } from "react";
import type { VideoCodec } from "./codecs";
import { usePageHide, useStatistics } from "./hooks";
import { Publisher, type PublisherState } from "./publisher";
import { receivedBytes, type Report } from "./stats";
import type { Studio } from "./studio";
import { Whip } from "./whip";

/** What 720p30 needs with every codec, and the default ceiling of a publisher. */
const VIDEO_BITRATE_MAX = 2_500_000;

/** How often a publisher listens for the node: a lost one is missed within two seconds. */
const LISTEN_MS = 500;

export interface OnAir {
  state: PublisherState;
  /** How many watch; null while that is not known. */
  viewers: number | null;
  start: () => void;
  stop: () => void;
  connection: () => RTCPeerConnection | null;
}

/** Publishes the studio's tracks, and follows when they change. */
export function useOnAir(room: string, token: string, codec: VideoCodec | null, studio: Studio): OnAir {
  const [state, setState] = useState<PublisherState>({ phase: "idle" });
  const [viewers, setViewers] = useState<number | null>(null);
  const latest = useRef({ codec, studio });
  useEffect(() => {
    latest.current = { codec, studio };
  });

  const publisher = useRef<Publisher | null>(null);
  publisher.current ??= new Publisher({
    publish: () =>
      Whip.publish({
        url: `/whip/${room}`,
        token,
        audio: latest.current.studio.microphone,
        video: latest.current.studio.picture,
        codec: latest.current.codec,
        videoBitrateMax: VIDEO_BITRATE_MAX,
      }),
    onState: setState,
    onViewers: setViewers,
    now: () => performance.now(),
    random: Math.random,
  });
  const current = publisher.current;

  const onAir = state.phase !== "idle" && state.phase !== "failed";
  const follow = (kind: "audio" | "video", track: MediaStreamTrack | null) => {
    const whip = current.whip;
    if (!onAir || whip === null) {
      return;
    }
    if (whip.carries(kind)) {
      void whip.replace(kind, track);
    } else if (track !== null) {
      // The session was offered without this kind: a new offer has to add it.
      void current.start();
    }
  };
  useEffect(() => follow("video", studio.picture), [studio.picture]);
  useEffect(() => follow("audio", studio.microphone), [studio.microphone]);

  const connection = () => current.whip?.connection ?? null;
  useStatistics(
    state.phase === "live",
    connection,
    (report) => current.onProgress(receivedBytes([...(report.values() as Report)])),
    LISTEN_MS,
  );

  usePageHide(() => current.stop());
  useEffect(() => () => current.stop(), [current]);

  return {
    state,
    viewers,
    start: () => void current.start(),
    stop: () => current.stop(),
    connection,
  };
}
