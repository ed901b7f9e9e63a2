// The rows of the queue. Long lists draw those in sight alone.
import { signal } from "@preact/signals";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Job } from "../../api/types.ts";
import { duration, since } from "../../logic/format.ts";
import { isOver } from "../../logic/jobs.ts";
import { href } from "../../state/shell.ts";
import { jobList, jobs, moveJob, queued } from "../../state/studio.ts";
import { cls, IconButton, isTyping, Menu, Progress, PromptText, useKeys } from "../../ui/basics.tsx";
import { Icon } from "../../ui/icon.tsx";
import { cancelOrContinue, duplicate, edit, open, remove } from "./actions.ts";
import { STATES, StateTag } from "./state-tag.tsx";

const ROW = 84;

const BEYOND = 6;

/** The job whose row has the focus. */
const focused = signal<string | null>(null);

/** A row that is dragged: its job, and before which queued one it would go. */
const dragged = signal<{ readonly id: string; readonly position: number } | null>(null);

export function Rows({ list }: { list: readonly Job[] }) {
  const root = useRef<HTMLUListElement>(null);
  const [range, setRange] = useState({ from: 0, to: 20 });
  const measure = () => {
    const element = root.current;
    const scroller = element?.closest("main");
    if (!element || !scroller) return;
    const above = scroller.getBoundingClientRect().top - element.getBoundingClientRect().top;
    const from = Math.max(0, Math.floor(above / ROW) - BEYOND);
    const to = Math.ceil((above + scroller.clientHeight) / ROW) + BEYOND;
    setRange((now) => (now.from === from && now.to === to ? now : { from, to }));
  };
  useLayoutEffect(() => {
    measure();
    const scroller = root.current?.closest("main");
    scroller?.addEventListener("scroll", measure, { passive: true });
    addEventListener("resize", measure);
    return () => {
      scroller?.removeEventListener("scroll", measure);
      removeEventListener("resize", measure);
    };
  }, []);

  const at = focused.value ? list.findIndex((job) => job.id === focused.value) : -1;
  const tabStop = Math.max(0, at);
  const focusRow = (index: number) => {
    const now = jobList.value;
    const at = Math.min(now.length - 1, Math.max(0, index));
    const job = now[at];
    const [element, scroller] = [root.current, root.current?.closest("main")];
    if (!job || !element || !scroller) return;
    focused.value = job.id;
    const top = at * ROW;
    const above = scroller.getBoundingClientRect().top - element.getBoundingClientRect().top;
    if (top < above) scroller.scrollTop += top - above;
    else if (top + ROW > above + scroller.clientHeight)
      scroller.scrollTop += top + ROW - above - scroller.clientHeight;
    measure();
    requestAnimationFrame(() => document.getElementById(`job-${job.id}`)?.focus());
  };

  useKeys((event) => {
    if (isTyping(event)) return false;
    const row = (event.target as HTMLElement).closest<HTMLElement>(".job");
    const now = row ? list.findIndex((job) => `job-${job.id}` === row.id) : -1;
    const job = list[now];
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && !event.altKey) focusRow(now < 0 ? tabStop : now + step);
    else if (step && job?.state === "queued") {
      void moveJob(job.id, Math.max(0, (job.position ?? 0) + step));
      focusRow(jobList.value.findIndex((other) => other.id === job.id));
    } else {
      const action = { Enter: open, e: edit, d: duplicate, Delete: remove, c: cancelOrContinue }[event.key];
      if (!job || !action || event.target !== row || event.ctrlKey || event.metaKey || event.altKey)
        return false;
      if (event.key === "Delete") focusRow(now + 1);
      void action(job);
    }
    return true;
  });

  const shown = list.slice(range.from, range.to);
  return (
    <ul class="list card" ref={root} aria-label="Jobs" style={{ height: `${list.length * ROW + 2}px` }}>
      {shown.map((job, i) => (
        <Row
          key={job.id}
          job={job}
          index={range.from + i}
          count={list.length}
          isStop={range.from + i === tabStop}
        />
      ))}
    </ul>
  );
}

function Row({ job, index, count, isStop }: { job: Job; index: number; count: number; isStop: boolean }) {
  const over = dragged.value;
  const isTarget =
    over !== null && over.id !== job.id && job.state === "queued" && job.position === over.position;
  const isBelow = over !== null && (jobs.value.get(over.id)?.position ?? 0) < over.position;
  const position = job.state === "queued" ? `#${(job.position ?? 0) + 1}` : "";
  return (
    <li
      id={`job-${job.id}`}
      class={cls("job", isTarget && (isBelow ? "under" : "over"), over?.id === job.id && "dragged")}
      style={{ position: "absolute", top: `${index * ROW}px`, left: 0, right: 0 }}
      tabIndex={isStop ? 0 : -1}
      aria-setsize={count}
      aria-posinset={index + 1}
      aria-label={`${job.prompt ?? job.name}, ${STATES[job.state]} ${position}`}
      onFocus={() => {
        focused.value = job.id;
      }}
      onDblClick={() => open(job)}
    >
      {job.state === "queued" ? <Grip job={job} /> : <span />}
      {job.thumbnail ? (
        <img class="thumb" src={job.thumbnail} alt="" loading="lazy" />
      ) : (
        <span class="thumb" />
      )}
      <div class="grow">
        <a
          class="row"
          href={job.state === "finished" && job.run ? href("results", job.run) : href("queue", job.id)}
          tabIndex={-1}
          style={{ color: "inherit", textDecoration: "none" }}
        >
          <PromptText prompt={job.prompt ?? job.name} />
        </a>
        <div class="facts number">
          <StateTag state={job.state} />
          {position ? <span>{position}</span> : null}
          {job.seed === null ? null : <span>seed {job.seed}</span>}
          {job.seconds ? <span>{duration(job.seconds)}</span> : null}
          {job.progress?.seconds_left ? <span>{duration(job.progress.seconds_left)} left</span> : null}
          {isOver(job) && job.finished ? <span>{since(job.finished)}</span> : null}
          {job.error ? <span title={job.error.detail}>{job.error.detail}</span> : null}
          {job.warnings.length ? (
            <span title={job.warnings.join("\n")}>
              {job.warnings.length} {job.warnings.length === 1 ? "warning" : "warnings"}
            </span>
          ) : null}
        </div>
        {job.progress && job.state === "running" ? (
          <Progress
            part={job.progress.part}
            label={`${job.progress.stage}, ${job.progress.done} of ${job.progress.of}`}
          />
        ) : null}
      </div>
      <div class="row">
        {job.state === "running" ? (
          <IconButton icon="stop" label="Cancel" onClick={() => cancelOrContinue(job)} />
        ) : null}
        {job.can_continue && isOver(job) ? (
          <IconButton icon="play" label="Continue" onClick={() => cancelOrContinue(job)} />
        ) : null}
        <Menu label={`Actions for ${job.name}`} up={index > 2 && index >= count - 3}>
          <a class="button" href={href("queue", job.id)}>
            <Icon name="eye" />
            Watch
          </a>
          {job.run && job.state === "finished" ? (
            <a class="button" href={href("results", job.run)}>
              <Icon name="gallery" />
              Result
            </a>
          ) : null}
          <button type="button" onClick={() => edit(job)}>
            <Icon name="edit" />
            {job.state === "queued" ? "Edit" : "Use these settings"}
          </button>
          <button type="button" onClick={() => duplicate(job)}>
            <Icon name="copy" />
            Duplicate
          </button>
          {job.state === "queued" ? (
            <>
              <button type="button" onClick={() => moveJob(job.id, 0)}>
                <Icon name="up" />
                To the front
              </button>
              <button type="button" onClick={() => cancelOrContinue(job)}>
                <Icon name="stop" />
                Cancel
              </button>
            </>
          ) : null}
          <button type="button" class="danger" disabled={job.state === "running"} onClick={() => remove(job)}>
            <Icon name="trash" />
            Remove
          </button>
        </Menu>
      </div>
    </li>
  );
}

function Grip({ job }: { job: Job }) {
  const start = useRef<{ y: number; position: number; scrolled: number } | null>(null);
  const scroller = () => document.querySelector("main");
  return (
    <span
      class="grip"
      title="Drag to another place (Alt + arrows)"
      style={{ touchAction: "none" }}
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        event.preventDefault();
        event.currentTarget.setPointerCapture(event.pointerId);
        start.current = {
          y: event.clientY,
          position: job.position ?? 0,
          scrolled: scroller()?.scrollTop ?? 0,
        };
        dragged.value = { id: job.id, position: job.position ?? 0 };
      }}
      onPointerMove={(event) => {
        const from = start.current;
        const main = scroller();
        if (!from || !main) return;
        const rect = main.getBoundingClientRect();
        if (event.clientY < rect.top + 40) main.scrollTop -= 12;
        else if (event.clientY > rect.bottom - 40) main.scrollTop += 12;
        const rows = Math.round((event.clientY - from.y + main.scrollTop - from.scrolled) / ROW);
        const most = queued.value.length - 1;
        dragged.value = { id: job.id, position: Math.min(most, Math.max(0, from.position + rows)) };
      }}
      onPointerUp={() => {
        const to = dragged.value;
        start.current = null;
        dragged.value = null;
        if (to && to.position !== job.position) void moveJob(job.id, to.position);
      }}
      onPointerCancel={() => {
        start.current = null;
        dragged.value = null;
      }}
    >
      <Icon name="grip" />
    </span>
  );
}
