// The tools that correct masks and tracks.
import {
  canRedo,
  canUndo,
  redoMotion,
  subjectAt,
  subjectCount,
  subjectName,
  undoMotion,
} from "../../state/draft.ts";
import { trackOf } from "../../state/masks.ts";
import {
  brushHindrance,
  brushSize,
  canFill,
  clearFrame,
  copyBefore,
  fillFrames,
  frame,
  onion,
  selected,
  setTrack,
  type Tool,
  tool,
} from "../../state/stage.ts";
import { cls, IconButton, subjectClass } from "../../ui/basics.tsx";
import { Icon, type IconName } from "../../ui/icon.tsx";

export const TOOLS: readonly (readonly [Tool, IconName, string, string])[] = [
  ["view", "cursor", "Look", "V"],
  ["brush", "brush", "Brush: add to the mask", "B"],
  ["eraser", "eraser", "Eraser: take from the mask", "E"],
  ["track", "track", "Track: key frames of a box on a path", "T"],
  ["transform", "transform", "Transform: move, scale or turn the whole motion", "X"],
];

export function Tools() {
  const count = Math.max(1, subjectCount.value);
  const isPainting = tool.value === "brush" || tool.value === "eraser";
  const hasTrack = trackOf(selected.value) !== null;
  const track = trackOf(selected.value);
  return (
    <div class="tools" role="toolbar" aria-label="Tools">
      {TOOLS.map(([name, icon, label, key]) => (
        <button
          type="button"
          key={name}
          class="icon quiet"
          aria-pressed={tool.value === name}
          aria-label={label}
          aria-keyshortcuts={key}
          title={`${label} (${key})`}
          onClick={() => {
            tool.value = name;
          }}
        >
          <Icon name={icon} />
        </button>
      ))}
      <span class="divider" />
      {isPainting ? (
        <>
          <label class="row small">
            <span>Size</span>
            <input
              type="range"
              min={0.005}
              max={0.25}
              step={0.005}
              value={brushSize.value}
              aria-valuetext={`${Math.round(brushSize.value * 100)} % of the width`}
              onInput={(event) => {
                brushSize.value = Number(event.currentTarget.value);
              }}
            />
          </label>
          <IconButton
            icon="fill"
            label="Fill the frames between painted ones"
            keys="F"
            disabled={!canFill.value}
            onClick={fillFrames}
          />
          <IconButton
            icon="copy"
            label="Copy the mask of the frame before"
            keys="C"
            disabled={frame.value === 0 || brushHindrance.value !== null}
            onClick={copyBefore}
          />
        </>
      ) : null}
      {tool.value === "track" && track ? (
        <>
          <select
            aria-label="Shape of the track"
            value={track.shape}
            onChange={(event) =>
              setTrack({ ...track, shape: event.currentTarget.value === "box" ? "box" : "ellipse" })
            }
          >
            <option value="ellipse">ellipse</option>
            <option value="box">box</option>
          </select>
          <select
            aria-label="Path between key frames"
            value={track.interpolation}
            onChange={(event) =>
              setTrack({
                ...track,
                interpolation: event.currentTarget.value === "linear" ? "linear" : "smooth",
              })
            }
          >
            <option value="smooth">smooth</option>
            <option value="linear">linear</option>
          </select>
        </>
      ) : null}
      {tool.value !== "view" ? (
        <>
          <IconButton
            icon="onion"
            label="Onion skin: outlines of the frames before and after"
            keys="O"
            aria-pressed={onion.value}
            onClick={() => {
              onion.value = !onion.value;
            }}
          />
          <IconButton
            icon="trash"
            label={hasTrack ? "Remove this key frame" : "Remove what is painted in this frame"}
            keys="Delete"
            disabled={!hasTrack && !subjectAt(selected.value).edits.has(frame.value)}
            onClick={clearFrame}
          />
          <span class="divider" />
        </>
      ) : null}
      <IconButton icon="undo" label="Undo" keys="Control+Z" disabled={!canUndo.value} onClick={undoMotion} />
      <IconButton
        icon="redo"
        label="Redo"
        keys="Control+Shift+Z"
        disabled={!canRedo.value}
        onClick={redoMotion}
      />
      <span class="grow" />
      {count > 1 ? (
        <fieldset class="row" aria-label="Subject that is edited">
          {Array.from({ length: count }, (_, i) => (
            <button
              type="button"
              key={i}
              class={cls("quiet", subjectClass(i))}
              aria-pressed={selected.value === i}
              title={`Edit ${subjectName(i)} (${i + 1})`}
              onClick={() => {
                selected.value = i;
              }}
            >
              <span class="swatch" />
              {subjectName(i)}
            </button>
          ))}
        </fieldset>
      ) : null}
    </div>
  );
}
