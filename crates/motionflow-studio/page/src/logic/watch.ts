// What is known of a job that is watched, kept up to date by events.
import type { Events, Watch } from "../api/types.ts";

/** The names of the events that a watch takes. */
export type WatchEvent =
  | "stage"
  | "stage_done"
  | "progress"
  | "loss"
  | "masks"
  | "preview"
  | "note"
  | "warning";

/** The watch after an event of its job. Events that it has seen already change nothing. */
export function watched<N extends WatchEvent>(watch: Watch, id: number, name: N, data: Events[N]): Watch {
  if (id <= watch.event) return watch;
  return { ...watch, ...changes(watch, name, data), event: id };
}

function changes(watch: Watch, name: WatchEvent, data: Events[WatchEvent]): Partial<Watch> {
  const of = <N extends WatchEvent>(_: N) => data as Events[N];
  switch (name) {
    case "stage": {
      const { stage, steps } = of("stage");
      return { stages: [...watch.stages, { stage, steps, done: 0, seconds: null }] };
    }
    case "stage_done": {
      const { stage, seconds } = of("stage_done");
      return { stages: lastOf(watch, stage, (found) => ({ ...found, done: found.steps, seconds })) };
    }
    case "progress": {
      const { stage, done, of: steps } = of("progress").progress;
      return { stages: lastOf(watch, stage, (found) => ({ ...found, done, steps })) };
    }
    case "loss":
      return { losses: [...watch.losses, of("loss").loss] };
    case "masks":
      return { masks: of("masks").masks };
    case "preview":
      return { preview: of("preview").preview };
    case "note":
      return { notes: [...watch.notes, of("note").message] };
    case "warning":
      return { warnings: [...watch.warnings, of("warning").message] };
  }
}

function lastOf(
  watch: Watch,
  stage: string,
  change: (stage: Watch["stages"][number]) => Watch["stages"][number],
) {
  const last = watch.stages.findLastIndex((other) => other.stage === stage);
  return watch.stages.map((other, i) => (i === last ? change(other) : other));
}
