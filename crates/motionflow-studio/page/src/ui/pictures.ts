// Pictures on canvases.
import type { Sheet } from "../api/types.ts";
import type { Mask } from "../logic/mask.ts";

/** The colours of the subjects, as in the program's pictures. */
export const COLORS = [
  [0, 229, 255],
  [255, 64, 200],
  [255, 214, 0],
  [120, 255, 80],
] as const;

export const colorOf = (index: number) => COLORS[index % COLORS.length] as (typeof COLORS)[number];

/** A canvas that is not shown, of this size. */
function scratch(width: number, height: number): [HTMLCanvasElement, CanvasRenderingContext2D] {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser has no canvas");
  return [canvas, context];
}

/** A mask as a PNG, in base64. */
export function maskToPng({ width, height, pixels }: Mask): string {
  const [canvas, context] = scratch(width, height);
  const image = context.createImageData(width, height);
  for (let i = 0; i < pixels.length; i++) {
    image.data.fill(pixels[i] ?? 0, 4 * i, 4 * i + 3);
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  return canvas.toDataURL("image/png").replace(/^data:image\/png;base64,/, "");
}

const tints = new WeakMap<Mask, Map<string, HTMLCanvasElement>>();

/** The mask as a picture in one colour, made once for a mask that does not change. */
export function tint(mask: Mask, color: readonly number[], alpha: number, keep = true): HTMLCanvasElement {
  const key = `${color} ${alpha}`;
  const kept = keep ? tints.get(mask) : undefined;
  const found = kept?.get(key);
  if (found) return found;
  const [canvas, context] = scratch(mask.width, mask.height);
  const image = context.createImageData(mask.width, mask.height);
  const [r = 0, g = 0, b = 0] = color;
  const value = (alpha * 255) << 0;
  const { data } = image;
  mask.pixels.forEach((pixel, i) => {
    if (!pixel) return;
    data[4 * i] = r;
    data[4 * i + 1] = g;
    data[4 * i + 2] = b;
    data[4 * i + 3] = value;
  });
  context.putImageData(image, 0, 0);
  if (keep) tints.set(mask, (kept ?? new Map<string, HTMLCanvasElement>()).set(key, canvas));
  return canvas;
}

/** Draws a frame of a sheet over the whole canvas. */
export function drawTile(
  context: CanvasRenderingContext2D,
  picture: CanvasImageSource,
  sheet: Sheet,
  frame: number,
): void {
  const { tile_width: width, tile_height: height, columns, frames } = sheet;
  const at = Math.min(Math.max(0, frame), frames - 1);
  const { canvas } = context;
  context.drawImage(
    picture,
    (at % columns) * width,
    Math.floor(at / columns) * height,
    width,
    height,
    0,
    0,
    canvas.width,
    canvas.height,
  );
}
