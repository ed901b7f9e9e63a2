// Bundles the page into dist/: index.html, studio.js, events.js (the shared worker), studio.css. The same sources give the same bytes.
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = new URL(".", import.meta.url);
const dist = new URL("dist/", here);

await rm(dist, { recursive: true, force: true });
await mkdir(dist);
const { outputFiles } = await build({
  absWorkingDir: here.pathname,
  entryPoints: { studio: "src/main.tsx", events: "src/events.ts" },
  outdir: "dist",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  legalComments: "none",
  jsx: "automatic",
  jsxImportSource: "preact",
  loader: { ".svg": "text" },
  write: false,
});
const files = [
  ...outputFiles.map((file) => [file.path.split("/").pop(), file.contents]),
  ["index.html", await readFile(new URL("src/index.html", here))],
  ["favicon.svg", await readFile(new URL("src/favicon.svg", here))],
];
let total = 0;
for (const [name, contents] of files) {
  await writeFile(new URL(name, dist), contents);
  total += gzipSync(contents).length;
}
console.log(`dist: ${(total / 1024).toFixed(1)} KiB compressed`);
