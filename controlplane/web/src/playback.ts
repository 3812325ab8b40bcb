import { type RefObject, useCallback, useEffect, useRef, useState } from "react";

/** The sound and the start of a remote stream under a browser's autoplay rules. */
export interface Playback {
  video: RefObject<HTMLVideoElement | null>;
  muted: boolean;
  /** 0 to 1. */
  volume: number;
  /** What the browser holds back until the user touches the page. */
  blocked: "sound" | "all" | null;
  show: (tracks: readonly MediaStreamTrack[]) => void;
  unblock: () => void;
  toggleMuted: () => void;
  setVolume: (volume: number) => void;
}

export function usePlayback(): Playback {
  const video = useRef<HTMLVideoElement | null>(null);
  const [muted, setMutedState] = useState(false);
  const [volume, setVolumeState] = useState(1);
  const [blocked, setBlocked] = useState<Playback["blocked"]>(null);

  const setMuted = useCallback((next: boolean) => {
    if (video.current !== null) {
      video.current.muted = next;
    }
    setMutedState(next);
  }, []);

  const show = useCallback(
    async (tracks: readonly MediaStreamTrack[]) => {
      const element = video.current;
      if (element === null) {
        return;
      }
      element.srcObject = new MediaStream([...tracks]);
      if (await plays(element)) {
        return;
      }
      // Without a gesture browsers allow moving pictures, but only silent ones.
      setMuted(true);
      setBlocked((await plays(element)) ? "sound" : "all");
    },
    [setMuted],
  );

  const unblock = useCallback(() => {
    setBlocked(null);
    setMuted(false);
    void video.current?.play().catch(() => setBlocked("all"));
  }, [setMuted]);

  return {
    video,
    muted,
    volume,
    blocked,
    show: (tracks) => void show(tracks),
    unblock,
    toggleMuted: () => (muted ? unblock() : setMuted(true)),
    setVolume: (next) => {
      if (video.current !== null) {
        video.current.volume = next;
      }
      setVolumeState(next);
      setBlocked((held) => (held === "sound" ? null : held));
      setMuted(next === 0);
    },
  };
}

/** Whether the element plays; a new stream that takes over meanwhile is no refusal. */
async function plays(element: HTMLVideoElement): Promise<boolean> {
  try {
    await element.play();
    return true;
  } catch (error) {
    return !(error instanceof DOMException && error.name === "NotAllowedError");
  }
}

/** iPhones give full screen to a video element only. */
type AppleVideo = HTMLVideoElement & { webkitEnterFullscreen?: () => void };

export function useFullscreen(
  stage: RefObject<HTMLElement | null>,
  video: RefObject<HTMLVideoElement | null>,
): { possible: boolean; on: boolean; toggle: () => void } {
  const [on, setOn] = useState(false);
  const [possible, setPossible] = useState(false);
  useEffect(() => {
    const element: AppleVideo | null = video.current;
    setPossible(document.fullscreenEnabled || element?.webkitEnterFullscreen !== undefined);
    const listener = () => setOn(document.fullscreenElement !== null);
    document.addEventListener("fullscreenchange", listener);
    return () => document.removeEventListener("fullscreenchange", listener);
  }, [video]);
  const toggle = () => {
    if (document.fullscreenElement !== null) {
      void document.exitFullscreen();
    } else if (document.fullscreenEnabled) {
      void stage.current?.requestFullscreen();
    } else {
      (video.current as AppleVideo | null)?.webkitEnterFullscreen?.();
    }
  };
  return { possible, on, toggle };
}
