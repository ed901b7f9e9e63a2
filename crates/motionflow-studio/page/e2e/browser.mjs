// Chromium, and what the scripts do in it.
import { readFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import puppeteer from "puppeteer-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export async function openBrowser() {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  return puppeteer.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
}

/** A tab whose errors end the script. */
export async function openPage(browser, errors) {
  const page = await browser.newPage();
  page.on("pageerror", (error) => errors.push(`error on the page: ${error.message}`));
  page.on("console", (message) => {
    const text = message.text();
    if (message.type() === "error" && !text.includes("Failed to load resource"))
      errors.push(`console: ${text}`);
  });
  await page.setViewport({ width: 1280, height: 800 });
  return page;
}

export function say(text) {
  console.log(text);
}

export function expect(is, what) {
  if (!is) throw new Error(what);
}

/** Waits until the page shows a text. */
export async function until(page, text, timeout = 60_000) {
  try {
    await page.waitForFunction(
      (wanted) => document.body.innerText.includes(wanted),
      { timeout, polling: 50 },
      text,
    );
  } catch {
    const shown = await page.evaluate(() => document.body.innerText);
    throw new Error(`"${text}" did not appear within ${timeout / 1000} s; the page has:\n${shown}`);
  }
}

/** Presses the button, link or summary that has this name. */
export async function press(page, name) {
  const found = await page.waitForSelector(`::-p-aria(${name})`, { timeout: 20_000 });
  await found.evaluate((element) => element.scrollIntoView({ block: "center" }));
  await found.click();
}

/** Writes into a field in place of what is there. */
export async function write(page, label, text) {
  const field = await page.waitForSelector(`::-p-aria([name="${label}"])`, { timeout: 20_000 });
  await field.evaluate((element) => {
    element.scrollIntoView({ block: "center" });
    element.focus();
    element.select();
  });
  await page.keyboard.press("Backspace");
  await page.keyboard.type(text);
  await page.keyboard.press("Tab");
}

/** Drops a file on the page. */
export async function drop(page, name, contents) {
  await page.evaluate(
    (fileName, base64) => {
      const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File([bytes], fileName));
      const target = document.querySelector("main");
      for (const type of ["dragenter", "dragover", "drop"]) {
        target.dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer }));
      }
    },
    name,
    contents.toString("base64"),
  );
}

/** Draws with the mouse on the stage, through points in fractions of it. */
export async function draw(page, points) {
  const box = await (await page.waitForSelector("#stage")).boundingBox();
  const at = ([x, y]) => [box.x + x * box.width, box.y + y * box.height];
  await page.mouse.move(...at(points[0]));
  await page.mouse.down();
  for (const point of points.slice(1)) await page.mouse.move(...at(point), { steps: 6 });
  await page.mouse.up();
}

const WIDTHS = [1280, 390];
const THEMES = ["light", "dark"];

/** Pictures of the view in both themes and widths, and what axe-core finds in each. */
export async function shots(page, folder, name) {
  if (folder) await mkdir(folder, { recursive: true });
  await page.waitForFunction(() => !document.querySelector(".spinner"), { timeout: 60_000 });
  for (const width of WIDTHS) {
    await page.setViewport({ width, height: width < 600 ? 844 : 800 });
    for (const theme of THEMES) {
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }]);
      await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 150)));
      await page.waitForFunction(() => [...document.images].every((image) => image.complete), {
        timeout: 20_000,
      });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
      expect(!wide, `${name}: it is wider than the window at ${width} px`);
      if (folder) await page.screenshot({ path: join(folder, `${name}-${width}-${theme}.png`) });
      await page.evaluate(axe);
      const found = await page.evaluate(async () => {
        const { violations } = await globalThis.axe.run(document, { resultTypes: ["violations"] });
        return violations
          .filter(({ impact }) => impact === "serious" || impact === "critical")
          .map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 160)).join(" | ")}`);
      });
      expect(found.length === 0, `${name}, ${width} px, ${theme}: axe-core finds ${found.join("\n")}`);
    }
  }
  await page.setViewport({ width: 1280, height: 800 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "light" }]);
}
