// The stage: the clip with its masks, the tools that correct them, and the frames to go through.
import { effect, signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { stroke as strokeOn } from "../logic/mask.ts";
import { changed, short } from "../logic/motion.ts";
import {
  dragged,
  type Handle,
  handleAt,
  newTrack,
  type Place,
  type Point,
  placeAt,
  trackOfPath,
} from "../logic/track.ts";
import {
  canRedo,
  canUndo,
  editSubject,
  frames,
  framesError,
  look,
  maskToPaint,
  motionError,
  redoMotion,
  source,
  subjectAt,
  subjectCount,
  subjectName,
  trackOf,
  undoMotion,
  video,
} from "../state/draft.ts";
import { helpShown } from "../state/shell.ts";
import {
  brushHindrance,
  brushSize,
  canFill,
  clearFrame,
  copyBefore,
  cursor,
  fillFrames,
  frame,
  lastFrame,
  nudge,
  onion,
  paintFrame,
  playing,
  selected,
  setPlace,
  setTrack,
  showFrame,
  stroke,
  type Tool,
  tool,
} from "../state/stage.ts";
import { cls, Dialog, IconButton, isTyping, Notice, Spinner, subjectClass } from "../ui/basics.tsx";
import { Icon, type IconName } from "../ui/icon.tsx";
import { changeBox, type Dragging, describeStage, paintStage, REACH, TURN_AWAY } from "./paint.ts";

const dragging = signal<Dragging>({});
const size = signal({ width: 0, height: 0 });

const TOOLS: readonly (readonly [Tool, IconName, string, string])[] = [
  ["view", "cursor", "Look", "V"],
  ["brush", "brush", "Brush: add to the mask", "B"],
  ["eraser", "eraser", "Eraser: take from the mask", "E"],
  ["track", "track", "Track: key frames of a box on a path", "T"],
  ["transform", "transform", "Transform: move, scale or turn the whole motion", "X"],
];

export function Stage() {
  return (
    <section class="left" aria-label="Stage">
      <Tools />
      <Viewport />
      <Transport />
    </section>
  );
}

function Tools() {
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

function Viewport() {
  const viewport = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);

  useEffect(() => {
    const element = viewport.current;
    if (!element) return;
    const measure = () => {
      const style = getComputedStyle(element);
      const padding = Number.parseFloat(style.paddingLeft) * 2;
      size.value = { width: element.clientWidth - padding, height: element.clientHeight - padding };
    };
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    measure();
    const stop = effect(() => {
      const context = canvas.current?.getContext("2d");
      if (!context) return;
      const { width, height } = video.value;
      const fit = Math.min(size.value.width / width, size.value.height / height);
      if (!(fit > 0)) return;
      const scale = Math.min(2, devicePixelRatio);
      const [w, h] = [Math.round(width * fit), Math.round(height * fit)];
      if (context.canvas.width !== Math.round(w * scale) || context.canvas.height !== Math.round(h * scale)) {
        context.canvas.width = Math.round(w * scale);
        context.canvas.height = Math.round(h * scale);
        context.canvas.style.width = `${w}px`;
        context.canvas.style.height = `${h}px`;
      }
      paintStage(context, scale, dragging.value);
    });
    return () => {
      observer.disconnect();
      stop();
    };
  }, []);

  const isPainting = tool.value === "brush" || tool.value === "eraser";
  const hindrance = isPainting ? brushHindrance.value : null;
  return (
    <div class="viewport" ref={viewport}>
      {/* biome-ignore lint/a11y/noInteractiveElementToNoninteractiveRole: an application takes keys */}
      <canvas
        ref={canvas}
        id="stage"
        tabIndex={0}
        role="application"
        aria-roledescription="stage"
        aria-label={describeStage()}
        class={cls(isPainting && "paint", (tool.value === "track" || tool.value === "transform") && "track")}
        {...pointers()}
      />
      <div class="veil">
        {framesError.value ? (
          <Notice kind="bad">{framesError.value}</Notice>
        ) : source.value && !frames.value ? (
          <span class="pill">
            <Spinner label="Reading the clip" />
          </span>
        ) : look.value.state === "running" || look.value.state === "waiting" ? (
          <span class="pill">
            <Spinner
              label={
                look.value.state === "waiting" ? "The look waits for the running job" : "Looking at the clip"
              }
            />
          </span>
        ) : hindrance ? (
          <span class="pill">{hindrance}</span>
        ) : motionError.value ? (
          <Notice kind="bad">{motionError.value}</Notice>
        ) : tool.value === "track" && !trackOf(selected.value) ? (
          <span class="pill">Drag a path over the picture, or press Enter for a box in the middle.</span>
        ) : null}
      </div>
    </div>
  );
}

/** What is done with the pointer on the canvas. */
function pointers() {
  const at = (event: PointerEvent & { currentTarget: HTMLCanvasElement }): Point => {
    const rect = event.currentTarget.getBoundingClientRect();
    return { x: (event.clientX - rect.left) / rect.width, y: (event.clientY - rect.top) / rect.height };
  };
  type Event = PointerEvent & { currentTarget: HTMLCanvasElement };
  const handleOf = (event: Event, place: Place) => {
    const rect = event.currentTarget.getBoundingClientRect();
    const reach = (event.pointerType === "touch" ? 2 : 1) * REACH;
    return handleAt(place, at(event), reach / rect.height, TURN_AWAY / rect.height, rect.width / rect.height);
  };
  return {
    onPointerDown: (event: Event) => {
      if (event.button !== 0 || tool.value === "view") return;
      event.currentTarget.setPointerCapture(event.pointerId);
      playing.value = false;
      const point = at(event);
      const rect = event.currentTarget.getBoundingClientRect();
      const aspect = rect.width / rect.height;
      gesture = null;
      if (tool.value === "brush" || tool.value === "eraser") gesture = paintGesture(point);
      else if (tool.value === "track") {
        const place = placeAtFrame();
        const handle = place && handleOf(event, place);
        gesture = place && handle ? boxGesture(place, handle, point, aspect) : pathGesture(point);
      } else {
        const place = changeBox();
        const handle = place && handleOf(event, place);
        if (place && handle) gesture = changeGesture(place, handle, point, aspect);
      }
    },
    onPointerMove: (event: Event) => {
      cursor.value = at(event);
      if (!gesture) return;
      const all = event.getCoalescedEvents?.() ?? [];
      const rect = event.currentTarget.getBoundingClientRect();
      for (const one of all.length ? all : [event]) {
        gesture.move(
          { x: (one.clientX - rect.left) / rect.width, y: (one.clientY - rect.top) / rect.height },
          event.shiftKey,
        );
      }
    },
    onPointerUp: () => {
      gesture?.end();
      gesture = null;
    },
    onPointerCancel: abandon,
    onPointerLeave: () => {
      cursor.value = null;
    },
  };
}

interface Gesture {
  move(to: Point, snap: boolean): void;
  end(): void;
}

let gesture: Gesture | null = null;

/** Ends what is dragged without its effect. */
function abandon(): boolean {
  const wasBusy = gesture !== null;
  gesture = null;
  stroke.value = null;
  dragging.value = {};
  return wasBusy;
}

const placeAtFrame = () => {
  const track = trackOf(selected.value);
  return track ? placeAt(track, frame.value) : null;
};

function paintGesture(first: Point): Gesture | null {
  if (brushHindrance.value) return null;
  const original = maskToPaint(selected.value, frame.value);
  const mask = { ...original, pixels: original.pixels.slice() };
  let last = first;
  const paint = (to: Point) => {
    const inPixels = ({ x, y }: Point) => ({ x: x * mask.width, y: y * mask.height });
    strokeOn(mask, inPixels(last), inPixels(to), brushSize.value * mask.width, tool.value === "eraser");
    last = to;
    stroke.value = { mask };
  };
  paint(first);
  return {
    move: paint,
    end: () => {
      stroke.value = null;
      paintFrame(mask);
    },
  };
}

function boxGesture(place: Place, handle: Handle, from: Point, aspect: number): Gesture {
  let to = place;
  return {
    move: (point, snap) => {
      to = dragged(place, handle, from, point, aspect, snap);
      dragging.value = { place: to };
    },
    end: () => {
      dragging.value = {};
      if (to !== place) setPlace(to);
    },
  };
}

function pathGesture(first: Point): Gesture {
  const path = [first];
  return {
    move: (point) => {
      path.push(point);
      dragging.value = { path: [...path] };
    },
    end: () => {
      dragging.value = {};
      const track = trackOf(selected.value);
      const isClick = path.every(({ x, y }) => Math.hypot(x - first.x, y - first.y) < 0.02);
      if (isClick) setPlace({ ...placeAt(track ?? newTrack(), frame.value), ...first });
      else setTrack(trackOfPath(path, video.value.frames, track ?? newTrack()));
    },
  };
}

function changeGesture(from: Place, handle: Handle, first: Point, aspect: number): Gesture {
  let to = from;
  return {
    move: (point, snap) => {
      // A corner scales about the subject's own middle, as the change does.
      if (typeof handle === "object") {
        const grown = (a: number, b: number, middle: number) =>
          Math.max(0.05, Math.abs(b - middle) / Math.max(1e-3, Math.abs(a - middle)));
        let [across, down] = [grown(first.x, point.x, from.x), grown(first.y, point.y, from.y)];
        if (!snap) across = down = Math.max(across, down);
        to = { ...from, width: from.width * across, height: from.height * down };
      } else to = dragged(from, handle, first, point, aspect, snap);
      dragging.value = { change: { from, to } };
    },
    end: () => {
      dragging.value = {};
      if (to !== from) addChange(changeText(from, to, handle));
    },
  };
}

function changeText(from: Place, to: Place, handle: Handle): string {
  if (handle === "move") return `move ${short(to.x - from.x)} ${short(to.y - from.y)}`;
  if (handle === "rotate") return `rotate ${short(to.rotation - from.rotation)}`;
  const [across, down] = [to.width / from.width, to.height / from.height];
  return Math.abs(across - down) < 1e-6 ? `scale ${short(across)}` : `scale ${short(across)} ${short(down)}`;
}

export function addChange(text: string): void {
  editSubject(selected.value, { transform: changed(subjectAt(selected.value).transform, text) });
}

function Transport() {
  const subject = subjectAt(selected.value);
  const track = trackOf(selected.value);
  const keys = new Set(track ? track.keys.map((key) => Math.round(key.frame)) : subject.edits.keys());
  const count = video.value.frames;
  return (
    <div class="transport">
      <IconButton
        icon={playing.value ? "pause" : "play"}
        label={playing.value ? "Pause" : "Play"}
        keys="Space"
        onClick={() => {
          playing.value = !playing.value;
        }}
      />
      <div class="timeline">
        <div class={cls("marks", subjectClass(selected.value))} aria-hidden="true">
          {Array.from({ length: count }, (_, i) => (
            <span
              key={i}
              class={keys.has(i) ? (subject.filled.has(i) ? "filled" : "key") : ""}
              style={{ left: `${(100 * i) / Math.max(1, count - 1)}%` }}
            />
          ))}
        </div>
        <input
          type="range"
          min={0}
          max={lastFrame.value}
          value={frame.value}
          aria-label="Frame"
          aria-valuetext={`frame ${frame.value + 1} of ${count}`}
          onInput={(event) => {
            playing.value = false;
            showFrame(Number(event.currentTarget.value));
          }}
        />
      </div>
      <span class="number small muted">
        {frame.value + 1} / {count}
      </span>
    </div>
  );
}

/** The keys of the stage. Gives whether it took the key. */
export function stageKey(event: KeyboardEvent): boolean {
  if (isTyping(event)) return false;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) {
    if (key !== "z" && key !== "y") return false;
    if (key === "y" || event.shiftKey) redoMotion();
    else undoMotion();
    return true;
  }
  const target = event.target as HTMLElement;
  const isButton = target.closest("button, a, summary, input, label") !== null;
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (step && event.shiftKey) return arrow(step[0] ?? 0, step[1] ?? 0, event.altKey);
  if (event.altKey) return false;
  if (target instanceof HTMLInputElement && (step || event.key === "Home" || event.key === "End"))
    return false;
  const simple: Record<string, () => void> = {
    ArrowLeft: () => showFrame(frame.value - 1),
    ArrowRight: () => showFrame(frame.value + 1),
    Home: () => showFrame(0),
    End: () => showFrame(lastFrame.value),
    Delete: clearFrame,
    o: () => {
      onion.value = !onion.value;
    },
    f: () => canFill.value && fillFrames(),
    c: copyBefore,
    "[": () => {
      brushSize.value = Math.max(0.005, brushSize.value - 0.005);
    },
    "]": () => {
      brushSize.value = Math.min(0.25, brushSize.value + 0.005);
    },
    "?": () => {
      helpShown.value = true;
    },
  };
  const named = TOOLS.find(([, , , letter]) => letter.toLowerCase() === key);
  if (named) tool.value = named[0];
  else if (/^[1-9]$/.test(key) && Number(key) <= Math.max(1, subjectCount.value))
    selected.value = Number(key) - 1;
  else if (key === " " && !isButton) playing.value = !playing.value;
  else if (key === "Enter" && !isButton) return enter();
  else if (key === "Escape") return abandon();
  else if (simple[key]) {
    if (step || key === "Home" || key === "End") playing.value = false;
    simple[key]();
  } else return boxKey(key);
  return true;
}

/** Shift and an arrow: moves the brush, the box or the whole motion. */
function arrow(x: number, y: number, isFar: boolean): boolean {
  const by = isFar ? 0.05 : 0.01;
  if (tool.value === "track") nudge({ x: x * by, y: y * by });
  else if (tool.value === "transform") addChange(`move ${short(x * by)} ${short(y * by)}`);
  else if (tool.value === "brush" || tool.value === "eraser") {
    const from = cursor.value ?? { x: 0.5, y: 0.5 };
    const inside = (value: number) => Math.min(1, Math.max(0, value));
    cursor.value = { x: inside(from.x + 2 * x * by), y: inside(from.y + 2 * y * by) };
  } else return false;
  return true;
}

/** Enter: paints where the brush is, or sets a key frame. */
function enter(): boolean {
  if (tool.value === "brush" || tool.value === "eraser") {
    cursor.value ??= { x: 0.5, y: 0.5 };
    paintGesture(cursor.value)?.end();
  } else if (tool.value === "track") nudge({});
  else return false;
  return true;
}

/** Plus, minus, comma and period: size and turn of the box. */
function boxKey(key: string): boolean {
  const sizes: Record<string, number> = { "+": 0.05, "=": 0.05, "-": -0.05 };
  const turns: Record<string, number> = { ",": -5, ".": 5 };
  const [grow, turn] = [sizes[key], turns[key]];
  if (tool.value === "track" && grow) nudge({ width: grow, height: grow });
  else if (tool.value === "track" && turn) nudge({ rotation: turn });
  else if (tool.value === "transform" && grow) addChange(`scale ${short(1 + grow)}`);
  else if (tool.value === "transform" && turn) addChange(`rotate ${turn}`);
  else return false;
  return true;
}

export function Help() {
  const rows: readonly (readonly [string, string])[] = [
    ["Space", "Play or pause"],
    ["← →", "Frame before, after"],
    ["Home End", "First, last frame"],
    ["V B E T X", "Look, brush, eraser, track, transform"],
    ["1 … 9", "Choose a subject"],
    ["[ ]", "Smaller, larger brush"],
    ["O", "Onion skin"],
    ["F", "Fill between painted frames"],
    ["C", "Copy the mask of the frame before"],
    ["Shift + arrows", "Move the brush, the box or the motion; with Alt farther"],
    ["Enter", "Paint where the brush is; set a key frame"],
    ["+ − , .", "Size and turn of the box"],
    ["Delete", "Remove paint or key frame of this frame; a job of the queue"],
    ["Ctrl + Z", "Undo"],
    ["Ctrl + Shift + Z", "Redo"],
    ["Ctrl + Enter", "Add to the queue"],
    ["↑ ↓", "Queue: go through the jobs"],
    ["Alt + ↑ ↓", "Queue: move a job"],
    ["Enter, E, D, C", "Queue: open, edit, duplicate, cancel or continue"],
    ["← ↓ →", "Votes: left, same, right; Backspace takes one back, Enter votes"],
    ["Escape", "Close, or give up what is dragged"],
    ["?", "This list"],
  ];
  return (
    <Dialog
      title="Keys"
      onClose={() => {
        helpShown.value = false;
      }}
    >
      <dl class="keys">
        {rows.map(([keys, what]) => (
          <>
            <dt key={keys}>
              <kbd>{keys}</kbd>
            </dt>
            <dd>{what}</dd>
          </>
        ))}
      </dl>
    </Dialog>
  );
}
