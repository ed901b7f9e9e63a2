// Requests as flat settings (`settings.tau` → 0.4), and back.
import type { MotionTable, Request, SubjectEntry } from "../api/types.ts";

/** Settings that were changed, by path. */
export type Changed = Readonly<Record<string, unknown>>;

/** What has an editor of its own, and is no setting of the list. */
const ELSEWHERE = new Set(["prompts.source_prompt", "prompts.prompt", "source.path"]);

/** Every setting that a request says, but for prompts, source and motion. */
export function settingsOf(request: Request): Changed {
  const changed: Record<string, unknown> = {};
  for (const [table, values] of Object.entries(request)) {
    if (table === "motion" || typeof values !== "object" || values === null) continue;
    for (const [key, value] of Object.entries(values)) {
      const path = `${table}.${key}`;
      if (!ELSEWHERE.has(path) && value !== undefined && value !== null) changed[path] = value;
    }
  }
  return changed;
}

/** The request of changed settings with what has its own editor. */
export function requestOf(
  changed: Changed,
  said: {
    readonly source: string | null;
    readonly sourcePrompt: string;
    readonly prompt: string;
    readonly motion: MotionTable | null;
  },
): Request {
  const tables: Record<string, Record<string, unknown>> = {};
  const put = (path: string, value: unknown) => {
    const [table = "", key = ""] = path.split(".");
    tables[table] = { ...tables[table], [key]: value };
  };
  if (said.sourcePrompt.trim()) put("prompts.source_prompt", said.sourcePrompt);
  if (said.prompt.trim()) put("prompts.prompt", said.prompt);
  if (said.source) put("source.path", said.source);
  for (const [path, value] of Object.entries(changed)) put(path, value);
  return { ...(tables as Request), ...(said.motion ? { motion: said.motion } : {}) };
}

/** The motion of each subject, whichever way a request says it; null where it cannot be told apart by subject. */
export function entriesOf(motion: MotionTable | undefined, subjects: number): SubjectEntry[] | null {
  if (!motion) return Array.from({ length: subjects }, () => ({}));
  const { mask = [], track = [], transform = [], subject = [] } = motion;
  const given = [mask, track].find((files) => files.length > 0) ?? [];
  if (given.length && given.length !== subjects) return null;
  return Array.from({ length: Math.max(subjects, subject.length) }, (_, i) => {
    const own = subject[i] ?? {};
    const changes = transform.flatMap((change) => {
      const numbered = /^\s*(\d+)\s*:(.*)$/.exec(change);
      if (!numbered) return [change];
      return Number(numbered[1]) === i + 1 ? [(numbered[2] ?? "").trim()] : [];
    });
    const all = [...(own.transform ?? []), ...changes];
    return {
      ...own,
      ...(mask[i] ? { mask: mask[i] } : {}),
      ...(track[i] ? { track: track[i] } : {}),
      ...(all.length ? { transform: all } : {}),
    };
  });
}

/** Reads what a person wrote for a setting; an error is text. */
export function readValue(
  type: string,
  written: string,
): { readonly value: unknown } | { readonly error: string } {
  const text = written.trim();
  switch (type) {
    case "integer":
      return /^-?\d+$/.test(text) && Number.isSafeInteger(Number(text))
        ? { value: Number(text) }
        : { error: "a whole number" };
    case "number":
      return text && Number.isFinite(Number(text)) ? { value: Number(text) } : { error: "a number" };
    case "list":
      return { value: listOf(text) };
    case "integers": {
      const numbers = listOf(text).map(Number);
      return numbers.length && numbers.every(Number.isInteger)
        ? { value: numbers }
        : { error: "whole numbers" };
    }
    default:
      return { value: written };
  }
}

const listOf = (text: string) =>
  text
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean);

/** A value as a person writes it. */
export function writeValue(value: unknown): string {
  if (value === null || value === undefined) return "";
  return Array.isArray(value) ? value.join(", ") : String(value);
}

/** Seeds as a person writes them: `1, 2, 5-8`. */
export function readSeeds(written: string): number[] {
  const seeds = listOf(written).flatMap((part) => {
    const range = /^(\d+)\s*[-–]\s*(\d+)$/.exec(part);
    if (!range) return [/^\d+$/.test(part) ? Number(part) : Number.NaN];
    const [from, to] = [Number(range[1]), Number(range[2])];
    return Array.from({ length: Math.min(1000, Math.max(0, to - from + 1)) }, (_, i) => from + i);
  });
  return [...new Set(seeds)];
}
