// The whole story in a browser: drop, mark, look, brush, queue, watch, compare, vote, restore from a file.
// node e2e/story.mjs URL [FOLDER FOR PICTURES] [--steps N]
import { readFile } from "node:fs/promises";
import { draw, drop, expect, openBrowser, openPage, press, say, shots, until, write } from "./browser.mjs";

const [address, folder] = process.argv
  .slice(2)
  .filter((word, i, all) => !word.startsWith("--") && all[i - 1] !== "--steps");
const steps = process.argv.includes("--steps") ? process.argv[process.argv.indexOf("--steps") + 1] : "4";
if (!address) {
  console.error("node e2e/story.mjs URL [FOLDER FOR PICTURES] [--steps N]");
  process.exit(2);
}
const url = new URL(address);
const clip = await readFile(new URL("../../../../assets/clips/car-arc.mp4", import.meta.url));
const errors = [];
const browser = await openBrowser();

try {
  const page = await openPage(browser, errors);
  await page.goto(url.href);
  await until(page, "Ready");
  const text = () => page.evaluate(() => document.body.innerText);
  const field = (label) => page.$eval(`::-p-aria([name="${label}"])`, (element) => element.value);

  say("drop a clip");
  await drop(page, "my-car.mp4", clip);
  await until(page, "my-car");
  await until(page, "16 frames");

  say("mark its subject");
  await write(page, "Source prompt", "a car on a road");
  await press(page, 'car[role="button"]');
  expect((await field("Source prompt")) === "a [car] on a road", "a click on a word marks it");

  say("look");
  await until(page, "what the model sees");
  const share = async () => /\d\.\d\d\s+(\d+ %)/.exec(await text())?.[1];
  const before = await share();
  await page.focus("::-p-aria(Threshold τ of car)");
  for (let i = 0; i < 30; i++) await page.keyboard.press("ArrowRight");
  await page.waitForFunction(
    (was) => /\d\.\d\d\s+(\d+ %)/.exec(document.body.innerText)?.[1] !== was,
    {},
    before,
  );
  for (let i = 0; i < 30; i++) await page.keyboard.press("ArrowLeft");
  await shots(page, folder, "look");

  say("brush, fill between, undo and redo");
  await page.focus("#stage");
  await page.keyboard.press("b");
  await draw(page, [
    [0.2, 0.6],
    [0.4, 0.5],
  ]);
  await until(page, "1 frame painted");
  await page.focus("#stage");
  await page.keyboard.press("End");
  await draw(page, [
    [0.6, 0.6],
    [0.8, 0.5],
  ]);
  await until(page, "2 frames painted");
  await page.focus("#stage");
  await page.keyboard.press("f");
  await until(page, "16 frames painted");
  await page.keyboard.down("Control");
  await page.keyboard.press("z");
  await page.keyboard.up("Control");
  await until(page, "2 frames painted");
  await page.keyboard.down("Control");
  await page.keyboard.down("Shift");
  await page.keyboard.press("Z");
  await page.keyboard.up("Shift");
  await page.keyboard.up("Control");
  await until(page, "16 frames painted");
  await page.keyboard.press("o");
  await shots(page, folder, "brush");

  say("transform the whole motion, draw a track, undo both");
  await page.focus("#stage");
  await page.keyboard.press("x");
  await page.keyboard.down("Shift");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.up("Shift");
  await until(page, "1 change");
  expect((await field("Change 1 of car")) === "move 0 -0.02", "two moves are one change");
  const asked = page.waitForResponse((response) => response.url().endsWith("/api/motion/masks"));
  expect((await asked).ok(), "the program makes the masks after the change");
  await page.focus("#stage");
  await page.keyboard.press("t");
  await draw(page, [
    [0.2, 0.7],
    [0.4, 0.3],
    [0.6, 0.3],
    [0.8, 0.7],
  ]);
  await until(page, "track, 5 key frames");
  await page.focus("#stage");
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press(".");
  await until(page, "track, 6 key frames");
  await shots(page, folder, "track");
  await page.keyboard.down("Control");
  for (let i = 0; i < 4; i++) await page.keyboard.press("z");
  await page.keyboard.up("Control");
  await until(page, "16 frames painted");
  await page.keyboard.press("v");

  say("write the new prompt");
  await write(page, "New prompt", "a panda in the snow");
  await press(page, 'panda[role="button"]');
  expect(
    (await field("New prompt")) === "a [panda] in the snow",
    "a click on a word of the new prompt marks it",
  );
  await write(page, "steps", steps);
  await until(page, "of memory");
  await shots(page, folder, "prompt");

  say("queue");
  const addJob = async (seed) => {
    await write(page, "seed", seed);
    await until(page, "of memory");
    await page.keyboard.down("Control");
    await page.keyboard.press("Enter");
    await page.keyboard.up("Control");
    await until(page, "Added to the queue");
    await press(page, "Dismiss");
  };
  await page.goto(`${url.origin}/#/queue`);
  await press(page, "Pause");
  await until(page, "The queue is paused");
  await page.goto(`${url.origin}/#/make`);
  for (const seed of ["0", "1"]) await addJob(seed);

  say("duplicate, reorder, edit and remove by keys");
  await page.goto(`${url.origin}/#/queue`);
  await until(page, "2 queued");
  const order = () =>
    page.$$eval(".job", (rows) => rows.map((row) => /seed (\d+)/.exec(row.innerText)?.[1]).join(" "));
  const ordered = (wanted) =>
    page.waitForFunction(
      (seeds) =>
        [...document.querySelectorAll(".job")]
          .map((row) => /seed (\d+)/.exec(row.innerText)?.[1])
          .join(" ")
          .startsWith(seeds),
      { timeout: 10_000 },
      wanted,
    );
  await page.focus(".job");
  await page.keyboard.press("ArrowDown");
  await page.waitForFunction(() => document.activeElement.ariaPosInSet === "2");
  await page.keyboard.press("d");
  await until(page, "3 queued");
  await ordered("0 1 1");
  await page.keyboard.down("Alt");
  await page.keyboard.press("ArrowUp");
  await page.keyboard.up("Alt");
  await ordered("1 0 1");
  await page.waitForFunction(() => document.activeElement.ariaPosInSet === "1");
  await page.keyboard.press("e");
  await until(page, "This edits a job");
  await write(page, "seed", "7");
  await press(page, "Save");
  await page.waitForFunction(() => location.hash === "#/queue");
  await ordered("7 0 1");
  await shots(page, folder, "queue");
  await page.focus(".job");
  await page.keyboard.press("Delete");
  await until(page, "2 queued");
  expect((await order()).startsWith("0 1"), "the edited job is gone");

  say("watch, cancel and continue");
  const { jobs } = await page.evaluate(async () => (await fetch("/api/jobs")).json());
  const first = jobs.find((job) => job.state === "queued" && job.seed === 0);
  await press(page, "Go on");
  await page.goto(`${url.origin}/#/queue/${first.id}`);
  await until(page, "Generating", 300_000);
  await press(page, "Cancel");
  await until(page, "Cancelled", 300_000);
  await press(page, "Continue");
  await until(page, "Preview, step", 300_000);
  await until(page, "Generating", 300_000);
  await shots(page, folder, "watch");
  await until(page, "Finished", 600_000);
  await until(page, "from ");

  say("see the result");
  await press(page, "Result");
  await until(page, "Motion mask");
  await page.waitForFunction(
    async () => (await (await fetch("/api/jobs?state=queued,running")).json()).jobs.length === 0,
    { timeout: 600_000, polling: 500 },
  );
  await shots(page, folder, "result");

  say("compare two");
  const runs = await page.evaluate(async () => (await (await fetch("/api/runs")).json()).runs);
  const made = runs.filter((run) => run.prompt === "a [panda] in the snow").map((run) => run.name);
  expect(made.length >= 2, `two runs are there: ${made}`);
  await page.goto(`${url.origin}/#/results`);
  await until(page, "Pick two");
  for (const name of made.slice(0, 2)) await press(page, `Compare ${name}`);
  await shots(page, folder, "results");
  await press(page, "Compare two");
  await until(page, "settings.seed");
  await shots(page, folder, "compare");

  say("vote");
  await page.goto(`${url.origin}/#/votes`);
  await press(page, "New");
  await press(page, "Two runs");
  await page.waitForSelector("::-p-aria(A)");
  await page.waitForFunction(() => document.querySelectorAll("dialog option").length > 4);
  await page.select("::-p-aria(A)", made[0]);
  await page.select("::-p-aria(B)", made[1]);
  await press(page, "Create");
  await write(page, "Who votes?", "Ada");
  await press(page, "Begin");
  await until(page, "1 of 1");
  await shots(page, folder, "vote");
  await page.evaluate(() => document.activeElement?.blur());
  for (const key of ["ArrowLeft", "ArrowRight", "ArrowDown", "Enter"]) await page.keyboard.press(key);
  await until(page, "That was the last pair");
  await press(page, "Result");
  await until(page, "1 vote");
  await shots(page, folder, "vote-result");

  say("restore from a file");
  const result = await page.evaluate(async (name) => {
    const response = await fetch(`/api/runs/${encodeURIComponent(name)}/files/result.mp4`);
    const bytes = new Uint8Array(await response.arrayBuffer());
    return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  }, made[0]);
  await page.evaluate(() => localStorage.clear());
  await page.goto("about:blank");
  await page.goto(`${url.origin}/#/make`);
  await until(page, "Choose a file");
  expect((await field("New prompt")) === "", "the page begins empty");
  await drop(page, "found-somewhere.mp4", Buffer.from(result, "base64"));
  await until(page, "holds the settings");
  await shots(page, folder, "restore");
  await press(page, "Use its settings");
  await page.waitForFunction(() => location.hash === "#/make");
  expect((await field("New prompt")) === "a [panda] in the snow", "the prompt is restored");
  expect((await field("Source prompt")) === "a [car] on a road", "the source prompt is restored");
  expect((await field("steps")) === steps, "the settings are restored");

  say("keys and the settings that the schema has");
  await page.focus("#stage");
  await page.keyboard.press("?");
  await until(page, "Fill between painted frames");
  await page.keyboard.press("Escape");
  say("a prompt is text");
  await write(page, "New prompt", "<img src=x onerror=alert(1)> [cat]");
  await until(page, "onerror");
  expect((await page.$$("img[src=x]")).length === 0, "a prompt became an element");
  await write(page, "Search the settings", "noise");
  await until(page, "Seed of the noise");
  expect(errors.length === 0, errors.join("\n"));
  say("the story is told");
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  for (const told of errors) console.error(told);
  process.exitCode = 1;
} finally {
  await browser.close();
}
