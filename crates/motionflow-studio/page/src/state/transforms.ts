// The masks after their changes, as the program makes them.
import { effect, signal } from "@preact/signals";
import { api } from "../api/client.ts";
import type { Mask } from "../logic/mask.ts";
import { maps, motion, subjectAt, usualTau, video } from "./draft.ts";
import { masksOf, motionError } from "./masks.ts";
import { entryOf } from "./saving.ts";
import { messageOf } from "./shell.ts";

/** Masks after all changes, by subject, as the program made them. */
export const transformed = signal<ReadonlyMap<number, readonly Mask[]>>(new Map());

/** Asks the program for the masks after the changes, some time after the last edit. */
effect(() => {
  const indexes = motion.value.flatMap((subject, i) => (subject.transform.length ? [i] : []));
  const size = video.value;
  const isLooked = maps.value !== null && usualTau.value >= 0;
  if (!indexes.length) {
    transformed.value = new Map();
    return;
  }
  const controller = new AbortController();
  const load = async () => {
    const next = new Map<number, readonly Mask[]>();
    try {
      for (const index of indexes) {
        const kind = subjectAt(index).base.kind;
        if (kind === "other" || (kind === "model" && !isLooked && !subjectAt(index).edits.size)) continue;
        const entry = await entryOf(index, true);
        const side = Math.max(size.width, size.height);
        const made = await api.motionMasks({ subject: [entry] }, size, 1, side, controller.signal);
        const [first] = made.subjects;
        if (first) next.set(index, masksOf(first.masks, made.width, made.height, made.frames));
      }
      if (controller.signal.aborted) return;
      transformed.value = next;
      motionError.value = null;
    } catch (error) {
      if (!controller.signal.aborted) motionError.value = messageOf(error);
    }
  };
  const timer = setTimeout(load, 350);
  return () => {
    clearTimeout(timer);
    controller.abort();
  };
});
