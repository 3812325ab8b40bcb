import type { VideoCodec } from "../codecs";
import { t } from "../strings";

const NAMES: Readonly<Record<VideoCodec, string>> = { VP8: "VP8", VP9: "VP9", H264: "H.264", AV1: "AV1" };

export function CodecChoice(props: {
  codecs: readonly VideoCodec[];
  chosen: VideoCodec | null;
  locked: boolean;
  onChoose: (codec: VideoCodec) => void;
}) {
  return (
    <fieldset className="card codec-choice" disabled={props.locked}>
      <legend className="card-title">{t("publish.codec")}</legend>
      <div className="codecs">
        {props.codecs.map((codec) => (
          <label key={codec} className="codec">
            <input
              type="radio"
              name="codec"
              value={codec}
              checked={codec === props.chosen}
              onChange={() => props.onChoose(codec)}
            />
            <bdi className="codec-name">{NAMES[codec]}</bdi>
            <span className="codec-hint">{t(`publish.codec${codec}`)}</span>
          </label>
        ))}
      </div>
      {props.locked && <p className="hint">{t("publish.codecLocked")}</p>}
    </fieldset>
  );
}
