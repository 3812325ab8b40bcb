import { useMemo, useState } from "react";
import { available, type VideoCodec } from "../codecs";
import { bitrate, clock, secondsUntil } from "../format";
import { useNow, useStatistics } from "../hooks";
import { type OnAir, useOnAir } from "../on-air";
import { AudienceBadge } from "../part/audience";
import { CodecChoice } from "../part/codec-choice";
import { DeviceChoice } from "../part/device-choice";
import { Header } from "../part/header";
import { Icon, type IconName } from "../part/icon";
import { Invite } from "../part/invite";
import { Notice } from "../part/notice";
import { problemWords } from "../part/problem-text";
import { GradeBadge, SendingList } from "../part/quality";
import { Preview } from "../part/video";
import type { Failure } from "../publisher";
import { gradeSending, readSending, type Report, type Sending } from "../stats";
import { t } from "../strings";
import { type Studio, useStudio } from "../studio";

export function PublishPage({ room, token }: { room: string; token: string }) {
  const studio = useStudio();
  const codecs = useMemo(
    () => available(globalThis.RTCRtpSender?.getCapabilities("video")?.codecs ?? []),
    [],
  );
  const [codec, setCodec] = useState<VideoCodec | null>(codecs[0] ?? null);
  const onAir = useOnAir(room, token, codec, studio);
  const [quality, setQuality] = useState<Sending | null>(null);
  const live = onAir.state.phase === "live";
  useStatistics(live, onAir.connection, (report) =>
    setQuality((before) => readSending(entriesOf(report), before?.totals ?? null)),
  );
  const busy = onAir.state.phase !== "idle" && onAir.state.phase !== "failed";

  return (
    <>
      <Header room={room} />
      <main className="studio">
        <h1 className="visually-hidden">{t("publish.title")}</h1>
        <div className="studio-main">
          <Stage studio={studio} onAir={onAir} quality={live ? quality : null} />
          <Controls studio={studio} onAir={onAir} />
          {studio.trouble.map((trouble) => (
            <Notice key={trouble.device + trouble.why} text={t(trouble.why as "device.denied")}>
              <button
                type="button"
                className="button"
                onClick={trouble.device === "screen" ? studio.toggleScreen : studio.open}
              >
                {t("publish.retry")}
              </button>
            </Notice>
          ))}
          {onAir.state.phase === "failed" && <FailureNotice why={onAir.state.why} retry={onAir.start} />}
          {busy && (
            <section className="card" aria-labelledby="quality">
              <h2 className="card-title" id="quality">
                {t("quality.title")}
              </h2>
              <SendingList quality={live ? quality : null} />
            </section>
          )}
        </div>
        <div className="studio-side">
          <DeviceChoice studio={studio} />
          {codecs.length > 0 && (
            <CodecChoice codecs={codecs} chosen={codec} locked={busy} onChoose={setCodec} />
          )}
          <Invite room={room} />
        </div>
      </main>
    </>
  );
}

function Stage({ studio, onAir, quality }: { studio: Studio; onAir: OnAir; quality: Sending | null }) {
  const { picture } = studio;
  const hidden = studio.screen === null && !studio.cameraOn;
  return (
    <section className="stage" aria-label={t("publish.stage")}>
      {picture !== null && !hidden ? (
        <Preview track={picture} label={t("publish.stage")} mirrored={studio.screen === null} />
      ) : (
        <EmptyStage studio={studio} hidden={hidden} />
      )}
      <div className="stage-top">
        <div className="stage-facts">
          <LiveBadge onAir={onAir} ready={picture !== null || studio.microphone !== null} />
          <AudienceBadge viewers={onAir.viewers} />
        </div>
        {quality !== null && <GradeBadge grade={gradeSending(quality)} figure={bitrate(quality.bitrate)} />}
      </div>
    </section>
  );
}

function EmptyStage({ studio, hidden }: { studio: Studio; hidden: boolean }) {
  if (studio.phase === "checking") {
    return null;
  }
  if (studio.phase === "unasked") {
    return (
      <div className="stage-message">
        <h2>{t("publish.askTitle")}</h2>
        <p>{t("publish.askText")}</p>
        <button type="button" className="button button-primary" onClick={studio.open}>
          <Icon name="camera" />
          {t("publish.ask")}
        </button>
      </div>
    );
  }
  return (
    <div className="stage-message" role="status">
      {studio.phase !== "asking" && <Icon name={hidden ? "cameraOff" : "microphone"} />}
      <p>
        {t(studio.phase === "asking" ? "publish.asking" : hidden ? "publish.cameraOff" : "publish.noPicture")}
      </p>
    </div>
  );
}

function LiveBadge({ onAir, ready }: { onAir: OnAir; ready: boolean }) {
  const { state } = onAir;
  const ticking = state.phase === "live" || state.phase === "reconnecting";
  const now = useNow(1_000, ticking);
  switch (state.phase) {
    case "idle":
    case "failed":
      return ready ? <span className="badge">{t("publish.preview")}</span> : null;
    case "connecting":
      return (
        <span className="badge" role="status">
          {t("publish.connecting")}
        </span>
      );
    case "reconnecting": {
      const left = secondsUntil(state.retryAtMs, now);
      return (
        <span className="badge" data-grade="poor" role="status">
          {left > 0 ? t("publish.reconnecting", { seconds: left }) : t("publish.reconnectingNow")}
        </span>
      );
    }
    case "live": {
      const time = clock(now - state.sinceMs);
      return (
        <span className="badge badge-live">
          <span className="badge-dot" aria-hidden="true" />
          <span role="status">{t("publish.live")}</span>
          <bdi className="badge-figure" aria-label={t("publish.liveFor", { time })}>
            {time}
          </bdi>
        </span>
      );
    }
  }
}

function Controls({ studio, onAir }: { studio: Studio; onAir: OnAir }) {
  const idle = onAir.state.phase === "idle" || onAir.state.phase === "failed";
  const nothing = studio.picture === null && studio.microphone === null;
  return (
    <div className="controls" role="toolbar" aria-label={t("publish.title")}>
      <Toggle
        icon={studio.microphoneOn ? "microphone" : "microphoneOff"}
        text={t("publish.microphone")}
        label={t(studio.microphoneOn ? "publish.muteMicrophone" : "publish.unmuteMicrophone")}
        off={!studio.microphoneOn}
        disabled={studio.microphone === null}
        onClick={() => studio.toggle("microphone")}
      />
      <Toggle
        icon={studio.cameraOn ? "camera" : "cameraOff"}
        text={t("publish.camera")}
        label={t(studio.cameraOn ? "publish.hideCamera" : "publish.showCamera")}
        off={!studio.cameraOn}
        disabled={studio.camera === null || studio.screen !== null}
        onClick={() => studio.toggle("camera")}
      />
      <Toggle
        icon={studio.screen === null ? "screen" : "screenOff"}
        text={t("publish.screen")}
        label={t(studio.screen === null ? "publish.shareScreen" : "publish.stopScreen")}
        off={false}
        disabled={false}
        onClick={studio.toggleScreen}
      />
      {idle ? (
        <button type="button" className="button button-primary controls-main" disabled={nothing} onClick={onAir.start}>
          <Icon name="broadcast" />
          {t("publish.goLive")}
        </button>
      ) : (
        <button type="button" className="button button-stop controls-main" onClick={onAir.stop}>
          <Icon name="stop" />
          {t("publish.stop")}
        </button>
      )}
    </div>
  );
}

function Toggle(props: {
  icon: IconName;
  text: string;
  label: string;
  off: boolean;
  disabled: boolean;
  onClick: () => void;
}) {
  return (
    <button
      type="button"
      className="toggle"
      data-off={props.off}
      disabled={props.disabled}
      aria-label={props.label}
      title={props.label}
      onClick={props.onClick}
    >
      <Icon name={props.icon} />
      <span className="toggle-text">{props.text}</span>
    </button>
  );
}

function FailureNotice({ why, retry }: { why: Failure; retry: () => void }) {
  const words =
    why.kind === "refused"
      ? problemWords(why.problem)
      : { title: t(why.kind === "blocked" ? "publish.blocked" : "publish.unreachable"), detail: null };
  const again = (
    <button type="button" className="button" onClick={retry}>
      {t("publish.retry")}
    </button>
  );
  return words.detail === null ? (
    <Notice text={words.title}>{again}</Notice>
  ) : (
    <Notice title={words.title} text={words.detail}>
      {again}
    </Notice>
  );
}

/** TypeScript knows an `RTCStatsReport` as a map of `any`; `stats.ts` checks each field it reads. */
function entriesOf(report: RTCStatsReport): Report {
  return report.values() as Report;
}
