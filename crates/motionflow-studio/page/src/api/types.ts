// What the studio's API takes and gives, as its contract has it.

export interface Problem {
  readonly title: string;
  readonly status: number;
  readonly code: string;
  readonly detail: string;
}

export interface Video {
  readonly width: number;
  readonly height: number;
  readonly frames: number;
  readonly fps: number;
}

export interface SubjectEntry {
  readonly source?: string;
  readonly source_prompt?: string;
  readonly inversion?: string;
  readonly mask?: string;
  readonly track?: string;
  readonly transform?: readonly string[];
}

export interface MotionTable {
  readonly mask?: readonly string[];
  readonly track?: readonly string[];
  readonly transform?: readonly string[];
  readonly avoid?: string;
  readonly subject?: readonly SubjectEntry[];
}

/** The tables of a settings file. */
export interface Request {
  readonly prompts?: {
    readonly source_prompt?: string;
    readonly prompt?: string;
    readonly negative_prompt?: string;
  };
  readonly source?: Readonly<Record<string, unknown>>;
  readonly motion?: MotionTable;
  readonly video?: Readonly<Record<string, unknown>>;
  readonly model?: Readonly<Record<string, unknown>>;
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly output?: Readonly<Record<string, unknown>>;
  readonly program?: Readonly<Record<string, unknown>>;
}

export interface Health {
  readonly state: "starting" | "ready" | "busy";
  readonly version: string;
  readonly device: string;
  readonly runs: string;
  readonly max_upload_bytes: number;
  readonly event: number;
  readonly problem: string | null;
}

export interface Disk {
  readonly free_bytes: number;
  readonly total_bytes: number;
  readonly runs_bytes: number;
  readonly uploads_bytes: number;
  readonly cache_bytes: number;
  readonly cache_limit_bytes: number;
  readonly warning: string | null;
}

export interface Model {
  readonly name: string;
  readonly licence: string;
  readonly bytes: number | null;
  readonly here: boolean;
  readonly default: boolean;
  readonly video: Video | null;
  readonly domain: {
    readonly about: string;
    readonly subjects: readonly string[];
    readonly scenes: readonly string[];
  } | null;
}

export interface Upload {
  readonly ref: string;
  readonly kind: string;
  readonly name: string;
  readonly bytes: number;
  readonly created: number;
}

export interface Clip {
  readonly ref: string;
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  readonly bytes: number;
  readonly source_prompt: string | null;
  readonly poster: string;
}

/** Frames as tiles of one picture. */
export interface Sheet {
  readonly frames: number;
  readonly tile_width: number;
  readonly tile_height: number;
  readonly columns: number;
  readonly rows: number;
}

export interface Frames extends Sheet {
  readonly ref: string;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  readonly sheet: string;
  readonly notices: readonly string[];
}

export interface Token {
  readonly position: number;
  readonly text: string;
  readonly start: number;
  readonly end: number;
  readonly special: "start" | "end" | null;
  readonly subject: number | null;
  readonly unknown: boolean;
  readonly piece: boolean;
}

export interface PromptTokens {
  readonly text: string;
  readonly tokens: readonly Token[];
  readonly subjects: readonly { readonly text: string; readonly start: number; readonly end: number }[];
  readonly limit: number;
  readonly warnings: readonly string[];
}

export interface LookSubject {
  readonly text: string;
  readonly layers: readonly { readonly name: string; readonly values: string }[];
  readonly coverage: number;
  readonly overlap: number;
  readonly mask: string;
}

export interface LookResult {
  readonly tau: number;
  readonly apart: boolean;
  readonly frames: number;
  readonly video_frames: number;
  readonly map_width: number;
  readonly map_height: number;
  readonly timesteps: readonly number[];
  readonly subjects: readonly LookSubject[];
  readonly warnings: readonly string[];
  readonly seconds: number;
}

export interface Look {
  readonly id: string;
  readonly state: "waiting" | "running" | "finished" | "failed";
  readonly error: Problem | null;
  readonly result?: LookResult | null;
}

export interface MotionMasks {
  readonly frames: number;
  readonly width: number;
  readonly height: number;
  readonly subjects: readonly { readonly masks: string; readonly empty: readonly number[] }[];
  readonly avoid: string | null;
}

export interface Setting {
  readonly path: string;
  readonly key: string;
  readonly flag: string;
  readonly about: string;
  readonly type: "switch" | "integer" | "number" | "text" | "choice" | "list" | "integers";
  readonly choices: readonly string[] | null;
  readonly min: number | null;
  readonly max: number | null;
  readonly range: string;
  readonly default: string;
  readonly value: unknown;
  readonly paper: string | null;
  readonly common: boolean;
  readonly conflicts: string | null;
}

export interface Group {
  readonly title: string;
  readonly table: string;
  readonly settings: readonly Setting[];
}

export interface Preset {
  readonly name: string;
  readonly request: Request;
}

export interface Restored {
  readonly request: Request;
  readonly missing: readonly string[];
  readonly command: string | null;
}

export interface Plan {
  readonly seconds: number;
  readonly at_most: boolean;
  readonly stages: readonly (readonly [string, number])[];
  readonly peak_memory_bytes: number;
  readonly free_memory_bytes: number | null;
  readonly refusal: string | null;
  readonly device: string;
  readonly precision: string;
  readonly resolved: Readonly<Record<string, unknown>>;
  readonly warnings: readonly string[];
}

export interface Progress {
  readonly stage: string;
  readonly done: number;
  readonly of: number;
  readonly part: number;
  readonly seconds_left: number | null;
  readonly loss: number | null;
}

export type JobState = "queued" | "running" | "finished" | "failed" | "cancelled";

export interface Job {
  readonly id: string;
  readonly name: string;
  readonly state: JobState;
  readonly position: number | null;
  readonly prompt: string | null;
  readonly source_prompt: string | null;
  readonly source: string | null;
  readonly thumbnail: string | null;
  readonly seed: number | null;
  readonly model: string | null;
  readonly created: number;
  readonly started: number | null;
  readonly finished: number | null;
  readonly seconds: number | null;
  readonly error: Problem | null;
  readonly run: string | null;
  readonly can_continue: boolean;
  readonly warnings: readonly string[];
  readonly progress: Progress | null;
  readonly request?: Request;
}

export interface Loss {
  readonly step: number;
  readonly update: number;
  readonly timestep: number;
  readonly total: number;
}

export interface WatchMasks {
  readonly frames: number;
  readonly width: number;
  readonly height: number;
  readonly subjects: readonly {
    readonly text: string;
    readonly mask: string;
    readonly coverage: number;
    readonly overlap: number;
  }[];
}

export interface Preview extends Sheet {
  readonly step: number;
  readonly url: string;
}

export interface WatchStage {
  readonly stage: string;
  readonly steps: number;
  readonly done: number;
  readonly seconds: number | null;
}

export interface Watch {
  readonly stages: readonly WatchStage[];
  readonly losses: readonly Loss[];
  readonly masks: WatchMasks | null;
  readonly preview: Preview | null;
  readonly warnings: readonly string[];
  readonly notes: readonly string[];
  readonly event: number;
}

export interface Run {
  readonly name: string;
  readonly state: "finished" | "unfinished";
  readonly command: string | null;
  readonly modified: number;
  readonly bytes: number;
  readonly prompt: string | null;
  readonly source_prompt: string | null;
  readonly model: string | null;
  readonly video: Video | null;
  readonly seed: number | null;
  readonly seconds: number | null;
  readonly warnings: readonly string[];
  readonly files: readonly string[];
  readonly thumbnail: string | null;
  readonly job: string | null;
  readonly record?: Readonly<Record<string, unknown>> | null;
  readonly history?: Readonly<Record<string, unknown>> | null;
}

export interface Figures {
  readonly figures: readonly {
    readonly name: string;
    readonly value: number | null;
    readonly about: string;
  }[];
}

export interface Report {
  readonly name: string;
  readonly kind: "sweep" | "suite";
  readonly title: string;
  readonly modified: number;
  readonly html: string | null;
  readonly files: readonly string[];
  readonly columns: readonly string[];
  readonly rows?: readonly {
    readonly run: string | null;
    readonly values: Readonly<Record<string, unknown>>;
  }[];
  readonly variants: readonly string[];
}

export type Side =
  | { readonly label: string; readonly runs: readonly string[] }
  | { readonly label: string; readonly folder: string }
  | { readonly label: string; readonly report: string; readonly variant: string };

export interface Comparison {
  readonly id: string;
  readonly title: string;
  readonly a: string;
  readonly b: string;
  readonly questions: readonly string[];
  readonly pairs: number;
  readonly votes: number;
  readonly voters: number;
  readonly created: number;
}

export interface Pair {
  readonly pair: string | null;
  readonly left: string;
  readonly right: string;
  readonly source: string | null;
  readonly prompt: string | null;
  readonly done: number;
  readonly of: number;
}

export type Answer = "left" | "right" | "same";

export interface VoteResult {
  readonly questions: readonly {
    readonly question: string;
    readonly a: number;
    readonly b: number;
    readonly same: number;
    readonly preference: number | null;
    readonly low: number | null;
    readonly high: number | null;
  }[];
  readonly votes: number;
  readonly voters: number;
}

/** What the event stream tells, by the name of the event. */
export interface Events {
  job: Job;
  removed: { readonly id: string };
  queue: { readonly paused: boolean; readonly order: readonly string[] };
  stage: { readonly job: string; readonly stage: string; readonly steps: number };
  stage_done: { readonly job: string; readonly stage: string; readonly seconds: number };
  progress: { readonly job: string; readonly progress: Progress };
  loss: { readonly job: string; readonly loss: Loss };
  masks: { readonly job: string; readonly masks: WatchMasks };
  preview: { readonly job: string; readonly preview: Preview };
  note: { readonly job: string; readonly message: string };
  warning: { readonly job: string; readonly message: string };
  look: Look;
  runs: Record<string, never>;
  disk: Disk;
  reset: { readonly event: number };
}

/** The queue of many machines. */
export interface Cluster {
  readonly is_there: boolean;
  readonly states: Readonly<Record<string, number>>;
  readonly workers: readonly {
    readonly name: string;
    readonly device: string;
    readonly job: string | null;
    readonly leaves: readonly string[];
  }[];
  readonly others: readonly {
    readonly id: string;
    readonly name: string;
    readonly state: string;
    readonly worker: string | null;
    readonly created: number;
    readonly error: string | null;
  }[];
}
