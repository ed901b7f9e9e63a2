import assert from "node:assert/strict";
import { test } from "node:test";
import { begin, commit, redo, undo } from "../src/logic/history.ts";

test("steps are undone and redone, and a new step forgets what was undone", () => {
  let history = commit(commit(begin("a"), "b"), "c");
  history = undo(undo(history));
  assert.equal(history.present, "a");
  assert.equal(undo(history), history);
  history = redo(history);
  assert.equal(history.present, "b");
  history = commit(history, "d");
  assert.equal(redo(history), history);
  assert.equal(undo(history).present, "b");
});

test("only so many steps are kept", () => {
  let history = begin(0);
  for (let step = 1; step <= 150; step++) history = commit(history, step);
  for (let step = 0; step < 200; step++) history = undo(history);
  assert.equal(history.present, 50);
});
