// Many jobs at once: prompts × seeds.
import { useId, useState } from "preact/hooks";
import { api, newId } from "../../api/client.ts";
import { count } from "../../logic/format.ts";
import { parsePrompt } from "../../logic/prompt.ts";
import { readSeeds } from "../../logic/request.ts";
import { changed, prompt } from "../../state/draft.ts";
import { buildRequest } from "../../state/saving.ts";
import { attempt, go, toast } from "../../state/shell.ts";
import { know } from "../../state/studio.ts";
import { Dialog, Notice } from "../../ui/basics.tsx";

export function Many({ onClose }: { onClose: () => void }) {
  const [prompts, setPrompts] = useState(prompt.value);
  const [seeds, setSeeds] = useState(String(changed.value["settings.seed"] ?? "0-3"));
  const [busy, setBusy] = useState(false);
  const [id] = useState(() => newId("m"));
  const ids = [useId(), useId()];
  const lines = prompts
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
  const numbers = readSeeds(seeds);
  const wrong =
    lines.find((line) => parsePrompt(line).error || !parsePrompt(line).subjects.length) ??
    (numbers.some(Number.isNaN) || !numbers.length ? seeds : undefined);
  const total = lines.length * numbers.length;
  const add = async () => {
    setBusy(true);
    const made = await attempt(async () => api.many(id, await buildRequest(), lines, numbers));
    setBusy(false);
    if (!made) return;
    for (const job of made.jobs) know(job);
    toast("good", `${made.jobs.length} jobs added to the queue`);
    onClose();
    go("queue");
  };
  return (
    <Dialog title="Add many" onClose={onClose}>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void add();
        }}
      >
        <div class="field">
          <label for={ids[0]}>Prompts, one a line, the subjects in brackets</label>
          <textarea
            id={ids[0]}
            rows={6}
            value={prompts}
            spellcheck={false}
            onInput={(event) => setPrompts(event.currentTarget.value)}
          />
        </div>
        <div class="field">
          <label for={ids[1]}>Seeds, such as 1, 5, 10-19</label>
          <input
            id={ids[1]}
            type="text"
            value={seeds}
            onInput={(event) => setSeeds(event.currentTarget.value)}
          />
        </div>
        {wrong === undefined ? null : <Notice kind="warn">This cannot be read: {wrong}</Notice>}
        <footer class="row">
          <span class="grow muted number">
            {count(lines.length, "prompt")} × {count(numbers.length, "seed")}
          </span>
          <button type="submit" class="primary" disabled={busy || wrong !== undefined || !total}>
            Add {count(total, "job")}
          </button>
        </footer>
      </form>
    </Dialog>
  );
}
