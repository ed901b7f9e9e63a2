import assert from "node:assert/strict";
import { test } from "node:test";
import { gridOf, sweptSettings, withoutTwins } from "../src/logic/grid.ts";

const rows = [
  { run: "a", values: { tau: 0.2, seed: 1 } },
  { run: "b", values: { tau: 0.2, seed: 2 } },
  { run: "c", values: { tau: 0.4, seed: 2 } },
];

test("the last setting goes across, the others down, and what failed leaves a hole", () => {
  const grid = gridOf(rows, ["tau", "seed"]);
  assert.equal(grid.across, "seed");
  assert.deepEqual(grid.columns, ["1", "2"]);
  assert.deepEqual(
    grid.lines.map(({ label, cells }) => [label, cells.map((cell) => cell?.run ?? null)]),
    [
      ["tau 0.2", ["a", "b"]],
      ["tau 0.4", [null, "c"]],
    ],
  );
});

test("one setting gives one column", () => {
  const grid = gridOf(rows.slice(1), ["tau"]);
  assert.equal(grid.across, null);
  assert.deepEqual(
    grid.lines.map(({ label, cells }) => [label, cells.length]),
    [
      ["tau 0.2", 1],
      ["tau 0.4", 1],
    ],
  );
});

test("the settings of a sweep are those of its variants' names, in their order", () => {
  const columns = ["variant", "seed", "settings.tau", "final_loss"];
  assert.deepEqual(sweptSettings(["tau 0.2, seed 1", "tau 0.2, seed 2"], columns), ["settings.tau", "seed"]);
  assert.deepEqual(sweptSettings(["guided"], columns), ["variant"]);
});

test("a setting is shown in one column", () => {
  assert.deepEqual(withoutTwins(["seed", "settings.seed", "settings.tau"]), ["seed", "settings.tau"]);
});
