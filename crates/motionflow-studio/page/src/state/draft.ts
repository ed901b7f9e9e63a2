// The transfer that is being prepared.
import { batch, computed, effect, signal } from "@preact/signals";
import { api } from "../api/client.ts";
import type { Frames, LookResult, MotionTable, Video } from "../api/types.ts";
import { begin, commit, type History, redo, undo } from "../logic/history.ts";
import { mapsOf } from "../logic/look.ts";
import { fromModel, type Motion, type SubjectMotion, withSubject } from "../logic/motion.ts";
import { parsePrompt, subjectsOf } from "../logic/prompt.ts";
import type { Changed } from "../logic/request.ts";
import { messageOf } from "./shell.ts";
import { models } from "./studio.ts";

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

type LookState =
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

export const usualTau = computed(() => {
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
