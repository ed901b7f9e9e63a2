// What is done with the pointer on the stage.
import { signal } from "@preact/signals";
import { stroke as strokeOn } from "../../logic/mask.ts";
import { changed, short } from "../../logic/motion.ts";
import {
  dragged,
  type Handle,
  handleAt,
  newTrack,
  type Place,
  type Point,
  placeAt,
  trackOfPath,
} from "../../logic/track.ts";
import { editSubject, subjectAt, video } from "../../state/draft.ts";
import { maskToPaint, trackOf } from "../../state/masks.ts";
import {
  brushHindrance,
  brushSize,
  cursor,
  frame,
  paintFrame,
  playing,
  selected,
  setPlace,
  setTrack,
  stroke,
  tool,
} from "../../state/stage.ts";
import { changeBox, type Dragging } from "./paint.ts";
import { REACH, TURN_AWAY } from "./shapes.ts";

export const dragging = signal<Dragging>({});

/** What is done with the pointer on the canvas. */
export function pointers() {
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
export function abandon(): boolean {
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

export function paintGesture(first: Point): Gesture | null {
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
