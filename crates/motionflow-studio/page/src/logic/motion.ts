// The motion of the subjects while it is edited. States never change; an edit makes a new one.
import type { SubjectEntry } from "../api/types.ts";
import { fillBetween, type Mask } from "./mask.ts";
import type { Track } from "./track.ts";

/** Where a subject's masks come from, before they are painted on. */
export type Base =
  | { readonly kind: "model" }
  | { readonly kind: "track"; readonly track: Track }
  | { readonly kind: "file"; readonly ref: string; readonly name: string; readonly as: "mask" | "track" }
  | { readonly kind: "other"; readonly entry: SubjectEntry };

export interface SubjectMotion {
  readonly base: Base;
  /** Its own threshold, where it is not that of the settings. */
  readonly tau: number | null;
  /** Whether the masks of the look are given as they are, instead of what the run finds. */
  readonly pinned: boolean;
  /** Masks that were painted or filled in, by frame. */
  readonly edits: ReadonlyMap<number, Mask>;
  /** Which of them were filled in between others. */
  readonly filled: ReadonlySet<number>;
  readonly transform: readonly string[];
}

export const fromModel: SubjectMotion = {
  base: { kind: "model" },
  tau: null,
  pinned: false,
  edits: new Map(),
  filled: new Set(),
  transform: [],
};

export type Motion = readonly SubjectMotion[];

/** The motion with another one for one subject; those before it are there then, too. */
export function withSubject(motion: Motion, index: number, change: Partial<SubjectMotion>): Motion {
  const next = Array.from({ length: Math.max(motion.length, index + 1) }, (_, i) => motion[i] ?? fromModel);
  next[index] = { ...(next[index] ?? fromModel), ...change };
  return next;
}

/** With a painted mask, which is a key frame from now on. */
export function painted(subject: SubjectMotion, frame: number, mask: Mask): SubjectMotion {
  const filled = new Set(subject.filled);
  filled.delete(frame);
  return { ...subject, edits: new Map(subject.edits).set(frame, mask), filled };
}

/** Without what was painted in a frame. */
export function unpainted(subject: SubjectMotion, frame: number): SubjectMotion {
  const [edits, filled] = [new Map(subject.edits), new Set(subject.filled)];
  edits.delete(frame);
  filled.delete(frame);
  return { ...subject, edits, filled };
}

/** The painted frames that were not filled in. */
export function keyFrames({ edits, filled }: SubjectMotion): Map<number, Mask> {
  return new Map([...edits].filter(([frame]) => !filled.has(frame)));
}

/** With the frames between painted ones filled in. */
export function filledBetween(subject: SubjectMotion): SubjectMotion {
  const keys = keyFrames(subject);
  const between = fillBetween(keys);
  return { ...subject, edits: new Map([...keys, ...between]), filled: new Set(between.keys()) };
}

/** Appends a change, or joins it to the last one of its kind: moves add up, scales multiply, turns add up. */
export function changed(transform: readonly string[], next: string): readonly string[] {
  const [kind, ...numbers] = next.split(" ");
  const [last, ...before] = (transform.at(-1) ?? "").split(" ");
  const [b, a] = [before.map(Number), numbers.map(Number)];
  const joined = (values: number[]) => [...transform.slice(0, -1), `${kind} ${values.map(short).join(" ")}`];
  if (kind === last && a.length === b.length && [...a, ...b].every(Number.isFinite)) {
    if (kind === "move" || kind === "rotate") return joined(a.map((value, i) => value + (b[i] ?? 0)));
    if (kind === "scale") return joined(a.map((value, i) => value * (b[i] ?? 1)));
  }
  return [...transform, next];
}

/** A number with at most four decimals. */
export const short = (value: number) => String(Math.round(value * 1e4) / 1e4);
