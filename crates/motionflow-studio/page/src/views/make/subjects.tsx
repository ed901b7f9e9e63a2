// Where each subject moves: what the model sees at τ, a mask, a track, and the changes of it.
import { useEffect, useState } from "preact/hooks";
import { percent } from "../../logic/format.ts";
import { coverage } from "../../logic/mask.ts";
import { fromModel, type SubjectMotion } from "../../logic/motion.ts";
import { newTrack, writeTrack } from "../../logic/track.ts";
import {
  avoid,
  changed,
  editSubject,
  liveTau,
  look,
  maps,
  modelName,
  setSetting,
  source,
  subjectAt,
  subjectCount,
  subjectName,
  tauOf,
} from "../../state/draft.ts";
import { takeAvoid, takeMotion } from "../../state/files.ts";
import { lookRequest, startLook } from "../../state/looks.ts";
import { maskOf } from "../../state/masks.ts";
import { frame, selected, takeUp } from "../../state/stage.ts";
import { settingAt, settingsFor } from "../../state/studio.ts";
import {
  cls,
  FileButton,
  IconButton,
  Menu,
  Notice,
  saveFile,
  subjectClass,
  useSettled,
} from "../../ui/basics.tsx";
import { Icon } from "../../ui/icon.tsx";
import { Changes } from "./changes.tsx";

export function Subjects() {
  const request = lookRequest.value;
  useSettled(startLook, 500, [JSON.stringify(request)]);
  const count = subjectCount.value;
  const found = look.value;
  const [usual, setUsual] = useState<unknown>(null);
  useEffect(() => {
    settingsFor(modelName.value).then(
      (groups) => setUsual(settingAt(groups, "settings.mask_source")?.value),
      () => setUsual(null),
    );
  }, [modelName.value]);
  const isInverted = (changed.value["settings.mask_source"] ?? usual) === "inversion";
  const hasModel = Array.from({ length: count }, (_, i) => subjectAt(i)).some(
    ({ base }) => base.kind === "model",
  );
  return (
    <>
      {found.state === "failed" ? <Notice kind="bad">{found.message}</Notice> : null}
      {found.state === "finished"
        ? found.result.warnings.map((warning) => (
            <Notice kind="warn" key={warning}>
              {warning}
            </Notice>
          ))
        : null}
      {count === 0 ? (
        <p class="muted">
          {source.value
            ? "Mark the subject of the source prompt; the mask shows over the clip after a second or two."
            : "Mark a subject in the new prompt, then draw its track on the stage."}
        </p>
      ) : null}
      {Array.from({ length: count }, (_, i) => (
        <Subject key={i} index={i} count={count} />
      ))}
      {count ? <Avoid /> : null}
      {found.state === "finished" && hasModel ? (
        <p class="small muted">
          One pass on the noised clip, {found.result.seconds.toFixed(1)} s.
          {isInverted
            ? " The run makes its masks from the steps of the inversion, so they can differ a little."
            : ""}
        </p>
      ) : null}
    </>
  );
}

function describe(subject: SubjectMotion): string {
  const { base, edits, pinned } = subject;
  const painted = edits.size ? `, ${edits.size} ${edits.size === 1 ? "frame" : "frames"} painted` : "";
  if (base.kind === "track") return `track, ${base.track.keys.length} key frames`;
  if (base.kind === "file") return `file ${base.name}${painted}`;
  if (base.kind === "other")
    return `motion of ${base.entry.source ?? base.entry.inversion ?? "another clip"}`;
  return `${maps.value ? "what the model sees" : "not looked at yet"}${pinned ? ", given as it is" : ""}${painted}`;
}

function Subject({ index, count }: { index: number; count: number }) {
  const subject = subjectAt(index);
  const isLooked = subject.base.kind === "model" && maps.value?.subjects[index] !== undefined;
  const mask = maskOf(index, frame.value);
  const isPlain =
    subject.base.kind === "model" && !subject.edits.size && !subject.pinned && !subject.transform.length;
  const name = subjectName(index);
  const setTau = (tau: number) => {
    liveTau.value = null;
    if (count === 1) setSetting("settings.tau", tau);
    else editSubject(index, { tau });
  };
  return (
    <div class={cls("stack", subjectClass(index))}>
      <div class="row">
        <span class="swatch" />
        <h3 class="ellipsis">{name}</h3>
        <span class="muted small ellipsis grow">{describe(subject)}</span>
        <Menu label={`Motion of ${name}`}>
          <button type="button" onClick={() => takeUp(index, "brush")}>
            <Icon name="brush" />
            Paint its mask
          </button>
          <button type="button" onClick={() => takeUp(index, "track")}>
            <Icon name="track" />
            Draw a track
          </button>
          {isLooked ? (
            <button type="button" onClick={() => editSubject(index, { pinned: !subject.pinned })}>
              <Icon name="check" />
              {subject.pinned ? "Let the run find the mask" : "Give exactly this mask"}
            </button>
          ) : null}
          {subject.base.kind === "track" ? (
            <button
              type="button"
              onClick={() =>
                subject.base.kind === "track" &&
                saveFile(`${name}.json`, writeTrack(subject.base.track), "application/json")
              }
            >
              <Icon name="down" />
              Download the track
            </button>
          ) : null}
          {isPlain ? null : (
            <button type="button" class="danger" onClick={() => editSubject(index, fromModel)}>
              <Icon name="undo" />
              {source.value ? "Back to what the model sees" : "Remove its motion"}
            </button>
          )}
        </Menu>
      </div>
      {isLooked ? (
        <label class="row small">
          <span title="A place belongs to the subject where its attention exceeds τ times the frame's maximum">
            τ
          </span>
          <input
            type="range"
            min={0}
            max={0.99}
            step={0.01}
            value={tauOf(index)}
            aria-label={`Threshold τ of ${name}`}
            onInput={(event) => {
              selected.value = index;
              liveTau.value = { index, tau: Number(event.currentTarget.value) };
            }}
            onChange={(event) => setTau(Number(event.currentTarget.value))}
          />
          <span class="number">{tauOf(index).toFixed(2)}</span>
          <span class="number muted" title="Share of this frame that the mask covers">
            {mask ? percent(coverage(mask)) : ""}
          </span>
        </label>
      ) : null}
      {subject.base.kind === "model" && !isLooked ? (
        <div class="row wrap">
          <FileButton
            label="Mask or track file"
            icon="folder"
            accept=".npz,.npy,.csv,.json,.png,.mp4,.webm,.mov,.gif"
            onFiles={([file]) => file && takeMotion(file, index)}
          />
          {source.value ? null : (
            <button
              type="button"
              onClick={() => {
                takeUp(index, "track");
                editSubject(index, { base: { kind: "track", track: newTrack() } });
              }}
            >
              <Icon name="track" />
              Track
            </button>
          )}
        </div>
      ) : null}
      <Changes index={index} />
    </div>
  );
}

/** A region that stays free of all subjects. */
function Avoid() {
  return (
    <div class="row small">
      <span class="grow muted">
        {avoid.value ? "A region stays free of the subjects" : "Keep a region free of them"}
      </span>
      {avoid.value ? (
        <IconButton
          icon="x"
          label="Let the subjects be there again"
          onClick={() => {
            avoid.value = null;
          }}
        />
      ) : (
        <FileButton
          class="quiet"
          label="Mask of the region"
          icon="folder"
          accept=".npz,.png,.jpg,.mp4,.gif"
          onFiles={([file]) => file && takeAvoid(file)}
        />
      )}
    </div>
  );
}
