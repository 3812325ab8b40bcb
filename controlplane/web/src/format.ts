import { locale, t } from "./strings";

function decimal(value: number, digits: number): string {
  return new Intl.NumberFormat(locale().tag, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
    // Digits stay Latin in every locale: they stand beside codec names and addresses.
    numberingSystem: "latn",
  }).format(value);
}

/** A missing reading is a dash, never a zero. */
function known(value: number | null, format: (value: number) => string): string {
  return value === null ? t("quality.unknown") : format(value);
}

export function bitrate(bitsPerSecond: number | null): string {
  return known(bitsPerSecond, (bits) =>
    bits >= 1_000_000
      ? t("unit.mbps", { value: decimal(bits / 1_000_000, 1) })
      : t("unit.kbps", { value: decimal(bits / 1_000, 0) }),
  );
}

export function milliseconds(ms: number | null): string {
  return known(ms, (value) => t("unit.ms", { value: decimal(value, 0) }));
}

export function seconds(ms: number): string {
  return t("unit.s", { value: decimal(ms / 1_000, 1) });
}

export function percent(share: number | null): string {
  return known(share, (value) => t("unit.percent", { value: decimal(value * 100, 1) }));
}

export function resolution(width: number | null, height: number | null): string {
  return width === null || height === null
    ? t("quality.unknown")
    : t("quality.resolutionValue", { width, height });
}

export function frameRate(fps: number | null): string {
  return known(fps, (value) => t("unit.fps", { value: decimal(value, 0) }));
}

/** Minutes and seconds, with hours once there are any: a clock, not a sentence. */
export function clock(ms: number): string {
  const total = Math.max(0, Math.floor(ms / 1_000));
  const [hours, minutes, rest] = [Math.floor(total / 3_600), Math.floor(total / 60) % 60, total % 60];
  const tail = `${String(minutes).padStart(hours > 0 ? 2 : 1, "0")}:${String(rest).padStart(2, "0")}`;
  return hours > 0 ? `${hours}:${tail}` : tail;
}

/** Whole seconds until a moment, at least one while it has not come. */
export function secondsUntil(atMs: number, nowMs: number): number {
  return Math.max(0, Math.ceil((atMs - nowMs) / 1_000));
}
