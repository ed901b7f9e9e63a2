// The run folders, one of them, and two beside each other.
import { useEffect, useState } from "preact/hooks";
import { api, fileUrl, zipUrl } from "../api/client.ts";
import type { Figures, Frames, Report, Run } from "../api/types.ts";
import { bytes, duration, figure, since } from "../logic/format.ts";
import { restore } from "../state/files.ts";
import { attempt, go, href, messageOf, succeeds, toast } from "../state/shell.ts";
import { disk, runsVersion } from "../state/studio.ts";
import { Back, Confirm, cls, Empty, IconButton, Menu, Notice, PromptText, Spinner } from "../ui/basics.tsx";
import { Icon } from "../ui/icon.tsx";
import { type Player, PlayerBar, SheetFrame, useFrames, usePlayer } from "../ui/player.tsx";
import { Reports } from "./reports.tsx";
import { Fact } from "./watch.tsx";

const PAGE = 60;

export function Results() {
  const [runs, setRuns] = useState<readonly Run[] | null>(null);
  const [hasMore, setHasMore] = useState(false);
  const [reports, setReports] = useState<readonly Report[]>([]);
  const [picked, setPicked] = useState<readonly string[]>([]);
  const [search, setSearch] = useState("");
  const [deleting, setDeleting] = useState<Run | null>(null);
  const version = runsVersion.value;
  useEffect(() => {
    let isGone = false;
    const load = async () => {
      const size = Math.max(PAGE, runs?.length ?? 0);
      const [found, made] = await Promise.all([attempt(() => api.runs(0, size)), attempt(api.reports)]);
      if (isGone) return;
      if (found) {
        setRuns(found);
        setHasMore(found.length === size);
      }
      if (made) setReports(made);
    };
    const timer = setTimeout(load, runs ? 400 : 0);
    return () => {
      isGone = true;
      clearTimeout(timer);
    };
  }, [version]);
  const more = async () => {
    const next = await attempt(() => api.runs(runs?.length ?? 0, PAGE));
    if (!next) return;
    setRuns([...(runs ?? []), ...next]);
    setHasMore(next.length === PAGE);
  };
  const wanted = search.trim().toLowerCase();
  const shown = (runs ?? []).filter((run) =>
    `${run.name} ${run.prompt ?? ""}`.toLowerCase().includes(wanted),
  );
  const pick = (name: string) =>
    setPicked(picked.includes(name) ? picked.filter((other) => other !== name) : [...picked.slice(-1), name]);
  const [a, b] = picked;
  return (
    <div class="page">
      <header>
        <h1>Results</h1>
        <Disk />
        <span class="grow" />
        <div>
          <input
            type="search"
            aria-label="Search the results"
            placeholder="Search"
            value={search}
            onInput={(event) => setSearch(event.currentTarget.value)}
          />
        </div>
        {a && b ? (
          <a class="button" href={href("compare", a, b)}>
            <Icon name="compare" />
            Compare two
          </a>
        ) : (
          <span class="muted small">{a ? "Pick another one to compare" : "Pick two to compare them"}</span>
        )}
      </header>
      {disk.value?.warning ? <Notice kind="warn">{disk.value.warning}</Notice> : null}
      {reports.length && !wanted ? <Reports reports={reports} /> : null}
      {runs === null ? (
        <Spinner label="Loading" />
      ) : shown.length ? (
        <ul class="gallery">
          {shown.map((run) => (
            <RunCard
              key={run.name}
              run={run}
              isPicked={picked.includes(run.name)}
              onPick={() => pick(run.name)}
              onDelete={() => setDeleting(run)}
            />
          ))}
        </ul>
      ) : (
        <div class="card">
          <Empty icon="gallery" title={wanted ? "Nothing has these words" : "No results yet"}>
            {wanted ? null : (
              <p>What the queue makes is here, and every run folder in the studio's folder.</p>
            )}
          </Empty>
        </div>
      )}
      {hasMore && !wanted ? (
        <p class="row" style={{ justifyContent: "center", padding: "20px" }}>
          <button type="button" onClick={more}>
            Show more
          </button>
        </p>
      ) : null}
      {deleting ? <DeleteRun run={deleting} onClose={() => setDeleting(null)} onDone={() => {}} /> : null}
    </div>
  );
}

function Disk() {
  const now = disk.value;
  if (!now) return null;
  return (
    <span
      class="muted small number"
      title={`cache ${bytes(now.cache_bytes)} of at most ${bytes(now.cache_limit_bytes)}, uploads ${bytes(now.uploads_bytes)}`}
    >
      {bytes(now.runs_bytes)} in runs, {bytes(now.cache_bytes)} in the cache, {bytes(now.free_bytes)} free
    </span>
  );
}

function RunCard({
  run,
  isPicked,
  onPick,
  onDelete,
}: {
  run: Run;
  isPicked: boolean;
  onPick: () => void;
  onDelete: () => void;
}) {
  return (
    <li class="card run">
      <a href={href("results", run.name)}>
        <div class="picture">{run.thumbnail ? <img src={run.thumbnail} alt="" loading="lazy" /> : null}</div>
        <div class="text">
          {run.prompt ? <PromptText prompt={run.prompt} /> : <span class="prompt">{run.name}</span>}
          <span class="muted small ellipsis number">
            {run.state === "unfinished" ? "unfinished, " : ""}
            {since(run.modified)}
            {run.seed === null ? "" : `, seed ${run.seed}`}
          </span>
        </div>
      </a>
      <label class="pick" title="Compare">
        <input type="checkbox" checked={isPicked} aria-label={`Compare ${run.name}`} onChange={onPick} />
      </label>
      <div style={{ position: "absolute", top: "6px", right: "6px" }}>
        <Menu label={`Actions for ${run.name}`} button="">
          <button type="button" onClick={() => applySettings(run.name)}>
            <Icon name="edit" />
            Use these settings
          </button>
          <a class="button" href={zipUrl(run.name)} download>
            <Icon name="down" />
            Download
          </a>
          <button type="button" class="danger" onClick={onDelete}>
            <Icon name="trash" />
            Delete
          </button>
        </Menu>
      </div>
    </li>
  );
}

export async function applySettings(name: string): Promise<void> {
  const restored = await attempt(() => api.runRequest(name));
  if (restored) await restore(restored, name);
}

function DeleteRun({ run, onClose, onDone }: { run: Run; onClose: () => void; onDone: () => void }) {
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

export function OneRun({ name }: { name: string }) {
  const [run, setRun] = useState<Run | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [deleting, setDeleting] = useState(false);
  useEffect(() => {
    setRun(null);
    api.run(name).then(setRun, (failed: unknown) => setError(messageOf(failed)));
  }, [name]);
  if (error) {
    return (
      <div class="page">
        <Empty icon="gallery" title="This run cannot be shown">
          <p>{error}</p>
          <a class="button" href={href("results")}>
            To the results
          </a>
        </Empty>
      </div>
    );
  }
  if (!run) {
    return (
      <div class="page">
        <Spinner label="Loading" />
      </div>
    );
  }
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

type What = "source" | "mask" | "result";
const CAPTIONS: Readonly<Record<What, string>> = { source: "Source", mask: "Motion mask", result: "Result" };

/** Videos of runs, all in step. */
function Panes({ runs, whats }: { runs: readonly Run[]; whats: readonly What[] }) {
  const video = runs[0]?.video;
  const count = Math.max(...runs.map((run) => run.video?.frames ?? 1));
  const player = usePlayer(count, video?.fps ?? 8);
  useEffect(() => {
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) player.setPlaying(true);
  }, []);
  return (
    <>
      <div class={cls("panes", runs.length > 1 && "two")}>
        {runs.flatMap((run) =>
          whats.map((what) => (
            <Pane
              key={`${run.name} ${what}`}
              run={run}
              what={what}
              player={player}
              caption={runs.length > 1 ? run.name : CAPTIONS[what]}
            />
          )),
        )}
      </div>
      <PlayerBar player={player} />
    </>
  );
}

function Pane({ run, what, player, caption }: { run: Run; what: What; player: Player; caption: string }) {
  const frames = useFrames((signal) => api.runFrames(run.name, what, signal), `${run.name} ${what}`);
  if (frames === "none") return null;
  return (
    <figure class="card pane">
      <div class="picture">
        {frames ? (
          <FrameOf frames={frames} frame={player.frame} label={`${caption} of ${run.name}`} />
        ) : (
          <Spinner label="Loading" />
        )}
      </div>
      <figcaption>
        <span class="grow ellipsis">{caption}</span>
      </figcaption>
    </figure>
  );
}

const FrameOf = ({ frames, frame, label }: { frames: Frames; frame: number; label: string }) => (
  <SheetFrame sheet={frames} url={frames.sheet} frame={Math.min(frame, frames.frames - 1)} label={label} />
);

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

export function Compare({ names }: { names: readonly string[] }) {
  const [runs, setRuns] = useState<readonly Run[] | null>(null);
  const [error, setError] = useState<string | null>(null);
  const key = names.join("\n");
  useEffect(() => {
    setRuns(null);
    Promise.all(names.map(api.run)).then(setRuns, (failed: unknown) => setError(messageOf(failed)));
  }, [key]);
  return (
    <div class="page">
      <header>
        <Back to="results">Results</Back>
        <h1 class="grow">Two results</h1>
      </header>
      {error ? <Notice kind="bad">{error}</Notice> : null}
      {runs ? (
        <div class="stack">
          <Panes runs={runs} whats={["result"]} />
          <Differences runs={runs} />
        </div>
      ) : error ? null : (
        <Spinner label="Loading" />
      )}
    </div>
  );
}

/** The recorded settings in which two runs differ. */
function Differences({ runs }: { runs: readonly Run[] }) {
  const flat = (value: unknown, path: string, into: Map<string, string>) => {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      for (const [key, inner] of Object.entries(value)) flat(inner, path ? `${path}.${key}` : key, into);
    } else into.set(path, JSON.stringify(value));
    return into;
  };
  const records = runs.map((run) => flat(run.record ?? {}, "", new Map()));
  const paths = [...new Set(records.flatMap((record) => [...record.keys()]))].sort();
  const differing = paths.filter((path) => new Set(records.map((record) => record.get(path))).size > 1);
  return (
    <section class="card padded stack">
      <h2>What differs</h2>
      {differing.length ? (
        <div class="table-wrap">
          <table class="small">
            <thead>
              <tr>
                <th scope="col">setting</th>
                {runs.map((run) => (
                  <th scope="col" key={run.name}>
                    {run.name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {differing.map((path) => (
                <tr key={path}>
                  <th scope="row" class="mono">
                    {path}
                  </th>
                  {records.map((record, i) => (
                    <td key={runs[i]?.name} class="mono">
                      {record.get(path) ?? "–"}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : (
        <p class="muted small">Both were made with the same settings.</p>
      )}
    </section>
  );
}
