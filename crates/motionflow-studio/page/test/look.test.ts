import assert from "node:assert/strict";
import { test } from "node:test";
import type { LookResult } from "../src/api/types.ts";
import { bytesOf, mapFrame, mapsOf, maskAt } from "../src/logic/look.ts";

const base64 = (values: number[]) => Buffer.from(Float32Array.from(values).buffer).toString("base64");

function look(subjects: number[][][], apart = false): LookResult {
  return {
    tau: 0.4,
    apart,
    frames: 2,
    video_frames: 5,
    map_width: 2,
    map_height: 1,
    timesteps: [201],
    warnings: [],
    seconds: 0.5,
    subjects: subjects.map((layers) => ({
      text: "car",
      layers: layers.map((values, i) => ({ name: `layer ${i}`, values: base64(values) })),
      coverage: 0,
      overlap: 0,
      mask: "",
    })),
  };
}

test("a place is in the mask where its attention exceeds τ times the frame's maximum", () => {
  const maps = mapsOf(look([[[0.2, 0.4, 8, 2]]]));
  assert.deepEqual([...maskAt(maps, 0, 0, 0.4).pixels], [255, 255]);
  assert.deepEqual([...maskAt(maps, 0, 0, 0.5).pixels], [0, 255]);
  assert.deepEqual([...maskAt(maps, 0, 1, 0.4).pixels], [255, 0]);
});

test("half of the layers or more decide", () => {
  const maps = mapsOf(
    look([
      [
        [1, 0, 1, 0],
        [0, 1, 0, 1],
      ],
    ]),
  );
  assert.deepEqual([...maskAt(maps, 0, 0, 0.5).pixels], [255, 255]);
  const three = mapsOf(
    look([
      [
        [1, 0, 1, 0],
        [1, 0, 1, 0],
        [0, 1, 0, 1],
      ],
    ]),
  );
  assert.deepEqual([...maskAt(three, 0, 0, 0.5).pixels], [255, 0]);
});

test("apart, the strongest subject has a place alone, and of equal ones the first", () => {
  const maps = mapsOf(look([[[1, 0.8, 1, 1]], [[0.6, 1, 1, 1]]], true));
  assert.deepEqual([...maskAt(maps, 0, 0, 0.4).pixels], [255, 0]);
  assert.deepEqual([...maskAt(maps, 1, 0, 0.4).pixels], [0, 255]);
  assert.deepEqual([...maskAt(maps, 0, 1, 0.4).pixels], [255, 255]);
  assert.deepEqual([...maskAt(maps, 1, 1, 0.4).pixels], [0, 0]);
});

test("a frame of the video shows its latent frame", () => {
  const maps = mapsOf(look([[[1, 0, 1, 0]]]));
  assert.deepEqual(
    [0, 1, 2, 3, 4].map((frame) => mapFrame(maps, frame)),
    [0, 1, 1, 1, 1],
  );
  assert.deepEqual([...bytesOf("AQID")], [1, 2, 3]);
});
