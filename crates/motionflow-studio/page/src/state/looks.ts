// Looks at the source.
import { computed } from "@preact/signals";
import { api } from "../api/client.ts";
import type { Request } from "../api/types.ts";
import { parsePrompt } from "../logic/prompt.ts";
import { requestOf } from "../logic/request.ts";
import { changed, frames, look, source, sourcePrompt } from "./draft.ts";
import { messageOf } from "./shell.ts";

/** The part of the request that a look depends on. */
export const lookRequest = computed<Request | null>(() => {
  const written = parsePrompt(sourcePrompt.value);
  if (!source.value || written.error || !written.subjects.length || !frames.value) return null;
  const keep = Object.entries(changed.value).filter(
    ([path]) => path !== "settings.tau" && path !== "settings.seed",
  );
  return requestOf(Object.fromEntries(keep), {
    source: source.value,
    sourcePrompt: sourcePrompt.value,
    prompt: "",
    motion: null,
  });
});

let lookNumber = 0;

/** Asks for a look at the source. */
export async function startLook(): Promise<void> {
  const request = lookRequest.value;
  const number = ++lookNumber;
  if (!request) {
    look.value = { state: "none" };
    return;
  }
  try {
    await followLook(await api.look(request), number);
  } catch (error) {
    if (number === lookNumber) look.value = { state: "failed", message: messageOf(error) };
  }
}

async function followLook(found: Awaited<ReturnType<typeof api.look>>, number: number): Promise<void> {
  let now = found;
  while (number === lookNumber) {
    if (now.state === "failed") throw new Error(now.error?.detail ?? "the look failed");
    if (now.state === "finished" && now.result) {
      look.value = { state: "finished", id: now.id, result: now.result };
      return;
    }
    look.value = { state: now.state === "waiting" ? "waiting" : "running", id: now.id };
    await new Promise((resolve) => setTimeout(resolve, 250));
    now = await api.lookState(now.id);
  }
}
