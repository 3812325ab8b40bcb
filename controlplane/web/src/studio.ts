import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { capture, captureScreen, type Choice, type DeviceKind, type Trouble } from "./devices";

/** Camera, microphone and screen as the publisher arranges them, live or not. */
export interface Studio {
  /** Whether the browser remembers a permission, was asked, and has answered. */
  phase: "checking" | "unasked" | "asking" | "ready";
  camera: MediaStreamTrack | null;
  microphone: MediaStreamTrack | null;
  screen: MediaStreamTrack | null;
  /** What the class sees: the screen while it is shared, else the camera. */
  picture: MediaStreamTrack | null;
  cameraOn: boolean;
  microphoneOn: boolean;
  trouble: Trouble[];
  cameras: MediaDeviceInfo[];
  microphones: MediaDeviceInfo[];
  choice: Choice;
  open: () => void;
  choose: (kind: DeviceKind, deviceId: string | null) => void;
  toggle: (kind: DeviceKind) => void;
  toggleScreen: () => void;
}

export function useStudio(): Studio {
  const [phase, setPhase] = useState<Studio["phase"]>("checking");
  const [camera, setCamera] = useTrack();
  const [microphone, setMicrophone] = useTrack();
  const [screen, setScreen] = useTrack();
  const [cameraOn, setCameraOn] = useState(true);
  const [microphoneOn, setMicrophoneOn] = useState(true);
  const [trouble, setTrouble] = useState<Trouble[]>([]);
  const [choice, setChoice] = useState<Choice>({ camera: null, microphone: null });
  const devices = useDevices(phase);

  const openWith = useCallback(
    async (wanted: Choice) => {
      setPhase("asking");
      // Some cameras open once only: the old track goes before the new one comes.
      setCamera(null);
      setMicrophone(null);
      const opened = await capture(navigator.mediaDevices, wanted);
      setCamera(opened.camera);
      setMicrophone(opened.microphone);
      setTrouble(opened.trouble);
      setPhase(opened.camera === null && opened.microphone === null ? "unasked" : "ready");
    },
    [setCamera, setMicrophone],
  );

  const toggleScreen = useCallback(async () => {
    if (screen !== null) {
      setScreen(null);
      return;
    }
    const shared = await captureScreen(navigator.mediaDevices);
    const others = (list: Trouble[]) => list.filter((entry) => entry.device !== "screen");
    if ("why" in shared) {
      setTrouble((list) => [...others(list), shared]);
    } else {
      setTrouble(others);
      setScreen(shared);
    }
  }, [screen, setScreen]);

  // A browser that remembers the permission opens the devices without a question.
  useEffect(() => {
    let wanted = true;
    void remembered().then((granted) => {
      if (wanted && granted) {
        void openWith({ camera: null, microphone: null });
      } else if (wanted) {
        setPhase("unasked");
      }
    });
    return () => {
      wanted = false;
    };
  }, [openWith]);

  useEffect(() => {
    if (camera !== null) {
      camera.enabled = cameraOn;
    }
  }, [camera, cameraOn]);
  useEffect(() => {
    if (microphone !== null) {
      microphone.enabled = microphoneOn;
    }
  }, [microphone, microphoneOn]);

  return {
    phase,
    camera,
    microphone,
    screen,
    picture: screen ?? camera,
    cameraOn,
    microphoneOn,
    trouble,
    choice,
    cameras: useMemo(() => devices.filter((device) => device.kind === "videoinput"), [devices]),
    microphones: useMemo(() => devices.filter((device) => device.kind === "audioinput"), [devices]),
    open: () => void openWith(choice),
    choose: (kind, deviceId) => {
      const next = { ...choice, [kind]: deviceId };
      setChoice(next);
      void openWith(next);
    },
    toggle: (kind) =>
      kind === "camera" ? setCameraOn((on) => !on) : setMicrophoneOn((on) => !on),
    toggleScreen: () => void toggleScreen(),
  };
}

/** A track that is stopped when another takes its place, and forgotten when its device goes away. */
function useTrack(): [MediaStreamTrack | null, (track: MediaStreamTrack | null) => void] {
  const [track, setTrack] = useState<MediaStreamTrack | null>(null);
  const held = useRef<MediaStreamTrack | null>(null);
  const set = useCallback((next: MediaStreamTrack | null) => {
    held.current?.stop();
    held.current = next;
    next?.addEventListener("ended", () => {
      if (held.current === next) {
        held.current = null;
        setTrack(null);
      }
    });
    setTrack(next);
  }, []);
  useEffect(() => () => held.current?.stop(), []);
  return [track, set];
}

/** The devices by name; browsers give the names only once one of them was opened. */
function useDevices(phase: Studio["phase"]): MediaDeviceInfo[] {
  const [list, setList] = useState<MediaDeviceInfo[]>([]);
  useEffect(() => {
    const devices = navigator.mediaDevices;
    if (phase !== "ready" || devices?.enumerateDevices === undefined) {
      return undefined;
    }
    const refresh = () => {
      devices.enumerateDevices().then(
        (found) => setList(found.filter((device) => device.deviceId !== "")),
        () => setList([]),
      );
    };
    refresh();
    devices.addEventListener("devicechange", refresh);
    return () => devices.removeEventListener("devicechange", refresh);
  }, [phase]);
  return list;
}

async function remembered(): Promise<boolean> {
  try {
    const states = await Promise.all(
      (["camera", "microphone"] as const).map((name) =>
        navigator.permissions.query({ name: name as PermissionName }),
      ),
    );
    return states.every((status) => status.state === "granted");
  } catch {
    // A browser that does not tell is asked by the button.
    return false;
  }
}
