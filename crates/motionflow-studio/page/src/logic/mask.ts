// Masks of one subject: a byte a pixel, 0 or 255, rows from the top.

export interface Mask {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint8Array;
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** A mask with nothing in it. */
export const emptyMask = (width: number, height: number): Mask => ({
  width,
  height,
  pixels: new Uint8Array(width * height),
});

/** Paints, or erases, a round stroke from one point to another, all in pixels. Changes `mask`. */
export function stroke(mask: Mask, from: Point, to: Point, radius: number, erase: boolean): void {
  const { width, height, pixels } = mask;
  const value = erase ? 0 : 255;
  const left = Math.max(0, Math.floor(Math.min(from.x, to.x) - radius));
  const right = Math.min(width - 1, Math.ceil(Math.max(from.x, to.x) + radius));
  const top = Math.max(0, Math.floor(Math.min(from.y, to.y) - radius));
  const bottom = Math.min(height - 1, Math.ceil(Math.max(from.y, to.y) + radius));
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = dx * dx + dy * dy;
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      const [px, py] = [x + 0.5 - from.x, y + 0.5 - from.y];
      const u = length ? Math.min(1, Math.max(0, (px * dx + py * dy) / length)) : 0;
      const [ex, ey] = [px - u * dx, py - u * dy];
      if (ex * ex + ey * ey <= radius * radius) pixels[y * width + x] = value;
    }
  }
}

export const copyMask = (mask: Mask): Mask => ({ ...mask, pixels: mask.pixels.slice() });

export const isEmpty = (mask: Mask): boolean => !mask.pixels.includes(255);

/** Share of the picture, 0 to 1. */
export function coverage({ pixels }: Mask): number {
  let count = 0;
  for (const value of pixels) if (value) count++;
  return pixels.length ? count / pixels.length : 0;
}

/** The mask at another size, each pixel that of the nearest place. */
export function resize(mask: Mask, width: number, height: number): Mask {
  if (mask.width === width && mask.height === height) return mask;
  const pixels = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const row = Math.floor(((y + 0.5) * mask.height) / height) * mask.width;
    for (let x = 0; x < width; x++) {
      pixels[y * width + x] = mask.pixels[row + Math.floor(((x + 0.5) * mask.width) / width)] ?? 0;
    }
  }
  return { width, height, pixels };
}

/** The mask between two others, `share` of the way: their shapes blended about a middle that moves straight on. */
export function between(a: Mask, b: Mask, share: number): Mask {
  const [from, to] = [middle(a), middle(b)];
  if (!from || !to) return copyMask(share < 0.5 ? a : b);
  const { width, height } = a;
  const at = { x: from.x + (to.x - from.x) * share, y: from.y + (to.y - from.y) * share };
  const [one, other] = [signedDistance(a), signedDistance(b)];
  const mixed = emptyMask(width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const before = sampled(one, width, height, x - at.x + from.x, y - at.y + from.y);
      const after = sampled(other, width, height, x - at.x + to.x, y - at.y + to.y);
      if (before * (1 - share) + after * share < 0) mixed.pixels[y * width + x] = 255;
    }
  }
  return mixed;
}

/**
 * Fills the frames between neighbouring key frames. `keys` are masks by frame, all of one size; what comes back has the
 * frames between them alone.
 */
export function fillBetween(keys: ReadonlyMap<number, Mask>): Map<number, Mask> {
  const filled = new Map<number, Mask>();
  const frames = [...keys.keys()].sort((a, b) => a - b);
  frames.slice(1).forEach((end, i) => {
    const start = frames[i] as number;
    const [a, b] = [keys.get(start), keys.get(end)];
    if (!a || !b) return;
    for (let frame = start + 1; frame < end; frame++) {
      filled.set(frame, between(a, b, (frame - start) / (end - start)));
    }
  });
  return filled;
}

function middle({ width, pixels }: Mask): Point | null {
  let [x, y, count] = [0, 0, 0];
  pixels.forEach((value, i) => {
    if (!value) return;
    x += i % width;
    y += Math.floor(i / width);
    count++;
  });
  return count ? { x: x / count, y: y / count } : null;
}

/** Distance of each pixel to the mask's edge, negative inside. */
export function signedDistance({ width, height, pixels }: Mask): Float32Array {
  const outside = distanceTo(width, height, (i) => pixels[i] !== 0);
  const inside = distanceTo(width, height, (i) => pixels[i] === 0);
  return outside.map((value, i) => (value > 0 ? value - 0.5 : 0.5 - (inside[i] ?? 0)));
}

/** Euclidean distance to the nearest pixel that `is`, by Felzenszwalb and Huttenlocher's lower envelopes. */
function distanceTo(width: number, height: number, is: (index: number) => boolean): Float32Array {
  const far = (width + height) ** 2;
  const squared = Float32Array.from({ length: width * height }, (_, i) => (is(i) ? 0 : far));
  const line = new Float64Array(Math.max(width, height));
  const places = new Int32Array(line.length);
  const bounds = new Float64Array(line.length + 1);
  const pass = (start: number, step: number, count: number) => {
    for (let i = 0; i < count; i++) line[i] = squared[start + i * step] as number;
    let last = 0;
    places[0] = 0;
    bounds[0] = -Infinity;
    bounds[1] = Infinity;
    for (let q = 1; q < count; q++) {
      let crossing = crossingOf(line, places[last] as number, q);
      while (crossing <= (bounds[last] as number)) crossing = crossingOf(line, places[--last] as number, q);
      places[++last] = q;
      bounds[last] = crossing;
      bounds[last + 1] = Infinity;
    }
    let k = 0;
    for (let q = 0; q < count; q++) {
      while ((bounds[k + 1] as number) < q) k++;
      const p = places[k] as number;
      squared[start + q * step] = (q - p) ** 2 + (line[p] as number);
    }
  };
  for (let x = 0; x < width; x++) pass(x, width, height);
  for (let y = 0; y < height; y++) pass(y * width, 1, width);
  return squared.map(Math.sqrt);
}

/** Where the parabolas over the places `p` and `q` meet. */
function crossingOf(line: Float64Array, p: number, q: number): number {
  return ((line[q] as number) + q * q - ((line[p] as number) + p * p)) / (2 * (q - p));
}

/** The value at a place between pixels; beyond the edge it grows with the way there. */
function sampled(values: Float32Array, width: number, height: number, x: number, y: number): number {
  const [cx, cy] = [Math.min(width - 1, Math.max(0, x)), Math.min(height - 1, Math.max(0, y))];
  const [x0, y0] = [Math.floor(cx), Math.floor(cy)];
  const [x1, y1] = [Math.min(width - 1, x0 + 1), Math.min(height - 1, y0 + 1)];
  const [u, v] = [cx - x0, cy - y0];
  const at = (col: number, row: number) => values[row * width + col] as number;
  const upper = at(x0, y0) * (1 - u) + at(x1, y0) * u;
  const lower = at(x0, y1) * (1 - u) + at(x1, y1) * u;
  return upper * (1 - v) + lower * v + Math.hypot(x - cx, y - cy);
}

/** The edges between what is in a mask and what is not, along its pixels: `[x, y, x, y]` each, runs in one piece. */
export function edgesOf({ width, height, pixels }: Mask): [number, number, number, number][] {
  const edges: [number, number, number, number][] = [];
  const at = (x: number, y: number) =>
    x >= 0 && y >= 0 && x < width && y < height && pixels[y * width + x] !== 0;
  for (let y = 0; y <= height; y++) {
    for (let x = 0, start = -1; x <= width; x++) {
      const isEdge = x < width && at(x, y) !== at(x, y - 1);
      if (isEdge && start < 0) start = x;
      if (!isEdge && start >= 0) {
        edges.push([start, y, x, y]);
        start = -1;
      }
    }
  }
  for (let x = 0; x <= width; x++) {
    for (let y = 0, start = -1; y <= height; y++) {
      const isEdge = y < height && at(x, y) !== at(x - 1, y);
      if (isEdge && start < 0) start = y;
      if (!isEdge && start >= 0) {
        edges.push([x, start, x, y]);
        start = -1;
      }
    }
  }
  return edges;
}
