// One job while it is made.
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../api/client.ts";
import type { Events, Frames, Job, Loss, Preview, Watch, WatchMasks } from "../api/types.ts";
import { duration, figure, percent, since } from "../logic/format.ts";
import { isOver } from "../logic/jobs.ts";
import { bytesOf } from "../logic/look.ts";
import type { Mask } from "../logic/mask.ts";
import { type WatchEvent, watched } from "../logic/watch.ts";
import { href, messageOf } from "../state/shell.ts";
import { connected, jobs, onEvent } from "../state/studio.ts";
import { Back, cls, Empty, Notice, Progress, PromptText, Spinner, subjectClass } from "../ui/basics.tsx";
import { Icon } from "../ui/icon.tsx";
import { colorOf, drawTile, tint } from "../ui/pictures.ts";
import { type Player, PlayerBar, SheetFrame, useFrames, usePlayer } from "../ui/player.tsx";
import { cancelOrContinue, edit, StateTag } from "./queue.tsx";

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

export const stageName = (stage: string) => STAGES[stage] ?? stage;

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

  if (!job && error) {
    return (
      <div class="page">
        <Empty icon="queue" title="There is no such job">
          <p>{error}</p>
          <a class="button" href={href("queue")}>
            To the queue
          </a>
        </Empty>
      </div>
    );
  }
  if (!job) {
    return (
      <div class="page">
        <Spinner label="Loading" />
      </div>
    );
  }
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

export function Fact({ name, children }: { name: string; children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
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
        <span
          class="muted"
          title="A linear map of the latents to colours, fitted to the source. The result is sharper."
        >
          approximate
        </span>
      </figcaption>
    </figure>
  );
}

function MaskPane({ masks, job, player }: { masks: WatchMasks | null; job: Job; player: Player }) {
  const source = job.source;
  const frames = useFrames(
    source
      ? async (signal) => {
          const { request } = await api.job(job.id);
          const { width, height, frames: count } = request?.video ?? {};
          const { start, every, fit } = request?.source ?? {};
          const cut = { width, height, frames: count, start, every, fit } as Record<string, string | number>;
          return api.frames(source, cut, signal);
        }
      : null,
    `${job.id} ${source}`,
  );
  const sheet = frames === "none" ? null : frames;
  return (
    <figure class="card pane">
      <div class="picture">
        {sheet || masks ? <MaskFrame masks={masks} sheet={sheet} frame={player.frame} /> : null}
      </div>
      <figcaption>
        <span class="grow">{masks ? "Motion mask" : "Source"}</span>
        {masks?.subjects.map(({ text, coverage }, i) => (
          <span key={text} class={cls("row", subjectClass(i))}>
            <span class="swatch" />
            {text} <span class="muted number">{percent(coverage)}</span>
          </span>
        ))}
      </figcaption>
    </figure>
  );
}

function MaskFrame({
  masks,
  sheet,
  frame,
}: {
  masks: WatchMasks | null;
  sheet: Frames | null;
  frame: number;
}) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [picture, setPicture] = useState<HTMLImageElement | null>(null);
  useEffect(() => {
    if (!sheet) return;
    const image = new Image();
    image.src = sheet.sheet;
    image.decode().then(
      () => setPicture(image),
      () => {},
    );
  }, [sheet]);
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) return;
    const { width, height } = context.canvas;
    context.fillStyle = "#3a3d45";
    context.fillRect(0, 0, width, height);
    if (sheet && picture) drawTile(context, picture, sheet, frame % sheet.frames);
    if (!masks) return;
    context.imageSmoothingEnabled = false;
    masks.subjects.forEach((subject, i) => {
      const shown =
        masks.frames < (sheet?.frames ?? 0)
          ? Math.ceil((frame * (masks.frames - 1)) / Math.max(1, (sheet?.frames ?? 1) - 1))
          : frame;
      const mask = maskOfFrame(masks, subject.mask, Math.min(masks.frames - 1, shown));
      context.drawImage(tint(mask, colorOf(i), 0.5), 0, 0, width, height);
    });
  }, [picture, frame, masks, sheet]);
  const size = { width: sheet?.tile_width ?? 256, height: sheet?.tile_height ?? 256 };
  return (
    <canvas
      ref={canvas}
      {...size}
      role="img"
      aria-label={`Source with the motion mask, frame ${frame + 1}`}
    />
  );
}

function maskOfFrame({ width, height }: WatchMasks, base64: string, frame: number): Mask {
  const size = width * height;
  const pixels = bytesOf(base64).subarray(frame * size, (frame + 1) * size);
  return { width, height, pixels };
}

function LossChart({ losses }: { losses: readonly Loss[] }) {
  const values = losses.map(({ total }) => total);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [width, height] = [600, 150];
  const x = (i: number) => (values.length > 1 ? (i / (values.length - 1)) * width : width / 2);
  const y = (value: number) => height - 6 - ((value - low) / (high - low || 1)) * (height - 12);
  const points = values.map((value, i) => `${x(i).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const [first, last] = [values[0] ?? 0, values.at(-1) ?? 0];
  return (
    <figure>
      <svg
        class="chart"
        viewBox={`0 0 ${width} ${height}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`Loss of ${values.length} updates, from ${figure(first)} to ${figure(last)}`}
      >
        {[0, 0.5, 1].map((share) => (
          <line
            key={share}
            class="axis"
            x1="0"
            x2={width}
            y1={6 + share * (height - 12)}
            y2={6 + share * (height - 12)}
          />
        ))}
        <polyline class="line" points={values.length > 1 ? points : `0,${y(last)} ${width},${y(last)}`} />
      </svg>
      <figcaption class="row small muted number">
        <span class="grow">
          {values.length} {values.length === 1 ? "update" : "updates"}
        </span>
        <span>
          from {figure(first)} to <strong>{figure(last)}</strong>
        </span>
      </figcaption>
    </figure>
  );
}
