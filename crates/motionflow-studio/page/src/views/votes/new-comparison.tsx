// What a new blind comparison compares.
import { useEffect, useId, useState } from "preact/hooks";
import { api, newId } from "../../api/client.ts";
import type { Report, Run, Side } from "../../api/types.ts";
import { attempt, go, messageOf } from "../../state/shell.ts";
import { Dialog, Notice, Segmented, Spinner } from "../../ui/basics.tsx";

type Way = "variants" | "folders" | "runs";

export function NewComparison({ onClose }: { onClose: () => void }) {
  const [known, setKnown] = useState<{ runs: readonly Run[]; reports: readonly Report[] } | null>(null);
  useEffect(() => {
    Promise.all([attempt(() => api.runs(0, 500)), attempt(api.reports)]).then(([runs, reports]) =>
      setKnown({ runs: runs ?? [], reports: (reports ?? []).filter((one) => one.variants.length > 1) }),
    );
  }, []);
  return (
    <Dialog title="New blind comparison" onClose={onClose}>
      {known ? <Choice {...known} onClose={onClose} /> : <Spinner label="Loading" />}
    </Dialog>
  );
}

/** What is compared: two variants where there is a suite, else two runs, unless a person says otherwise. */
function Choice({
  runs,
  reports,
  onClose,
}: {
  runs: readonly Run[];
  reports: readonly Report[];
  onClose: () => void;
}) {
  const [suite] = reports;
  const [way, setWay] = useState<Way>(suite ? "variants" : "runs");
  const [title, setTitle] = useState("");
  const [report, setReport] = useState(suite?.name ?? "");
  const [sides, setSides] = useState<readonly [string, string]>([
    suite?.variants[0] ?? "",
    suite?.variants[1] ?? "",
  ]);
  const [error, setError] = useState<string | null>(null);
  const [id] = useState(() => newId("v"));
  const ids = { title: useId(), report: useId() };
  const folders = [...new Set(runs.map((run) => run.name.split("/").slice(0, -1).join("/")).filter(Boolean))];
  const chosen = reports.find((one) => one.name === report);
  const options =
    way === "variants"
      ? (chosen?.variants ?? [])
      : way === "folders"
        ? folders
        : runs.filter((run) => run.files.includes("result.mp4")).map((run) => run.name);
  const side = (value: string): Side =>
    way === "variants"
      ? { label: value, report, variant: value }
      : way === "folders"
        ? { label: value, folder: value }
        : { label: value, runs: [value] };
  const create = async () => {
    try {
      const made = await api.putComparison(id, {
        title: title.trim() || `${sides[0]} or ${sides[1]}`,
        a: side(sides[0]),
        b: side(sides[1]),
      });
      onClose();
      go("votes", made.id);
    } catch (failed) {
      setError(messageOf(failed));
    }
  };
  const isComplete = sides[0] && sides[1] && sides[0] !== sides[1];
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        void create();
      }}
    >
      <Segmented<Way>
        label="What is compared"
        value={way}
        options={[
          ["runs", "Two runs"],
          ["folders", "Two folders"],
          ["variants", "Variants of a suite"],
        ]}
        onChange={(next) => {
          setWay(next);
          setSides(["", ""]);
        }}
      />
      {way === "variants" ? (
        <div class="field">
          <label for={ids.report}>Suite or sweep</label>
          <select id={ids.report} value={report} onChange={(event) => setReport(event.currentTarget.value)}>
            {reports.map((one) => (
              <option key={one.name} value={one.name}>
                {one.title}
              </option>
            ))}
          </select>
        </div>
      ) : null}
      {([0, 1] as const).map((at) => (
        <SideField
          key={at}
          label={at === 0 ? "A" : "B"}
          value={sides[at]}
          options={options}
          onChange={(value) => setSides(at === 0 ? [value, sides[1]] : [sides[0], value])}
        />
      ))}
      <div class="field">
        <label for={ids.title}>Title</label>
        <input
          id={ids.title}
          type="text"
          value={title}
          placeholder={isComplete ? `${sides[0]} or ${sides[1]}` : ""}
          onInput={(event) => setTitle(event.currentTarget.value)}
        />
      </div>
      {error ? <Notice kind="bad">{error}</Notice> : null}
      <footer>
        <button type="submit" class="primary" disabled={!isComplete}>
          Create
        </button>
      </footer>
    </form>
  );
}

function SideField({
  label,
  value,
  options,
  onChange,
}: {
  label: string;
  value: string;
  options: readonly string[];
  onChange: (value: string) => void;
}) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select id={id} value={value} onChange={(event) => onChange(event.currentTarget.value)}>
        <option value="">Choose…</option>
        {options.map((option) => (
          <option key={option}>{option}</option>
        ))}
      </select>
    </div>
  );
}
