// What is done with a run folder.
import { api } from "../../api/client.ts";
import type { Run } from "../../api/types.ts";
import { bytes } from "../../logic/format.ts";
import { restore } from "../../state/files.ts";
import { attempt, succeeds, toast } from "../../state/shell.ts";
import { runsVersion } from "../../state/studio.ts";
import { Confirm } from "../../ui/basics.tsx";

export async function applySettings(name: string): Promise<void> {
  const restored = await attempt(() => api.runRequest(name));
  if (restored) await restore(restored, name);
}

export function DeleteRun({ run, onClose, onDone }: { run: Run; onClose: () => void; onDone: () => void }) {
  return (
    <Confirm
      title={`Delete ${run.name}`}
      action="Delete"
      onClose={onClose}
      onConfirm={async () => {
        const done = await succeeds(() => api.deleteRun(run.name));
        if (!done) return;
        runsVersion.value++;
        toast("good", `${run.name} is deleted`);
        onDone();
      }}
    >
      <p>
        The run folder with its {run.files.length} files ({bytes(run.bytes)}) is deleted from the disk. This
        cannot be undone.
      </p>
    </Confirm>
  );
}
