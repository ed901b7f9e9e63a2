// The masks of the subjects before their changes: painted, of a file, or what the model saw.
import { effect, signal } from "@preact/signals";
import { api } from "../api/client.ts";
import { bytesOf, mapFrame, maskAt } from "../logic/look.ts";
import { emptyMask, type Mask, resize } from "../logic/mask.ts";
import { placeAt, type Track } from "../logic/track.ts";
import { maps, motion, subjectAt, tauOf, video } from "./draft.ts";
import { messageOf } from "./shell.ts";

/** Masks of files, by ref and size of the video. */
const fileMasks = signal<ReadonlyMap<string, readonly Mask[]>>(new Map());

const fileKey = (ref: string) => `${ref} ${video.value.width} ${video.value.height} ${video.value.frames}`;

/** The mask of a subject in a frame, before it is changed: painted, of a file, or what the model saw. Null where nothing says. */
export function maskOf(index: number, frame: number): Mask | null {
  const subject = subjectAt(index);
  const edited = subject.edits.get(frame);
  if (edited) return edited;
  if (subject.base.kind === "file") return fileMasks.value.get(fileKey(subject.base.ref))?.[frame] ?? null;
  if (subject.base.kind !== "model") return null;
  const found = maps.value;
  return found?.subjects[index] ? maskAt(found, index, mapFrame(found, frame), tauOf(index)) : null;
}

/** A mask to paint on, of the video's size. */
export function maskToPaint(index: number, frame: number): Mask {
  const { width, height } = video.value;
  const mask = maskOf(index, frame);
  return mask ? { ...resize(mask, width, height) } : emptyMask(width, height);
}

export const motionError = signal<string | null>(null);

export const trackOf = (index: number): Track | null => {
  const { base } = subjectAt(index);
  return base.kind === "track" ? base.track : null;
};

export const placeOf = (index: number, frame: number) => {
  const track = trackOf(index);
  return track ? placeAt(track, frame) : null;
};

export const masksOf = (base64: string, width: number, height: number, count: number): Mask[] => {
  const all = bytesOf(base64);
  const size = width * height;
  return Array.from({ length: count }, (_, i) => ({
    width,
    height,
    pixels: all.subarray(i * size, (i + 1) * size).map((value) => (value >= 128 ? 255 : 0)),
  }));
};

/** Loads the masks of files that subjects have. */
effect(() => {
  for (const { base } of motion.value) {
    if (base.kind !== "file") continue;
    const key = fileKey(base.ref);
    if (fileMasks.peek().has(key)) continue;
    const size = video.value;
    fileMasks.value = new Map(fileMasks.peek()).set(key, []);
    api
      .motionMasks({ subject: [{ [base.as]: base.ref }] }, size, 1, Math.max(size.width, size.height))
      .then(({ subjects, width, height, frames: count }) => {
        const found = subjects[0] ? masksOf(subjects[0].masks, width, height, count) : [];
        fileMasks.value = new Map(fileMasks.peek()).set(key, found);
        motionError.value = null;
      })
      .catch((error: unknown) => {
        motionError.value = messageOf(error);
      });
  }
});
