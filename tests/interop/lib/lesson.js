// A camera for the pictures in the documentation: a blackboard on which a circle draws a sine. Without
// letters, because a self-view is mirrored.

import { writeFileSync } from "node:fs";
import { startBrowser } from "./browser.js";

const WIDTH = 1280;
const HEIGHT = 720;
/** One turn of the circle in three seconds at 20 frames each. */
const FRAMES = 60;
const FPS = 20;

/**
 * Writes a looping camera picture as YUV4MPEG2, which Chromium's fake camera plays.
 *
 * @param {string} path
 */
export async function writeLesson(path) {
  const browser = await startBrowser();
  try {
    const page = await browser.newPage();
    const frames = [];
    for (let frame = 0; frame < FRAMES; frame += 1) {
      const planes = await page.evaluate(draw, { frame, frames: FRAMES, width: WIDTH, height: HEIGHT });
      frames.push(Buffer.from("FRAME\n"), Buffer.from(planes, "base64"));
    }
    const header = `YUV4MPEG2 W${WIDTH} H${HEIGHT} F${FPS}:1 Ip A1:1 C420\n`;
    writeFileSync(path, Buffer.concat([Buffer.from(header), ...frames]));
  } finally {
    await browser.close();
  }
}

/** Runs in a page. Resolves to the planes Y, U and V in base64. */
function draw({ frame, frames, width, height }) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const board = context.createRadialGradient(width / 2, height * 0.4, 100, width / 2, height / 2, width * 0.7);
  board.addColorStop(0, "#2d5a4c");
  board.addColorStop(1, "#183b31");
  context.fillStyle = board;
  context.fillRect(0, 0, width, height);

  context.lineCap = "round";
  const line = (points, style, thickness) => {
    context.beginPath();
    points.forEach(([x, y]) => context.lineTo(x, y));
    context.strokeStyle = style;
    context.lineWidth = thickness;
    context.stroke();
  };
  for (let x = 40; x < width; x += 60) {
    line([[x, 0], [x, height]], "rgb(255 255 255 / 5%)", 2);
  }
  for (let y = 0; y < height; y += 60) {
    line([[0, y], [width, y]], "rgb(255 255 255 / 5%)", 2);
  }

  const [centreX, centreY, radius, origin] = [300, 360, 150, 540];
  const chalk = "rgb(245 243 235 / 92%)";
  const angle = (frame / frames) * 2 * Math.PI;
  const tip = [centreX + radius * Math.cos(angle), centreY - radius * Math.sin(angle)];
  line([[90, centreY], [1_200, centreY]], "rgb(255 255 255 / 45%)", 3);
  line([[centreX, 150], [centreX, 570]], "rgb(255 255 255 / 45%)", 3);
  line([[origin, 150], [origin, 570]], "rgb(255 255 255 / 45%)", 3);
  context.beginPath();
  context.arc(centreX, centreY, radius, 0, 2 * Math.PI);
  context.strokeStyle = chalk;
  context.lineWidth = 5;
  context.stroke();
  const wave = Array.from({ length: 620 }, (_, x) => [origin + x, centreY - radius * Math.sin(angle - x / 92)]);
  line(wave, "#f2c66d", 6);
  line([tip, [origin, tip[1]]], "rgb(255 255 255 / 35%)", 3);
  line([[centreX, centreY], tip], "#8fd3c8", 6);
  line([[tip[0], centreY], tip], "#f2a48f", 5);
  for (const [x, y] of [tip, [origin, tip[1]]]) {
    context.beginPath();
    context.arc(x, y, 11, 0, 2 * Math.PI);
    context.fillStyle = "#fff";
    context.fill();
  }

  // ITU-R BT.601, limited range.
  const { data } = context.getImageData(0, 0, width, height);
  const planes = new Uint8Array((width * height * 3) / 2);
  const [u, v] = [width * height, (width * height * 5) / 4];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const [r, g, b] = data.subarray((y * width + x) * 4);
      planes[y * width + x] = 16 + (65.738 * r + 129.057 * g + 25.064 * b) / 256;
      if (y % 2 === 0 && x % 2 === 0) {
        const place = (y / 2) * (width / 2) + x / 2;
        planes[u + place] = 128 + (-37.945 * r - 74.494 * g + 112.439 * b) / 256;
        planes[v + place] = 128 + (112.439 * r - 94.154 * g - 18.285 * b) / 256;
      }
    }
  }
  let binary = "";
  for (let start = 0; start < planes.length; start += 32_768) {
    binary += String.fromCharCode(...planes.subarray(start, start + 32_768));
  }
  return btoa(binary);
}
