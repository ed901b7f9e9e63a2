// Tracks: key frames of a box or an ellipse, the JSON files of docs/motion.md.
import { curve } from "./curve.ts";

export interface Key {
  /** 0 is the first frame. */
  readonly frame: number;
  /** The centre, in fractions of the picture's width and height. */
  readonly x: number;
  readonly y: number;
  /** The size, in the same fractions. */
  readonly width: number;
  readonly height: number;
  /** Degrees, clockwise. */
  readonly rotation: number;
}

export interface Track {
  readonly shape: "ellipse" | "box";
  readonly interpolation: "smooth" | "linear";
  readonly keys: readonly Key[];
}

/** Where the subject is in a frame. */
export type Place = Omit<Key, "frame">;

/** What of a box is dragged: its inside, a corner by its signs, or the handle that turns it. */
export type Handle = "move" | "rotate" | { readonly x: -1 | 1; readonly y: -1 | 1 };

export interface Point {
  readonly x: number;
  readonly y: number;
}

const SMALLEST = 0.01;

/** A track that stands still in the middle. */
export const newTrack = (frame = 0): Track => ({
  shape: "ellipse",
  interpolation: "smooth",
  keys: [{ frame, x: 0.5, y: 0.5, width: 0.3, height: 0.3, rotation: 0 }],
});

/** The subject's place in any frame. */
export function placeAt(track: Track, frame: number): Place {
  const { keys, interpolation } = track;
  const [path, rest] =
    interpolation === "linear" ? (["straight", "straight"] as const) : (["smooth", "monotone"] as const);
  const value = (of: keyof Place) =>
    curve(
      keys.map((key) => [key.frame, key[of]] as const),
      of === "x" || of === "y" ? path : rest,
    )(frame);
  return {
    x: value("x"),
    y: value("y"),
    width: value("width"),
    height: value("height"),
    rotation: value("rotation"),
  };
}

/** With a key at this frame; one that is there is replaced. */
export function withKey(track: Track, key: Key): Track {
  const others = track.keys.filter((other) => other.frame !== key.frame);
  return { ...track, keys: [...others, key].sort((a, b) => a.frame - b.frame) };
}

/** Without the key at this frame; the last one stays. */
export function withoutKey(track: Track, frame: number): Track {
  const keys = track.keys.filter((key) => key.frame !== frame);
  return keys.length ? { ...track, keys } : track;
}

/** A point of the picture in pixels of it, along the sides of the box, from its middle. */
function inBox(place: Place, at: Point, aspect: number): Point {
  const turn = (-place.rotation * Math.PI) / 180;
  const [dx, dy] = [(at.x - place.x) * aspect, at.y - place.y];
  return {
    x: (dx * Math.cos(turn) - dy * Math.sin(turn)) / aspect,
    y: dx * Math.sin(turn) + dy * Math.cos(turn),
  };
}

/** A point given by its place along the sides of the box, -1 to 1 inside of it. `aspect` is the picture's width by its height. */
export function onBox(place: Place, across: number, down: number, aspect: number): Point {
  const turn = (place.rotation * Math.PI) / 180;
  const [dx, dy] = [((across * place.width) / 2) * aspect, (down * place.height) / 2];
  return {
    x: place.x + (dx * Math.cos(turn) - dy * Math.sin(turn)) / aspect,
    y: place.y + dx * Math.sin(turn) + dy * Math.cos(turn),
  };
}

/** Where the handle that turns a box is: above its upper side, `away` of the picture's height from it. */
export function turnHandle(place: Place, away: number, aspect: number): Point {
  return onBox(place, 0, -1 - (2 * away) / Math.max(place.height, 1e-6), aspect);
}

/** The handle at a point, if any. `reach` is in fractions of the picture's height. */
export function handleAt(
  place: Place,
  at: Point,
  reach: number,
  away: number,
  aspect: number,
): Handle | null {
  const near = (other: Point) => Math.hypot((at.x - other.x) * aspect, at.y - other.y) <= reach;
  if (near(turnHandle(place, away, aspect))) return "rotate";
  for (const x of [-1, 1] as const) {
    for (const y of [-1, 1] as const) if (near(onBox(place, x, y, aspect))) return { x, y };
  }
  const inside = inBox(place, at, aspect);
  return Math.abs(inside.x) <= place.width / 2 && Math.abs(inside.y) <= place.height / 2 ? "move" : null;
}

/** A box after a handle was dragged from one point to another. A corner keeps the opposite one where it is. */
export function dragged(
  place: Place,
  handle: Handle,
  from: Point,
  to: Point,
  aspect: number,
  snap = false,
): Place {
  if (handle === "move") return { ...place, x: place.x + to.x - from.x, y: place.y + to.y - from.y };
  if (handle === "rotate") {
    const angle = (Math.atan2(to.y - place.y, (to.x - place.x) * aspect) * 180) / Math.PI + 90;
    const step = snap ? 15 : 1;
    const turned = Math.round(angle / step) * step;
    const whole = Math.round((place.rotation - turned) / 360) * 360;
    return { ...place, rotation: turned + whole };
  }
  const fixed = onBox(place, -handle.x, -handle.y, aspect);
  const reach = inBox({ ...place, ...fixed }, to, aspect);
  let width = Math.max(SMALLEST, reach.x * handle.x);
  let height = Math.max(SMALLEST, reach.y * handle.y);
  if (snap) {
    const factor = Math.max(width / place.width, height / place.height);
    [width, height] = [place.width * factor, place.height * factor];
  }
  const grown = { ...place, width, height };
  const off = onBox({ ...grown, x: 0, y: 0 }, handle.x, handle.y, aspect);
  return { ...grown, x: fixed.x + off.x, y: fixed.y + off.y };
}

/** Key frames along a path that was drawn in one go, at even times over the frames. */
export function trackOfPath(path: readonly Point[], frames: number, like: Track, keys = 5): Track {
  const first = path[0];
  if (!first || frames < 1) return like;
  const count = Math.max(1, Math.min(keys, frames));
  const size = placeAt(like, 0);
  const along = (share: number): Point => {
    const at = share * (path.length - 1);
    const [a, b] = [path[Math.floor(at)] ?? first, path[Math.ceil(at)] ?? first];
    const u = at - Math.floor(at);
    return { x: a.x + (b.x - a.x) * u, y: a.y + (b.y - a.y) * u };
  };
  const made = Array.from({ length: count }, (_, i) => {
    const share = count === 1 ? 0 : i / (count - 1);
    return { ...size, frame: Math.round(share * (frames - 1)), ...along(share) };
  });
  return { ...like, keys: made.filter((key, i) => i === 0 || key.frame !== made[i - 1]?.frame) };
}

/** The file that the program reads. */
export function writeTrack({ shape, interpolation, keys }: Track): string {
  const round = (value: number) => Math.round(value * 1e4) / 1e4;
  const written = keys.map(({ frame, x, y, width, height, rotation }) => ({
    frame,
    x: round(x),
    y: round(y),
    width: round(width),
    height: round(height),
    ...(rotation ? { rotation: round(rotation) } : {}),
  }));
  return `${JSON.stringify({ shape, interpolation, keys: written }, null, 2)}\n`;
}

/** Reads such a file, or a table, with times in frames; `seconds` are turned into frames by `fps`. */
export function readTrack(text: string, fps: number): Track {
  const trimmed = text.trim();
  const raw = trimmed.startsWith("{") ? (JSON.parse(trimmed) as Record<string, unknown>) : ofTable(trimmed);
  const keys = Array.isArray(raw.keys) ? (raw.keys as Record<string, unknown>[]) : [];
  const number = (value: unknown, otherwise: number) => {
    const read = typeof value === "number" ? value : otherwise;
    if (!Number.isFinite(read)) throw new Error("a track needs numbers for x, y, width and height");
    return read;
  };
  if (!keys.length) throw new Error("the track has no key frame");
  return {
    shape: raw.shape === "box" ? "box" : "ellipse",
    interpolation: raw.interpolation === "linear" ? "linear" : "smooth",
    keys: keys
      .map((key) => ({
        frame: "frame" in key ? number(key.frame, Number.NaN) : number(key.seconds, Number.NaN) * fps,
        x: number(key.x, Number.NaN),
        y: number(key.y, Number.NaN),
        width: number(key.width, Number.NaN),
        height: number(key.height, Number.NaN),
        rotation: number(key.rotation, 0),
      }))
      .sort((a, b) => a.frame - b.frame),
  };
}

function ofTable(text: string): Record<string, unknown> {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() && !line.trim().startsWith("#"));
  const cells = (line: string) => line.split(/[,;\t]/).map((cell) => cell.trim().replace(/^"|"$/g, ""));
  const head = cells(lines[0] ?? "");
  const rows = lines.slice(1).map((line) => {
    const row: Record<string, unknown> = {};
    cells(line).forEach((cell, i) => {
      const name = head[i];
      if (name && cell) row[name] = name === "shape" || name === "interpolation" ? cell : Number(cell);
    });
    return row;
  });
  return { shape: rows[0]?.shape, interpolation: rows[0]?.interpolation, keys: rows };
}
