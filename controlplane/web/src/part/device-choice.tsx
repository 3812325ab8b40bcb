import { useId } from "react";
import type { DeviceKind } from "../devices";
import { type Studio } from "../studio";
import { t } from "../strings";
import { Level } from "./level";

export function DeviceChoice({ studio }: { studio: Studio }) {
  return (
    <section className="card" aria-labelledby="devices">
      <h2 className="card-title" id="devices">
        {t("publish.devices")}
      </h2>
      <DeviceSelect kind="camera" devices={studio.cameras} studio={studio} />
      <DeviceSelect kind="microphone" devices={studio.microphones} studio={studio} />
      {studio.microphone !== null && <Level track={studio.microphone} on={studio.microphoneOn} />}
    </section>
  );
}

function DeviceSelect(props: { kind: DeviceKind; devices: MediaDeviceInfo[]; studio: Studio }) {
  const { kind, devices, studio } = props;
  const id = useId();
  // What the browser chose by itself is shown by name.
  const used = studio.choice[kind] ?? studio[kind]?.getSettings().deviceId ?? "";
  const name = (device: MediaDeviceInfo, index: number) =>
    device.label !== ""
      ? device.label
      : t(kind === "camera" ? "publish.cameraNumber" : "publish.microphoneNumber", { number: index + 1 });
  return (
    <div className="field">
      <label htmlFor={id}>{t(kind === "camera" ? "publish.camera" : "publish.microphone")}</label>
      <select
        id={id}
        value={devices.some((device) => device.deviceId === used) ? used : ""}
        disabled={devices.length === 0}
        onChange={(event) => studio.choose(kind, event.target.value === "" ? null : event.target.value)}
      >
        <option value="">{t("publish.deviceDefault")}</option>
        {devices.map((device, index) => (
          <option key={device.deviceId} value={device.deviceId}>
            {name(device, index)}
          </option>
        ))}
      </select>
    </div>
  );
}
