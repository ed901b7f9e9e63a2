// What is done with a job.
import { api, newId } from "../../api/client.ts";
import type { Job } from "../../api/types.ts";
import { takeRequest } from "../../state/restoring.ts";
import { attempt, go, messageOf, succeeds, toast } from "../../state/shell.ts";
import { jobs, know } from "../../state/studio.ts";

export async function removeAll(list: readonly Job[]): Promise<void> {
  const failed: string[] = [];
  const rest = [...list];
  const worker = async () => {
    for (let job = rest.pop(); job; job = rest.pop()) {
      try {
        await api.removeJob(job.id);
      } catch (error) {
        failed.push(messageOf(error));
      }
    }
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
  if (failed.length) toast("bad", `${failed.length} could not be removed: ${failed[0]}`);
}

export const open = (job: Job) => {
  if (job.state === "finished" && job.run) go("results", job.run);
  else go("queue", job.id);
};

export async function edit(job: Job): Promise<void> {
  const whole = await attempt(() => api.job(job.id));
  if (!whole?.request) return;
  const request = whole.request;
  if (await succeeds(() => takeRequest(request, job.state === "queued" ? job.id : null))) go("make");
}

export async function duplicate(job: Job): Promise<void> {
  const made = await attempt(() => api.duplicateJob(job.id, newId()));
  if (!made) return;
  know(made);
  toast("good", "Duplicated, at the end of the queue");
}

export async function remove(job: Job): Promise<void> {
  if (job.state === "running") {
    toast("bad", "It runs: cancel it first.");
    return;
  }
  const done = await succeeds(() => api.removeJob(job.id));
  if (!done) return;
  const next = new Map(jobs.value);
  next.delete(job.id);
  jobs.value = next;
}

export async function cancelOrContinue(job: Job): Promise<void> {
  const isLive = job.state === "queued" || job.state === "running";
  if (!isLive && !job.can_continue) return;
  await attempt(() => (isLive ? api.cancelJob(job.id) : api.continueJob(job.id)));
}
