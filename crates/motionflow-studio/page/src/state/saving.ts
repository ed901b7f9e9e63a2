// The request as it stands, its masks and tracks saved as files.
import { api } from "../api/client.ts";
import type { Request, SubjectEntry } from "../api/types.ts";
import { resize } from "../logic/mask.ts";
import type { SubjectMotion } from "../logic/motion.ts";
import { requestOf } from "../logic/request.ts";
import { type Track, writeTrack } from "../logic/track.ts";
import { maskToPng } from "../ui/pictures.ts";
import {
  avoid,
  changed,
  look,
  maps,
  prompt,
  rawMotion,
  source,
  sourcePrompt,
  subjectAt,
  subjectCount,
  subjectName,
  tauOf,
  usualTau,
  video,
} from "./draft.ts";
import { maskToPaint } from "./masks.ts";

export const savedTracks = new WeakMap<Track, Promise<string>>();

const savedMasks = new WeakMap<object, Map<string, Promise<string>>>();

/** Saves a track as a file, once. */
function saveTrack(index: number, track: Track): Promise<string> {
  let saved = savedTracks.get(track);
  if (!saved) {
    saved = api.saveTrack(`${subjectName(index)}.json`, JSON.parse(writeTrack(track))).then(({ ref }) => ref);
    saved.catch(() => savedTracks.delete(track));
    savedTracks.set(track, saved);
  }
  return saved;
}

/** Saves the masks of a subject as a file, once. */
function saveMasks(index: number, subject: SubjectMotion): Promise<string> {
  const { width, height, frames: count } = video.value;
  const base = subject.base.kind === "file" ? subject.base.ref : `${lookKey()} ${tauOf(index)} ${index}`;
  const key = `${base} ${width} ${height} ${count}`;
  const keys = savedMasks.get(subject.edits) ?? new Map<string, Promise<string>>();
  savedMasks.set(subject.edits, keys);
  let saved = keys.get(key);
  if (!saved) {
    const masks = Array.from({ length: count }, (_, frame) =>
      resize(maskToPaint(index, frame), width, height),
    );
    saved = Promise.all(masks.map(maskToPng))
      .then((pictures) => api.saveMasks(subjectName(index), pictures))
      .then(({ ref }) => ref);
    saved.catch(() => keys.delete(key));
    keys.set(key, saved);
  }
  return saved;
}

const lookKey = () => (look.value.state === "finished" ? look.value.id : "none");

/** The threshold that the settings get: that of the first subject whose masks the run makes. */
function commonTau(): number | null {
  const count = subjectCount.value;
  for (let i = 0; i < count; i++) {
    const subject = subjectAt(i);
    if (subject.base.kind === "model" && !subject.pinned && !subject.edits.size) return subject.tau;
  }
  return null;
}

/** A subject's motion as a request says it, its files saved. `asFile` wants a file also where the run would make the masks. */
export async function entryOf(index: number, asFile = false): Promise<SubjectEntry> {
  const subject = subjectAt(index);
  const change = subject.transform.length ? { transform: subject.transform } : {};
  const { base } = subject;
  if (base.kind === "track") return { track: await saveTrack(index, base.track), ...change };
  if (base.kind === "other") return { ...base.entry, ...change };
  if (base.kind === "file" && !subject.edits.size) return { [base.as]: base.ref, ...change };
  const ownTau =
    subject.tau !== null && subject.tau !== (commonTau() ?? usualTau.value) && maps.value !== null;
  if (subject.edits.size || subject.pinned || ownTau || (asFile && maps.value)) {
    return { mask: await saveMasks(index, subject), ...change };
  }
  return change;
}

/** The request as it stands. Files of motions are saved first. */
export async function buildRequest(): Promise<Request> {
  const count = subjectCount.value;
  const entries = await Promise.all(Array.from({ length: count }, (_, i) => entryOf(i)));
  const isGiven = entries.some((entry) => Object.keys(entry).length > 0);
  const own = { ...(isGiven ? { subject: entries } : {}), ...(avoid.value ? { avoid: avoid.value } : {}) };
  const table = rawMotion.value ?? (Object.keys(own).length ? own : null);
  const tau = commonTau();
  const settings = tau === null ? changed.value : { ...changed.value, "settings.tau": tau };
  return requestOf(settings, {
    source: source.value,
    sourcePrompt: source.value ? sourcePrompt.value : "",
    prompt: prompt.value,
    motion: table,
  });
}
