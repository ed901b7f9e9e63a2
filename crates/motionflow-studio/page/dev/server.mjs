// A mock of the studio's server: it answers the API of docs/studio-api.md from memory, and serves the built page under the
// same content security policy. `node dev/server.mjs [PORT] [QUEUED JOBS] [MILLISECONDS A STEP]`
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { ball, sheet } from "./pictures.mjs";

const dist = new URL("../dist/", import.meta.url);
const TYPES = { html: "text/html", js: "text/javascript", css: "text/css", svg: "image/svg+xml" };
const CSP =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self'; connect-src 'self'; " +
  "worker-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

export async function startMock({ port = 0, jobs: count = 0, pace = 120 } = {}) {
  const now = () => Date.now() / 1000;
  const state = {
    jobs: new Map(),
    requests: new Map(),
    uploads: new Map(),
    looks: new Map(),
    watches: new Map(),
    runs: [],
    presets: [{ name: "draft", request: { settings: { steps: 6 }, video: { frames: 8 } } }],
    comparisons: new Map(),
    paused: false,
    event: 0,
    log: [],
    streams: new Set(),
  };

  const emit = (name, data) => {
    const text = `id: ${++state.event}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
    state.log.push([state.event, text]);
    if (state.log.length > 5000) state.log.shift();
    for (const stream of state.streams) stream.write(text);
  };
  const problem = (status, code, detail) => ({
    problem: { type: "about:blank", title: code, status, code, detail },
  });

  // Clips and their frames

  const clips = [
    ["car-arc", "a [car] on a road"],
    ["dog-bounce", "a [dog] on the grass"],
    ["dog-and-car", "a [dog] and a [car] on a road"],
  ].map(([name, source_prompt], i) => ({
    ref: `clip:${name}`,
    name,
    width: 128,
    height: 128,
    fps: 8,
    bytes: 20_000,
    source_prompt,
    poster: `/api/clips/clip%3A${name}/sheet?frames=1&side=96&look=${i}`,
  }));
  const framesOf = (ref, query, sheetUrl, look) => {
    const frames = Number(query.get("frames") ?? 16);
    return {
      ref,
      width: Number(query.get("width") ?? 128),
      height: Number(query.get("height") ?? 128),
      frames,
      fps: 8,
      sheet: `${sheetUrl}?frames=${frames}&side=128&look=${look}`,
      tile_width: 128,
      tile_height: 128,
      columns: 4,
      rows: Math.ceil(frames / 4),
      notices: [],
    };
  };

  // Prompts and looks

  const subjectsOf = (prompt) => [...prompt.matchAll(/\[([^\]]+)\]/g)].map(([, text]) => text.trim());
  const tokensOf = ({ prompt, which }) => {
    const text = prompt.replace(/[[\]]/g, "");
    const subjects = subjectsOf(prompt).map((word) => {
      const start = text.indexOf(word);
      return { text: word, start, end: start + word.length, tokens: [] };
    });
    const words = [...text.matchAll(/\w+/g)].map(([word], i, all) => {
      const start = all.slice(0, i).reduce((at, [other]) => text.indexOf(other, at) + other.length, 0);
      const at = text.indexOf(word, start);
      const subject = subjects.findIndex((one) => at >= one.start && at < one.end);
      return {
        position: i + 1,
        text: word,
        start: at,
        end: at + word.length,
        special: null,
        subject: subject < 0 ? null : subject,
        unknown: word === "zebra",
        piece: false,
      };
    });
    const edge = (position, special) => ({
      position,
      text: "",
      start: 0,
      end: 0,
      special,
      subject: null,
      unknown: false,
      piece: false,
    });
    const warnings = words.some((word) => word.unknown)
      ? [`the ${which} prompt: the checkpoint does not know "zebra"`]
      : [];
    const tokens = [edge(0, "start"), ...words, edge(words.length + 1, "end")];
    return { text, tokens, subjects, limit: 77, warnings };
  };
  const lookResult = (request) => {
    const [frames, side] = [16, 32];
    const subjects = subjectsOf(request.prompts.source_prompt).map((text, index) => {
      const values = Buffer.alloc(4 * frames * side * side);
      const mask = Buffer.alloc(frames * side * side);
      for (let n = 0; n < frames; n++) {
        const [bx, by] = ball(n, frames, index);
        for (let i = 0; i < side * side; i++) {
          const distance = Math.hypot(
            ((i % side) + 0.5) / side - bx,
            (Math.floor(i / side) + 0.5) / side - by,
          );
          const value = Math.exp(-((distance / 0.15) ** 2));
          values.writeFloatLE(0.02 * value, 4 * (n * side * side + i));
          mask[n * side * side + i] = value > 0.4 ? 1 : 0;
        }
      }
      const layers = [{ name: "up_blocks.1", values: values.toString("base64") }];
      return { text, layers, coverage: 0.06, overlap: 0.7, mask: mask.toString("base64") };
    });
    return {
      tau: 0.4,
      apart: false,
      frames,
      video_frames: 16,
      map_width: side,
      map_height: side,
      timesteps: [201],
      subjects,
      warnings: [],
      seconds: 0.9,
    };
  };

  // The queue

  const queued = () =>
    [...state.jobs.values()].filter((job) => job.state === "queued").sort((a, b) => a.position - b.position);
  const renumber = (list = queued()) => {
    for (const [position, job] of list.entries()) job.position = position;
    emit("queue", { paused: state.paused, order: list.map((job) => job.id) });
  };
  const change = (job, part) => {
    Object.assign(job, part);
    emit("job", job);
    return job;
  };
  const putJob = (id, { request, name }) => {
    const known = state.jobs.get(id);
    const same = JSON.stringify(state.requests.get(id)) === JSON.stringify(request);
    if (known && same) return [200, known];
    if (known && known.state !== "queued") return [409, problem(409, "job_over", `job "${id}" is over`)];
    const prompt = request.prompts?.prompt ?? null;
    if (!prompt || !subjectsOf(prompt).length) {
      return [
        422,
        problem(
          422,
          "misuse",
          'the prompt marks no subject: put its words in brackets, like "a [car] on a road"',
        ),
      ];
    }
    const job = {
      id,
      name: name ?? `${prompt.replace(/[^a-z]+/gi, "-").replace(/^-|-$/g, "")}-${state.jobs.size}`,
      state: "queued",
      position: known?.position ?? queued().length,
      prompt,
      source_prompt: request.prompts.source_prompt ?? null,
      source: request.source?.path ?? null,
      thumbnail: clips.find((clip) => clip.ref === request.source?.path)?.poster ?? null,
      seed: request.settings?.seed ?? 0,
      model: request.model?.name ?? "demo",
      created: now(),
      started: null,
      finished: null,
      seconds: null,
      error: null,
      run: null,
      can_continue: false,
      warnings: [],
      progress: null,
    };
    state.jobs.set(id, job);
    state.requests.set(id, request);
    emit("job", job);
    setImmediate(work);
    return [known ? 200 : 201, job];
  };

  let busy = false;
  async function work() {
    const job = queued()[0];
    if (busy || state.paused || !job) return;
    busy = true;
    const request = state.requests.get(job.id);
    const watch = { stages: [], losses: [], masks: null, preview: null, warnings: [], notes: [], event: 0 };
    state.watches.set(job.id, watch);
    change(job, { state: "running", position: null, started: now(), can_continue: false });
    renumber();
    const tell = (name, data) => emit(name, { job: job.id, ...data });
    const steps = request.settings?.steps ?? 8;
    for (const [stage, of] of [
      ["read", 1],
      ["load", 1],
      ["masks", 1],
      ["generate", steps],
      ["decode", 1],
      ["write", 1],
    ]) {
      watch.stages.push({ stage, steps: of, done: 0, seconds: null });
      tell("stage", { stage, steps: of });
      for (let done = 1; done <= of && job.state === "running"; done++) {
        await new Promise((resolve) => setTimeout(resolve, pace));
        if (stage === "generate") {
          const loss = {
            step: done,
            update: 1,
            timestep: 1000 - 40 * done,
            total: 0.4 + Math.exp(-done / 3),
          };
          watch.losses.push(loss);
          tell("loss", { loss });
          const size = { tile_width: 32, tile_height: 32, columns: 4, rows: 4, frames: 16 };
          watch.preview = { step: done, url: `/api/clips/x/sheet?frames=16&side=32&look=${done}`, ...size };
          tell("preview", { preview: watch.preview });
        }
        watch.stages.at(-1).done = done;
        const part = (watch.stages.length - 1 + done / of) / 6;
        job.progress = {
          stage,
          done,
          of,
          part,
          seconds_left: 20 * (1 - part),
          loss: watch.losses.at(-1)?.total ?? null,
        };
        tell("progress", { progress: job.progress });
      }
      watch.stages.at(-1).seconds = 0.5;
      tell("stage_done", { stage, seconds: 0.5 });
      if (stage === "masks") {
        const result = lookResult({ prompts: { source_prompt: job.source_prompt ?? job.prompt } });
        watch.masks = {
          frames: 16,
          width: 32,
          height: 32,
          subjects: result.subjects.map(({ layers: _, ...rest }) => rest),
        };
        tell("masks", { masks: watch.masks });
      }
    }
    busy = false;
    if (job.state === "running") {
      state.runs.unshift(runOf(job, request));
      change(job, { state: "finished", finished: now(), seconds: 6, run: job.name, progress: null });
      emit("runs", {});
    } else change(job, { progress: null, finished: now(), can_continue: true });
    work();
  }

  const runOf = (job, request) => ({
    name: job.name,
    state: "finished",
    command: "transfer",
    modified: now(),
    bytes: 640_000,
    prompt: job.prompt,
    source_prompt: job.source_prompt,
    model: "demo",
    video: { width: 128, height: 128, frames: 16, fps: 8 },
    seed: job.seed,
    seconds: 6,
    warnings: [],
    files: ["contact-sheet.png", "result.mp4", "run.json", "run.toml"],
    thumbnail: `/api/clips/x/sheet?frames=1&side=128&look=1`,
    job: job.id,
    record: { settings: { steps: 8, tau: 0.4, ...request.settings }, prompts: request.prompts },
    history: {},
    request,
  });

  for (let i = 0; i < count; i++) {
    putJob(`bulk-${i}`, {
      request: {
        prompts: { source_prompt: "a [car] on a road", prompt: `a [panda] in the snow, take ${i}` },
        source: { path: "clip:car-arc" },
        settings: { seed: i, steps: 40 },
      },
      name: `bulk-${i}`,
    });
  }

  // Settings

  const setting = (path, type, about, value, more = {}) => ({
    path,
    key: path.split(".")[1],
    flag: `--${path.split(".")[1].replaceAll("_", "-")}`,
    about,
    type,
    choices: null,
    min: null,
    max: null,
    range: "",
    default: String(value),
    value,
    paper: null,
    common: false,
    conflicts: null,
    ...more,
  });
  const groups = [
    {
      title: "Prompts",
      table: "prompts",
      settings: [setting("prompts.negative_prompt", "text", "What the new video must not show", "")],
    },
    {
      title: "Sampling",
      table: "settings",
      settings: [
        setting("settings.steps", "integer", "Steps of the inversion and of the sampling", 15, {
          range: "1 or more",
          paper: "50",
          common: true,
        }),
        setting("settings.seed", "integer", "Seed of the noise", 0, { range: "0 to 2^63 - 1", common: true }),
        setting("settings.sampler", "choice", "Sampler that removes the noise", "ddim", {
          choices: ["ddim", "dpmpp-2m", "unipc"],
        }),
      ],
    },
    {
      title: "Motion guidance",
      table: "settings",
      settings: [
        setting(
          "settings.tau",
          "number",
          "A place belongs to the subject where its attention exceeds TAU times the frame's maximum",
          0.4,
          { range: "0 or more, below 1", common: true },
        ),
        setting(
          "settings.step_size",
          "number",
          "An update moves the latents by ALPHA times the gradient",
          5,
          { conflicts: "settings.step_norm" },
        ),
        setting(
          "settings.step_norm",
          "number",
          "An update moves the latents by RATIO times their norm",
          null,
          { conflicts: "settings.step_size" },
        ),
        setting("settings.init", "choice", "What sampling starts from", "inverted", {
          choices: ["inverted", "noise"],
          common: true,
        }),
        setting("settings.updates", "switch", "Whether the latents are guided at all", true),
      ],
    },
  ];

  // Routes

  const shapes = (body) => {
    const { width, height, frames } = body.video;
    const masks = Buffer.alloc(width * height * frames);
    for (let n = 0; n < frames; n++) {
      const [bx, by] = ball(n, frames, 1);
      for (let i = 0; i < width * height; i++) {
        const at = [((i % width) + 0.5) / width - bx, (Math.floor(i / width) + 0.5) / height - by];
        if (Math.hypot(...at) < 0.15) masks[n * width * height + i] = 255;
      }
    }
    return { frames, width, height, subjects: [{ masks: masks.toString("base64"), empty: [] }], avoid: null };
  };
  const upload = (kind, name, contents) => {
    const ref = `upload:${(state.uploads.size + 1).toString(16).padStart(4, "0")}`;
    const made = { ref, kind, name, bytes: contents.length, created: now() };
    state.uploads.set(ref, { ...made, contents });
    return made;
  };
  const simple = {
    "GET health": () => ({
      state: busy ? "busy" : "ready",
      version: "0.1.0",
      device: "cpu",
      runs: "runs",
      max_upload_bytes: 2e9,
      event: state.event,
      problem: null,
    }),
    "GET cluster": () => ({
      is_there: true,
      states: { queued: 12, running: 2, finished: 96 },
      workers: [
        { name: "node-1-4711-cuda:0", device: "cuda:0", job: "panda-1a2b", leaves: [] },
        {
          name: "node-2-815-cpu",
          device: "cpu",
          job: null,
          leaves: ["Wan-AI/Wan2.1-T2V-14B-Diffusers: the checkpoint is not here"],
        },
      ],
      others: [
        { id: "camel-7", name: "camel", state: "queued", worker: null, created: now() - 90, error: null },
        {
          id: "panda-1a2b",
          name: "panda",
          state: "running",
          worker: "node-1-4711-cuda:0",
          created: now() - 400,
          error: null,
        },
      ],
    }),
    "GET disk": () => ({
      free_bytes: 42e9,
      total_bytes: 250e9,
      runs_bytes: 640_000 * state.runs.length,
      uploads_bytes: 0,
      cache_bytes: 31e6,
      cache_limit_bytes: 20e9,
      warning: null,
    }),
    "GET models": () => ({
      models: [
        {
          name: "demo",
          licence: "MIT",
          bytes: 40e6,
          here: true,
          default: true,
          video: { width: 128, height: 128, frames: 16, fps: 8 },
          domain: null,
        },
      ],
    }),
    "GET clips": () => ({ clips }),
    "GET settings": () => ({ groups }),
    "GET presets": () => ({ presets: state.presets }),
    "GET jobs": ({ query }) => ({
      jobs: [...state.jobs.values()].filter((job) => (query.get("state") ?? job.state).includes(job.state)),
      paused: state.paused,
      event: state.event,
    }),
    "GET reports": () => ({ reports: [] }),
    "GET comparisons": () => ({ comparisons: [...state.comparisons.values()] }),
    "GET queue/export": () => "[[job]]\n",
    "POST prompts": ({ json }) => tokensOf(json),
    "POST estimate": () => ({
      seconds: 41,
      at_most: false,
      stages: [
        ["generate", 30],
        ["decode", 11],
      ],
      peak_memory_bytes: 1.3e9,
      free_memory_bytes: 9e9,
      refusal: null,
      device: "cpu",
      precision: "f32",
      resolved: {},
      warnings: [],
    }),
    "POST settings/write": () => "[settings]\n",
    "POST motion/masks": ({ json }) => shapes(json),
    "POST masks": ({ json }) => [201, upload("masks", json.name, JSON.stringify(json.frames))],
    "POST tracks": ({ json }) => [201, upload("track", json.name, JSON.stringify(json.track))],
    "POST queue/pause": () => {
      state.paused = true;
      renumber();
      return { paused: true };
    },
    "POST queue/resume": () => {
      state.paused = false;
      renumber();
      work();
      return { paused: false };
    },
    "POST queue/many": ({ json }) => {
      const made = json.prompts.flatMap((prompt) =>
        json.seeds.map((seed) => ({
          ...json.request,
          prompts: { ...json.request.prompts, prompt },
          settings: { ...json.request.settings, seed },
        })),
      );
      return [
        201,
        {
          jobs: made.map(
            (request, i) => putJob(`${json.id}-${i + 1}`, { request, name: `${json.id}-${i + 1}` })[1],
          ),
        },
      ];
    },
    "POST mock/drop-streams": () => {
      for (const stream of state.streams) stream.destroy();
      return {};
    },
    "POST queue/import": () => [201, { jobs: [] }],
    "GET runs": ({ query }) => {
      const offset = Number(query.get("offset") ?? 0);
      return {
        runs: state.runs
          .slice(offset, offset + Number(query.get("limit") ?? 1000))
          .map(({ request: _, record: __, ...run }) => run),
      };
    },
    "POST settings/read": ({ body, query }) => {
      const run = state.runs.find((one) => body.toString().includes(`studio-run ${one.name}`));
      if (!run) return [422, problem(422, "unreadable", `${query.get("name")}: it holds no settings`)];
      return { request: run.request, missing: [], command: "transfer" };
    },
    "POST looks": ({ json }) => {
      const id = `look-${state.looks.size + 1}`;
      const made = { id, state: "running", error: null };
      state.looks.set(id, made);
      setTimeout(() => {
        Object.assign(made, { state: "finished", result: lookResult(json.request) });
        emit("look", { id, state: made.state, error: null });
      }, 3 * pace);
      return [202, { ...made }];
    },
    "POST uploads": ({ query, body }) => {
      const name = query.get("name");
      if (query.get("kind") === "motion")
        return [201, upload(/\.(json|csv)$/.test(name) ? "track" : "masks", name, body)];
      const { ref } = upload("clip", name, body);
      const clip = {
        ...clips[0],
        ref,
        name,
        source_prompt: null,
        poster: `/api/clips/x/sheet?frames=1&side=96&look=3`,
      };
      clips.push(clip);
      return [201, clip];
    },
  };

  async function route({ method, path, query, body, json }) {
    const direct = simple[`${method} ${path.join("/")}`];
    if (direct) return direct({ query, body, json });
    const [kind, id, what, more] = path;
    const job = kind === "jobs" ? state.jobs.get(id) : undefined;
    const run = kind === "runs" ? state.runs.find((one) => one.name === id) : undefined;
    const missing = [404, problem(404, "not_found", `there is no ${kind} "${id}"`)];
    switch (`${method} ${kind}${what ? `/${what}` : ""}`) {
      case "GET clips":
        return framesOf(
          id,
          query,
          `/api/clips/${encodeURIComponent(id)}/sheet`,
          Math.max(
            0,
            clips.findIndex((clip) => clip.ref === id),
          ),
        );
      case "GET clips/sheet":
        return sheet(
          Number(query.get("side") ?? 128),
          Number(query.get("frames") ?? 16),
          4,
          Number(query.get("look") ?? 0),
        );
      case "GET looks":
        return state.looks.get(id) ?? missing;
      case "POST looks/cancel":
        return [204];
      case "GET motion":
        return JSON.parse(state.uploads.get(id)?.contents ?? '{"keys":[]}');
      case "PUT presets":
        state.presets = [
          ...state.presets.filter((one) => one.name !== id),
          { name: id, request: json.request },
        ];
        return { name: id, request: json.request };
      case "DELETE presets":
        state.presets = state.presets.filter((one) => one.name !== id);
        return [204];
      case "PUT jobs":
        return putJob(id, json);
      case "GET jobs":
        return job ? { ...job, request: state.requests.get(id) } : missing;
      case "GET jobs/watch":
        return {
          ...(state.watches.get(id) ?? {
            stages: [],
            losses: [],
            masks: null,
            preview: null,
            warnings: [],
            notes: [],
          }),
          event: state.event,
        };
      case "DELETE jobs":
        if (!job) return missing;
        if (job.state === "running")
          return [409, problem(409, "job_running", `job "${id}" is running; cancel it first`)];
        state.jobs.delete(id);
        emit("removed", { id });
        renumber();
        return [204];
      case "POST jobs/cancel":
        if (!job) return missing;
        if (job.state === "queued")
          return [
            202,
            change(job, { state: "cancelled", position: null, finished: now(), can_continue: true }),
          ];
        return [202, change(job, { state: "cancelled" })];
      case "POST jobs/continue":
        change(job, { state: "queued", position: -1, can_continue: false, finished: null });
        renumber();
        work();
        return job;
      case "POST jobs/move": {
        const list = queued().filter((one) => one !== job);
        list.splice(json.position, 0, job);
        renumber(list);
        return job;
      }
      case "POST jobs/duplicate":
        return putJob(json.id, { request: { ...state.requests.get(id) }, name: `${job.name}-2` });
      case "GET runs":
        return run ?? missing;
      case "GET runs/request":
        return run ? { request: run.request, missing: [], command: "transfer" } : missing;
      case "GET runs/frames":
        return run ? framesOf(`run:${id}`, query, `/api/clips/x/sheet`, more === "result" ? 1 : 0) : missing;
      case "GET runs/files":
        return run ? Buffer.from(`studio-run ${id}`) : missing;
      case "GET runs/figures":
        return {
          figures: [
            {
              name: "motion_fidelity_lk",
              value: 0.71,
              about: "how well the motion is followed, from -1 to 1",
            },
          ],
        };
      case "DELETE runs":
        state.runs = state.runs.filter((one) => one !== run);
        emit("runs", {});
        return [204];
      case "PUT comparisons": {
        const made = {
          id,
          title: json.title,
          a: json.a.label,
          b: json.b.label,
          questions: ["motion", "prompt", "quality"],
          pairs: 1,
          votes: 0,
          voters: 0,
          created: now(),
        };
        state.comparisons.set(id, made);
        return [201, made];
      }
      case "GET comparisons":
        return state.comparisons.get(id) ?? missing;
      case "GET comparisons/next": {
        const { votes } = state.comparisons.get(id);
        return {
          pair: votes ? null : "1",
          left: "/api/none.mp4",
          right: "/api/none.mp4",
          source: null,
          prompt: "a [panda] in the snow",
          done: votes,
          of: 1,
        };
      }
      case "POST comparisons/votes":
        Object.assign(state.comparisons.get(id), { votes: 1, voters: 1 });
        return [201, {}];
      case "GET comparisons/result":
        return {
          questions: ["motion", "prompt", "quality"].map((question) => ({
            question,
            a: 1,
            b: 0,
            same: 0,
            preference: 1,
            low: 0.2,
            high: 1,
          })),
          votes: 1,
          voters: 1,
        };
      case "DELETE comparisons":
        state.comparisons.delete(id);
        return [204];
      default:
        return missing;
    }
  }

  const server = createServer(async (request, response) => {
    const address = new URL(request.url, "http://localhost");
    const headers = {
      "Content-Security-Policy": CSP,
      "X-Content-Type-Options": "nosniff",
      "Cache-Control": "no-store",
    };
    const parts = address.pathname.split("/").filter(Boolean).map(decodeURIComponent);
    if (parts[0] !== "api") {
      const name = parts[0] ?? "index.html";
      try {
        const contents = await readFile(new URL(name, dist));
        response
          .writeHead(200, { ...headers, "Content-Type": TYPES[name.split(".").pop()] ?? "text/plain" })
          .end(contents);
      } catch {
        response.writeHead(404, headers).end();
      }
      return;
    }
    if (parts[1] === "events") {
      response.writeHead(200, { ...headers, "Content-Type": "text/event-stream" });
      response.write(": hello\n\n");
      const after = Number(
        request.headers["last-event-id"] ?? address.searchParams.get("after") ?? state.event,
      );
      for (const [id, text] of state.log) if (id > after) response.write(text);
      state.streams.add(response);
      request.on("close", () => state.streams.delete(response));
      return;
    }
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    const body = Buffer.concat(pieces);
    const isJson = request.headers["content-type"] === "application/json";
    const asked = {
      method: request.method,
      path: parts.slice(1),
      query: address.searchParams,
      body,
      json: isJson ? JSON.parse(body) : undefined,
    };
    const found = await route(asked);
    const [status, answer] = Array.isArray(found) ? found : [200, found];
    if (answer === undefined) response.writeHead(status, headers).end();
    else if (Buffer.isBuffer(answer)) {
      const type = answer[0] === 137 ? "image/png" : "application/octet-stream";
      response.writeHead(status, { ...headers, "Content-Type": type }).end(answer);
    } else if (typeof answer === "string") {
      response.writeHead(status, { ...headers, "Content-Type": "text/plain" }).end(answer);
    } else {
      const { problem: told } = answer;
      const isProblem = status >= 400 && told;
      const type = isProblem ? "application/problem+json" : "application/json";
      response
        .writeHead(status, { ...headers, "Content-Type": type })
        .end(JSON.stringify(isProblem ? told : answer));
    }
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, state, close: () => server.close() };
}

if (import.meta.url === `file://${process.argv[1]}`) {
  const { url } = await startMock({
    port: Number(process.argv[2] ?? 8123),
    jobs: Number(process.argv[3] ?? 0),
  });
  console.log(url);
}
