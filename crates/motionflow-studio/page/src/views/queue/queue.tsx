// The queue.
import { useState } from "preact/hooks";
import { api } from "../../api/client.ts";
import { duration } from "../../logic/format.ts";
import { isOver } from "../../logic/jobs.ts";
import { importQueue } from "../../state/files.ts";
import { attempt, href } from "../../state/shell.ts";
import { jobList, paused, queued, setPaused } from "../../state/studio.ts";
import { Confirm, Empty, FileButton, Menu, Notice, saveFile } from "../../ui/basics.tsx";
import { Icon } from "../../ui/icon.tsx";
import { removeAll } from "./actions.ts";
import { Cluster } from "./cluster.tsx";
import { Rows } from "./rows.tsx";

export function Queue() {
  const [clearing, setClearing] = useState(false);
  const list = jobList.value;
  const over = list.filter(isOver);
  const left = list.reduce((sum, job) => sum + (job.progress?.seconds_left ?? 0), 0);
  return (
    <div class="page">
      <header>
        <h1>Queue</h1>
        <span class="muted number">
          {queued.value.length} queued{left ? `, ${duration(left)} left of the running one` : ""}
        </span>
        <span class="grow" />
        <button type="button" aria-pressed={paused.value} onClick={() => setPaused(!paused.value)}>
          <Icon name={paused.value ? "play" : "pause"} />
          {paused.value ? "Go on" : "Pause"}
        </button>
        <FileButton
          label="Import"
          icon="up"
          accept=".toml"
          onFiles={async (files) => {
            for (const file of files) await importQueue(file);
          }}
        />
        <Menu label="More for the queue" button="">
          <button
            type="button"
            onClick={async () => {
              const text = await attempt(api.exportQueue);
              if (text !== undefined) saveFile("jobs.toml", text, "application/toml");
            }}
          >
            <Icon name="down" />
            Export as a batch file
          </button>
          <button type="button" class="danger" disabled={!over.length} onClick={() => setClearing(true)}>
            <Icon name="trash" />
            Remove what is over ({over.length})
          </button>
        </Menu>
      </header>
      {paused.value ? (
        <Notice kind="warn">The queue is paused. A job that runs goes on; no other one begins.</Notice>
      ) : null}
      {list.length ? (
        <Rows list={list} />
      ) : (
        <div class="card">
          <Empty icon="queue" title="Nothing is queued">
            <p>Prepare a transfer, and add it here.</p>
            <a class="button" href={href("make")}>
              Make one
            </a>
          </Empty>
        </div>
      )}
      <Cluster />
      {clearing ? (
        <Confirm
          title="Remove what is over"
          action={`Remove ${over.length}`}
          onClose={() => setClearing(false)}
          onConfirm={() => removeAll(over)}
        >
          <p>{over.length} jobs leave the list. Their run folders stay.</p>
        </Confirm>
      ) : null}
    </div>
  );
}
