// The API as functions. What it refuses comes back as an `ApiError` with the message of the command line.
import type * as T from "./types.ts";

export class ApiError extends Error {
  constructor(readonly problem: T.Problem) {
    super(problem.detail || problem.title);
  }
}

type Query = Readonly<Record<string, string | number | null | undefined>>;

interface Sent {
  readonly query?: Query;
  readonly json?: unknown;
  readonly body?: Blob | string;
  readonly type?: string;
  readonly signal?: AbortSignal | undefined;
}

/** The address of something, with what is given of its query. */
export function url(path: string, query: Query = {}): string {
  const given = Object.entries(query).filter(
    ([, value]) => value !== undefined && value !== null && value !== "",
  );
  const text = new URLSearchParams(given.map(([key, value]) => [key, String(value)])).toString();
  return `/api/${path}${text ? `?${text}` : ""}`;
}

export const segment = encodeURIComponent;

/** A file of a run folder. */
export const fileUrl = (run: string, path: string) =>
  `/api/runs/${segment(run)}/files/${path.split("/").map(segment).join("/")}`;

/** A run folder as an archive. */
export const zipUrl = (run: string) => `/api/runs/${segment(run)}/zip`;

async function send(method: string, path: string, sent: Sent): Promise<Response> {
  const body = sent.body ?? (method === "GET" ? null : JSON.stringify(sent.json ?? {}));
  const init: RequestInit = { method, body };
  if (body !== null) init.headers = { "Content-Type": sent.type ?? "application/json" };
  if (sent.signal) init.signal = sent.signal;
  let response: Response;
  try {
    response = await fetch(url(path, sent.query), init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError({
      title: "Unreachable",
      status: 0,
      code: "unreachable",
      detail: "The studio cannot be reached. Is `motionflow studio` still running?",
    });
  }
  if (!response.ok) throw new ApiError(await problemOf(response));
  return response;
}

async function problemOf(response: Response): Promise<T.Problem> {
  const other = {
    title: response.statusText || "Error",
    status: response.status,
    code: "failed",
    detail: `The studio answered ${response.status} ${response.statusText}`.trim(),
  };
  try {
    const body: unknown = await response.json();
    return typeof body === "object" && body !== null ? { ...other, ...body } : other;
  } catch {
    return other;
  }
}

async function call<R>(method: string, path: string, sent: Sent = {}): Promise<R> {
  const response = await send(method, path, sent);
  return (response.status === 204 ? undefined : await response.json()) as R;
}

const text = async (method: string, path: string, sent: Sent = {}) => (await send(method, path, sent)).text();

export const api = {
  health: () => call<T.Health>("GET", "health"),
  disk: () => call<T.Disk>("GET", "disk"),
  cluster: () => call<T.Cluster>("GET", "cluster"),
  models: async () => (await call<{ models: T.Model[] }>("GET", "models")).models,

  clips: async () => (await call<{ clips: T.Clip[] }>("GET", "clips")).clips,
  uploadClip: (file: File) =>
    call<T.Clip>("POST", "uploads", {
      query: { kind: "clip", name: file.name },
      body: file,
      type: "application/octet-stream",
    }),
  uploadMotion: (file: File) =>
    call<T.Upload>("POST", "uploads", {
      query: { kind: "motion", name: file.name },
      body: file,
      type: "application/octet-stream",
    }),
  deleteUpload: (ref: string) => call<void>("DELETE", `uploads/${segment(ref.replace(/^upload:/, ""))}`),
  frames: (ref: string, cut: Query, signal?: AbortSignal) =>
    call<T.Frames>("GET", `clips/${segment(ref)}`, { query: cut, signal }),

  tokens: (prompt: string, which: "source" | "new", model: string | undefined, signal?: AbortSignal) =>
    call<T.PromptTokens>("POST", "prompts", { json: { prompt, which, ...(model ? { model } : {}) }, signal }),

  look: (request: T.Request) => call<T.Look>("POST", "looks", { json: { request } }),
  lookState: (id: string) => call<T.Look>("GET", `looks/${segment(id)}`),
  cancelLook: (id: string) => call<void>("POST", `looks/${segment(id)}/cancel`),

  saveMasks: (name: string, frames: readonly (string | null)[]) =>
    call<T.Upload>("POST", "masks", { json: { name, frames } }),
  saveTrack: (name: string, track: unknown) => call<T.Upload>("POST", "tracks", { json: { name, track } }),
  track: (ref: string) => call<unknown>("GET", `motion/${segment(ref)}`),
  motionMasks: (
    motion: T.MotionTable,
    video: T.Video,
    subjects: number,
    side: number,
    signal?: AbortSignal,
  ) => call<T.MotionMasks>("POST", "motion/masks", { json: { motion, video, subjects, side }, signal }),
  motionTrack: (motion: T.MotionTable, video: T.Video, shape: string) =>
    call<unknown>("POST", "motion/track", { json: { motion, video, shape } }),

  settings: async (model: string | undefined) =>
    (await call<{ groups: T.Group[] }>("GET", "settings", { query: { model } })).groups,
  presets: async () => (await call<{ presets: T.Preset[] }>("GET", "presets")).presets,
  savePreset: (name: string, request: T.Request) =>
    call<T.Preset>("PUT", `presets/${segment(name)}`, { json: { request } }),
  deletePreset: (name: string) => call<void>("DELETE", `presets/${segment(name)}`),
  readSettings: (file: File) =>
    call<T.Restored>("POST", "settings/read", {
      query: { name: file.name },
      body: file,
      type: "application/octet-stream",
    }),
  writeSettings: (request: T.Request) => text("POST", "settings/write", { json: { request } }),
  estimate: (request: T.Request, signal?: AbortSignal) =>
    call<T.Plan>("POST", "estimate", { json: { request }, signal }),

  jobs: () => call<{ jobs: T.Job[]; paused: boolean; event: number }>("GET", "jobs"),
  job: (id: string) => call<T.Job>("GET", `jobs/${segment(id)}`),
  putJob: (id: string, request: T.Request, name?: string | undefined) =>
    call<T.Job>("PUT", `jobs/${segment(id)}`, { json: { request, ...(name ? { name } : {}) } }),
  removeJob: (id: string) => call<void>("DELETE", `jobs/${segment(id)}`),
  cancelJob: (id: string) => call<T.Job>("POST", `jobs/${segment(id)}/cancel`),
  continueJob: (id: string) => call<T.Job>("POST", `jobs/${segment(id)}/continue`),
  moveJob: (id: string, position: number) =>
    call<T.Job>("POST", `jobs/${segment(id)}/move`, { json: { position } }),
  duplicateJob: (id: string, copy: string) =>
    call<T.Job>("POST", `jobs/${segment(id)}/duplicate`, { json: { id: copy } }),
  many: (id: string, request: T.Request, prompts: readonly string[], seeds: readonly number[]) =>
    call<{ jobs: T.Job[] }>("POST", "queue/many", { json: { id, request, prompts, seeds } }),
  pause: (paused: boolean) => call<{ paused: boolean }>("POST", paused ? "queue/pause" : "queue/resume"),
  exportQueue: () => text("GET", "queue/export"),
  importQueue: (file: Blob) =>
    call<{ jobs: T.Job[] }>("POST", "queue/import", { body: file, type: "application/toml" }),
  watch: (id: string) => call<T.Watch>("GET", `jobs/${segment(id)}/watch`),

  runs: async (offset: number, limit: number) =>
    (await call<{ runs: T.Run[] }>("GET", "runs", { query: { offset, limit } })).runs,
  run: (name: string) => call<T.Run>("GET", `runs/${segment(name)}`),
  runRequest: (name: string) => call<T.Restored>("GET", `runs/${segment(name)}/request`),
  runFrames: (name: string, what: "source" | "mask" | "result", signal?: AbortSignal) =>
    call<T.Frames>("GET", `runs/${segment(name)}/frames/${what}`, { signal }),
  figures: (name: string) => call<T.Figures>("GET", `runs/${segment(name)}/figures`),
  deleteRun: (name: string) => call<void>("DELETE", `runs/${segment(name)}`),

  reports: async () => (await call<{ reports: T.Report[] }>("GET", "reports")).reports,
  report: (name: string) => call<T.Report>("GET", `reports/${segment(name)}`),

  comparisons: async () => (await call<{ comparisons: T.Comparison[] }>("GET", "comparisons")).comparisons,
  comparison: (id: string) => call<T.Comparison>("GET", `comparisons/${segment(id)}`),
  putComparison: (id: string, made: { title: string; a: T.Side; b: T.Side; questions?: readonly string[] }) =>
    call<T.Comparison>("PUT", `comparisons/${segment(id)}`, { json: made }),
  nextPair: (id: string, voter: string) =>
    call<T.Pair>("GET", `comparisons/${segment(id)}/next`, { query: { voter } }),
  vote: (id: string, voter: string, pair: string, answers: Readonly<Record<string, T.Answer>>) =>
    call<unknown>("POST", `comparisons/${segment(id)}/votes`, { json: { voter, pair, answers } }),
  voteResult: (id: string) => call<T.VoteResult>("GET", `comparisons/${segment(id)}/result`),
  deleteComparison: (id: string) => call<void>("DELETE", `comparisons/${segment(id)}`),
};

/** A new id for what a client names: letters, digits and hyphens. */
export function newId(prefix = "j"): string {
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  return `${prefix}-${Array.from(bytes, (byte) => byte.toString(36).padStart(2, "0")).join("")}`;
}
