// The motion mask of a job over its source.
import { useEffect, useRef, useState } from "preact/hooks";
import { api } from "../../api/client.ts";
import type { Frames, Job, WatchMasks } from "../../api/types.ts";
import { percent } from "../../logic/format.ts";
import { bytesOf } from "../../logic/look.ts";
import type { Mask } from "../../logic/mask.ts";
import { cls, subjectClass } from "../../ui/basics.tsx";
import { colorOf, drawTile, tint } from "../../ui/pictures.ts";
import { type Player, useFrames } from "../../ui/player.tsx";

export function MaskPane({ masks, job, player }: { masks: WatchMasks | null; job: Job; player: Player }) {
  const source = job.source;
  const frames = useFrames(
    source
      ? async (signal) => {
          const { request } = await api.job(job.id);
          const { width, height, frames: count } = request?.video ?? {};
          const { start, every, fit } = request?.source ?? {};
          const cut = { width, height, frames: count, start, every, fit } as Record<string, string | number>;
          return api.frames(source, cut, signal);
        }
      : null,
    `${job.id} ${source}`,
  );
  const sheet = frames === "none" ? null : frames;
  return (
    <figure class="card pane">
      <div class="picture">
        {sheet || masks ? <MaskFrame masks={masks} sheet={sheet} frame={player.frame} /> : null}
      </div>
      <figcaption>
        <span class="grow">{masks ? "Motion mask" : "Source"}</span>
        {masks?.subjects.map(({ text, coverage }, i) => (
          <span key={text} class={cls("row", subjectClass(i))}>
            <span class="swatch" />
            {text} <span class="muted number">{percent(coverage)}</span>
          </span>
        ))}
      </figcaption>
    </figure>
  );
}

function MaskFrame({
  masks,
  sheet,
  frame,
}: {
  masks: WatchMasks | null;
  sheet: Frames | null;
  frame: number;
}) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [picture, setPicture] = useState<HTMLImageElement | null>(null);
  useEffect(() => {
    if (!sheet) return;
    const image = new Image();
    image.src = sheet.sheet;
    image.decode().then(
      () => setPicture(image),
      () => {},
    );
  }, [sheet]);
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) return;
    const { width, height } = context.canvas;
    context.fillStyle = "#3a3d45";
    context.fillRect(0, 0, width, height);
    if (sheet && picture) drawTile(context, picture, sheet, frame % sheet.frames);
    if (!masks) return;
    context.imageSmoothingEnabled = false;
    masks.subjects.forEach((subject, i) => {
      const shown =
        masks.frames < (sheet?.frames ?? 0)
          ? Math.ceil((frame * (masks.frames - 1)) / Math.max(1, (sheet?.frames ?? 1) - 1))
          : frame;
      const mask = maskOfFrame(masks, subject.mask, Math.min(masks.frames - 1, shown));
      context.drawImage(tint(mask, colorOf(i), 0.5), 0, 0, width, height);
    });
  }, [picture, frame, masks, sheet]);
  const size = { width: sheet?.tile_width ?? 256, height: sheet?.tile_height ?? 256 };
  return (
    <canvas
      ref={canvas}
      {...size}
      role="img"
      aria-label={`Source with the motion mask, frame ${frame + 1}`}
    />
  );
}

function maskOfFrame({ width, height }: WatchMasks, base64: string, frame: number): Mask {
  const size = width * height;
  const pixels = bytesOf(base64).subarray(frame * size, (frame + 1) * size);
  return { width, height, pixels };
}
