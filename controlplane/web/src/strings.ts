import { pseudoText } from "./pseudo";

/**
 * Every word the page shows or reads out, in one place. A value in braces is filled in by `t`.
 * What the node says about an error (`detail` of its problem) is the node's own text.
 */
const ENGLISH = {
  "app.name": "Lectern",
  "app.home": "Lectern, start page",
  "app.room": "Room",

  "home.title": "Live classes from your own node",
  "home.lead":
    "A teacher publishes camera, microphone or screen. Everybody else sees and hears it within a third of a second, in the browser they already have.",
  "home.room": "Room",
  "home.roomHint": "Letters, digits, - and _, up to 64.",
  "home.roomInvalid": "A room has 1 to 64 letters, digits, - or _.",
  "home.publish": "Publish here",
  "home.watch": "Watch",
  "home.asTeacher": "as a teacher",
  "home.asStudent": "as a student",
  "home.pointInstall": "Nothing to install",
  "home.pointInstallText": "Any current browser publishes and watches. OBS and GStreamer speak WHIP to the same address.",
  "home.pointCodecs": "Every codec the browser has",
  "home.pointCodecsText": "VP8, VP9, H.264 and AV1 with Opus, forwarded as they are, never decoded on the way.",
  "home.pointYours": "On your own machine",
  "home.pointYoursText": "The media goes from the teacher to this node and from here to the class, encrypted, and nowhere else.",

  "home.docs": "For developers: the API of this node",

  "docs.title": "API of this node",

  "token.title": "This room needs a token",
  "token.text": "Open the link you were given, or paste it or its token here.",
  "token.operator": "Whoever runs the node makes one with: {command}",
  "token.label": "Token or link",
  "token.use": "Continue",
  "token.invalid": "This holds no token. Paste the whole link, with everything after the #.",
  "token.looking": "Getting you in…",

  "publish.title": "Publish",
  "publish.stage": "Your picture, as the class will see it",
  "publish.preview": "Preview",
  "publish.live": "Live",
  "publish.liveFor": "Live for {time}",
  "publish.connecting": "Connecting…",
  "publish.reconnecting": "Connection lost. Trying again in {seconds} s…",
  "publish.reconnectingNow": "Connection lost. Trying again…",
  "publish.goLive": "Go live",
  "publish.stop": "Stop",
  "publish.askTitle": "Show the class what you have",
  "publish.askText": "The browser will ask for your permission. Nobody sees or hears you before you go live.",
  "publish.ask": "Use camera and microphone",
  "publish.asking": "Answer the browser's question to continue…",
  "publish.noPicture": "Sound only",
  "publish.cameraOff": "Camera is off",
  "publish.microphone": "Microphone",
  "publish.camera": "Camera",
  "publish.screen": "Screen",
  "publish.muteMicrophone": "Mute microphone",
  "publish.unmuteMicrophone": "Unmute microphone",
  "publish.hideCamera": "Turn camera off",
  "publish.showCamera": "Turn camera on",
  "publish.shareScreen": "Share screen",
  "publish.stopScreen": "Stop sharing the screen",
  "publish.devices": "Devices",
  "publish.level": "Microphone level",
  "publish.deviceDefault": "Choose automatically",
  "publish.cameraNumber": "Camera {number}",
  "publish.microphoneNumber": "Microphone {number}",
  "publish.codec": "Video codec",
  "publish.codecLocked": "Stop to change the codec.",
  "publish.codecVP8": "Plays everywhere",
  "publish.codecVP9": "Sharper at the same rate",
  "publish.codecH264": "Easy on batteries",
  "publish.codecAV1": "Sharpest, hungry",
  "publish.invite": "Invite viewers",
  "publish.inviteOpen": "Anybody on this machine may watch with this link for the next hour.",
  "publish.inviteClosed": "Viewers need a token of their own. Whoever runs the node makes a link with: {command}",
  "publish.inviteLink": "Link for viewers",
  "publish.copy": "Copy",
  "publish.copied": "Copied",
  "publish.blocked":
    "The node answered, but no media path opened. A firewall between you and the node may block UDP; ask its operator which UDP port to open.",
  "publish.unreachable": "The node does not answer. Check your network and try again.",
  "publish.retry": "Try again",

  "audience.count": "{count} watching",

  "watch.title": "Watch",
  "watch.stage": "The class",
  "watch.joining": "Joining…",
  "watch.waiting": "Waiting for the class to begin",
  "watch.waitingText": "Nobody is publishing in this room yet. This page starts by itself.",
  "watch.reconnecting": "Reconnecting…",
  "watch.reconnectingText": "The connection broke. This page keeps trying.",
  "watch.busyText": "The node is busy. This page keeps trying.",
  "watch.restartingText": "The node is starting again. The class goes on by itself.",
  "watch.nextTry": "Next try in {seconds} s",
  "watch.tryNow": "Try now",
  "watch.stalled": "The picture has stopped",
  "watch.stalledText": "Waiting for the publisher to come back.",
  "watch.away": "The teacher is away",
  "watch.awayText": "The class goes on by itself when the teacher is back.",
  "watch.left": "You have left the class",
  "watch.rejoin": "Join again",
  "watch.leave": "Leave",
  "watch.unmute": "Tap for sound",
  "watch.play": "Tap to play",
  "watch.mute": "Mute",
  "watch.unmuteShort": "Unmute",
  "watch.volume": "Volume",
  "watch.fullscreen": "Full screen",
  "watch.exitFullscreen": "Leave full screen",
  "watch.live": "Live",

  "quality.title": "Connection",
  "quality.good": "Good",
  "quality.fair": "Fair",
  "quality.poor": "Poor",
  "quality.measuring": "Measuring…",
  "quality.badge": "Connection quality: {grade}",
  "quality.bitrate": "Bitrate",
  "quality.rtt": "Round trip",
  "quality.resolution": "Resolution",
  "quality.fps": "Frame rate",
  "quality.codec": "Codec",
  "quality.loss": "Loss",
  "quality.limitation": "Limited by",
  "quality.limitation.none": "nothing",
  "quality.limitation.cpu": "this machine",
  "quality.limitation.bandwidth": "the network",
  "quality.limitation.other": "the encoder",
  "quality.delay.camera": "Camera to screen",
  "quality.delay.node": "Node to screen",
  "quality.delay": "Delay",
  "quality.buffer": "Jitter buffer",
  "quality.freezes": "Freezes",
  "quality.freezesValue": "{count} ({time})",
  "quality.resolutionValue": "{width} × {height}",
  "quality.unknown": "–",

  "unit.ms": "{value} ms",
  "unit.s": "{value} s",
  "unit.kbps": "{value} kbit/s",
  "unit.mbps": "{value} Mbit/s",
  "unit.percent": "{value} %",
  "unit.fps": "{value} fps",

  "device.insecure":
    "The camera needs https:// or localhost. Open this page by its https:// address, or on the machine the node runs on.",
  "device.denied":
    "The browser was told not to give this page your camera and microphone. Allow them in the site settings beside the address, then try again.",
  "device.noCamera": "No camera was found. Plug one in, or share your screen.",
  "device.noMicrophone": "No microphone was found. Plug one in to be heard.",
  "device.cameraInUse": "Another program is using the camera. Close it there, then try again.",
  "device.microphoneInUse": "Another program is using the microphone. Close it there, then try again.",
  "device.cameraGone": "The chosen camera is no longer there. Choose another one.",
  "device.microphoneGone": "The chosen microphone is no longer there. Choose another one.",
  "device.cameraFailed": "The camera could not be opened. Plug it in again or choose another one.",
  "device.microphoneFailed": "The microphone could not be opened. Plug it in again or choose another one.",
  "device.screenDenied": "The screen was not shared: the browser's dialogue was closed, or the system does not allow it.",
  "device.screenUnsupported": "This browser cannot share the screen.",

  "problem.unauthenticated": "This link's token is missing or not valid here.",
  "problem.token-expired": "This link has expired. Ask for a new one.",
  "problem.token-audience": "This link belongs to another deployment.",
  "problem.not-allowed": "Your link does not allow this.",
  "problem.wrong-room": "Your link belongs to another room.",
  "problem.kicked": "You were removed from this class.",
  "problem.room-full": "The room is full.",
  "problem.already-publishing": "Somebody is publishing in this room already.",
  "problem.no-common-codec": "This browser has none of the codecs needed here.",
  "problem.unsupported-offer": "The node cannot work with what this browser offers.",
  "problem.rate-limited": "Too many requests. Wait a moment.",
  "problem.overloaded": "The node is busy.",
  "problem.draining": "The node is about to restart.",
  "problem.media-down": "The node's media part is restarting.",
  "problem.other": "The node answered with an error ({status}).",

  "unknown.title": "There is no such page",
  "unknown.text": "Check the address, or start from the front.",
  "unknown.home": "Start page",
} as const;

export type Key = keyof typeof ENGLISH;

/** The names in braces of a text. */
type Names<S extends string> = S extends `${string}{${infer N}}${infer Rest}` ? N | Names<Rest> : never;
type Values<K extends Key> = Record<Names<(typeof ENGLISH)[K]>, string | number>;

export interface Locale {
  /** BCP 47 tag for `lang` and for number formats. */
  tag: string;
  direction: "ltr" | "rtl";
  texts: Readonly<Record<Key, string>>;
}

const english: Locale = { tag: "en", direction: "ltr", texts: ENGLISH };

/**
 * A made-up right-to-left language (`?pseudo`): every word accented and mirrored, every text a third
 * longer. What stays readable was not taken from the catalogue; what breaks out of its box is laid
 * out for one language only.
 */
const pseudo: Locale = {
  tag: "ar-XB",
  direction: "rtl",
  texts: Object.fromEntries(
    Object.entries(ENGLISH).map(([key, text]) => [key, pseudoText(text)]),
  ) as Record<Key, string>,
};

let current: Locale = english;

export function localeFor(search: string): Locale {
  return new URLSearchParams(search).has("pseudo") ? pseudo : english;
}

export function setLocale(locale: Locale): void {
  current = locale;
}

export function locale(): Locale {
  return current;
}

/** The text of a key; the compiler asks for exactly the values its braces name. */
export function t<K extends Key>(
  key: K,
  ...[values]: [Names<(typeof ENGLISH)[K]>] extends [never] ? [] : [Values<K>]
): string {
  const text = current.texts[key];
  return values === undefined
    ? text
    : text.replace(/\{(\w+)\}/g, (whole, name: string) =>
        String((values as Record<string, string | number>)[name] ?? whole),
      );
}

/** Whether the catalogue has words of its own for a problem of this slug. */
export function problemKey(slug: string): Key | null {
  const key = `problem.${slug}`;
  return Object.hasOwn(ENGLISH, key) ? (key as Key) : null;
}
