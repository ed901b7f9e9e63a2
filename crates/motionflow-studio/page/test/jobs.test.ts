import assert from "node:assert/strict";
import { test } from "node:test";
import type { Job, Watch } from "../src/api/types.ts";
import { inOrder, moved, reordered } from "../src/logic/jobs.ts";
import { watched } from "../src/logic/watch.ts";

const job = (id: string, part: Partial<Job>) =>
  ({ id, created: 0, finished: null, position: null, ...part }) as Job;

const jobs = new Map(
  [
    job("old", { state: "finished", finished: 1 }),
    job("b", { state: "queued", position: 1 }),
    job("now", { state: "running" }),
    job("a", { state: "queued", position: 0 }),
    job("new", { state: "failed", finished: 2 }),
    job("c", { state: "queued", position: 2 }),
  ].map((one) => [one.id, one]),
);

const ids = (of: ReadonlyMap<string, Job>) => inOrder(of.values()).map(({ id }) => id);

test("running jobs come first, then queued ones, then what is over, the newest first", () => {
  assert.deepEqual(ids(jobs), ["now", "a", "b", "c", "new", "old"]);
});

test("a job moves among those that are queued", () => {
  assert.deepEqual(ids(moved(jobs, "c", 0)), ["now", "c", "a", "b", "new", "old"]);
  assert.deepEqual(ids(moved(jobs, "a", 99)), ["now", "b", "c", "a", "new", "old"]);
  assert.deepEqual(ids(jobs), ["now", "a", "b", "c", "new", "old"]);
  assert.deepEqual(ids(reordered(jobs, ["b", "gone", "a"])).slice(1, 3), ["b", "a"]);
});

const nothing: Watch = {
  stages: [],
  losses: [],
  masks: null,
  preview: null,
  warnings: [],
  notes: [],
  event: 5,
};

test("a watch follows the events of its job, and takes none twice", () => {
  let watch = watched(nothing, 6, "stage", { job: "a", stage: "generate", steps: 4 });
  const progress = { stage: "generate", done: 2, of: 4, part: 0.5, seconds_left: 3, loss: null };
  watch = watched(watch, 7, "progress", { job: "a", progress });
  assert.deepEqual(watch.stages, [{ stage: "generate", steps: 4, done: 2, seconds: null }]);
  const loss = { step: 1, update: 1, timestep: 900, total: 0.5 };
  watch = watched(watch, 8, "loss", { job: "a", loss });
  watch = watched(watch, 8, "loss", { job: "a", loss });
  assert.deepEqual(watch.losses, [loss]);
  watch = watched(watch, 9, "stage_done", { job: "a", stage: "generate", seconds: 6 });
  assert.deepEqual(watch.stages, [{ stage: "generate", steps: 4, done: 4, seconds: 6 }]);
  assert.equal(watched(watch, 3, "note", { job: "a", message: "old" }), watch);
});
