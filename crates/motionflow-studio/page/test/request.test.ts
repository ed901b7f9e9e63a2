import assert from "node:assert/strict";
import { test } from "node:test";
import { entriesOf, readSeeds, readValue, requestOf, settingsOf } from "../src/logic/request.ts";

test("a request becomes settings and a request again", () => {
  const request = {
    prompts: { source_prompt: "a [car]", prompt: "a [panda]", negative_prompt: "blurry" },
    source: { path: "clip:car-arc", every: 2 },
    settings: { steps: 15, noised_timesteps: [201, 301] },
    motion: { avoid: "upload:a" },
  };
  const settings = settingsOf(request);
  assert.deepEqual(settings, {
    "prompts.negative_prompt": "blurry",
    "source.every": 2,
    "settings.steps": 15,
    "settings.noised_timesteps": [201, 301],
  });
  const said = {
    source: "clip:car-arc",
    sourcePrompt: "a [car]",
    prompt: "a [panda]",
    motion: request.motion,
  };
  assert.deepEqual(requestOf(settings, said), request);
});

test("motion is told apart by subject, whichever way it is said", () => {
  assert.deepEqual(entriesOf(undefined, 2), [{}, {}]);
  assert.deepEqual(entriesOf({ mask: ["m:a", "m:b"], transform: ["mirror", "2: speed 2"] }, 2), [
    { mask: "m:a", transform: ["mirror"] },
    { mask: "m:b", transform: ["mirror", "speed 2"] },
  ]);
  assert.deepEqual(entriesOf({ subject: [{ track: "t:a", transform: ["reverse"] }, {}] }, 2), [
    { track: "t:a", transform: ["reverse"] },
    {},
  ]);
  assert.equal(entriesOf({ mask: ["all.npz"] }, 2), null);
});

test("what is written for a setting is read by its type", () => {
  assert.deepEqual(readValue("integer", " 12 "), { value: 12 });
  assert.ok("error" in readValue("integer", "1.5"));
  assert.deepEqual(readValue("number", "0.25"), { value: 0.25 });
  assert.ok("error" in readValue("number", ""));
  assert.deepEqual(readValue("list", "mid_block, up_blocks.1"), { value: ["mid_block", "up_blocks.1"] });
  assert.deepEqual(readValue("integers", "201,301"), { value: [201, 301] });
  assert.deepEqual(readSeeds("1, 5-7, 6"), [1, 5, 6, 7]);
  assert.ok(readSeeds("x").some(Number.isNaN));
});
