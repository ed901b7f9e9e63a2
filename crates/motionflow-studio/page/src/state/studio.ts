// What the server knows, kept up to date by its events.
import { batch, computed, signal } from "@preact/signals";
import { ApiError, api } from "../api/client.ts";
import { listen, type Message } from "../api/stream.ts";
import type { Disk, Events, Health, Job, Model, Setting } from "../api/types.ts";
import { inOrder, moved, reordered } from "../logic/jobs.ts";
import { attempt } from "./shell.ts";

export const connected = signal<boolean | null>(null);
/** Why the server does not let this page in, in its words. */
export const refusal = signal<string | null>(null);
export const health = signal<Health | null>(null);
export const disk = signal<Disk | null>(null);
export const models = signal<readonly Model[]>([]);

export const jobs = signal<ReadonlyMap<string, Job>>(new Map());
export const paused = signal(false);
export const jobList = computed(() => inOrder(jobs.value.values()));
export const running = computed(() => jobList.value.find((job) => job.state === "running") ?? null);
export const queued = computed(() => jobList.value.filter((job) => job.state === "queued"));

/** Goes up whenever run folders changed. */
export const runsVersion = signal(0);

type Listener = <N extends keyof Events>(name: N, id: number, data: Events[N]) => void;
const listeners = new Set<Listener>();

/** Hands every event to `listener`, until what comes back is called. */
export function onEvent(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Events that come while the queue is loaded, applied after it. */
let waiting: Extract<Message, { kind: "event" }>[] | null = null;
let seen = 0;
let begin: ((after: number) => void) | null = null;

async function load(): Promise<void> {
  waiting ??= [];
  try {
    const [queue, state, space, known] = await Promise.all([
      api.jobs(),
      api.health(),
      api.disk(),
      api.models(),
    ]);
    batch(() => {
      jobs.value = new Map(queue.jobs.map((job) => [job.id, job]));
      paused.value = queue.paused;
      health.value = state;
      disk.value = space;
      models.value = known;
      connected.value = true;
      refusal.value = null;
      runsVersion.value++;
    });
    seen = queue.event;
    begin?.(queue.event);
    begin = null;
    const late = waiting ?? [];
    waiting = null;
    for (const message of late) take(message);
  } catch (error) {
    connected.value = false;
    refusal.value = error instanceof ApiError && error.problem.status ? error.message : null;
    setTimeout(load, 2000);
  }
}

function take(message: Extract<Message, { kind: "event" }>): void {
  if (message.name === "reset") {
    void load();
    return;
  }
  if (waiting) {
    waiting.push(message);
    return;
  }
  if (message.id <= seen) return;
  seen = message.id;
  const data = JSON.parse(message.data) as Events[typeof message.name];
  apply(message.name, data);
  for (const listener of listeners) listener(message.name, message.id, data);
}

function put(job: Job): void {
  const { request: _, ...rest } = job;
  jobs.value = new Map(jobs.value).set(job.id, rest);
}

function apply(name: keyof Events, data: Events[keyof Events]): void {
  switch (name) {
    case "job": {
      const job = data as Events["job"];
      const before = jobs.value.get(job.id);
      const isKept = isMoving() && before?.state === "queued" && job.state === "queued";
      put(isKept ? { ...job, position: before.position } : job);
      if (before?.state !== job.state) void refreshHealth();
      break;
    }
    case "removed": {
      const next = new Map(jobs.value);
      next.delete((data as Events["removed"]).id);
      jobs.value = next;
      break;
    }
    case "queue": {
      const { paused: isPaused, order } = data as Events["queue"];
      paused.value = isPaused;
      if (isMoving()) toldOrder = order;
      else jobs.value = reordered(jobs.value, order);
      break;
    }
    case "progress": {
      const { job, progress } = data as Events["progress"];
      const found = jobs.value.get(job);
      if (found) put({ ...found, progress });
      break;
    }
    case "runs":
      runsVersion.value++;
      break;
    case "disk":
      disk.value = data as Events["disk"];
      break;
    default:
  }
}

async function refreshHealth(): Promise<void> {
  try {
    health.value = await api.health();
  } catch {
    connected.value = false;
  }
}

/** Connects, and stays connected. */
export function connect(): void {
  waiting = [];
  begin = listen((message) => {
    if (message.kind === "event") take(message);
    else connected.value = message.kind === "open";
  });
  void load();
}

/**
 * Moves a job, at once on the page and then on the server. Orders that the server tells meanwhile may be those before the last
 * move, so the page takes the newest of them when nothing has moved for a while.
 */
export async function moveJob(id: string, position: number): Promise<void> {
  jobs.value = moved(jobs.value, id, position);
  movesOnTheWay++;
  clearTimeout(settling);
  moves = moves.then(() => attempt(() => api.moveJob(id, position)));
  const done = await moves;
  movesOnTheWay--;
  if (movesOnTheWay) return;
  settling = setTimeout(async () => {
    settling = undefined;
    const order = done
      ? toldOrder
      : (await attempt(api.jobs))?.jobs.flatMap((job) => (job.state === "queued" ? [job.id] : []));
    toldOrder = null;
    if (order && !movesOnTheWay) jobs.value = reordered(jobs.value, order);
  }, 400);
}

let moves: Promise<unknown> = Promise.resolve();
let movesOnTheWay = 0;
let settling: ReturnType<typeof setTimeout> | undefined;
let toldOrder: readonly string[] | null = null;
const isMoving = () => movesOnTheWay > 0 || settling !== undefined;

export async function setPaused(value: boolean): Promise<void> {
  const answer = await attempt(() => api.pause(value));
  if (answer) paused.value = answer.paused;
}

/** Adds a job that the server answered with. What events have told of it since the question is newer than the answer. */
export function know(job: Job): void {
  if (!jobs.value.has(job.id)) put(job);
}

/** The settings of a model with their groups, loaded once. */
const known = new Map<string, Promise<Awaited<ReturnType<typeof api.settings>>>>();
export function settingsFor(model: string | undefined) {
  const key = model ?? "";
  let found = known.get(key);
  if (!found) {
    found = api.settings(model);
    found.catch(() => known.delete(key));
    known.set(key, found);
  }
  return found;
}

export const settingAt = (groups: readonly { readonly settings: readonly Setting[] }[], path: string) =>
  groups.flatMap((group) => group.settings).find((setting) => setting.path === path);
