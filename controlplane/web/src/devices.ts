import type { Key } from "./strings";

export type DeviceKind = "camera" | "microphone";

/** Tracks that could be opened, and for the others the reason they could not. */
export interface Capture {
  camera: MediaStreamTrack | null;
  microphone: MediaStreamTrack | null;
  trouble: Trouble[];
}

export interface Trouble {
  device: DeviceKind | "screen";
  /** Entry of the catalogue that explains what happened and what to do. */
  why: Key;
}

/** Chosen device ids; null lets the browser choose. */
export interface Choice {
  camera: string | null;
  microphone: string | null;
}

/** A camera's picture as teachers need it; smaller cameras give what they have. */
const PICTURE: MediaTrackConstraints = {
  width: { ideal: 1280 },
  height: { ideal: 720 },
  frameRate: { ideal: 30 },
};

const SOUND: MediaTrackConstraints = {
  echoCancellation: true,
  noiseSuppression: true,
  autoGainControl: true,
};

/**
 * Opens camera and microphone with one question to the user. When one of the two is missing or in
 * use, the other is opened alone: a class without picture is better than none.
 */
export async function capture(devices: MediaDevices | undefined, choice: Choice): Promise<Capture> {
  if (devices?.getUserMedia === undefined) {
    // Browsers hide the whole interface on an origin they do not trust.
    return { camera: null, microphone: null, trouble: [{ device: "camera", why: "device.insecure" }] };
  }
  const wanted = { video: constraint(PICTURE, choice.camera), audio: constraint(SOUND, choice.microphone) };
  try {
    const stream = await devices.getUserMedia(wanted);
    return {
      camera: stream.getVideoTracks()[0] ?? null,
      microphone: stream.getAudioTracks()[0] ?? null,
      trouble: [],
    };
  } catch (error) {
    if (nameOf(error) === "NotAllowedError") {
      return { camera: null, microphone: null, trouble: [{ device: "camera", why: explain(error, "camera") }] };
    }
  }
  const trouble: Trouble[] = [];
  const open = async (device: DeviceKind): Promise<MediaStreamTrack | null> => {
    try {
      const stream = await devices.getUserMedia(
        device === "camera" ? { video: wanted.video } : { audio: wanted.audio },
      );
      return stream.getTracks()[0] ?? null;
    } catch (error) {
      trouble.push({ device, why: explain(error, device) });
      return null;
    }
  };
  // One after the other: two questions at once confuse people and some browsers.
  const camera = await open("camera");
  const microphone = await open("microphone");
  return { camera, microphone, trouble };
}

/** The screen, a window or a tab, as the user chooses in the browser's own dialogue. */
export async function captureScreen(
  devices: MediaDevices | undefined,
): Promise<MediaStreamTrack | Trouble> {
  if (devices?.getDisplayMedia === undefined) {
    const why = devices === undefined ? "device.insecure" : "device.screenUnsupported";
    return { device: "screen", why };
  }
  try {
    const stream = await devices.getDisplayMedia({ video: { frameRate: { max: 30 } }, audio: false });
    const track = stream.getVideoTracks()[0];
    if (track === undefined) {
      return { device: "screen", why: "device.screenDenied" };
    }
    // Text must stay sharp: under pressure the encoder lowers the frame rate, not the resolution.
    track.contentHint = "detail";
    return track;
  } catch (error) {
    const denied = nameOf(error) === "NotAllowedError" || nameOf(error) === "AbortError";
    return { device: "screen", why: denied ? "device.screenDenied" : explain(error, "screen") };
  }
}

/** Turns an exception of `getUserMedia` into words that name the way out. */
export function explain(error: unknown, device: DeviceKind | "screen"): Key {
  const microphone = device === "microphone";
  switch (nameOf(error)) {
    case "NotAllowedError":
      return "device.denied";
    case "SecurityError":
      return "device.insecure";
    case "NotFoundError":
    case "DevicesNotFoundError":
      return microphone ? "device.noMicrophone" : "device.noCamera";
    case "NotReadableError":
    case "TrackStartError":
    case "AbortError":
      return microphone ? "device.microphoneInUse" : "device.cameraInUse";
    case "OverconstrainedError":
      return microphone ? "device.microphoneGone" : "device.cameraGone";
    default:
      return microphone ? "device.microphoneFailed" : "device.cameraFailed";
  }
}

function constraint(base: MediaTrackConstraints, deviceId: string | null): MediaTrackConstraints {
  return deviceId === null ? base : { ...base, deviceId: { exact: deviceId } };
}

function nameOf(error: unknown): string {
  return error instanceof Error || (typeof error === "object" && error !== null && "name" in error)
    ? String((error as { name: unknown }).name)
    : "";
}
