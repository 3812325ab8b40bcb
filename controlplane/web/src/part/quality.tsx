import { bitrate, frameRate, milliseconds, percent, resolution, seconds } from "../format";
import type { Grade, Sending, Watching } from "../stats";
import { t } from "../strings";

export function GradeBadge({ grade, figure }: { grade: Grade | null; figure: string | null }) {
  const word = grade === null ? t("quality.measuring") : t(`quality.${grade}`);
  return (
    <span className="badge" data-grade={grade ?? "none"}>
      <span className="badge-dot" aria-hidden="true" />
      <span className="visually-hidden">{t("quality.badge", { grade: word })}</span>
      <span aria-hidden="true">{word}</span>
      {figure !== null && <bdi className="badge-figure">{figure}</bdi>}
    </span>
  );
}

export function SendingList({ quality }: { quality: Sending | null }) {
  return (
    <Readings
      rows={[
        [t("quality.bitrate"), bitrate(quality?.bitrate ?? null)],
        [t("quality.rtt"), milliseconds(quality?.rttMs ?? null)],
        [t("quality.resolution"), resolution(quality?.width ?? null, quality?.height ?? null)],
        [t("quality.fps"), frameRate(quality?.fps ?? null)],
        [t("quality.codec"), quality?.codec ?? t("quality.unknown")],
        [t("quality.loss"), percent(quality?.loss ?? null)],
        [
          t("quality.limitation"),
          quality === null ? t("quality.unknown") : t(`quality.limitation.${quality.limitation}`),
        ],
      ]}
    />
  );
}

export function WatchingList({ quality }: { quality: Watching | null }) {
  const delay = quality?.delay ?? null;
  return (
    <Readings
      rows={[
        [t(delay === null ? "quality.delay" : `quality.delay.${delay.from}`), milliseconds(delay?.ms ?? null)],
        [t("quality.buffer"), milliseconds(quality?.jitterBufferMs ?? null)],
        [t("quality.rtt"), milliseconds(quality?.rttMs ?? null)],
        [t("quality.resolution"), resolution(quality?.width ?? null, quality?.height ?? null)],
        [t("quality.fps"), frameRate(quality?.fps ?? null)],
        [t("quality.bitrate"), bitrate(quality?.bitrate ?? null)],
        [t("quality.codec"), quality?.codec ?? t("quality.unknown")],
        [t("quality.loss"), percent(quality?.loss ?? null)],
        [
          t("quality.freezes"),
          quality === null
            ? t("quality.unknown")
            : t("quality.freezesValue", { count: quality.freezes, time: seconds(quality.frozenMs) }),
        ],
      ]}
    />
  );
}

function Readings({ rows }: { rows: readonly (readonly [name: string, value: string])[] }) {
  return (
    <dl className="readings">
      {rows.map(([name, value]) => (
        <div key={name} className="reading">
          <dt>{name}</dt>
          <dd>
            <bdi>{value}</bdi>
          </dd>
        </div>
      ))}
    </dl>
  );
}
