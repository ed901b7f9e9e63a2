// Draws the stage.
import type { Mask } from "../../logic/mask.ts";
import { type Place, type Point, placeAt } from "../../logic/track.ts";
import { frames, sheet, subjectAt, subjectCount, video } from "../../state/draft.ts";
import { maskOf, placeOf, trackOf } from "../../state/masks.ts";
import { brushSize, cursor, frame, onion, selected, stroke, tool } from "../../state/stage.ts";
import { transformed } from "../../state/transforms.ts";
import { colorOf, drawTile, tint } from "../../ui/pictures.ts";
import { box, contour, corners, css, dot, line, moved, onCanvas, shape } from "./shapes.ts";

/** What is dragged, before it is let go. */
export interface Dragging {
  /** The box as it would be. */
  readonly place?: Place;
  /** A path that is drawn. */
  readonly path?: readonly Point[];
  /** How a subject's mask would be changed: from one box to another. */
  readonly change?: { readonly from: Place; readonly to: Place };
}

/** The mask of a subject as it is shown: after its changes, unless it is painted on. */
function shownMask(index: number, at: number): Mask | null {
  const isPainted = index === selected.value && (tool.value === "brush" || tool.value === "eraser");
  const after = isPainted ? undefined : transformed.value.get(index)?.[at];
  if (after) return after;
  if (stroke.value && index === selected.value && at === frame.value) return stroke.value.mask;
  return maskOf(index, at);
}

export function paintStage(context: CanvasRenderingContext2D, scale: number, dragging: Dragging): void {
  const { canvas } = context;
  const { width, height } = canvas;
  const [found, picture, at] = [frames.value, sheet.value, frame.value];
  context.clearRect(0, 0, width, height);
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  if (found && picture) drawTile(context, picture, found, at);
  else grid(context);

  const count = Math.max(subjectCount.value, 1);
  for (let index = 0; index < count; index++) {
    const color = colorOf(index);
    const isActive = index === selected.value;
    const place = isActive && dragging.place ? dragging.place : placeOf(index, at);
    const isChanged = transformed.value.has(index);
    if (place && !isChanged) {
      shape(context, place, trackOf(index)?.shape ?? "ellipse", color, 0.32);
    }
    const mask = shownMask(index, at);
    if (mask) {
      context.imageSmoothingEnabled = false;
      const isWorking = stroke.value?.mask === mask;
      if (isActive && dragging.change) {
        moved(context, dragging.change, () => context.drawImage(tint(mask, color, 0.5), 0, 0, width, height));
      } else {
        context.drawImage(tint(mask, color, 0.42, !isWorking), 0, 0, width, height);
        edges(context, mask, color, isActive ? 1 : 0.6, scale, isWorking);
      }
      context.imageSmoothingEnabled = true;
    }
  }

  if (onion.value && tool.value !== "view") skins(context, at, scale);
  if (tool.value === "track") drawTrack(context, dragging, scale);
  if (tool.value === "transform") drawTransform(context, dragging, scale);
  if (cursor.value && (tool.value === "brush" || tool.value === "eraser"))
    drawCursor(context, cursor.value, scale);
}

function grid(context: CanvasRenderingContext2D): void {
  const { width, height } = context.canvas;
  context.fillStyle = "#3a3d45";
  context.fillRect(0, 0, width, height);
  context.strokeStyle = "#4d515c";
  context.lineWidth = 1;
  context.beginPath();
  for (let i = 1; i < 10; i++) {
    context.moveTo((i * width) / 10, 0);
    context.lineTo((i * width) / 10, height);
    context.moveTo(0, (i * height) / 10);
    context.lineTo(width, (i * height) / 10);
  }
  context.stroke();
}

/** The outline of a mask over a wider dark one, so that it shows on any ground. */
function edges(
  context: CanvasRenderingContext2D,
  mask: Mask,
  color: readonly number[],
  alpha: number,
  scale: number,
  isWorking: boolean,
): void {
  const path = contour(context, mask, !isWorking);
  context.lineCap = "square";
  for (const [width, style] of [
    [3, css([0, 0, 0], 0.35 * alpha)],
    [1.5, css(color, alpha)],
  ] as const) {
    context.lineWidth = width * scale;
    context.strokeStyle = style;
    context.stroke(path);
  }
}

function skins(context: CanvasRenderingContext2D, at: number, scale: number): void {
  for (const [other, alpha] of [
    [at - 2, 0.35],
    [at - 1, 0.8],
    [at + 1, 0.6],
    [at + 2, 0.25],
  ] as const) {
    if (other < 0 || other >= video.value.frames) continue;
    const mask = maskOf(selected.value, other);
    const color = other < at ? [255, 255, 255] : [20, 22, 28];
    if (mask) {
      context.lineWidth = 1.5 * scale;
      context.strokeStyle = css(color, alpha);
      context.setLineDash(other < at ? [] : [5 * scale, 3 * scale]);
      context.stroke(contour(context, mask, true));
      context.setLineDash([]);
    }
    const place = placeOf(selected.value, other);
    if (place) {
      context.globalAlpha = alpha;
      context.strokeStyle = css(color);
      context.lineWidth = scale;
      corners(context, place);
      context.stroke();
      context.globalAlpha = 1;
    }
  }
}

function drawTrack(context: CanvasRenderingContext2D, dragging: Dragging, scale: number): void {
  const color = colorOf(selected.value);
  if (dragging.path) {
    line(context, dragging.path, css(color), scale);
    return;
  }
  const track = trackOf(selected.value);
  if (!track) return;
  const count = video.value.frames;
  const path = Array.from({ length: 4 * (count - 1) + 1 }, (_, i) => placeAt(track, i / 4));
  line(context, path, css(color, 0.9), scale);
  for (let i = 0; i < count; i++) dot(context, placeAt(track, i), 2 * scale, css(color), 0.5 * scale);
  for (const key of track.keys)
    dot(context, key, 4.5 * scale, key.frame === frame.value ? "#fff" : css(color), scale);
  box(context, dragging.place ?? placeAt(track, frame.value), color, scale);
}

/** The box about a mask; null where it is empty. */
function boxOf({ width, height, pixels }: Mask): Place | null {
  let [left, right, top, bottom] = [width, -1, height, -1];
  pixels.forEach((value, i) => {
    if (!value) return;
    const [x, y] = [i % width, Math.floor(i / width)];
    left = Math.min(left, x);
    right = Math.max(right, x);
    top = Math.min(top, y);
    bottom = Math.max(bottom, y);
  });
  if (right < 0) return null;
  const [w, h] = [right + 1 - left, bottom + 1 - top];
  return {
    x: (left + w / 2) / width,
    y: (top + h / 2) / height,
    width: w / width,
    height: h / height,
    rotation: 0,
  };
}

/** The box by which the selected subject is changed as a whole, in this frame. */
export function changeBox(): Place | null {
  const mask = shownMask(selected.value, frame.value);
  if (mask) return boxOf(mask);
  return placeOf(selected.value, frame.value);
}

function drawTransform(context: CanvasRenderingContext2D, dragging: Dragging, scale: number): void {
  const place = dragging.change?.to ?? changeBox();
  if (place) box(context, place, colorOf(selected.value), scale);
}

function drawCursor(context: CanvasRenderingContext2D, at: Point, scale: number): void {
  const [x, y] = onCanvas(context, at);
  const radius = brushSize.value * context.canvas.width;
  for (const [width, style] of [
    [3, "rgb(0 0 0 / 55%)"],
    [1.5, tool.value === "eraser" ? "#fff" : css(colorOf(selected.value))],
  ] as const) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.lineWidth = width * scale;
    context.strokeStyle = style;
    if (tool.value === "eraser") context.setLineDash([4 * scale, 3 * scale]);
    context.stroke();
    context.setLineDash([]);
  }
}

/** For screen readers: what the stage shows. */
export function describeStage(): string {
  const at = `Frame ${frame.value + 1} of ${video.value.frames}`;
  const subject = subjectAt(selected.value);
  const isKey =
    subject.edits.has(frame.value) || trackOf(selected.value)?.keys.some((key) => key.frame === frame.value);
  return `${at}, tool: ${tool.value}${isKey ? ", key frame" : ""}`;
}
