import { useEffect, useRef, useState } from "react";

/** The page's clock, read every `everyMs` while `running`. */
export function useNow(everyMs: number, running: boolean): number {
  const [now, setNow] = useState(() => performance.now());
  useEffect(() => {
    if (!running) {
      return undefined;
    }
    setNow(performance.now());
    const timer = setInterval(() => setNow(performance.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs, running]);
  return now;
}

/** Calls `read` with fresh statistics at once and every `everyMs` while `running`. */
export function useStatistics(
  running: boolean,
  connection: () => RTCPeerConnection | null,
  read: (report: RTCStatsReport) => void,
  everyMs = 1_000,
): void {
  const latest = useRef({ connection, read });
  useEffect(() => {
    latest.current = { connection, read };
  });
  useEffect(() => {
    if (!running) {
      return undefined;
    }
    let wanted = true;
    const sample = async () => {
      const report = await latest.current.connection()?.getStats();
      if (wanted && report !== undefined) {
        latest.current.read(report);
      }
    };
    void sample();
    const timer = setInterval(() => void sample(), everyMs);
    return () => {
      wanted = false;
      clearInterval(timer);
    };
  }, [everyMs, running]);
}

/** Runs when the page is closed or left for another. */
export function usePageHide(then: () => void): void {
  const latest = useRef(then);
  useEffect(() => {
    latest.current = then;
  });
  useEffect(() => {
    const listener = () => latest.current();
    addEventListener("pagehide", listener);
    return () => removeEventListener("pagehide", listener);
  }, []);
}
