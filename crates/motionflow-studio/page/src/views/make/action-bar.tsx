// What a run would take, and the button that queues it.
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, api, newId } from "../../api/client.ts";
import type { Plan } from "../../api/types.ts";
import { bytes, duration } from "../../logic/format.ts";
import { parsePrompt } from "../../logic/prompt.ts";
import {
  avoid,
  changed,
  editing,
  frames,
  maps,
  motion,
  newSubjects,
  prompt,
  rawMotion,
  runName,
  source,
  sourcePrompt,
  sourceSubjects,
  subjectCount,
} from "../../state/draft.ts";
import { keepDraft } from "../../state/restoring.ts";
import { buildRequest } from "../../state/saving.ts";
import { go, messageOf, toast } from "../../state/shell.ts";
import { know } from "../../state/studio.ts";
import { cls, IconButton, Notice, useSettled } from "../../ui/basics.tsx";
import { Many } from "./many.tsx";

/** What is still missing, in words; null where the job can be queued. */
function missing(): string | null {
  if (!prompt.value.trim()) return "Write the new prompt.";
  if (parsePrompt(prompt.value).error || parsePrompt(sourcePrompt.value).error)
    return "A bracket of a prompt is wrong.";
  if (!subjectCount.value) return "Mark a subject in both prompts.";
  if (source.value && !sourceSubjects.value.length) return "Mark the subject of the source prompt.";
  if (!newSubjects.value.length) return "Mark the subject of the new prompt.";
  if (
    !source.value &&
    !changed.value["source.inversion"] &&
    !motion.value.some((one) => one.base.kind !== "model" || one.edits.size)
  )
    return "Choose a clip, or draw a track.";
  return null;
}

export function ActionBar() {
  const [plan, setPlan] = useState<Plan | null>(null);
  const [refused, setRefused] = useState<string | null>(null);
  const [isStale, setStale] = useState(true);
  const [busy, setBusy] = useState(false);
  const [many, setMany] = useState(false);
  const adding = useRef<string | null>(null);
  const lacking = missing();
  const ready = lacking === null && frames.value !== undefined;
  const inputs = [
    ready,
    source.value,
    sourcePrompt.value,
    prompt.value,
    changed.value,
    motion.value,
    rawMotion.value,
    maps.value,
    avoid.value,
  ];
  useEffect(() => setStale(true), inputs);
  useSettled(
    async (signal) => {
      let [next, wrong]: [Plan | null, string | null] = [null, null];
      try {
        const request = await buildRequest();
        keepDraft(request);
        if (ready) next = await api.estimate(request, signal);
      } catch (error) {
        wrong = messageOf(error);
      }
      if (signal.aborted) return;
      setPlan(next);
      setRefused(wrong);
      setStale(false);
    },
    700,
    inputs,
  );

  const add = async () => {
    if (lacking) {
      toast("bad", lacking);
      return;
    }
    setBusy(true);
    // The same id again where the answer was lost: the queue takes a job once.
    const id = editing.value ?? adding.current ?? newId();
    adding.current = id;
    try {
      const job = await api.putJob(id, await buildRequest(), runName.value.trim() || undefined);
      know(job);
      toast("good", editing.value ? "Saved" : "Added to the queue", {
        label: "Watch",
        run: () => go("queue", job.id),
      });
      adding.current = null;
      runName.value = "";
      if (editing.value) {
        editing.value = null;
        go("queue");
      }
    } catch (error) {
      if (error instanceof ApiError && error.problem.status) adding.current = null;
      toast("bad", messageOf(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <div class="action-bar">
      {refused ? <Notice kind="bad">{refused}</Notice> : null}
      {plan?.refusal ? <Notice kind="bad">{plan.refusal}</Notice> : null}
      {plan?.warnings.length ? (
        <details class="small">
          <summary>{plan.warnings.length === 1 ? "1 warning" : `${plan.warnings.length} warnings`}</summary>
          {plan.warnings.map((warning) => (
            <Notice kind="warn" key={warning}>
              {warning}
            </Notice>
          ))}
        </details>
      ) : null}
      <div class="row">
        <div class={cls("estimate grow number", isStale && "stale")} aria-live="polite" aria-busy={isStale}>
          {plan ? (
            <>
              <span title={plan.stages.map(([name, seconds]) => `${name} ${duration(seconds)}`).join(", ")}>
                {plan.at_most ? "at most " : "about "}
                <strong>{duration(plan.seconds)}</strong>
              </span>
              <span>
                <strong>{bytes(plan.peak_memory_bytes)}</strong> of memory
              </span>
              <span class="muted">
                {plan.device}, {plan.precision}
              </span>
            </>
          ) : (
            <span class="muted">{lacking ?? (refused ? "" : "Estimating…")}</span>
          )}
        </div>
        {editing.value ? null : (
          <IconButton
            icon="many"
            label="Add many: prompts × seeds"
            disabled={lacking !== null}
            class=""
            onClick={() => setMany(true)}
          />
        )}
        <button
          type="button"
          id="add-to-queue"
          class="primary"
          disabled={busy || lacking !== null}
          aria-keyshortcuts="Control+Enter"
          title="Ctrl + Enter"
          onClick={add}
        >
          {editing.value ? "Save" : "Add to queue"}
        </button>
      </div>
      {many ? <Many onClose={() => setMany(false)} /> : null}
    </div>
  );
}
