import { type Ref, useEffect, useImperativeHandle, useRef } from "react";

/** A muted local picture. Its own stream, so that the caller's track is all that changes. */
export function Preview({ track, label, mirrored }: { track: MediaStreamTrack; label: string; mirrored: boolean }) {
  const video = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    if (video.current !== null) {
      video.current.srcObject = new MediaStream([track]);
    }
  }, [track]);
  return (
    <video
      ref={video}
      className="picture"
      data-mirrored={mirrored}
      aria-label={label}
      autoPlay
      muted
      playsInline
    />
  );
}

/** A remote stream; playing it is the caller's business, because only it may start with sound. */
export function Screen({ ref, label }: { ref: Ref<HTMLVideoElement>; label: string }) {
  const video = useRef<HTMLVideoElement>(null);
  useImperativeHandle(ref, () => video.current as HTMLVideoElement, []);
  return <video ref={video} className="picture" aria-label={label} playsInline />;
}
