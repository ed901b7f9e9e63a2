// The queue as the page holds it.
import type { Job } from "../api/types.ts";

const RANK = { running: 0, queued: 1, finished: 2, failed: 2, cancelled: 2 };

/** In the order of the list: running, queued, then what is over, the newest first. */
export function inOrder(jobs: Iterable<Job>): Job[] {
  return [...jobs].sort((a, b) => {
    const rank = RANK[a.state] - RANK[b.state];
    if (rank) return rank;
    if (a.state === "queued") return (a.position ?? 0) - (b.position ?? 0);
    return (b.finished ?? b.created) - (a.finished ?? a.created);
  });
}

/** The jobs with the positions that an order of ids gives. */
export function reordered(jobs: ReadonlyMap<string, Job>, order: readonly string[]): Map<string, Job> {
  const next = new Map(jobs);
  order.forEach((id, position) => {
    const job = next.get(id);
    if (job?.state === "queued" && job.position !== position) next.set(id, { ...job, position });
  });
  return next;
}

/** A job moved to another place among those that are queued. */
export function moved(jobs: ReadonlyMap<string, Job>, id: string, position: number): Map<string, Job> {
  const order = inOrder(jobs.values())
    .filter((job) => job.state === "queued" && job.id !== id)
    .map((job) => job.id);
  order.splice(Math.max(0, position), 0, id);
  return reordered(jobs, order);
}

export const isOver = (job: Job) => job.state !== "queued" && job.state !== "running";
