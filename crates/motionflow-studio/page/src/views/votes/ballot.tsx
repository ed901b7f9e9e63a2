// A pair of results in random order and side, and a question each.
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { ApiError, api } from "../../api/client.ts";
import type { Answer, Comparison, Pair } from "../../api/types.ts";
import { count } from "../../logic/format.ts";
import { href, messageOf, toast } from "../../state/shell.ts";
import {
  Back,
  cls,
  Empty,
  isTyping,
  Notice,
  PromptText,
  Segmented,
  Spinner,
  useKeys,
} from "../../ui/basics.tsx";

const QUESTIONS: Readonly<Record<string, string>> = {
  motion: "Which one follows the motion of the source better?",
  prompt: "Which one shows better what the prompt says?",
  quality: "Which one looks better as a video?",
};

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
        <h1 class="grow">Which one is better?</h1>
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
