// The changes of a motion, as docs/motion.md has them.
import { useEffect, useState } from "preact/hooks";
import { count } from "../../logic/format.ts";
import { editSubject, subjectAt, subjectName } from "../../state/draft.ts";
import { selected, takeUp } from "../../state/stage.ts";
import { IconButton } from "../../ui/basics.tsx";
import { Icon } from "../../ui/icon.tsx";
import { addChange } from "../stage/gestures.ts";

const CHANGES = [
  "mirror",
  "mirror vertical",
  "reverse",
  "speed 2",
  "speed 0.5",
  "delay 4",
  "still 0",
  "smooth 5",
  "grow 0.03",
  "shrink 0.03",
];

/** The changes of a motion, one a line, as docs/motion.md has them. */
export function Changes({ index }: { index: number }) {
  const { transform } = subjectAt(index);
  const [open, setOpen] = useState(false);
  useEffect(() => {
    if (transform.length) setOpen(true);
  }, [transform.length]);
  const put = (next: readonly string[]) => editSubject(index, { transform: next });
  return (
    <details class="small" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary class="muted">
        {transform.length ? count(transform.length, "change") : "Change this motion"}
      </summary>
      <ul class="stack changes">
        {transform.map((change, i) => (
          <li key={`${i} ${change}`}>
            <input
              type="text"
              aria-label={`Change ${i + 1} of ${subjectName(index)}`}
              value={change}
              onChange={(event) =>
                put(transform.map((other, at) => (at === i ? event.currentTarget.value : other)))
              }
            />
            <IconButton
              icon="up"
              label="Earlier"
              disabled={i === 0}
              onClick={() => put(transform.toSpliced(i - 1, 2, change, transform[i - 1] ?? ""))}
            />
            <IconButton icon="x" label={`Remove ${change}`} onClick={() => put(transform.toSpliced(i, 1))} />
          </li>
        ))}
        <li>
          <select
            aria-label={`Add a change to ${subjectName(index)}`}
            value=""
            onChange={(event) => {
              selected.value = index;
              if (event.currentTarget.value) addChange(event.currentTarget.value);
              event.currentTarget.value = "";
            }}
          >
            <option value="">Add…</option>
            {CHANGES.map((change) => (
              <option key={change}>{change}</option>
            ))}
          </select>
          <button type="button" onClick={() => takeUp(index, "transform")}>
            <Icon name="transform" />
            Handles
          </button>
        </li>
      </ul>
    </details>
  );
}
