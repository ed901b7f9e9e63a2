import assert from "node:assert/strict";
import { test } from "node:test";
import { curve } from "../src/logic/curve.ts";
import {
  dragged,
  handleAt,
  newTrack,
  onBox,
  placeAt,
  readTrack,
  type Track,
  trackOfPath,
  withKey,
  withoutKey,
  writeTrack,
} from "../src/logic/track.ts";

const near = (a: number, b: number, by = 1e-9) => assert.ok(Math.abs(a - b) < by, `${a} is not ${b}`);

test("a curve goes through its keys and stands still beyond them", () => {
  const keys = [
    [0, 1],
    [2, 3],
    [5, 2],
  ] as const;
  for (const through of ["straight", "smooth", "monotone"] as const) {
    const at = curve(keys, through);
    for (const [time, value] of keys) near(at(time), value);
    near(at(-1), 1);
    near(at(9), 2);
  }
  near(curve(keys, "straight")(1), 2);
  near(curve([[3, 0.5]], "smooth")(0), 0.5);
});

test("a monotone curve stays in the range of its keys, a smooth one may leave it", () => {
  const keys = [
    [0, 0.1],
    [1, 0.1],
    [2, 0.9],
    [3, 0.9],
    [4, 0.2],
  ] as const;
  const leaves = (through: "smooth" | "monotone") => {
    const at = curve(keys, through);
    return Array.from({ length: 401 }, (_, i) => at(i / 100)).some(
      (value) => value < 0.099999 || value > 0.900001,
    );
  };
  assert.equal(leaves("smooth"), true);
  assert.equal(leaves("monotone"), false);
});

test("a straight line is one whatever the times", () => {
  const at = curve(
    [
      [0, 0],
      [1, 2],
      [4, 8],
      [4.5, 9],
    ],
    "smooth",
  );
  for (let time = 0; time <= 4.5; time += 0.1) near(at(time), 2 * time);
});

test("a key is set, replaced and removed; the last one stays", () => {
  const one = newTrack();
  const key = { frame: 8, x: 0.9, y: 0.5, width: 0.3, height: 0.3, rotation: 0 };
  const two = withKey(one, key);
  near(placeAt({ ...two, interpolation: "linear" }, 4).x, 0.7);
  assert.equal(withKey(two, { ...key, x: 0.1 }).keys.length, 2);
  assert.deepEqual(withoutKey(two, 8), one);
  assert.equal(withoutKey(one, 0), one);
});

test("a corner is dragged about the opposite one, also of a turned box in a wide picture", () => {
  for (const rotation of [0, 30]) {
    const aspect = 1.8;
    const place = { x: 0.4, y: 0.5, width: 0.2, height: 0.4, rotation };
    const [corner, fixed] = [onBox(place, 1, 1, aspect), onBox(place, -1, -1, aspect)];
    assert.deepEqual(handleAt(place, corner, 0.02, 0.1, aspect), { x: 1, y: 1 });
    const after = dragged(place, { x: 1, y: 1 }, corner, { x: 0.8, y: 0.9 }, aspect);
    const [moved, stayed] = [onBox(after, 1, 1, aspect), onBox(after, -1, -1, aspect)];
    near(moved.x, 0.8);
    near(moved.y, 0.9);
    near(stayed.x, fixed.x);
    near(stayed.y, fixed.y);
  }
});

test("a box is moved from inside and turned by its handle", () => {
  const place = { x: 0.5, y: 0.5, width: 0.2, height: 0.2, rotation: 0 };
  assert.equal(handleAt(place, { x: 0.5, y: 0.5 }, 0.02, 0.1, 1), "move");
  assert.equal(handleAt(place, { x: 0.5, y: 0.3 }, 0.02, 0.1, 1), "rotate");
  assert.equal(handleAt(place, { x: 0.9, y: 0.9 }, 0.02, 0.1, 1), null);
  near(dragged(place, "move", { x: 0.5, y: 0.5 }, { x: 0.6, y: 0.4 }, 1).y, 0.4);
  near(dragged(place, "rotate", place, { x: 0.9, y: 0.5 }, 1).rotation, 90);
  near(dragged({ ...place, rotation: 350 }, "rotate", place, { x: 0.5, y: 0.1 }, 1).rotation, 360);
});

test("a drawn path becomes key frames from the first frame to the last", () => {
  const path = [0, 0.25, 0.5, 0.75, 1].map((x) => ({ x, y: 0.5 }));
  const track = trackOfPath(path, 16, newTrack(), 4);
  assert.deepEqual(
    track.keys.map((key) => key.frame),
    [0, 5, 10, 15],
  );
  near(track.keys[1]?.x ?? 0, 1 / 3);
  assert.equal(trackOfPath(path, 2, newTrack(), 4).keys.length, 2);
});

test("a track is written and read as JSON and as a table", () => {
  const track: Track = withKey(newTrack(), {
    frame: 8,
    x: 0.9,
    y: 0.1,
    width: 0.2,
    height: 0.3,
    rotation: 20,
  });
  assert.deepEqual(readTrack(writeTrack(track), 8), track);
  const table = "frame,x,y,width,height,rotation\n# comment\n0,0.5,0.5,0.3,0.3,0\n8,0.9,0.1,0.2,0.3,20\n";
  assert.deepEqual(readTrack(table, 8), track);
  const timed = '{"keys":[{"seconds":1,"x":0.5,"y":0.5,"width":0.3,"height":0.3}]}';
  assert.equal(readTrack(timed, 8).keys[0]?.frame, 8);
  assert.throws(() => readTrack('{"keys":[]}', 8), /no key frame/);
  assert.throws(() => readTrack("frame,x\n0,1", 8), /numbers/);
});
