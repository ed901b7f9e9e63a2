// Blind comparisons.
import { useEffect, useState } from "preact/hooks";
import { api } from "../../api/client.ts";
import type { Comparison } from "../../api/types.ts";
import { count, since } from "../../logic/format.ts";
import { attempt, href } from "../../state/shell.ts";
import { Confirm, Empty, IconButton, Spinner } from "../../ui/basics.tsx";
import { Icon } from "../../ui/icon.tsx";
import { NewComparison } from "./new-comparison.tsx";

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
