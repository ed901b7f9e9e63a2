// One run folder.
import { useEffect, useState } from "preact/hooks";
import { api, fileUrl, zipUrl } from "../../api/client.ts";
import type { Figures, Run } from "../../api/types.ts";
import { bytes, duration, figure } from "../../logic/format.ts";
import { attempt, go, messageOf } from "../../state/shell.ts";
import { Back, IconButton, Notice, NotYet, PromptText } from "../../ui/basics.tsx";
import { Fact } from "../../ui/fact.tsx";
import { Icon } from "../../ui/icon.tsx";
import { applySettings, DeleteRun } from "./actions.tsx";
import { Panes } from "./panes.tsx";

export function OneRun({ name }: { name: string }) {
  const [run, setRun] = useState<Run | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [deleting, setDeleting] = useState(false);
  useEffect(() => {
    setRun(null);
    api.run(name).then(setRun, (failed: unknown) => setError(messageOf(failed)));
  }, [name]);
  if (error || !run)
    return (
      <NotYet
        icon="gallery"
        title="This run cannot be shown"
        error={error}
        to="results"
        label="To the results"
      />
    );
  return (
    <div class="page">
      <header>
        <Back to="results">Results</Back>
        <h1 class="grow">{run.prompt ? <PromptText prompt={run.prompt} /> : run.name}</h1>
        <button type="button" class="primary" onClick={() => applySettings(run.name)}>
          <Icon name="edit" />
          Use these settings
        </button>
        <a class="button" href={zipUrl(run.name)} download>
          <Icon name="down" />
          Download
        </a>
        <IconButton icon="trash" label="Delete" class="danger" onClick={() => setDeleting(true)} />
      </header>
      {run.warnings.map((warning) => (
        <p key={warning} style={{ marginBottom: "8px" }}>
          <Notice kind="warn">{warning}</Notice>
        </p>
      ))}
      <div class="stack">
        <Panes runs={[run]} whats={["source", "mask", "result"]} />
        <div class="card padded">
          <dl class="facts-grid small">
            <Fact name="Run folder">{run.name}</Fact>
            <Fact name="Source prompt">
              {run.source_prompt ? <PromptText prompt={run.source_prompt} /> : "none"}
            </Fact>
            <Fact name="Model">{run.model ?? "unknown"}</Fact>
            <Fact name="Video">
              {run.video ? `${run.video.width}×${run.video.height}, ${run.video.frames} frames` : "unknown"}
            </Fact>
            <Fact name="Seed">{run.seed ?? "unknown"}</Fact>
            <Fact name="Time">{run.seconds === null ? "unknown" : duration(run.seconds)}</Fact>
            <Fact name="Size">{bytes(run.bytes)}</Fact>
          </dl>
        </div>
        <FiguresOf run={run} />
        <Files run={run} />
        {run.record ? (
          <details class="card padded">
            <summary>All settings as recorded</summary>
            <pre class="text">{JSON.stringify(run.record, null, 2)}</pre>
          </details>
        ) : null}
      </div>
      {deleting ? (
        <DeleteRun run={run} onClose={() => setDeleting(false)} onDone={() => go("results")} />
      ) : null}
    </div>
  );
}

function FiguresOf({ run }: { run: Run }) {
  const [found, setFound] = useState<Figures | null>(null);
  const [busy, setBusy] = useState(false);
  const isKept = run.files.includes("figures.json");
  const measure = async () => {
    setBusy(true);
    const made = await attempt(() => api.figures(run.name));
    if (made) setFound(made);
    setBusy(false);
  };
  useEffect(() => {
    if (isKept) void measure();
  }, [run.name]);
  if (!run.files.includes("result.mp4")) return null;
  return (
    <section class="card padded stack">
      <div class="row">
        <h2 class="grow">Figures</h2>
        {found ? null : (
          <button type="button" disabled={busy} onClick={measure}>
            {busy ? <span class="spinner" /> : null}
            Measure
          </button>
        )}
      </div>
      {found ? (
        <div class="table-wrap">
          <table>
            <tbody>
              {found.figures.map(({ name, value, about }) => (
                <tr key={name}>
                  <th scope="row" class="mono">
                    {name}
                  </th>
                  <td class="number">{value === null ? "–" : figure(value)}</td>
                  <td class="muted small">{about}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : (
        <p class="muted small">
          Motion fidelity, text similarity and temporal consistency of the result, against its source.
        </p>
      )}
    </section>
  );
}

function Files({ run }: { run: Run }) {
  return (
    <details class="card padded">
      <summary>{run.files.length} files</summary>
      <ul class="row wrap" style={{ paddingTop: "10px" }}>
        {run.files.map((path) => (
          <li key={path}>
            <a class="small mono" href={fileUrl(run.name, path)} target="_blank" rel="noreferrer">
              {path}
            </a>
          </li>
        ))}
      </ul>
    </details>
  );
}
