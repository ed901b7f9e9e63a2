// The transfer that is being prepared.
import { batch, computed, effect, signal } from "@preact/signals";
import { api } from "../api/client.ts";
import type { Frames, LookResult, MotionTable, Request, SubjectEntry, Video } from "../api/types.ts";
import { begin, commit, type History, redo, undo } from "../logic/history.ts";
import { bytesOf, mapFrame, mapsOf, maskAt } from "../logic/look.ts";
import { emptyMask, type Mask, resize } from "../logic/mask.ts";
import { fromModel, type Motion, type SubjectMotion, withSubject } from "../logic/motion.ts";
import { parsePrompt, subjectsOf } from "../logic/prompt.ts";
import { type Changed, entriesOf, requestOf, settingsOf } from "../logic/request.ts";
import { placeAt, readTrack, type Track, writeTrack } from "../logic/track.ts";
import { maskToPng } from "../ui/pictures.ts";
import { messageOf } from "./shell.ts";
import { models } from "./studio.ts";

const KEPT = "draft";

export const source = signal<string | null>(null);
export const sourcePrompt = signal("");
export const prompt = signal("");
/** Settings that differ from what is recommended, by path. */
export const changed = signal<Changed>({});
/** Of the run folder; empty where it is made of the prompt. */
export const runName = signal("");
/** A region that no subject's attention shall be in, as a file. */
export const avoid = signal<string | null>(null);
/** Motion of a settings file that cannot be told apart by subject; it is used as it is. */
export const rawMotion = signal<MotionTable | null>(null);
/** The queued job that is edited, if it is one. */
export const editing = signal<string | null>(null);

export const history = signal<History<Motion>>(begin<Motion>([]));
export const motion = computed(() => history.value.present);
export const canUndo = computed(() => history.value.past.length > 0);
export const canRedo = computed(() => history.value.future.length > 0);
export const undoMotion = () => {
  history.value = undo(history.value);
};
export const redoMotion = () => {
  history.value = redo(history.value);
};

/** Changes the motion of a subject, as one step that can be undone. */
export function editSubject(index: number, change: Partial<SubjectMotion>): void {
  history.value = commit(history.value, withSubject(motion.value, index, change));
}

export const subjectAt = (index: number): SubjectMotion => motion.value[index] ?? fromModel;

/** The frames of the source as the model gets them, and the picture with all of them. */
export const frames = signal<Frames | null>(null);
export const sheet = signal<HTMLImageElement | null>(null);
export const framesError = signal<string | null>(null);

export type LookState =
  | { readonly state: "none" }
  | { readonly state: "waiting" | "running"; readonly id: string }
  | { readonly state: "failed"; readonly message: string }
  | { readonly state: "finished"; readonly id: string; readonly result: LookResult };
export const look = signal<LookState>({ state: "none" });
const lookResult = computed(() => (look.value.state === "finished" ? look.value.result : null));
export const maps = computed(() => (lookResult.value ? mapsOf(lookResult.value) : null));

export const sourceSubjects = computed(() => subjectsOf(parsePrompt(sourcePrompt.value)));
export const newSubjects = computed(() => subjectsOf(parsePrompt(prompt.value)));
/** How many subjects there are to be led. */
export const subjectCount = computed(() => newSubjects.value.length || sourceSubjects.value.length);
export const subjectName = (index: number) =>
  sourceSubjects.value[index] ?? newSubjects.value[index] ?? `subject ${index + 1}`;

export const modelName = computed(() => {
  const named = changed.value["model.name"];
  return typeof named === "string" ? named : undefined;
});
export const model = computed(
  () =>
    models.value.find((known) => (modelName.value ? known.name === modelName.value : known.default)) ?? null,
);

/** The new video. */
export const video = computed<Video>(() => {
  const said = (key: string) => {
    const value = changed.value[`video.${key}`];
    return typeof value === "number" ? value : undefined;
  };
  const [found, usual] = [frames.value, model.value?.video];
  return {
    width: said("width") ?? found?.width ?? usual?.width ?? 512,
    height: said("height") ?? found?.height ?? usual?.height ?? 512,
    frames: said("frames") ?? found?.frames ?? usual?.frames ?? 16,
    fps: said("fps") ?? found?.fps ?? usual?.fps ?? 8,
  };
});

/** A threshold while its slider is dragged. */
export const liveTau = signal<{ readonly index: number; readonly tau: number } | null>(null);
const usualTau = computed(() => {
  const said = changed.value["settings.tau"];
  return typeof said === "number" ? said : (lookResult.value?.tau ?? 0.4);
});
export function tauOf(index: number): number {
  const live = liveTau.value;
  return live?.index === index ? live.tau : (subjectAt(index).tau ?? usualTau.value);
}

export function setSetting(path: string, value: unknown): void {
  const next: Record<string, unknown> = { ...changed.value };
  if (value === undefined) delete next[path];
  else next[path] = value;
  batch(() => {
    changed.value = next;
    if (path === "settings.tau" && motion.value.some((subject) => subject.tau !== null)) {
      history.value = commit(
        history.value,
        motion.value.map((subject) => ({ ...subject, tau: null })),
      );
    }
  });
}

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

/** Masks after all changes, by subject, as the program made them. */
export const transformed = signal<ReadonlyMap<number, readonly Mask[]>>(new Map());
export const motionError = signal<string | null>(null);

export const trackOf = (index: number): Track | null => {
  const { base } = subjectAt(index);
  return base.kind === "track" ? base.track : null;
};
export const placeOf = (index: number, frame: number) => {
  const track = trackOf(index);
  return track ? placeAt(track, frame) : null;
};

const savedTracks = new WeakMap<Track, Promise<string>>();
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
async function entryOf(index: number, asFile = false): Promise<SubjectEntry> {
  const subject = subjectAt(index);
  const change = subject.transform.length ? { transform: subject.transform } : {};
  const { base } = subject;
  if (base.kind === "track") return { track: await saveTrack(index, base.track), ...change };
  if (base.kind === "other") return { ...base.entry, ...change };
  if (base.kind === "file" && !subject.edits.size) return { mask: base.ref, ...change };
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

/** The part of the request that a look depends on. */
export const lookRequest = computed<Request | null>(() => {
  const written = parsePrompt(sourcePrompt.value);
  if (!source.value || written.error || !written.subjects.length || !frames.value) return null;
  const keep = Object.entries(changed.value).filter(
    ([path]) => path !== "settings.tau" && path !== "settings.seed",
  );
  return requestOf(Object.fromEntries(keep), {
    source: source.value,
    sourcePrompt: sourcePrompt.value,
    prompt: "",
    motion: null,
  });
});

/** Takes over a request: a job's, a run's, a preset's or a file's. */
export async function takeRequest(request: Request, jobId: string | null = null): Promise<void> {
  const path = request.source?.path;
  const written = request.prompts ?? {};
  const subjects =
    subjectsOf(parsePrompt(written.prompt ?? "")).length ||
    subjectsOf(parsePrompt(written.source_prompt ?? "")).length;
  const entries = entriesOf(request.motion, subjects);
  const fps = typeof request.video?.fps === "number" ? request.video.fps : 8;
  const given = await Promise.all(
    (entries ?? []).map(async ({ transform = [], ...entry }): Promise<SubjectMotion> => {
      const subject = { ...fromModel, transform };
      if (entry.track) {
        const track = readTrack(JSON.stringify(await api.track(entry.track)), fps);
        savedTracks.set(track, Promise.resolve(entry.track));
        return { ...subject, base: { kind: "track", track } };
      }
      if (entry.mask)
        return { ...subject, base: { kind: "file", ref: entry.mask, name: entry.mask.replace(/^\w+:/, "") } };
      return Object.keys(entry).length ? { ...subject, base: { kind: "other", entry } } : subject;
    }),
  );
  batch(() => {
    source.value = typeof path === "string" ? path : null;
    sourcePrompt.value = written.source_prompt ?? "";
    prompt.value = written.prompt ?? "";
    const { "settings.mask_source": masks, ...settings } = settingsOf(request);
    // "given" follows from the motion, and stands in records alone.
    changed.value =
      masks === undefined || masks === "given" ? settings : { ...settings, "settings.mask_source": masks };
    rawMotion.value = entries ? null : (request.motion ?? null);
    avoid.value = entries ? (request.motion?.avoid ?? null) : null;
    editing.value = jobId;
    runName.value = "";
    history.value = begin<Motion>(given);
  });
}

/**
 * Chooses a clip. The motion that was made for another one goes; so does its source prompt, where `written` knows a better one
 * and `isOwn` does not say that a person wrote it.
 */
export function chooseSource(ref: string | null, written: string | null, isOwn = false): void {
  batch(() => {
    source.value = ref;
    rawMotion.value = null;
    avoid.value = null;
    if (written && !isOwn) sourcePrompt.value = written;
    history.value = begin<Motion>([]);
    look.value = { state: "none" };
    const { "source.start": _, "source.inversion": __, ...rest } = changed.value;
    changed.value = rest;
  });
}

/** Starts anew. */
export function clearDraft(): void {
  batch(() => {
    chooseSource(null, null);
    sourcePrompt.value = "";
    prompt.value = "";
    changed.value = {};
    editing.value = null;
  });
}

/** What was kept when the page was left. */
export async function restoreDraft(): Promise<void> {
  try {
    const kept = localStorage.getItem(KEPT);
    if (kept) await takeRequest(JSON.parse(kept) as Request);
  } catch {
    localStorage.removeItem(KEPT);
  }
}

export function keepDraft(request: Request): void {
  if (!editing.value) localStorage.setItem(KEPT, JSON.stringify(request));
}

/** Loads the frames of the source whenever it, or what is cut of it, changes. */
effect(() => {
  const ref = source.value;
  const { "video.width": w, "video.height": h, "video.frames": n } = changed.value;
  const usual = modelName.value ? model.value?.video : null;
  const cut = JSON.stringify({
    width: w ?? usual?.width,
    height: h ?? usual?.height,
    frames: n ?? usual?.frames,
    start: changed.value["source.start"],
    every: changed.value["source.every"],
    fit: changed.value["source.fit"],
    side: 512,
  });
  framesError.value = null;
  if (!ref) {
    frames.value = null;
    sheet.value = null;
    return;
  }
  const controller = new AbortController();
  const load = async () => {
    try {
      const found = await api.frames(ref, JSON.parse(cut), controller.signal);
      const picture = new Image();
      picture.src = found.sheet;
      await picture.decode();
      if (controller.signal.aborted) return;
      batch(() => {
        frames.value = found;
        sheet.value = picture;
      });
    } catch (error) {
      if (controller.signal.aborted) return;
      batch(() => {
        frames.value = null;
        sheet.value = null;
        framesError.value = messageOf(error);
      });
    }
  };
  const timer = setTimeout(load, 120);
  return () => {
    clearTimeout(timer);
    controller.abort();
  };
});

const masksOf = (base64: string, width: number, height: number, count: number): Mask[] => {
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
      .motionMasks({ subject: [{ mask: base.ref }] }, size, 1, Math.max(size.width, size.height))
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

let lookNumber = 0;

/** Asks for a look at the source. */
export async function startLook(): Promise<void> {
  const request = lookRequest.value;
  const number = ++lookNumber;
  if (!request) {
    look.value = { state: "none" };
    return;
  }
  try {
    await followLook(await api.look(request), number);
  } catch (error) {
    if (number === lookNumber) look.value = { state: "failed", message: messageOf(error) };
  }
}

async function followLook(found: Awaited<ReturnType<typeof api.look>>, number: number): Promise<void> {
  let now = found;
  while (number === lookNumber) {
    if (now.state === "failed") throw new Error(now.error?.detail ?? "the look failed");
    if (now.state === "finished" && now.result) {
      look.value = { state: "finished", id: now.id, result: now.result };
      return;
    }
    look.value = { state: now.state === "waiting" ? "waiting" : "running", id: now.id };
    await new Promise((resolve) => setTimeout(resolve, 250));
    now = await api.lookState(now.id);
  }
}
