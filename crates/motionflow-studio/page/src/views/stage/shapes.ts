// Boxes, lines and outlines on a canvas, given in fractions of the picture.
import { edgesOf, type Mask } from "../../logic/mask.ts";
import { onBox, type Place, type Point, turnHandle } from "../../logic/track.ts";

/** How far the handle that turns a box stands off, and how near a handle must be touched, in pixels of the screen. */
export const TURN_AWAY = 26;

export const REACH = 14;

const contours = new WeakMap<Mask, Path2D>();

/** The outline of a mask over the whole canvas. That of a mask which is painted changes, and is not kept. */
export function contour(context: CanvasRenderingContext2D, mask: Mask, isKept: boolean): Path2D {
  let path = isKept ? contours.get(mask) : undefined;
  if (!path) {
    path = new Path2D();
    for (const [x1, y1, x2, y2] of edgesOf(mask)) {
      path.moveTo(x1, y1);
      path.lineTo(x2, y2);
    }
    if (isKept) contours.set(mask, path);
  }
  const { width, height } = context.canvas;
  const scaled = new Path2D();
  scaled.addPath(path, new DOMMatrix([width / mask.width, 0, 0, height / mask.height, 0, 0]));
  return scaled;
}

export const css = ([r, g, b]: readonly number[], alpha = 1) => `rgb(${r} ${g} ${b} / ${alpha})`;

export function onCanvas(context: CanvasRenderingContext2D, { x, y }: Point): [number, number] {
  return [x * context.canvas.width, y * context.canvas.height];
}

const aspectOf = ({ canvas }: CanvasRenderingContext2D) => canvas.width / canvas.height;

export function corners(context: CanvasRenderingContext2D, place: Place): void {
  const aspect = aspectOf(context);
  context.beginPath();
  for (const [x, y] of [
    [-1, -1],
    [1, -1],
    [1, 1],
    [-1, 1],
  ] as const) {
    context.lineTo(...onCanvas(context, onBox(place, x, y, aspect)));
  }
  context.closePath();
}

export function shape(
  context: CanvasRenderingContext2D,
  place: Place,
  kind: string,
  color: readonly number[],
  alpha: number,
) {
  const { width, height } = context.canvas;
  context.fillStyle = css(color, alpha);
  if (kind === "box") {
    corners(context, place);
  } else {
    context.beginPath();
    const [x, y] = onCanvas(context, place);
    const turn = (place.rotation * Math.PI) / 180;
    context.ellipse(x, y, (place.width * width) / 2, (place.height * height) / 2, turn, 0, 2 * Math.PI);
  }
  context.fill();
}

/** A box with its handles. */
export function box(
  context: CanvasRenderingContext2D,
  place: Place,
  color: readonly number[],
  scale: number,
): void {
  const aspect = aspectOf(context);
  context.lineWidth = 3.5 * scale;
  context.strokeStyle = "rgb(0 0 0 / 45%)";
  corners(context, place);
  context.stroke();
  context.lineWidth = 1.5 * scale;
  context.strokeStyle = css(color);
  corners(context, place);
  context.stroke();
  const away = (TURN_AWAY * scale) / context.canvas.height;
  const [top, turn] = [onBox(place, 0, -1, aspect), turnHandle(place, away, aspect)];
  context.beginPath();
  context.moveTo(...onCanvas(context, top));
  context.lineTo(...onCanvas(context, turn));
  context.stroke();
  const handles = ([-1, 1] as const).flatMap((x) =>
    ([-1, 1] as const).map((y) => onBox(place, x, y, aspect)),
  );
  for (const handle of [...handles, turn]) dot(context, handle, 5 * scale, css(color), scale);
}

export function dot(
  context: CanvasRenderingContext2D,
  at: Point,
  radius: number,
  fill: string,
  scale: number,
): void {
  context.beginPath();
  context.arc(...onCanvas(context, at), radius, 0, 2 * Math.PI);
  context.fillStyle = fill;
  context.fill();
  context.lineWidth = 1.5 * scale;
  context.strokeStyle = "rgb(0 0 0 / 70%)";
  context.stroke();
}

export function line(
  context: CanvasRenderingContext2D,
  path: readonly Point[],
  color: string,
  scale: number,
): void {
  context.beginPath();
  for (const point of path) context.lineTo(...onCanvas(context, point));
  context.lineJoin = "round";
  context.lineWidth = 4 * scale;
  context.strokeStyle = "rgb(0 0 0 / 40%)";
  context.stroke();
  context.lineWidth = 2 * scale;
  context.strokeStyle = color;
  context.stroke();
}

/** Draws as if the box `from` were the box `to`. */
export function moved(
  context: CanvasRenderingContext2D,
  { from, to }: { from: Place; to: Place },
  draw: () => void,
): void {
  const { width, height } = context.canvas;
  context.save();
  context.translate(to.x * width, to.y * height);
  context.rotate(((to.rotation - from.rotation) * Math.PI) / 180);
  context.scale(to.width / from.width, to.height / from.height);
  context.translate(-from.x * width, -from.y * height);
  draw();
  context.restore();
}
