import assert from "node:assert/strict";
import { test } from "node:test";
import {
  between,
  copyMask,
  coverage,
  edgesOf,
  emptyMask,
  fillBetween,
  isEmpty,
  resize,
  signedDistance,
  stroke,
} from "../src/logic/mask.ts";

function disc(x: number, y: number, radius: number) {
  const mask = emptyMask(64, 48);
  stroke(mask, { x, y }, { x, y }, radius, false);
  return mask;
}

test("a stroke paints a line as thick as it says, and the eraser takes it away", () => {
  const mask = emptyMask(32, 16);
  stroke(mask, { x: 4, y: 8 }, { x: 28, y: 8 }, 2, false);
  const row = (y: number) => mask.pixels.slice(y * 32, y * 32 + 32).filter(Boolean).length;
  assert.equal(row(7) >= 24 && row(8) >= 24, true);
  assert.equal(row(4) + row(12), 0);
  const before = copyMask(mask);
  stroke(mask, { x: 4, y: 8 }, { x: 28, y: 8 }, 3, true);
  assert.equal(isEmpty(mask), true);
  assert.equal(isEmpty(before), false);
});

test("a stroke beyond the edge stays in the picture", () => {
  const mask = emptyMask(8, 8);
  stroke(mask, { x: -10, y: -10 }, { x: 20, y: 20 }, 1.5, false);
  assert.equal(mask.pixels.length, 64);
  assert.equal(mask.pixels[0], 255);
  assert.equal(mask.pixels[7], 0);
});

test("the signed distance is that to the nearest pixel on the other side", () => {
  const mask = disc(20, 24, 8);
  const distance = signedDistance(mask);
  for (const [x, y] of [
    [0, 0],
    [20, 24],
    [40, 30],
    [27, 24],
  ] as const) {
    const own = mask.pixels[y * 64 + x];
    let nearest = Infinity;
    mask.pixels.forEach((value, i) => {
      if (value !== own) nearest = Math.min(nearest, Math.hypot((i % 64) - x, Math.floor(i / 64) - y));
    });
    const expected = own ? 0.5 - nearest : nearest - 0.5;
    assert.ok(Math.abs((distance[y * 64 + x] ?? 0) - expected) < 1e-3);
  }
});

test("what is filled in goes from one key frame to the next, also where they do not overlap", () => {
  const filled = fillBetween(
    new Map([
      [8, disc(52, 20, 6)],
      [0, disc(10, 20, 6)],
    ]),
  );
  assert.deepEqual([...filled.keys()], [1, 2, 3, 4, 5, 6, 7]);
  const middle = filled.get(4);
  assert.ok(middle);
  assert.ok(Math.abs(coverage(middle) - coverage(disc(31, 20, 6))) < 0.01);
  assert.equal(middle.pixels[20 * 64 + 31], 255);
  assert.equal(middle.pixels[20 * 64 + 10], 0);
});

test("sizes are blended, and an empty key frame gives the nearer one", () => {
  const half = between(disc(30, 24, 4), disc(30, 24, 12), 0.5);
  assert.ok(Math.abs(coverage(half) - coverage(disc(30, 24, 8))) < 0.01);
  assert.equal(isEmpty(between(emptyMask(64, 48), disc(30, 24, 4), 0.4)), true);
  assert.equal(isEmpty(between(emptyMask(64, 48), disc(30, 24, 4), 0.6)), false);
});

test("a mask is brought to another size", () => {
  const large = resize(disc(20, 24, 8), 128, 96);
  assert.ok(Math.abs(coverage(large) - coverage(disc(20, 24, 8))) < 1e-9);
});

test("the edges go around a mask, also along the picture's", () => {
  const mask = emptyMask(4, 3);
  mask.pixels.set([255, 255], 0);
  assert.deepEqual(edgesOf(mask), [
    [0, 0, 2, 0],
    [0, 1, 2, 1],
    [0, 0, 0, 1],
    [2, 0, 2, 1],
  ]);
  assert.deepEqual(edgesOf(emptyMask(4, 3)), []);
});
