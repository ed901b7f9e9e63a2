// What the voters prefer, with its interval.
import { useEffect, useState } from "preact/hooks";
import { api } from "../../api/client.ts";
import type { Comparison, VoteResult } from "../../api/types.ts";
import { count, percent } from "../../logic/format.ts";
import { messageOf } from "../../state/shell.ts";
import { Back, Notice, Spinner } from "../../ui/basics.tsx";

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
