import assert from "node:assert/strict";
import { test } from "node:test";
import { coverage, emptyMask, stroke } from "../src/logic/mask.ts";
import {
  changed,
  filledBetween,
  fromModel,
  keyFrames,
  painted,
  unpainted,
  withSubject,
} from "../src/logic/motion.ts";

function dot(x: number) {
  const mask = emptyMask(32, 32);
  stroke(mask, { x, y: 16 }, { x, y: 16 }, 4, false);
  return mask;
}

test("painted frames are key frames, and those between them are filled in", () => {
  const two = painted(painted(fromModel, 0, dot(6)), 4, dot(26));
  const filled = filledBetween(two);
  assert.deepEqual([...filled.edits.keys()].sort(), [0, 1, 2, 3, 4]);
  assert.deepEqual([...keyFrames(filled).keys()], [0, 4]);
  assert.equal(two.edits.size, 2);
  const corrected = painted(filled, 2, dot(20));
  assert.deepEqual([...keyFrames(corrected).keys()].sort(), [0, 2, 4]);
  const again = filledBetween(corrected).edits.get(3);
  assert.ok(again && coverage(again) > 0);
  assert.equal(unpainted(corrected, 2).edits.has(2), false);
});

test("an edit of one subject leaves the others", () => {
  const motion = withSubject([], 1, { tau: 0.2 });
  assert.equal(motion.length, 2);
  assert.equal(motion[0]?.tau, null);
  const next = withSubject(motion, 0, { tau: 0.5 });
  assert.equal(motion[0]?.tau, null);
  assert.equal(next[1], motion[1]);
});

test("changes of one kind are joined", () => {
  assert.deepEqual(changed(["mirror", "move 0.1 0"], "move 0.05 -0.2"), ["mirror", "move 0.15 -0.2"]);
  assert.deepEqual(changed(["scale 0.5"], "scale 0.5"), ["scale 0.25"]);
  assert.deepEqual(changed(["rotate 30"], "rotate -30"), ["rotate 0"]);
  assert.deepEqual(changed(["scale 0.5 picture"], "scale 2"), ["scale 0.5 picture", "scale 2"]);
  assert.deepEqual(changed([], "reverse"), ["reverse"]);
});
