// Files that are dropped or chosen: a clip, the motion of a subject, settings, a result that holds its settings, a queue.

import { signal } from "@preact/signals";
import { ApiError, api } from "../api/client.ts";
import type { Clip, Restored } from "../api/types.ts";
import { bytes } from "../logic/format.ts";
import { avoid, chooseSource, editSubject, subjectName } from "./draft.ts";
import { motionBase } from "./motion-files.ts";
import { takeRequest } from "./restoring.ts";
import { attempt, go, messageOf, toast } from "./shell.ts";
import { selected, tool } from "./stage.ts";
import { health } from "./studio.ts";

export const clips = signal<readonly Clip[]>([]);
export const uploading = signal<string | null>(null);
/** A video that holds the settings of a run: a person says what is meant. */
export const undecided = signal<{ readonly file: File; readonly restored: Restored } | null>(null);

export async function loadClips(): Promise<void> {
  const found = await attempt(api.clips);
  if (found) clips.value = found;
}

const ending = (file: File) => file.name.toLowerCase().split(".").pop() ?? "";
const MOTION = ["npz", "npy", "csv", "json"];
const PICTURES = ["png", "jpg", "jpeg", "webp", "tif", "tiff", "bmp"];

/** Does with files what their kinds say. */
export async function takeFiles(files: readonly File[]): Promise<void> {
  for (const file of files) {
    const kind = ending(file);
    if (kind === "toml") await takeToml(file);
    else if (MOTION.includes(kind) || PICTURES.includes(kind)) await takeMotion(file, selected.value);
    else await takeVideo(file);
  }
}

async function takeToml(file: File): Promise<void> {
  if (/^\s*\[\[\s*job\s*\]\]/m.test(await file.text())) await importQueue(file);
  else await takeSettings(file);
}

export async function importQueue(file: File): Promise<void> {
  const made = await attempt(() => api.importQueue(file));
  if (!made) return;
  toast("good", `${made.jobs.length} ${made.jobs.length === 1 ? "job" : "jobs"} added to the queue`);
  go("queue");
}

/** Takes over the settings of a file. */
export async function takeSettings(file: File): Promise<void> {
  const restored = await attempt(() => api.readSettings(file));
  if (restored) await restore(restored, file.name);
}

export async function restore(restored: Restored, from: string): Promise<void> {
  await attempt(() => takeRequest(restored.request));
  for (const missing of restored.missing) toast("bad", missing);
  toast("good", `Settings of ${from}`);
  go("make");
}

async function takeVideo(file: File): Promise<void> {
  const kind = ending(file);
  if (kind === "mp4" || kind === "gif") {
    try {
      const restored = await api.readSettings(file);
      undecided.value = { file, restored };
      return;
    } catch (error) {
      if (!(error instanceof ApiError) || error.problem.status === 0) {
        toast("bad", messageOf(error));
        return;
      }
    }
  }
  await takeClip(file);
}

export async function takeClip(file: File): Promise<void> {
  if (isTooLarge(file)) return;
  uploading.value = file.name;
  const clip = await attempt(() => api.uploadClip(file));
  uploading.value = null;
  if (!clip) return;
  await loadClips();
  chooseSource(clip.ref, clip.source_prompt);
  go("make");
}

/** A mask or a track for a subject. */
export async function takeMotion(file: File, index: number): Promise<void> {
  if (isTooLarge(file)) return;
  uploading.value = file.name;
  const base = await attempt(async () => motionBase((await api.uploadMotion(file)).ref, file.name));
  uploading.value = null;
  if (!base) return;
  editSubject(index, { base, edits: new Map(), filled: new Set(), pinned: false });
  if (base.kind === "track") tool.value = "track";
  toast("good", `${file.name} moves ${subjectName(index)}`);
  go("make");
}

/** A region that the subjects keep out of. */
export async function takeAvoid(file: File): Promise<void> {
  if (isTooLarge(file)) return;
  const made = await attempt(() => api.uploadMotion(file));
  if (made) avoid.value = made.ref;
}

function isTooLarge(file: File): boolean {
  const most = health.value?.max_upload_bytes ?? Number.POSITIVE_INFINITY;
  if (file.size <= most) return false;
  toast("bad", `${file.name} has ${bytes(file.size)}; at most ${bytes(most)} can be uploaded`);
  return true;
}
