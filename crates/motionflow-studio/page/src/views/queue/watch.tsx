// One job while it is made.
import { useEffect, useState } from "preact/hooks";
import { api } from "../../api/client.ts";
import type { Events, Job, Preview, Watch } from "../../api/types.ts";
import { duration, percent, since } from "../../logic/format.ts";
import { isOver } from "../../logic/jobs.ts";
import { type WatchEvent, watched } from "../../logic/watch.ts";
import { href, messageOf } from "../../state/shell.ts";
import { connected, jobs, onEvent } from "../../state/studio.ts";
import { Back, cls, Notice, NotYet, Progress, PromptText, Spinner } from "../../ui/basics.tsx";
import { Fact } from "../../ui/fact.tsx";
import { Icon } from "../../ui/icon.tsx";
import { type Player, PlayerBar, SheetFrame, usePlayer } from "../../ui/player.tsx";
import { cancelOrContinue, edit } from "./actions.ts";
import { LossChart } from "./loss-chart.tsx";
import { MaskPane } from "./mask-pane.tsx";
import { StateTag } from "./state-tag.tsx";

const WATCHED: readonly string[] = [
  "stage",
  "stage_done",
  "progress",
  "loss",
  "masks",
  "preview",
  "note",
  "warning",
] satisfies WatchEvent[];

const STAGES: Readonly<Record<string, string>> = {
  fetch: "Fetching the checkpoint",
  read: "Reading the clip",
  load: "Loading the checkpoint",
  encode: "Encoding the clip",
  masks: "Finding the subjects",
  invert: "Inverting the clip",
  generate: "Generating",
  decode: "Decoding",
  write: "Writing the files",
};

const stageName = (stage: string) => STAGES[stage] ?? stage;

export function WatchJob({ id }: { id: string }) {
  const job = jobs.value.get(id);
  const [watch, setWatch] = useState<Watch | null>(null);
  const [error, setError] = useState<string | null>(null);
  const isConnected = connected.value;
  useEffect(() => {
    if (!isConnected) return;
    let isGone = false;
    let early: ((watch: Watch) => Watch)[] | null = [];
    const stop = onEvent((name, at, data) => {
      if (!WATCHED.includes(name) || (data as { job?: string }).job !== id) return;
      const apply = (before: Watch) => watched(before, at, name as WatchEvent, data as Events[WatchEvent]);
      if (early) early.push(apply);
      else setWatch((before) => (before ? apply(before) : before));
    });
    api.watch(id).then(
      (found) => {
        if (isGone) return;
        setWatch((early ?? []).reduce((before, apply) => apply(before), found));
        early = null;
        setError(null);
      },
      (failed: unknown) => {
        if (!isGone) setError(messageOf(failed));
      },
    );
    return () => {
      isGone = true;
      stop();
    };
  }, [id, isConnected]);

  if (!job)
    return <NotYet icon="queue" title="There is no such job" error={error} to="queue" label="To the queue" />;
  return (
    <div class="page">
      <header>
        <Back to="queue">Queue</Back>
        <h1 class="grow">
          <PromptText prompt={job.prompt ?? job.name} />
        </h1>
        <StateTag state={job.state} />
        {job.state === "running" || job.state === "queued" ? (
          <button type="button" onClick={() => cancelOrContinue(job)}>
            <Icon name="stop" />
            Cancel
          </button>
        ) : null}
        {isOver(job) && job.can_continue ? (
          <button type="button" class="primary" onClick={() => cancelOrContinue(job)}>
            <Icon name="play" />
            Continue
          </button>
        ) : null}
        {job.state === "running" ? null : (
          <button type="button" onClick={() => edit(job)}>
            <Icon name="edit" />
            {job.state === "queued" ? "Edit" : "Use these settings"}
          </button>
        )}
        {job.state === "finished" && job.run ? (
          <a class="button" href={href("results", job.run)}>
            <Icon name="gallery" />
            Result
          </a>
        ) : null}
      </header>
      {job.error ? <Notice kind="bad">{job.error.detail}</Notice> : null}
      {watch ? <Watching job={job} watch={watch} /> : <Spinner label="Loading" />}
    </div>
  );
}

function Watching({ job, watch }: { job: Job; watch: Watch }) {
  const count = watch.preview?.frames ?? watch.masks?.frames ?? 1;
  const player = usePlayer(count, 8);
  return (
    <div class="watch">
      <div class="stack">
        <div class="panes">
          <PreviewPane preview={watch.preview} player={player} job={job} />
          {job.source || watch.masks ? <MaskPane masks={watch.masks} job={job} player={player} /> : null}
        </div>
        {count > 1 ? <PlayerBar player={player} /> : null}
        <section class="card padded">
          <h2>Loss</h2>
          {watch.losses.length ? (
            <LossChart losses={watch.losses} />
          ) : (
            <p class="muted small">It shows here with the first guided update.</p>
          )}
        </section>
      </div>
      <aside class="stack" aria-label="Progress">
        <section class="card padded stack">
          <Now job={job} />
          <Stages watch={watch} isLive={job.state === "running"} />
        </section>
        <section class="card padded">
          <dl class="facts-grid small">
            <Fact name="Run folder">{job.run ?? job.name}</Fact>
            <Fact name="Model">{job.model ?? "demo"}</Fact>
            <Fact name="Seed">{job.seed ?? 0}</Fact>
            <Fact name="Source prompt">
              {job.source_prompt ? <PromptText prompt={job.source_prompt} /> : "none"}
            </Fact>
            <Fact name="Queued">{since(job.created)}</Fact>
          </dl>
        </section>
        {watch.warnings.length || watch.notes.length ? (
          <section class="card padded">
            <h2>Messages</h2>
            {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls */}
            <ul class="log" tabIndex={0} aria-label="Messages">
              {watch.warnings.map((message, i) => (
                <li key={`w${i}`} class="row" style={{ color: "var(--warn)" }}>
                  <Icon name="alert" />
                  {message}
                </li>
              ))}
              {watch.notes.map((message, i) => (
                <li key={`n${i}`}>{message}</li>
              ))}
            </ul>
          </section>
        ) : null}
      </aside>
    </div>
  );
}

function Now({ job }: { job: Job }) {
  const { progress } = job;
  if (job.state === "queued") return <p class="big">Number {(job.position ?? 0) + 1} in line</p>;
  if (job.state !== "running" || !progress) {
    return (
      <p class="big">
        {
          { running: "Starting", finished: "Finished", failed: "Failed", cancelled: "Cancelled", queued: "" }[
            job.state
          ]
        }
      </p>
    );
  }
  return (
    <>
      <div class="row">
        <span class="big number grow">{percent(progress.part)}</span>
        <span class="muted number">
          {progress.seconds_left === null ? "" : `${duration(progress.seconds_left)} left`}
        </span>
      </div>
      <Progress part={progress.part} label="Of the whole run" />
    </>
  );
}

function Stages({ watch, isLive }: { watch: Watch; isLive: boolean }) {
  return (
    <ol class="stages">
      {watch.stages.map((stage, i) => {
        const isDone = stage.seconds !== null && stage.seconds !== undefined;
        const isNow = isLive && !isDone && i === watch.stages.length - 1;
        return (
          <li key={`${i} ${stage.stage}`} class={cls(isDone && "done", isNow && "now")}>
            <span class="state">{isDone ? <Icon name="check" /> : null}</span>
            <span class="grow">{stageName(stage.stage)}</span>
            <span class="muted small number">
              {isDone
                ? duration(stage.seconds ?? 0)
                : stage.steps > 1
                  ? `${stage.done} of ${stage.steps}`
                  : ""}
            </span>
          </li>
        );
      })}
    </ol>
  );
}

function PreviewPane({ preview, player, job }: { preview: Preview | null; player: Player; job: Job }) {
  return (
    <figure class="card pane">
      <div class="picture">
        {preview ? (
          <SheetFrame
            sheet={preview}
            url={preview.url}
            frame={player.frame % preview.frames}
            label="Preview"
          />
        ) : (
          <span class="muted small">
            {isOver(job) ? "No preview was kept" : "The preview comes with the first step"}
          </span>
        )}
      </div>
      <figcaption>
        <span class="grow">Preview{preview ? `, step ${preview.step}` : ""}</span>
        <span class="muted" title="A linear map of the latents to colours. The result is sharper.">
          approximate
        </span>
      </figcaption>
    </figure>
  );
}
