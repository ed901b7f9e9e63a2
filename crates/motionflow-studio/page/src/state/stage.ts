// The stage: which frame is shown, and with what it is edited.
import { computed, effect, signal } from "@preact/signals";
import type { Mask } from "../logic/mask.ts";
import { filledBetween, keyFrames, painted, unpainted } from "../logic/motion.ts";
import { newTrack, type Place, type Point, placeAt, withKey, withoutKey } from "../logic/track.ts";
import { editSubject, subjectAt, subjectCount, video } from "./draft.ts";
import { maskToPaint, trackOf } from "./masks.ts";

export type Tool = "view" | "brush" | "eraser" | "track" | "transform";

export const frame = signal(0);
export const playing = signal(false);
export const tool = signal<Tool>("view");
/** The brush's radius, in fractions of the picture's width. */
export const brushSize = signal(0.05);
export const onion = signal(false);
export const selected = signal(0);

/** Works on a subject with a tool. */
export function takeUp(index: number, with_: Tool): void {
  selected.value = index;
  tool.value = with_;
}
/** Where the brush is, in fractions of the picture; null where it is not shown. */
export const cursor = signal<Point | null>(null);
/** The mask that is being painted. */
export const stroke = signal<{ readonly mask: Mask } | null>(null);

export const lastFrame = computed(() => Math.max(0, video.value.frames - 1));

export function showFrame(at: number): void {
  frame.value = Math.min(lastFrame.value, Math.max(0, at));
}

effect(() => {
  if (frame.value > lastFrame.value) frame.value = lastFrame.value;
});
effect(() => {
  const count = Math.max(1, subjectCount.value);
  if (selected.value >= count) selected.value = count - 1;
});

/** Plays while `playing` says so. */
effect(() => {
  if (!playing.value) return;
  const start = performance.now();
  const first = frame.peek();
  let request = 0;
  const tick = (now: number) => {
    const { frames, fps } = video.peek();
    frame.value = (first + Math.floor(((now - start) / 1000) * fps)) % Math.max(1, frames);
    request = requestAnimationFrame(tick);
  };
  request = requestAnimationFrame(tick);
  return () => cancelAnimationFrame(request);
});

/** Why the brush does nothing for the selected subject; null where it paints. */
export const brushHindrance = computed(() => {
  const { base } = subjectAt(selected.value);
  if (base.kind === "track") return "This subject follows a track. Take its track away to paint a mask.";
  if (base.kind === "other") return "This subject's motion comes from another clip.";
  return null;
});

export function paintFrame(mask: Mask): void {
  editSubject(selected.value, painted(subjectAt(selected.value), frame.value, mask));
}

export function clearFrame(): void {
  const subject = subjectAt(selected.value);
  const track = trackOf(selected.value);
  if (track) setTrack(withoutKey(track, frame.value));
  else if (subject.edits.has(frame.value)) editSubject(selected.value, unpainted(subject, frame.value));
}

export function fillFrames(): void {
  editSubject(selected.value, filledBetween(subjectAt(selected.value)));
}

export const canFill = computed(() => {
  const keys = [...keyFrames(subjectAt(selected.value)).keys()].sort((a, b) => a - b);
  return keys.some((key, i) => i > 0 && key - (keys[i - 1] ?? key) > 1);
});

/** Copies the mask of the frame before into this one. */
export function copyBefore(): void {
  if (frame.value > 0 && !brushHindrance.value) paintFrame(maskToPaint(selected.value, frame.value - 1));
}

export function setTrack(track: ReturnType<typeof newTrack>): void {
  editSubject(selected.value, {
    base: { kind: "track", track },
    edits: new Map(),
    filled: new Set(),
    pinned: false,
  });
}

/** Sets the place of the selected subject's track in this frame. */
export function setPlace(place: Place): void {
  const track = trackOf(selected.value) ?? newTrack(frame.value);
  setTrack(withKey(track, { ...place, frame: frame.value }));
}

/** Moves, resizes or turns the box in this frame by keys. */
export function nudge(change: Partial<Record<keyof Place, number>>): void {
  const track = trackOf(selected.value) ?? newTrack(frame.value);
  const place = placeAt(track, frame.value);
  setPlace({
    x: place.x + (change.x ?? 0),
    y: place.y + (change.y ?? 0),
    width: Math.max(0.01, place.width * (1 + (change.width ?? 0))),
    height: Math.max(0.01, place.height * (1 + (change.height ?? 0))),
    rotation: place.rotation + (change.rotation ?? 0),
  });
}
