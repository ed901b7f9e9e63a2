// The page: its bar, and the view that the address names.
import { signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { percent } from "./logic/format.ts";
import { restore, takeClip, takeFiles, undecided } from "./state/files.ts";
import { dismiss, go, helpShown, href, route, type Theme, theme, toasts } from "./state/shell.ts";
import { connected, disk, health, queued, refusal, running } from "./state/studio.ts";
import { cls, Dialog, IconButton, Notice } from "./ui/basics.tsx";
import { Icon, type IconName } from "./ui/icon.tsx";
import { globalKey, Help } from "./views/help.tsx";
import { Make } from "./views/make/make.tsx";
import { Queue } from "./views/queue/queue.tsx";
import { WatchJob } from "./views/queue/watch.tsx";
import { Compare } from "./views/results/compare.tsx";
import { OneReport } from "./views/results/reports.tsx";
import { Results } from "./views/results/results.tsx";
import { OneRun } from "./views/results/run.tsx";
import { Ballot } from "./views/votes/ballot.tsx";
import { VoteResults } from "./views/votes/result.tsx";
import { Votes } from "./views/votes/votes.tsx";

const isDropping = signal(false);

export function App() {
  useEffect(() => {
    if (!location.hash) go("make");
    addEventListener("keydown", globalKey);
    return () => removeEventListener("keydown", globalKey);
  }, []);
  useEffect(takeDrops, []);
  const [view = "make", ...rest] = route.value;
  const isFirst = useRef(true);
  useEffect(() => {
    // Screen readers and the keys of the view begin at its content.
    if (!isFirst.current) document.querySelector("main")?.focus();
    isFirst.current = false;
    document.querySelector("main")?.scrollTo(0, 0);
  }, [route.value.join("/")]);
  useEffect(() => {
    const name = {
      make: "Make",
      queue: "Queue",
      results: "Results",
      compare: "Compare",
      reports: "Report",
      votes: "Votes",
    }[view];
    document.title = `${name ?? "Make"} – motionflow studio`;
  }, [view]);
  return (
    <div class="shell">
      <TopBar view={view} />
      <main tabIndex={-1}>
        {refusal.value || health.value?.problem ? (
          <div class="page">
            <Notice kind="bad">{refusal.value ?? health.value?.problem}</Notice>
          </div>
        ) : null}
        <View view={view} rest={rest} />
      </main>
      {innerWidthIsNarrow.value ? <Tabs view={view} /> : null}
      {isDropping.value ? (
        <div class="drop-target">Drop a clip, a mask, a track, settings or a result</div>
      ) : null}
      {undecided.value ? <Undecided /> : null}
      {helpShown.value ? <Help /> : null}
      <Toasts />
    </div>
  );
}

const narrow = matchMedia("(max-width: 640px)");
const innerWidthIsNarrow = signal(narrow.matches);
narrow.addEventListener("change", () => {
  innerWidthIsNarrow.value = narrow.matches;
});

function View({ view, rest }: { view: string; rest: readonly string[] }) {
  const [first, second] = rest;
  switch (view) {
    case "queue":
      return first ? <WatchJob key={first} id={first} /> : <Queue />;
    case "results":
      return first ? <OneRun key={first} name={first} /> : <Results />;
    case "compare":
      return <Compare names={rest} />;
    case "reports":
      return first ? <OneReport key={first} name={first} /> : <Results />;
    case "votes":
      if (first && second === "result") return <VoteResults id={first} />;
      return first ? <Ballot key={first} id={first} /> : <Votes />;
    default:
      return <Make />;
  }
}

const TABS: readonly (readonly [string, string, IconName])[] = [
  ["make", "Make", "spark"],
  ["queue", "Queue", "queue"],
  ["results", "Results", "gallery"],
  ["votes", "Votes", "vote"],
];

function Tabs({ view }: { view: string }) {
  const shown = view === "compare" || view === "reports" ? "results" : view;
  const waiting = queued.value.length + (running.value ? 1 : 0);
  return (
    <nav class="tabs" aria-label="Views">
      {TABS.map(([name, label, icon]) => (
        <a key={name} href={href(name)} {...(shown === name ? { "aria-current": "page" as const } : {})}>
          <Icon name={icon} />
          {label}
          {name === "queue" && waiting ? <span class="count number">{waiting}</span> : null}
        </a>
      ))}
    </nav>
  );
}

function TopBar({ view }: { view: string }) {
  const next: Readonly<Record<Theme, Theme>> = { system: "light", light: "dark", dark: "system" };
  const icons: Readonly<Record<Theme, IconName>> = { system: "system", light: "sun", dark: "moon" };
  return (
    <header class="topbar">
      <a
        class="skip"
        href={`#/${route.value.join("/")}`}
        onClick={(event) => {
          event.preventDefault();
          document.querySelector("main")?.focus();
        }}
      >
        To the content
      </a>
      <a class="brand" href={href("make")}>
        <Logo />
        <span>
          motionflow <span>studio</span>
        </span>
      </a>
      {innerWidthIsNarrow.value ? null : <Tabs view={view} />}
      <span class="grow" />
      <Status />
      <IconButton
        icon={icons[theme.value]}
        label={`Theme: ${theme.value}. Change it to ${next[theme.value]}`}
        onClick={() => {
          theme.value = next[theme.value];
        }}
      />
      <IconButton
        icon="help"
        label="Keys"
        keys="?"
        onClick={() => {
          helpShown.value = true;
        }}
      />
    </header>
  );
}

function Logo() {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" fill="#1f2430" />
      <path
        d="M6 21c4 0 4-10 10-10s6 10 10 10"
        fill="none"
        stroke="#6ea8ff"
        stroke-width="2.5"
        stroke-linecap="round"
      />
      <circle cx="6" cy="21" r="2.5" fill="#6ea8ff" opacity=".5" />
      <circle cx="16" cy="11" r="3" fill="#6ea8ff" />
      <circle cx="26" cy="21" r="3.5" fill="#fff" />
    </svg>
  );
}

function Status() {
  const job = running.value;
  if (connected.value === false) {
    return (
      <span class="status" role="status">
        <span class="dot lost" />
        Not connected
      </span>
    );
  }
  if (job) {
    return (
      <a class="status" href={href("queue", job.id)} title={job.prompt ?? job.name}>
        <span class="dot busy" />
        <span class="number">{job.progress ? percent(job.progress.part) : "Starting"}</span>
      </a>
    );
  }
  const state = health.value?.state ?? "starting";
  const warning = disk.value?.warning;
  return (
    <span
      class="status"
      role="status"
      title={warning ?? `${health.value?.device ?? ""}, version ${health.value?.version ?? ""}`}
    >
      <span class={cls("dot", warning ? "warn" : state)} />
      {warning ? "Disk nearly full" : { starting: "Starting", ready: "Ready", busy: "Busy" }[state]}
    </span>
  );
}

function Toasts() {
  return (
    <div class="toasts" role="region" aria-label="Messages" aria-live="polite">
      {toasts.value.map(({ id, kind, text, action }) => (
        <div class={cls("toast", kind)} key={id}>
          <Icon name={kind === "good" ? "check" : "alert"} />
          <span class="grow">{text}</span>
          {action ? (
            <button
              type="button"
              class="link"
              onClick={() => {
                dismiss(id);
                action.run();
              }}
            >
              {action.label}
            </button>
          ) : null}
          <IconButton icon="x" label="Dismiss" onClick={() => dismiss(id)} />
        </div>
      ))}
    </div>
  );
}

/** A video that holds a run's settings was dropped. */
function Undecided() {
  const what = undecided.value;
  if (!what) return null;
  const close = () => {
    undecided.value = null;
  };
  return (
    <Dialog title={what.file.name} onClose={close}>
      <p>This is a result, and holds the settings that it was made with.</p>
      {what.restored.missing.map((missing) => (
        <Notice kind="warn" key={missing}>
          {missing}
        </Notice>
      ))}
      <footer>
        <button
          type="button"
          onClick={() => {
            close();
            void takeClip(what.file);
          }}
        >
          Take it as a clip
        </button>
        <button
          type="button"
          class="primary"
          onClick={() => {
            close();
            void restore({ ...what.restored, missing: [] }, what.file.name);
          }}
        >
          Use its settings
        </button>
      </footer>
    </Dialog>
  );
}

function takeDrops(): () => void {
  let depth = 0;
  const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
  const enter = (event: DragEvent) => {
    if (!hasFiles(event)) return;
    depth++;
    isDropping.value = true;
  };
  const leave = () => {
    depth = Math.max(0, depth - 1);
    if (!depth) isDropping.value = false;
  };
  const over = (event: DragEvent) => {
    if (hasFiles(event)) event.preventDefault();
  };
  const drop = (event: DragEvent) => {
    depth = 0;
    isDropping.value = false;
    const files = [...(event.dataTransfer?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    void takeFiles(files);
  };
  addEventListener("dragenter", enter);
  addEventListener("dragleave", leave);
  addEventListener("dragover", over);
  addEventListener("drop", drop);
  return () => {
    removeEventListener("dragenter", enter);
    removeEventListener("dragleave", leave);
    removeEventListener("dragover", over);
    removeEventListener("drop", drop);
  };
}
