import { useEffect, useRef, useState } from "react";
import { milliseconds, secondsUntil } from "../format";
import { useNow, usePageHide, useStatistics } from "../hooks";
import { AudienceBadge } from "../part/audience";
import { Header } from "../part/header";
import { Icon } from "../part/icon";
import { Notice } from "../part/notice";
import { problemWords } from "../part/problem-text";
import { GradeBadge, WatchingList } from "../part/quality";
import { Screen } from "../part/video";
import type { Problem } from "../problem";
import { type Grade, gradeWatching, readWatching, type Report, type Watching } from "../stats";
import { t } from "../strings";
import { Viewer, type ViewerParts, type ViewerState } from "../viewer";
import { useFullscreen, usePlayback, type Playback } from "../playback";
import { Whep } from "../whep";

/** A freeze colours the badge for this many readings, one a second. */
const FREEZE_MEMORY = 10;

export function WatchPage({ room, token }: { room: string; token: string }) {
  const [state, setState] = useState<ViewerState>({ phase: "joining" });
  const [viewers, setViewers] = useState<number | null>(null);
  const playback = usePlayback();
  const viewer = useViewer(room, token, { onState: setState, onTracks: playback.show, onViewers: setViewers });
  const { quality, grade } = useWatching(state, viewer);

  return (
    <>
      <Header room={room} />
      <main className="theatre">
        <h1 className="visually-hidden">{t("watch.title")}</h1>
        {state.phase === "refused" ? (
          <Refusal state={state} onRetry={() => void viewer.join()} />
        ) : (
          <Stage {...{ state, viewer, playback, viewers, quality, grade }} />
        )}
        {quality !== null && (
          <section className="card theatre-quality" aria-labelledby="quality">
            <h2 className="card-title" id="quality">
              {t("quality.title")}
            </h2>
            <WatchingList quality={quality} />
          </section>
        )}
      </main>
    </>
  );
}

function useViewer(
  room: string,
  token: string,
  on: Pick<ViewerParts, "onState" | "onTracks" | "onViewers">,
): Viewer {
  const held = useRef<Viewer | null>(null);
  held.current ??= new Viewer({
    join: () => Whep.watch({ url: `/whep/${room}`, token }),
    ...on,
    now: () => performance.now(),
    random: Math.random,
  });
  const viewer = held.current;
  useEffect(() => {
    void viewer.join();
    return () => viewer.leave();
  }, [viewer]);
  usePageHide(() => viewer.leave());
  return viewer;
}

/** Reads the connection once a second, and tells the viewer whether media still comes. */
function useWatching(state: ViewerState, viewer: Viewer): { quality: Watching | null; grade: Grade | null } {
  const [readings, setReadings] = useState<Watching[]>([]);
  const connected = shows(state);
  useEffect(() => {
    if (!connected) {
      setReadings([]);
    }
  }, [connected]);
  useStatistics(
    connected,
    () => viewer.connection,
    (report) => {
      // TypeScript knows an `RTCStatsReport` as a map of `any`; `stats.ts` checks what it reads.
      const entries = [...(report.values() as Report)];
      setReadings((before) => {
        const last = before.at(-1);
        return [...before.slice(-FREEZE_MEMORY), readWatching(entries, last?.totals ?? null, Date.now())];
      });
      viewer.onProgress(readWatching(entries, null, 0).totals.bytes);
    },
  );
  const quality = readings.at(-1) ?? null;
  const grade = quality === null ? null : gradeWatching(quality, readings[0]?.freezes ?? 0);
  return { quality, grade };
}

function Stage(props: {
  state: ViewerState;
  viewer: Viewer;
  playback: Playback;
  viewers: number | null;
  quality: Watching | null;
  grade: Grade | null;
}) {
  const { state, viewer, playback } = props;
  const stage = useRef<HTMLElement>(null);
  const fullscreen = useFullscreen(stage, playback.video);
  const playing = state.phase === "playing";
  const showing = shows(state);
  return (
    <section className="stage stage-theatre" ref={stage} aria-label={t("watch.stage")}>
      <Screen ref={playback.video} label={t("watch.stage")} />
      {!playing && <Curtain state={state} onTry={() => void viewer.join()} />}
      {showing && (
        <div className="stage-top">
          <div className="stage-facts">
            {state.phase !== "away" && (
              <span className="badge badge-live">
                <span className="badge-dot" aria-hidden="true" />
                {t("watch.live")}
              </span>
            )}
            <AudienceBadge viewers={props.viewers} />
          </div>
          {state.phase !== "away" && (
            <GradeBadge
              grade={props.grade}
              figure={props.quality?.delay == null ? null : milliseconds(props.quality.delay.ms)}
            />
          )}
        </div>
      )}
      {playing && playback.blocked !== null && (
        <button type="button" className="button button-primary stage-unmute" onClick={playback.unblock}>
          <Icon name={playback.blocked === "sound" ? "sound" : "play"} />
          {t(playback.blocked === "sound" ? "watch.unmute" : "watch.play")}
        </button>
      )}
      {showing && (
        <div className="stage-controls">
          <button
            type="button"
            className="stage-button"
            aria-label={t(playback.muted ? "watch.unmuteShort" : "watch.mute")}
            title={t(playback.muted ? "watch.unmuteShort" : "watch.mute")}
            onClick={playback.toggleMuted}
          >
            <Icon name={playback.muted ? "soundOff" : "sound"} />
          </button>
          <input
            type="range"
            className="stage-volume"
            min={0}
            max={100}
            value={playback.muted ? 0 : Math.round(playback.volume * 100)}
            aria-label={t("watch.volume")}
            onChange={(event) => playback.setVolume(Number(event.target.value) / 100)}
          />
          <span className="stage-spring" />
          <button
            type="button"
            className="stage-button"
            aria-label={t("watch.leave")}
            title={t("watch.leave")}
            onClick={() => viewer.leave()}
          >
            <Icon name="leave" />
          </button>
          {fullscreen.possible && (
            <button
              type="button"
              className="stage-button"
              aria-label={t(fullscreen.on ? "watch.exitFullscreen" : "watch.fullscreen")}
              title={t(fullscreen.on ? "watch.exitFullscreen" : "watch.fullscreen")}
              onClick={fullscreen.toggle}
            >
              <Icon name={fullscreen.on ? "shrink" : "expand"} />
            </button>
          )}
        </div>
      )}
    </section>
  );
}

/** What hangs before the picture while there is none. */
function Curtain({ state, onTry }: { state: ViewerState; onTry: () => void }) {
  const retryAtMs = "retryAtMs" in state ? state.retryAtMs : null;
  const now = useNow(500, retryAtMs !== null);
  const [title, text] = words(state);
  const left = retryAtMs === null ? 0 : secondsUntil(retryAtMs, now);
  return (
    <div className="stage-message" data-veil={shows(state)}>
      {state.phase !== "left" && (
        <span className="waiting" aria-hidden="true">
          <span />
          <span />
          <span />
        </span>
      )}
      <div role="status">
        <h2>{title}</h2>
        {text !== null && <p>{text}</p>}
      </div>
      {state.phase === "left" && (
        <button type="button" className="button button-primary" onClick={onTry}>
          {t("watch.rejoin")}
        </button>
      )}
      {retryAtMs !== null && (
        <p className="stage-retry">
          <span>{left > 0 ? t("watch.nextTry", { seconds: left }) : t("watch.joining")}</span>
          <button type="button" className="button button-quiet" onClick={onTry}>
            {t("watch.tryNow")}
          </button>
        </p>
      )}
    </div>
  );
}

/** Whether there is a picture, if only the last one. */
function shows({ phase }: ViewerState): boolean {
  return phase === "playing" || phase === "stalled" || phase === "away";
}

function words(state: ViewerState): [title: string, text: string | null] {
  switch (state.phase) {
    case "waiting":
      return state.begun
        ? [t("watch.away"), t("watch.awayText")]
        : [t("watch.waiting"), t("watch.waitingText")];
    case "reconnecting":
      return [t("watch.reconnecting"), t(reconnecting(state.problem))];
    case "away":
      return [t("watch.away"), t("watch.awayText")];
    case "stalled":
      return [t("watch.stalled"), t("watch.stalledText")];
    case "left":
      return [t("watch.left"), null];
    case "joining":
    case "playing":
    case "refused":
      return [t("watch.joining"), null];
  }
}

function reconnecting(problem: Problem | null) {
  switch (problem?.slug) {
    case undefined:
      return "watch.reconnectingText";
    case "media-down":
    case "draining":
      return "watch.restartingText";
    default:
      return "watch.busyText";
  }
}

function Refusal(props: { state: ViewerState & { phase: "refused" }; onRetry: () => void }) {
  const { title, detail } = problemWords(props.state.problem);
  const again = (
    <button type="button" className="button" onClick={props.onRetry}>
      {t("publish.retry")}
    </button>
  );
  return detail === null ? (
    <Notice text={title}>{again}</Notice>
  ) : (
    <Notice title={title} text={detail}>
      {again}
    </Notice>
  );
}
