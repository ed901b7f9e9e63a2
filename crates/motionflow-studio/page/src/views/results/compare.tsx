// Two results beside each other.
import { useEffect, useState } from "preact/hooks";
import { api } from "../../api/client.ts";
import type { Run } from "../../api/types.ts";
import { messageOf } from "../../state/shell.ts";
import { Back, Notice, Spinner } from "../../ui/basics.tsx";
import { Panes } from "./panes.tsx";

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
