// Sweeps as grids, and the reports of suites.
import { useEffect, useState } from "preact/hooks";
import { api, fileUrl } from "../../api/client.ts";
import type { Report } from "../../api/types.ts";
import { figure, since } from "../../logic/format.ts";
import { gridOf, shortName, show, sweptSettings, withoutTwins } from "../../logic/grid.ts";
import { href, messageOf } from "../../state/shell.ts";
import { Back, Empty, Notice, Spinner } from "../../ui/basics.tsx";
import { Icon } from "../../ui/icon.tsx";

export function Reports({ reports }: { reports: readonly Report[] }) {
  return (
    <section style={{ marginBottom: "22px" }} class="stack" aria-label="Sweeps and suites">
      <h2>Sweeps and suites</h2>
      <ul class="row wrap">
        {reports.map((report) => (
          <li key={report.name}>
            <a class="button" href={href("reports", report.name)}>
              <Icon name={report.kind === "sweep" ? "gallery" : "queue"} />
              {report.title}
              <span class="muted small">{since(report.modified)}</span>
            </a>
          </li>
        ))}
      </ul>
      <h2>Runs</h2>
    </section>
  );
}

export function OneReport({ name }: { name: string }) {
  const [report, setReport] = useState<Report | null>(null);
  const [error, setError] = useState<string | null>(null);
  useEffect(() => {
    setReport(null);
    api.report(name).then(setReport, (failed: unknown) => setError(messageOf(failed)));
  }, [name]);
  return (
    <div class="page">
      <header>
        <Back to="results">Results</Back>
        <h1 class="grow">{report?.title ?? name}</h1>
        {report ? <span class="tag">{report.kind}</span> : null}
      </header>
      {error ? <Notice kind="bad">{error}</Notice> : null}
      {report ? <Body report={report} /> : error ? null : <Spinner label="Loading" />}
    </div>
  );
}

function Body({ report }: { report: Report }) {
  const rows = report.rows ?? [];
  return (
    <div class="stack">
      {report.kind === "sweep" && rows.length ? <SweepGrid report={report} /> : null}
      {report.html ? (
        <section class="stack">
          <div class="row">
            <h2 class="grow">Report</h2>
            <a class="button" href={report.html} target="_blank" rel="noreferrer">
              Open by itself
            </a>
          </div>
          <iframe class="report" src={report.html} title={`Report of ${report.title}`} sandbox="" />
        </section>
      ) : null}
      {rows.length ? <RowsTable report={report} /> : null}
      {rows.length || report.html ? null : <Empty icon="queue" title="It has no results yet" />}
      <details class="card padded">
        <summary>{report.files.length} files</summary>
        <ul class="row wrap" style={{ paddingTop: "10px" }}>
          {report.files.map((path) => (
            <li key={path}>
              <a class="small mono" href={fileUrl(report.name, path)} target="_blank" rel="noreferrer">
                {path}
              </a>
            </li>
          ))}
        </ul>
      </details>
    </div>
  );
}

function SweepGrid({ report }: { report: Report }) {
  const grid = gridOf(report.rows ?? [], sweptSettings(report.variants, report.columns));
  return (
    <section class="card padded table-wrap">
      <table class="sweep">
        <caption class="hidden">Results by setting</caption>
        <thead>
          <tr>
            <td />
            {grid.columns.map((column) => (
              <th scope="col" key={column}>
                {grid.across ? `${grid.across} ${column}` : ""}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {grid.lines.map(({ label, cells }) => (
            <tr key={label}>
              <th scope="row">{label}</th>
              {cells.map((cell, i) => (
                <td key={grid.columns[i]}>
                  {cell?.run ? (
                    <a class="cell" href={href("results", cell.run)}>
                      <video
                        src={fileUrl(cell.run, "result.mp4")}
                        muted
                        loop
                        autoplay
                        playsInline
                        aria-label={`${label} ${grid.columns[i]}`}
                      />
                    </a>
                  ) : (
                    <span class="muted small">failed</span>
                  )}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function RowsTable({ report }: { report: Report }) {
  const columns = withoutTwins(report.columns);
  return (
    <section class="card padded table-wrap">
      <table class="small">
        <caption class="hidden">Figures</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <th scope="col" key={column}>
                {shortName(column).replaceAll("_", " ")}
              </th>
            ))}
            <th scope="col">
              <span class="hidden">run</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {(report.rows ?? []).map((row, i) => (
            <tr key={`${i} ${row.run}`}>
              {columns.map((column) => {
                const value = row.values[column];
                return (
                  <td key={column} class={typeof value === "number" ? "number" : ""}>
                    {typeof value === "number" && shortName(column) === column ? figure(value) : show(value)}
                  </td>
                );
              })}
              <td>{row.run ? <a href={href("results", row.run)}>open</a> : null}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
