// Requests that are taken over, and the one that is kept when the page is left.

import { batch } from "@preact/signals";
import type { Request } from "../api/types.ts";
import { begin } from "../logic/history.ts";
import { fromModel, type Motion, type SubjectMotion } from "../logic/motion.ts";
import { parsePrompt, subjectsOf } from "../logic/prompt.ts";
import { entriesOf, settingsOf } from "../logic/request.ts";
import {
  avoid,
  changed,
  chooseSource,
  editing,
  history,
  prompt,
  rawMotion,
  runName,
  source,
  sourcePrompt,
} from "./draft.ts";
import { keyFramesOf } from "./motion-files.ts";
import { savedTracks } from "./saving.ts";

const KEPT = "draft";

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
      const name = (ref: string) => ref.replace(/^\w+:/, "");
      if (entry.track) {
        const base = await keyFramesOf(entry.track, fps);
        if (base?.kind === "track") savedTracks.set(base.track, Promise.resolve(entry.track));
        return {
          ...subject,
          base: base ?? { kind: "file", ref: entry.track, name: name(entry.track), as: "track" },
        };
      }
      if (entry.mask) {
        return { ...subject, base: { kind: "file", ref: entry.mask, name: name(entry.mask), as: "mask" } };
      }
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
