// The state of a job.
import type { Job } from "../../api/types.ts";
import { cls } from "../../ui/basics.tsx";

export const STATES = {
  queued: "queued",
  running: "running",
  finished: "finished",
  failed: "failed",
  cancelled: "cancelled",
};

export function StateTag({ state }: { state: Job["state"] }) {
  return <span class={cls("tag", state)}>{STATES[state]}</span>;
}
