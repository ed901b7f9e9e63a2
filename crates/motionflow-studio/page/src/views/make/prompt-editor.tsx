// A prompt whose words are clicked to mark its subjects.
import type { Signal } from "@preact/signals";
import { useId, useState } from "preact/hooks";
import { api } from "../../api/client.ts";
import type { PromptTokens } from "../../api/types.ts";
import { parsePrompt, toggleWord, wordsOf, writePrompt } from "../../logic/prompt.ts";
import { model, modelName } from "../../state/draft.ts";
import { messageOf } from "../../state/shell.ts";
import { cls, Notice, subjectClass, useSettled } from "../../ui/basics.tsx";

export function PromptEditor({
  value,
  which,
  label,
  placeholder,
}: {
  value: Signal<string>;
  which: "source" | "new";
  label: string;
  placeholder: string;
}) {
  const id = useId();
  const [tokens, setTokens] = useState<PromptTokens | null>(null);
  const [refused, setRefused] = useState<string | null>(null);
  const [joining, setJoining] = useState(false);
  const prompt = parsePrompt(value.value);
  const words = wordsOf(prompt);

  useSettled(
    async (signal) => {
      if (!value.value.trim() || prompt.error) {
        setTokens(null);
        setRefused(null);
        return;
      }
      try {
        setTokens(await api.tokens(value.value, which, modelName.value, signal));
        setRefused(null);
      } catch (error) {
        if (!signal.aborted) setRefused(messageOf(error));
      }
    },
    250,
    [value.value, modelName.value],
  );

  const isUnknown = (start: number, end: number) =>
    tokens?.text === prompt.text &&
    tokens.tokens.some((token) => token.unknown && token.start < end && start < token.end);
  return (
    <>
      <div class="field">
        <label for={id}>{label}</label>
        <textarea
          id={id}
          rows={2}
          placeholder={placeholder}
          value={value.value}
          aria-invalid={prompt.error !== null}
          spellcheck={false}
          onInput={(event) => {
            value.value = event.currentTarget.value;
          }}
        />
      </div>
      {prompt.error ? <Notice kind="bad">{prompt.error}</Notice> : null}
      {words.length && !prompt.error ? (
        <div class="stack">
          <div
            class="words"
            role="group"
            aria-label={`Words of the ${which} prompt: press one to mark a subject`}
          >
            {words.map((word, i) => (
              <button
                type="button"
                key={`${i} ${word.text}`}
                class={cls(
                  word.subject >= 0 && "marked",
                  word.subject >= 0 && subjectClass(word.subject),
                  isUnknown(word.start, word.end) && "unknown",
                )}
                aria-pressed={word.subject >= 0}
                title={
                  word.subject >= 0
                    ? "Unmark"
                    : "Mark as a subject; with Shift, join it to the subject beside it"
                }
                onClick={(event) => {
                  value.value = writePrompt(toggleWord(prompt, i, event.shiftKey || joining));
                }}
              >
                {word.text}
              </button>
            ))}
          </div>
          {prompt.subjects.length ? (
            <label class="check small muted">
              <input
                type="checkbox"
                checked={joining}
                onChange={(event) => setJoining(event.currentTarget.checked)}
              />
              <span>Join the next word to the subject beside it</span>
            </label>
          ) : (
            <p class="small muted">
              Click the word that {which === "source" ? "moves in the clip" : "shall move like it"}.
            </p>
          )}
        </div>
      ) : null}
      {refused ? <Notice kind="bad">{refused}</Notice> : null}
      {tokens?.warnings.map((warning) => (
        <Notice kind="warn" key={warning}>
          {warning}
        </Notice>
      ))}
      {tokens ? <Tokens tokens={tokens} /> : null}
      <Domain />
    </>
  );
}

/** What a checkpoint that knows little knows. */
function Domain() {
  const domain = model.value?.domain;
  if (!domain) return null;
  return (
    <details class="small">
      <summary class="muted">What this checkpoint knows</summary>
      <p>{domain.about}</p>
      <p>
        <strong>Subjects:</strong> {domain.subjects.join(", ")}
      </p>
      <p>
        <strong>Scenes:</strong> {domain.scenes.join(", ")}
      </p>
    </details>
  );
}

function Tokens({ tokens }: { tokens: PromptTokens }) {
  const shown = tokens.tokens.filter((token) => token.special === null);
  return (
    <details class="small">
      <summary class="muted">
        {tokens.tokens.length} of {tokens.limit} tokens
      </summary>
      <div class="tokens" role="list">
        {shown.map((token) => (
          <span
            key={token.position}
            role="listitem"
            class={cls(token.subject !== null && subjectClass(token.subject), token.unknown && "unknown")}
            title={token.unknown ? "The text encoder does not know it" : `position ${token.position}`}
          >
            {token.text}
            {token.piece ? "·" : ""}
          </span>
        ))}
      </div>
    </details>
  );
}
