// One transfer from the clip to the queue.
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { ApiError, api, newId } from "../api/client.ts";
import type { Plan } from "../api/types.ts";
import { bytes, count, duration } from "../logic/format.ts";
import { parsePrompt } from "../logic/prompt.ts";
import { readSeeds } from "../logic/request.ts";
import {
  avoid,
  buildRequest,
  changed,
  chooseSource,
  clearDraft,
  editing,
  frames,
  keepDraft,
  maps,
  motion,
  newSubjects,
  prompt,
  rawMotion,
  runName,
  setSetting,
  source,
  sourcePrompt,
  sourceSubjects,
  subjectCount,
} from "../state/draft.ts";
import { clips, loadClips, takeClip, uploading } from "../state/files.ts";
import { attempt, go, helpShown, messageOf, succeeds, toast } from "../state/shell.ts";
import { know } from "../state/studio.ts";
import {
  Confirm,
  cls,
  Dialog,
  FileButton,
  IconButton,
  isTyping,
  Notice,
  Spinner,
  subjectClass,
  useKeys,
  useSettled,
} from "../ui/basics.tsx";
import { Icon } from "../ui/icon.tsx";
import { PromptEditor } from "./prompts.tsx";
import { Settings } from "./settings.tsx";
import { Stage, stageKey } from "./stage.tsx";
import { Subjects } from "./subjects.tsx";

export function Make() {
  useEffect(() => {
    void loadClips();
  }, []);
  useKeys((event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return stageKey(event);
    document.getElementById("add-to-queue")?.click();
    return true;
  });
  const hasSubject = sourceSubjects.value.length > 0;
  const isSourced = source.value !== null;
  const hasSourcePrompt = isSourced || sourcePrompt.value !== "";
  const isMatched =
    newSubjects.value.length > 0 && (!isSourced || newSubjects.value.length === sourceSubjects.value.length);
  return (
    <div class="make">
      <h1 class="hidden">Make a transfer</h1>
      <Stage />
      <section class="right" aria-label="The transfer">
        <div class="sections">
          {editing.value ? <EditingNotice /> : null}
          <Section step={1} title="Clip" isDone={isSourced} extra={<StartAnew />}>
            <ClipChoice />
          </Section>
          {hasSourcePrompt ? (
            <Section step={2} title="What it shows" isDone={hasSubject}>
              <PromptEditor
                value={sourcePrompt}
                which="source"
                label="Source prompt"
                placeholder="a car on a road"
              />
            </Section>
          ) : null}
          <Section
            step={hasSourcePrompt ? 3 : 2}
            title="Where it moves"
            isDone={maps.value !== null || motion.value.some((subject) => subject.base.kind !== "model")}
          >
            {rawMotion.value ? (
              <Notice kind="info">
                The motion of the settings file is used as it is.{" "}
                <button
                  type="button"
                  class="link"
                  onClick={() => {
                    rawMotion.value = null;
                  }}
                >
                  Take it away
                </button>
              </Notice>
            ) : (
              <Subjects />
            )}
          </Section>
          <Section step={hasSourcePrompt ? 4 : 3} title="What shall move like it" isDone={isMatched}>
            <PromptEditor value={prompt} which="new" label="New prompt" placeholder="a panda in the snow" />
            <Matches />
          </Section>
          <Section
            step={hasSourcePrompt ? 5 : 4}
            title="Settings"
            isDone={Object.keys(changed.value).length > 0}
          >
            <RunName />
            <Settings />
          </Section>
        </div>
        <ActionBar />
      </section>
    </div>
  );
}

function Section({
  step,
  title,
  isDone,
  extra,
  children,
}: {
  step: number;
  title: string;
  isDone: boolean;
  extra?: preact.ComponentChildren;
  children: preact.ComponentChildren;
}) {
  const id = useId();
  return (
    <section class={cls("section", isDone && "done")} aria-labelledby={id}>
      <header>
        <span class="step" aria-hidden="true">
          {isDone ? <Icon name="check" /> : step}
        </span>
        <h2 id={id} class="grow">
          {title}
        </h2>
        {extra}
      </header>
      {children}
    </section>
  );
}

function StartAnew() {
  return source.value || prompt.value ? (
    <button type="button" class="quiet small" onClick={clearDraft}>
      Start anew
    </button>
  ) : null;
}

function EditingNotice() {
  return (
    <div class="section">
      <Notice kind="info">
        This edits a job that waits in the queue.{" "}
        <button
          type="button"
          class="link"
          onClick={() => {
            editing.value = null;
          }}
        >
          Make another job of it
        </button>
      </Notice>
    </div>
  );
}

function ClipChoice() {
  const [isOpen, setOpen] = useState(source.value === null);
  const [isDeleting, setDeleting] = useState(false);
  useEffect(() => setOpen(source.value === null), [source.value]);
  const now = clips.value.find((clip) => clip.ref === source.value);
  const deleteUpload = async () => {
    const ref = source.value;
    if (!ref || !(await succeeds(() => api.deleteUpload(ref)))) return;
    chooseSource(null, null);
    await loadClips();
  };
  if (uploading.value) return <Spinner label={`Reading ${uploading.value}`} />;
  if (!isOpen && source.value) {
    return (
      <div class="row">
        {now ? <img class="thumb" src={now.poster} alt="" /> : null}
        <div class="grow">
          <div class="ellipsis">{now?.name ?? source.value}</div>
          <div class="muted small number">
            {frames.value
              ? `${frames.value.frames} frames, ${frames.value.width}×${frames.value.height}, ${frames.value.fps} a second`
              : ""}
          </div>
          {frames.value?.notices.map((notice) => (
            <div class="muted small" key={notice}>
              {notice}
            </div>
          ))}
        </div>
        <button type="button" onClick={() => setOpen(true)}>
          Change
        </button>
        {source.value.startsWith("upload:") ? (
          <IconButton icon="trash" label="Delete this upload" onClick={() => setDeleting(true)} />
        ) : null}
        {isDeleting ? (
          <Confirm
            title={`Delete ${now?.name ?? "the upload"}`}
            action="Delete"
            onClose={() => setDeleting(false)}
            onConfirm={deleteUpload}
          >
            <p>The copy that the studio has is deleted. Runs that were made with it stay.</p>
          </Confirm>
        ) : null}
      </div>
    );
  }
  return (
    <>
      <div class="drop">
        <p>Drop a video anywhere on this page, or</p>
        <FileButton
          label="Choose a file"
          icon="folder"
          accept="video/*,.gif,.mkv"
          onFiles={([file]) => file && takeClip(file)}
        />
      </div>
      {clips.value.length ? (
        <div class="clips" role="group" aria-label="Clips">
          {clips.value.map((clip) => (
            <button
              type="button"
              key={clip.ref}
              title={clip.source_prompt ?? clip.name}
              aria-pressed={clip.ref === source.value}
              onClick={() => {
                const now = sourcePrompt.value;
                const isOwn = now !== "" && !clips.value.some((other) => other.source_prompt === now);
                chooseSource(clip.ref, clip.source_prompt, isOwn);
                setOpen(false);
              }}
            >
              <img src={clip.poster} alt="" loading="lazy" />
              <span class="name">{clip.name}</span>
            </button>
          ))}
        </div>
      ) : null}
      <button
        type="button"
        class="link small"
        onClick={() => {
          chooseSource(null, null);
          sourcePrompt.value = "";
          setSetting("settings.init", "noise");
          setOpen(true);
          toast("good", "No clip: mark a subject in the new prompt and draw its track");
        }}
      >
        Without a clip: draw the motion
      </button>
    </>
  );
}

/** Which subject moves like which. */
function Matches() {
  const [from, to] = [sourceSubjects.value, newSubjects.value];
  if (!to.length || (source.value && !from.length)) return null;
  if (source.value && from.length !== to.length) {
    return (
      <Notice kind="warn">
        The source prompt marks {from.length}, the new prompt {to.length}. They are matched in order, so there
        must be as many.
      </Notice>
    );
  }
  if (!source.value) return null;
  return (
    <ul class="matches small">
      {to.map((name, i) => (
        <li class="row" key={name}>
          <span class={cls("item", subjectClass(i))}>
            <span class="swatch" />
            <span class="ellipsis">{from[i]}</span>
          </span>
          <span class="muted" aria-hidden="true">
            →
          </span>
          <span class="hidden">becomes</span>
          <span class={cls("item", subjectClass(i))}>
            <span class="swatch" />
            <span class="ellipsis">{name}</span>
          </span>
        </li>
      ))}
    </ul>
  );
}

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

function ActionBar() {
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
      {plan?.warnings.map((warning) => (
        <Notice kind="warn" key={warning}>
          {warning}
        </Notice>
      ))}
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

function RunName() {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>Name of the run folder</label>
      <input
        id={id}
        type="text"
        value={runName.value}
        placeholder="made of the prompt"
        spellcheck={false}
        onInput={(event) => {
          runName.value = event.currentTarget.value;
        }}
      />
    </div>
  );
}

function Many({ onClose }: { onClose: () => void }) {
  const [prompts, setPrompts] = useState(prompt.value);
  const [seeds, setSeeds] = useState(String(changed.value["settings.seed"] ?? "0-3"));
  const [busy, setBusy] = useState(false);
  const [id] = useState(() => newId("m"));
  const ids = [useId(), useId()];
  const lines = prompts
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
  const numbers = readSeeds(seeds);
  const wrong =
    lines.find((line) => parsePrompt(line).error || !parsePrompt(line).subjects.length) ??
    (numbers.some(Number.isNaN) || !numbers.length ? seeds : undefined);
  const total = lines.length * numbers.length;
  const add = async () => {
    setBusy(true);
    const made = await attempt(async () => api.many(id, await buildRequest(), lines, numbers));
    setBusy(false);
    if (!made) return;
    for (const job of made.jobs) know(job);
    toast("good", `${made.jobs.length} jobs added to the queue`);
    onClose();
    go("queue");
  };
  return (
    <Dialog title="Add many" onClose={onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void add();
        }}
      >
        <div class="field">
          <label for={ids[0]}>Prompts, one a line, the subjects in brackets</label>
          <textarea
            id={ids[0]}
            rows={6}
            value={prompts}
            spellcheck={false}
            onInput={(event) => setPrompts(event.currentTarget.value)}
          />
        </div>
        <div class="field">
          <label for={ids[1]}>Seeds, such as 1, 5, 10-19</label>
          <input
            id={ids[1]}
            type="text"
            value={seeds}
            onInput={(event) => setSeeds(event.currentTarget.value)}
          />
        </div>
        {wrong === undefined ? null : <Notice kind="warn">This cannot be read: {wrong}</Notice>}
        <footer class="row">
          <span class="grow muted number">
            {count(lines.length, "prompt")} × {count(numbers.length, "seed")}
          </span>
          <button type="submit" class="primary" disabled={busy || wrong !== undefined || !total}>
            Add {count(total, "job")}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}

/** Keys of every view: the list of keys. */
export function globalKey(event: KeyboardEvent): void {
  if (event.key === "?" && !isTyping(event) && !document.querySelector("dialog[open]")) {
    helpShown.value = true;
    event.preventDefault();
  }
}
