/** Outlines on a 24 × 24 grid, drawn with the text's colour. */
const PATHS = {
  camera: "M4 7.5h9a2 2 0 0 1 2 2v5a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2v-5a2 2 0 0 1 2-2ZM15 11l6-3v8l-6-3",
  cameraOff:
    "M3 3l18 18M8.5 7.5H13a2 2 0 0 1 2 2V14M15 16.3a2 2 0 0 1-1.2.2H4a2 2 0 0 1-2-2v-5A2 2 0 0 1 4 7.5M15 11l6-3v8l-3-1.5",
  microphone: "M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3ZM5.5 11a6.5 6.5 0 0 0 13 0M12 17.5V21",
  microphoneOff:
    "M3 3l18 18M9 9v2a3 3 0 0 0 4.6 2.5M15 11V6a3 3 0 0 0-5.8-1M5.5 11a6.5 6.5 0 0 0 10 5.5M18.5 11a6.4 6.4 0 0 1-.5 2.5M12 17.5V21",
  screen: "M4 4h16a1.5 1.5 0 0 1 1.5 1.5v9A1.5 1.5 0 0 1 20 16H4a1.5 1.5 0 0 1-1.5-1.5v-9A1.5 1.5 0 0 1 4 4ZM8.5 20h7M12 16v4",
  screenOff:
    "M4 4h16a1.5 1.5 0 0 1 1.5 1.5v9A1.5 1.5 0 0 1 20 16H4a1.5 1.5 0 0 1-1.5-1.5v-9A1.5 1.5 0 0 1 4 4ZM8.5 20h7M12 16v4M9.5 7.5l5 5M14.5 7.5l-5 5",
  sound: "M4 9.5v5h3.5L12 18V6L7.5 9.5ZM15.5 9a4 4 0 0 1 0 6M18 6.5a7.5 7.5 0 0 1 0 11",
  soundOff: "M4 9.5v5h3.5L12 18V6L7.5 9.5ZM16 9.5l5 5M21 9.5l-5 5",
  play: "M7 4.5v15l12-7.5Z",
  stop: "M7 7h10v10H7Z",
  expand: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  shrink: "M9 4v5H4M15 4v5h5M9 20v-5H4M15 20v-5h5",
  leave: "M14 4H6a1.5 1.5 0 0 0-1.5 1.5v13A1.5 1.5 0 0 0 6 20h8M10 12h11M17.5 8.5 21 12l-3.5 3.5",
  copy: "M9 9h10v11H9ZM15 9V4H5v11h4",
  check: "M5 12.5 10 17.5 19.5 7",
  warning: "M12 4 21.5 20h-19ZM12 10v4.5M12 17.2v.1",
  people:
    "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7M2.5 19.5a6.5 6.5 0 0 1 13 0M15.5 4.3a3.5 3.5 0 0 1 0 6.4M18 14.3a6.5 6.5 0 0 1 3.5 5.2",
  broadcast:
    "M12 10.5a1.5 1.5 0 1 1 0 3 1.5 1.5 0 0 1 0-3M8.5 15.5a5 5 0 0 1 0-7M15.5 8.5a5 5 0 0 1 0 7M5.5 18.5a9 9 0 0 1 0-13M18.5 5.5a9 9 0 0 1 0 13",
} as const;

export type IconName = keyof typeof PATHS;

/** Decoration beside a word or inside a control that has its own name: hidden from readers. */
export function Icon({ name }: { name: IconName }) {
  // A way out points where the text goes.
  const className = name === "leave" ? "icon icon-directed" : "icon";
  return (
    <svg className={className} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
