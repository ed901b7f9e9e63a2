// The run folders.
import { useEffect, useState } from "preact/hooks";
import { api, zipUrl } from "../../api/client.ts";
import type { Report, Run } from "../../api/types.ts";
import { bytes, since } from "../../logic/format.ts";
import { attempt, href } from "../../state/shell.ts";
import { disk, runsVersion } from "../../state/studio.ts";
import { Empty, Menu, Notice, PromptText, Spinner } from "../../ui/basics.tsx";
import { Icon } from "../../ui/icon.tsx";
import { applySettings, DeleteRun } from "./actions.tsx";
import { Reports } from "./reports.tsx";

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
