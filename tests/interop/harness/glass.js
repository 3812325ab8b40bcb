// Glass to glass: the sender draws its clock into the picture, the viewer reads it back.

const WIDTH = 640;
const HEIGHT = 360;
const FPS = 30;

/** One block a bit, 32 px square: large enough for any codec at any rate in use. */
const BITS = 20;
const BLOCK = WIDTH / BITS;
/** The bits, and below them their opposites: a block that the encoder left behind betrays itself. */
const ROWS = 2;

/** The clock in milliseconds starts over after 2^20 of them, 17 minutes. */
const ROUND_MS = 2 ** BITS;

/** A canvas that shows the page's clock, and a moving picture below it to give the encoder work. */
export class TimeCode {
  #timer;
  #stream;

  /** @returns {MediaStream} One video track of 640 × 360 at 30 frames a second. */
  start() {
    this.stop();
    const canvas = document.createElement("canvas");
    canvas.width = WIDTH;
    canvas.height = HEIGHT;
    const context = canvas.getContext("2d", { alpha: false });
    // A frame is taken when it is drawn, not when the compositor comes by.
    this.#stream = canvas.captureStream(0);
    const [track] = this.#stream.getVideoTracks();
    const begin = performance.now();
    let frame = 0;
    const draw = () => {
      drawScene(context, frame);
      drawClock(context, Math.round(performance.now()) % ROUND_MS);
      track.requestFrame();
      frame += 1;
      // Screens refresh each 16.7 ms. A sender in step with them would always meet the same phase and
      // the median would jump by a whole refresh: each frame is moved by up to one.
      const due = begin + (frame * 1_000) / FPS + Math.random() * (1_000 / 60);
      this.#timer = setTimeout(draw, Math.max(0, due - performance.now()));
    };
    draw();
    return this.#stream;
  }

  stop() {
    clearTimeout(this.#timer);
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = undefined;
  }
}

function drawScene(context, frame) {
  context.fillStyle = "#345";
  context.fillRect(0, ROWS * BLOCK, WIDTH, HEIGHT - ROWS * BLOCK);
  for (let bar = 0; bar < 12; bar += 1) {
    const x = (bar * 71 + frame * (1 + (bar % 4))) % WIDTH;
    const y = ROWS * BLOCK + ((bar * 53 + frame * (1 + (bar % 3))) % (HEIGHT - ROWS * BLOCK - 40));
    context.fillStyle = `hsl(${bar * 30} 60% 55%)`;
    context.fillRect(x, y, 48, 40);
  }
}

/** In Gray's code few blocks change from frame to frame: encoders at low rates skip some of many. */
function drawClock(context, ms) {
  const gray = ms ^ (ms >>> 1);
  for (let bit = 0; bit < BITS; bit += 1) {
    const lit = ((gray >>> (BITS - 1 - bit)) & 1) === 1;
    for (let row = 0; row < ROWS; row += 1) {
      context.fillStyle = lit === (row === 0) ? "#fff" : "#000";
      context.fillRect(bit * BLOCK, row * BLOCK, BLOCK, BLOCK);
    }
  }
}

/** Pixels a block is read with; the middle ones count, because codecs smear borders. */
const GRAIN = 4;
const reader = new OffscreenCanvas(BITS * GRAIN, ROWS * GRAIN).getContext("2d", { willReadFrequently: true });

/** The clock in a picture, in milliseconds; null when a block cannot be read. */
export function readClock(video) {
  const [width, height] = [BITS * GRAIN, ROWS * GRAIN];
  const scale = video.videoWidth / WIDTH;
  reader.drawImage(video, 0, 0, video.videoWidth, ROWS * BLOCK * scale, 0, 0, width, height);
  const { data } = reader.getImageData(0, 0, width, height);
  const level = (bit, row) => {
    const green = (right, down) => data[((row * GRAIN + down) * width + bit * GRAIN + right) * 4 + 1];
    return (green(1, 1) + green(2, 1) + green(1, 2) + green(2, 2)) / 4;
  };
  let ms = 0;
  let lit = 0;
  for (let bit = 0; bit < BITS; bit += 1) {
    const [upper, lower] = [level(bit, 0), level(bit, 1)];
    if (Math.abs(upper - lower) < 96) {
      return null;
    }
    lit ^= upper > lower ? 1 : 0;
    ms = ms * 2 + lit;
  }
  return ms;
}

/**
 * Delays of `frames` frames after `warmUpMs` for the jitter buffer and the encoder to settle.
 *
 * @returns {Promise<{delaysMs: number[], unread: number, freezes: number, codec: string, width: number}>}
 */
export async function measure(video, frames, warmUpMs, connection) {
  const begin = performance.now() + warmUpMs;
  const delaysMs = [];
  let unread = 0;
  let last = null;
  await new Promise((settle, fail) => {
    const watchdog = setTimeout(
      () => fail(new Error(`${delaysMs.length} of ${frames} frames, ${unread} unread`)),
      warmUpMs + frames * 100 + 10_000,
    );
    const onFrame = () => {
      // Not the callback's own time: it is that of the refresh, and a page that is late reads a picture
      // newer than it.
      const now = performance.now();
      const drawn = readClock(video);
      if (now >= begin) {
        if (drawn === null) {
          unread += 1;
        } else if (drawn !== last) {
          delaysMs.push((now - drawn + ROUND_MS) % ROUND_MS);
        }
      }
      last = drawn;
      if (delaysMs.length < frames) {
        video.requestVideoFrameCallback(onFrame);
      } else {
        clearTimeout(watchdog);
        settle();
      }
    };
    video.requestVideoFrameCallback(onFrame);
  });
  const report = [...(await connection.getStats()).values()];
  const inbound = report.find(({ type, kind }) => type === "inbound-rtp" && kind === "video");
  return {
    delaysMs,
    unread,
    freezes: inbound.freezeCount,
    codec: report.find(({ id }) => id === inbound.codecId)?.mimeType ?? "",
    width: video.videoWidth,
    jitterBufferMs: (1_000 * inbound.jitterBufferDelay) / inbound.jitterBufferEmittedCount,
  };
}

/** A call within the page: the floor that the node is compared with. */
export async function direct(stream, video, prepare) {
  const sender = new RTCPeerConnection();
  const receiver = new RTCPeerConnection();
  sender.onicecandidate = ({ candidate }) => receiver.addIceCandidate(candidate);
  receiver.onicecandidate = ({ candidate }) => sender.addIceCandidate(candidate);
  receiver.ontrack = ({ track }) => {
    video.srcObject = new MediaStream([track]);
  };
  prepare(sender.addTransceiver(stream.getVideoTracks()[0], { direction: "sendonly", streams: [stream] }));
  await sender.setLocalDescription();
  await receiver.setRemoteDescription(sender.localDescription);
  await receiver.setLocalDescription();
  await sender.setRemoteDescription(receiver.localDescription);
  return {
    receiver,
    close: () => {
      sender.close();
      receiver.close();
    },
  };
}
