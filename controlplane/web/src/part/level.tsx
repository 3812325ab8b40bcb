import { useEffect, useRef } from "react";
import { t } from "../strings";

/** Ten readings a second are smooth enough for a bar and cost nothing. */
const EVERY_MS = 100;

/** Shows that the microphone hears something. */
export function Level({ track, on }: { track: MediaStreamTrack; on: boolean }) {
  const meter = useRef<HTMLMeterElement>(null);
  useEffect(() => {
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    analyser.fftSize = 1_024;
    const source = context.createMediaStreamSource(new MediaStream([track]));
    source.connect(analyser);
    // A context made before the first gesture waits for it.
    void context.resume();
    const samples = new Float32Array(analyser.fftSize);
    const timer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((total, sample) => total + sample * sample, 0) / samples.length;
      // -60 dBFS, a quiet room, is the left end; 0 dBFS the right.
      const level = power > 0 ? 1 + Math.log10(power) / 6 : 0;
      if (meter.current !== null) {
        meter.current.value = Math.min(1, Math.max(0, level));
      }
    }, EVERY_MS);
    return () => {
      clearInterval(timer);
      source.disconnect();
      void context.close();
    };
  }, [track]);
  return <meter ref={meter} className="level" data-on={on} min={0} max={1} aria-label={t("publish.level")} />;
}
