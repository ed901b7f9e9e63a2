// A long queue and many tabs: what an action takes, and whether every tab sees every change.
// node e2e/load.mjs URL [--jobs 1000] [--tabs 50]. The queue is paused for it, and the jobs are removed at the end.
import { expect, openBrowser, openPage, say, until } from "./browser.mjs";

const [address] = process.argv.slice(2);
const number = (name, otherwise) =>
  process.argv.includes(name) ? Number(process.argv[process.argv.indexOf(name) + 1]) : otherwise;
const [jobCount, tabCount] = [number("--jobs", 1000), number("--tabs", 50)];
if (!address) {
  console.error("node e2e/load.mjs URL [--jobs 1000] [--tabs 50]");
  process.exit(2);
}
const origin = new URL(address).origin;
const send = async (method, path, body = {}) => {
  const init = { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(`${origin}/api/${path}`, method === "GET" ? {} : init);
  expect(response.ok, `${method} ${path}: ${response.status} ${response.ok ? "" : await response.text()}`);
  return response.status === 204 ? null : response.json();
};
const request = (seed) => ({
  prompts: { source_prompt: "a [car] on a road", prompt: "a [panda] in the snow" },
  source: { path: "clip:car-arc" },
  settings: { seed, steps: 2 },
});
const id = (i) => `load-${String(i).padStart(4, "0")}`;
const errors = [];
const browser = await openBrowser();

/** Does something in the page, and gives the milliseconds until `done` holds and is painted. */
async function measure(page, what, action, done) {
  const times = [];
  for (let round = 0; round < 5; round++) {
    await page.evaluate(
      (source, index) => {
        const holds = new Function("round", `return ${source}`);
        globalThis.measured = new Promise((resolve) => {
          const begin = (event) => {
            const start = event.timeStamp;
            const look = () => {
              if (!holds(index)) requestAnimationFrame(look);
              else requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - start), 0));
            };
            look();
          };
          for (const kind of ["keydown", "pointerdown", "wheel"]) {
            addEventListener(kind, begin, { capture: true, once: true, passive: true });
          }
        });
      },
      done,
      round,
    );
    await action(round);
    times.push(await page.evaluate(() => globalThis.measured));
    await page.keyboard.press("Escape");
  }
  times.sort((a, b) => a - b);
  say(`${what}: ${times[2].toFixed(0)} ms, at most ${times[4].toFixed(0)} ms`);
}

try {
  await send("POST", "queue/pause");
  for (let i = 0; i < jobCount; i++) await send("PUT", `jobs/${id(i)}`, { request: request(i), name: id(i) });
  const page = await openPage(browser, errors);
  await page.setBypassCSP(true);
  const opened = Date.now();
  await page.goto(`${origin}/#/queue`);
  await until(page, `${jobCount} queued`);
  say(`${jobCount} jobs are shown after ${Date.now() - opened} ms`);
  const rows = await page.$$eval(".job", (found) => found.length);
  expect(rows < 60, `${rows} rows are in the page; only those in sight should be`);

  await page.focus(".job");
  await measure(
    page,
    "to the next job",
    () => page.keyboard.press("ArrowDown"),
    "document.activeElement.ariaPosInSet == String(round + 2)",
  );
  const [moved, place] = await page.evaluate(() => [
    document.activeElement.id,
    Number(document.activeElement.ariaPosInSet),
  ]);
  await measure(
    page,
    "move a job down",
    async () => {
      await page.keyboard.down("Alt");
      await page.keyboard.press("ArrowDown");
      await page.keyboard.up("Alt");
    },
    `document.activeElement.id === "${moved}" && Number(document.activeElement.ariaPosInSet) === ${place} + 1 + round`,
  );
  await measure(
    page,
    "open the actions of a job",
    async () => {
      const button = (await page.$$(".job .menu > button"))[3];
      await button.click();
    },
    "document.querySelectorAll('.menu > .items').length === 1",
  );
  await page.evaluate(() => document.querySelector("main").scrollTo(0, 0));
  await measure(
    page,
    "scroll by a screen",
    async () => {
      await page.mouse.move(600, 500);
      await page.mouse.wheel({ deltaY: 8400 });
    },
    "document.querySelector('main').scrollTop >= 8400 * (round + 1) - 10 && document.elementFromPoint(600, 500).closest('.job')",
  );
  await page.evaluate(() => document.querySelector("main").scrollTo(0, 0));
  await page.focus(".job");
  await measure(
    page,
    "remove a job",
    () => page.keyboard.press("Delete"),
    `document.querySelector("h1 + span").textContent === (${jobCount} - 1 - round) + " queued"`,
  );

  const left = jobCount - 5;
  const tabs = [page];
  while (tabs.length < tabCount) {
    const tab = await openPage(browser, errors);
    await tab.goto(`${origin}/#/queue`);
    await until(tab, `${left} queued`);
    tabs.push(tab);
  }
  say(`${tabs.length} tabs are open`);
  for (let i = 0; i < 20; i++) await send("DELETE", `jobs/${id(jobCount - 1 - i)}`);
  await Promise.all(tabs.map((tab) => until(tab, `${left - 20} queued`)));
  say("each of them sees that 20 jobs are gone");
  expect(errors.length === 0, errors.join("\n"));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  for (const told of errors) console.error(told);
  process.exitCode = 1;
} finally {
  await browser.close();
  const { jobs } = await send("GET", "jobs");
  for (const job of jobs)
    if (job.id.startsWith("load-") && job.state !== "running") await send("DELETE", `jobs/${job.id}`);
  await send("POST", "queue/resume");
}
