// One transfer from the clip to the queue.
import { useEffect, useId } from "preact/hooks";
import {
  changed,
  editing,
  maps,
  motion,
  newSubjects,
  prompt,
  rawMotion,
  runName,
  source,
  sourcePrompt,
  sourceSubjects,
} from "../../state/draft.ts";
import { loadClips } from "../../state/files.ts";
import { clearDraft } from "../../state/restoring.ts";
import { cls, Notice, subjectClass, useKeys } from "../../ui/basics.tsx";
import { Icon } from "../../ui/icon.tsx";
import { stageKey } from "../stage/keys.ts";
import { Stage } from "../stage/stage.tsx";
import { ActionBar } from "./action-bar.tsx";
import { ClipChoice } from "./clip-choice.tsx";
import { PromptEditor } from "./prompt-editor.tsx";
import { Settings } from "./settings.tsx";
import { Subjects } from "./subjects.tsx";

export function Make() {
  useEffect(() => {
    void loadClips();
  }, []);
  useKeys((event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return stageKey(event);
    document.getElementById("add-to-queue")?.click();
    return true;
  });
  const hasSubject = sourceSubjects.value.length > 0;
  const isSourced = source.value !== null;
  const hasSourcePrompt = isSourced || sourcePrompt.value !== "";
  const isMatched =
    newSubjects.value.length > 0 && (!isSourced || newSubjects.value.length === sourceSubjects.value.length);
  return (
    <div class="make">
      <h1 class="hidden">Make a transfer</h1>
      <Stage />
      <section class="right" aria-label="The transfer">
        <div class="sections">
          {editing.value ? <EditingNotice /> : null}
          <Section step={1} title="Clip" isDone={isSourced} extra={<StartAnew />}>
            <ClipChoice />
          </Section>
          {hasSourcePrompt ? (
            <Section step={2} title="What it shows" isDone={hasSubject}>
              <PromptEditor
                value={sourcePrompt}
                which="source"
                label="Source prompt"
                placeholder="a car on a road"
              />
            </Section>
          ) : null}
          <Section
            step={hasSourcePrompt ? 3 : 2}
            title="Where it moves"
            isDone={maps.value !== null || motion.value.some((subject) => subject.base.kind !== "model")}
          >
            {rawMotion.value ? (
              <Notice kind="info">
                The motion of the settings file is used as it is.{" "}
                <button
                  type="button"
                  class="link"
                  onClick={() => {
                    rawMotion.value = null;
                  }}
                >
                  Take it away
                </button>
              </Notice>
            ) : (
              <Subjects />
            )}
          </Section>
          <Section step={hasSourcePrompt ? 4 : 3} title="What shall move like it" isDone={isMatched}>
            <PromptEditor value={prompt} which="new" label="New prompt" placeholder="a panda in the snow" />
            <Matches />
          </Section>
          <Section
            step={hasSourcePrompt ? 5 : 4}
            title="Settings"
            isDone={Object.keys(changed.value).length > 0}
          >
            <RunName />
            <Settings />
          </Section>
        </div>
        <ActionBar />
      </section>
    </div>
  );
}

function Section({
  step,
  title,
  isDone,
  extra,
  children,
}: {
  step: number;
  title: string;
  isDone: boolean;
  extra?: preact.ComponentChildren;
  children: preact.ComponentChildren;
}) {
  const id = useId();
  return (
    <section class={cls("section", isDone && "done")} aria-labelledby={id}>
      <header>
        <span class="step" aria-hidden="true">
          {isDone ? <Icon name="check" /> : step}
        </span>
        <h2 id={id} class="grow">
          {title}
        </h2>
        {extra}
      </header>
      {children}
    </section>
  );
}

function StartAnew() {
  return source.value || prompt.value ? (
    <button type="button" class="quiet small" onClick={clearDraft}>
      Start anew
    </button>
  ) : null;
}

function EditingNotice() {
  return (
    <div class="section">
      <Notice kind="info">
        This edits a job that waits in the queue.{" "}
        <button
          type="button"
          class="link"
          onClick={() => {
            editing.value = null;
          }}
        >
          Make another job of it
        </button>
      </Notice>
    </div>
  );
}

/** Which subject moves like which. */
function Matches() {
  const [from, to] = [sourceSubjects.value, newSubjects.value];
  if (!to.length || (source.value && !from.length)) return null;
  if (source.value && from.length !== to.length) {
    return (
      <Notice kind="warn">
        The source prompt marks {from.length}, the new prompt {to.length}. They are matched in order, so there
        must be as many.
      </Notice>
    );
  }
  if (!source.value) return null;
  return (
    <ul class="matches small">
      {to.map((name, i) => (
        <li class="row" key={name}>
          <span class={cls("item", subjectClass(i))}>
            <span class="swatch" />
            <span class="ellipsis">{from[i]}</span>
          </span>
          <span class="muted" aria-hidden="true">
            →
          </span>
          <span class="hidden">becomes</span>
          <span class={cls("item", subjectClass(i))}>
            <span class="swatch" />
            <span class="ellipsis">{name}</span>
          </span>
        </li>
      ))}
    </ul>
  );
}

function RunName() {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>Name of the run folder</label>
      <input
        id={id}
        type="text"
        value={runName.value}
        placeholder="made of the prompt"
        spellcheck={false}
        onInput={(event) => {
          runName.value = event.currentTarget.value;
        }}
      />
    </div>
  );
}
