import { describe, expect, it } from "vitest";
import { capture, captureScreen, explain } from "./devices";
import { t } from "./strings";

const automatic = { camera: null, microphone: null };

function failure(name: string): Error {
  const error = new Error(name);
  error.name = name;
  return error;
}

/** Devices that open or fail by kind; asked for both, the first failure counts. */
function devices(camera: "opens" | Error, microphone: "opens" | Error) {
  const asked: string[] = [];
  const tracks = (kind: string) => [{ kind }];
  return {
    asked,
    media: {
      getUserMedia: async ({ video, audio }: MediaStreamConstraints) => {
        asked.push([video && "video", audio && "audio"].filter(Boolean).join("+"));
        const failed = [video && camera, audio && microphone].find((outcome) => outcome instanceof Error);
        if (failed instanceof Error) {
          throw failed;
        }
        const opened = [...(video ? tracks("video") : []), ...(audio ? tracks("audio") : [])];
        return {
          getTracks: () => opened,
          getVideoTracks: () => opened.filter(({ kind }) => kind === "video"),
          getAudioTracks: () => opened.filter(({ kind }) => kind === "audio"),
        };
      },
    } as unknown as MediaDevices,
  };
}

describe("opening camera and microphone", () => {
  it("asks the user one question", async () => {
    const { media, asked } = devices("opens", "opens");
    const opened = await capture(media, automatic);
    expect(asked).toEqual(["video+audio"]);
    expect(opened).toMatchObject({ camera: { kind: "video" }, microphone: { kind: "audio" }, trouble: [] });
  });

  it("does not ask again after a no", async () => {
    const { media, asked } = devices(failure("NotAllowedError"), failure("NotAllowedError"));
    const opened = await capture(media, automatic);
    expect(asked).toEqual(["video+audio"]);
    expect(opened.trouble).toEqual([{ device: "camera", why: "device.denied" }]);
  });

  it("goes on with sound alone where no camera is", async () => {
    const opened = await capture(devices(failure("NotFoundError"), "opens").media, automatic);
    expect(opened).toMatchObject({
      camera: null,
      microphone: { kind: "audio" },
      trouble: [{ device: "camera", why: "device.noCamera" }],
    });
  });

  it("goes on with the picture alone while another program holds the microphone", async () => {
    const opened = await capture(devices("opens", failure("NotReadableError")).media, automatic);
    expect(opened).toMatchObject({
      camera: { kind: "video" },
      microphone: null,
      trouble: [{ device: "microphone", why: "device.microphoneInUse" }],
    });
  });

  it("names https:// and localhost where the browser hides its devices", async () => {
    const opened = await capture(undefined, automatic);
    const why = opened.trouble[0]?.why ?? "app.name";
    expect(t(why as "device.insecure")).toContain("The camera needs https:// or localhost");
  });
});

describe("sharing the screen", () => {
  it("takes a closed dialogue for what it is", async () => {
    const media = {
      getDisplayMedia: async () => {
        throw failure("NotAllowedError");
      },
    } as unknown as MediaDevices;
    expect(await captureScreen(media)).toEqual({ device: "screen", why: "device.screenDenied" });
  });

  it("says so on a browser that cannot", async () => {
    expect(await captureScreen({} as MediaDevices)).toEqual({ device: "screen", why: "device.screenUnsupported" });
  });

  it("keeps text sharp", async () => {
    const track = { kind: "video", contentHint: "" };
    const media = { getDisplayMedia: async () => ({ getVideoTracks: () => [track] }) } as unknown as MediaDevices;
    expect(await captureScreen(media)).toBe(track);
    expect(track.contentHint).toBe("detail");
  });
});

it.each([
  ["NotAllowedError", "camera", "device.denied"],
  ["SecurityError", "camera", "device.insecure"],
  ["NotFoundError", "microphone", "device.noMicrophone"],
  ["NotReadableError", "camera", "device.cameraInUse"],
  ["OverconstrainedError", "camera", "device.cameraGone"],
  ["SomethingNew", "camera", "device.cameraFailed"],
] as const)("explains %s of a %s", (name, device, key) => {
  expect(explain(failure(name), device)).toBe(key);
});

it("explains even what is no exception", () => {
  expect(explain(undefined, "microphone")).toBe("device.microphoneFailed");
});
