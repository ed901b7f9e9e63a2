// Blind comparison: pairs of results in random order and side, a question each, votes kept by the server.
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { ApiError, api, newId } from "../api/client.ts";
import type { Answer, Comparison, Pair, Report, Run, Side, VoteResult } from "../api/types.ts";
import { count, percent, since } from "../logic/format.ts";
import { attempt, go, href, messageOf, toast } from "../state/shell.ts";
import {
  Back,
  Confirm,
  cls,
  Dialog,
  Empty,
  IconButton,
  isTyping,
  Notice,
  PromptText,
  Segmented,
  Spinner,
  useKeys,
} from "../ui/basics.tsx";
import { Icon } from "../ui/icon.tsx";

const QUESTIONS: Readonly<Record<string, string>> = {
  motion: "Which one follows the motion of the source better?",
  prompt: "Which one shows better what the prompt says?",
  quality: "Which one looks better as a video?",
};

export function Votes() {
  const [list, setList] = useState<readonly Comparison[] | null>(null);
  const [creating, setCreating] = useState(false);
  const [deleting, setDeleting] = useState<Comparison | null>(null);
  const load = async () => setList((await attempt(api.comparisons)) ?? []);
  useEffect(() => {
    void load();
  }, []);
  return (
    <div class="page">
      <header>
        <h1 class="grow">Blind comparisons</h1>
        <button type="button" class="primary" onClick={() => setCreating(true)}>
          <Icon name="plus" />
          New
        </button>
      </header>
      {list === null ? (
        <Spinner label="Loading" />
      ) : list.length ? (
        <ul class="stack">
          {list.map((one) => (
            <li class="card padded row wrap" key={one.id}>
              <div class="grow">
                <a href={href("votes", one.id)}>{one.title}</a>
                <div class="muted small number">
                  {one.a} and {one.b}, {count(one.pairs, "pair")}, {count(one.votes, "vote")} of{" "}
                  {count(one.voters, "voter")}, {since(one.created)}
                </div>
              </div>
              <a class="button" href={href("votes", one.id)}>
                Vote
              </a>
              <a class="button" href={href("votes", one.id, "result")}>
                Result
              </a>
              <IconButton icon="trash" label={`Delete ${one.title}`} onClick={() => setDeleting(one)} />
            </li>
          ))}
        </ul>
      ) : (
        <div class="card">
          <Empty icon="vote" title="Which of two is better?">
            <p>
              Pairs of results are shown in random order and side, without their names. Several people can
              vote.
            </p>
          </Empty>
        </div>
      )}
      {creating ? (
        <NewComparison
          onClose={() => {
            setCreating(false);
            void load();
          }}
        />
      ) : null}
      {deleting ? (
        <Confirm
          title={`Delete ${deleting.title}`}
          action="Delete"
          onClose={() => setDeleting(null)}
          onConfirm={async () => {
            await attempt(() => api.deleteComparison(deleting.id));
            void load();
          }}
        >
          <p>Its {deleting.votes} votes go with it. The runs stay.</p>
        </Confirm>
      ) : null}
    </div>
  );
}

type Way = "variants" | "folders" | "runs";

function NewComparison({ onClose }: { onClose: () => void }) {
  const [runs, setRuns] = useState<readonly Run[]>([]);
  const [reports, setReports] = useState<readonly Report[]>([]);
  const [way, setWay] = useState<Way>("runs");
  const [title, setTitle] = useState("");
  const [report, setReport] = useState("");
  const [sides, setSides] = useState<readonly [string, string]>(["", ""]);
  const [error, setError] = useState<string | null>(null);
  const [id] = useState(() => newId("v"));
  const ids = { title: useId(), report: useId() };
  useEffect(() => {
    void attempt(() => api.runs(0, 500)).then((found) => setRuns(found ?? []));
    void attempt(api.reports).then((found) => {
      const suites = (found ?? []).filter((one) => one.variants.length > 1);
      setReports(suites);
      const [first] = suites;
      if (!first) return;
      setWay("variants");
      setReport(first.name);
      setSides([first.variants[0] ?? "", first.variants[1] ?? ""]);
    });
  }, []);
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
    <Dialog title="New blind comparison" onClose={onClose}>
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
    </Dialog>
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

export function Ballot({ id }: { id: string }) {
  const [comparison, setComparison] = useState<Comparison | null>(null);
  const [voter, setVoter] = useState(localStorage.getItem("voter") ?? "");
  const [isNamed, setNamed] = useState(false);
  const [pair, setPair] = useState<Pair | null>(null);
  const [answers, setAnswers] = useState<Readonly<Record<string, Answer>>>({});
  const [error, setError] = useState<string | null>(null);
  const nameId = useId();
  useEffect(() => {
    api.comparison(id).then(setComparison, (failed: unknown) => setError(messageOf(failed)));
  }, [id]);
  const next = async () => {
    try {
      setPair(await api.nextPair(id, voter.trim()));
      setAnswers({});
    } catch (failed) {
      setError(messageOf(failed));
    }
  };
  const questions = comparison?.questions ?? [];
  const isComplete = questions.every((question) => answers[question]);
  const vote = async () => {
    if (!pair?.pair || !isComplete) return;
    try {
      await api.vote(id, voter.trim(), pair.pair, answers);
    } catch (failed) {
      if (!(failed instanceof ApiError && failed.problem.code === "voted")) {
        toast("bad", messageOf(failed));
        return;
      }
    }
    await next();
  };
  useKeys((event) => {
    if (!pair?.pair || isTyping(event) || event.ctrlKey || event.altKey || event.metaKey) return false;
    const answer = ({ ArrowLeft: "left", ArrowRight: "right", ArrowDown: "same" } as const)[event.key];
    const open = questions.find((question) => !answers[question]);
    const last = questions.findLast((question) => answers[question]);
    if (answer && open) setAnswers({ ...answers, [open]: answer });
    else if (event.key === "Backspace" && last) {
      setAnswers(Object.fromEntries(Object.entries(answers).filter(([question]) => question !== last)));
    } else if (event.key === "Enter" && isComplete && !(event.target as HTMLElement).closest("button, a"))
      void vote();
    else return false;
    return true;
  });
  return (
    <div class="page">
      <header>
        <Back to="votes">Votes</Back>
        <h1 class="grow">{comparison?.title ?? "Blind comparison"}</h1>
        {pair?.pair ? (
          <span class="muted number">
            {pair.done + 1} of {pair.of}
          </span>
        ) : null}
      </header>
      {error ? <Notice kind="bad">{error}</Notice> : null}
      {!isNamed ? (
        <form
          class="card padded stack"
          style={{ maxWidth: "460px", margin: "0 auto" }}
          onSubmit={(event) => {
            event.preventDefault();
            if (!voter.trim()) return;
            localStorage.setItem("voter", voter.trim());
            setNamed(true);
            void next();
          }}
        >
          <div class="field">
            <label for={nameId}>Who votes?</label>
            <input
              id={nameId}
              type="text"
              value={voter}
              maxLength={60}
              onInput={(event) => setVoter(event.currentTarget.value)}
            />
            <span class="hint">
              Any name; it keeps your votes apart from those of others, and lets you go on later.
            </span>
          </div>
          <button type="submit" class="primary" disabled={!voter.trim() || !comparison}>
            Begin
          </button>
        </form>
      ) : pair?.pair ? (
        <div class="ballot">
          {pair.prompt ? (
            <p>
              <span class="muted">Prompt: </span>
              <PromptText prompt={pair.prompt} />
            </p>
          ) : null}
          <Videos key={pair.pair} pair={pair} />
          <div class="card padded stack">
            {questions.map((question) => (
              <div class="question" key={question}>
                <span id={`question-${question}`}>{QUESTIONS[question] ?? question}</span>
                <Segmented<Answer | "">
                  label={QUESTIONS[question] ?? question}
                  value={answers[question] ?? ""}
                  options={[
                    ["left", "← Left"],
                    ["same", "↓ Same"],
                    ["right", "Right →"],
                  ]}
                  onChange={(answer) => answer && setAnswers({ ...answers, [question]: answer })}
                />
              </div>
            ))}
          </div>
          <button type="button" class="primary" disabled={!isComplete} onClick={vote}>
            Vote
          </button>
        </div>
      ) : pair ? (
        <div class="card">
          <Empty icon="check" title="That was the last pair">
            <p>
              {count(pair.of, "pair")}, and thank you, {voter.trim()}.
            </p>
            <div class="row">
              <a class="button" href={href("votes", id, "result")}>
                Result
              </a>
              <button
                type="button"
                onClick={() => {
                  setNamed(false);
                  setVoter("");
                  setPair(null);
                }}
              >
                Another voter
              </button>
            </div>
          </Empty>
        </div>
      ) : error ? null : (
        <Spinner label="Loading" />
      )}
    </div>
  );
}

/** Both videos, and the source, in step. */
function Videos({ pair }: { pair: Pair }) {
  const root = useRef<HTMLDivElement>(null);
  const start = () => {
    const videos = [...(root.current?.querySelectorAll("video") ?? [])];
    if (!videos.every((video) => video.readyState >= 2)) return;
    for (const video of videos) {
      video.currentTime = 0;
      void video.play().catch(() => {});
    }
  };
  const video = (source: string, label: string, isFirst: boolean) => (
    <figure class="card pane">
      <div class="picture">
        <video
          src={source}
          muted
          playsInline
          preload="auto"
          aria-label={label}
          onLoadedData={start}
          {...(isFirst ? { onEnded: start } : {})}
        />
      </div>
      <figcaption>{label}</figcaption>
    </figure>
  );
  return (
    <div ref={root} class={cls("pair", pair.source !== null && "sourced")}>
      {video(pair.left, "Left", true)}
      {pair.source ? video(pair.source, "Source of the motion", false) : null}
      {video(pair.right, "Right", false)}
    </div>
  );
}

export function VoteResults({ id }: { id: string }) {
  const [comparison, setComparison] = useState<Comparison | null>(null);
  const [result, setResult] = useState<VoteResult | null>(null);
  const [error, setError] = useState<string | null>(null);
  useEffect(() => {
    Promise.all([api.comparison(id), api.voteResult(id)]).then(
      ([one, other]) => {
        setComparison(one);
        setResult(other);
      },
      (failed: unknown) => setError(messageOf(failed)),
    );
  }, [id]);
  return (
    <div class="page">
      <header>
        <Back to="votes">Votes</Back>
        <h1 class="grow">{comparison?.title ?? "Result"}</h1>
      </header>
      {error ? <Notice kind="bad">{error}</Notice> : null}
      {comparison && result ? (
        <section class="card padded stack">
          <p class="muted number">
            {count(result.votes, "vote")} of {count(result.voters, "voter")},{" "}
            {count(comparison.pairs, "pair")}. The bar is the share that prefers{" "}
            <strong>{comparison.a}</strong> to <strong>{comparison.b}</strong>, with its 95 % interval.
          </p>
          {result.questions.map(({ question, a, b, same, preference, low, high }) => (
            <div key={question} class="stack" style={{ gap: "4px" }}>
              <div class="row">
                <h2 class="grow">{question}</h2>
                <span class="number">
                  {preference === null ? "no votes yet" : percent(preference)}
                  {low === null || high === null ? "" : ` (${percent(low)} to ${percent(high)})`}
                </span>
              </div>
              <div class="bar" aria-hidden="true">
                <div class="half" />
                {low === null || high === null ? null : (
                  <div class="interval" style={{ left: `${100 * low}%`, width: `${100 * (high - low)}%` }} />
                )}
                {preference === null ? null : <div class="mean" style={{ left: `${100 * preference}%` }} />}
              </div>
              <div class="row small muted number">
                <span class="grow">
                  {comparison.b} {b}
                </span>
                <span class="grow">same {same}</span>
                <span>
                  {comparison.a} {a}
                </span>
              </div>
            </div>
          ))}
        </section>
      ) : error ? null : (
        <Spinner label="Loading" />
      )}
    </div>
  );
}
