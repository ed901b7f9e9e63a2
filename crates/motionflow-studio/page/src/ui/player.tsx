// Frames of several videos in step.
import { useEffect, useRef, useState } from "preact/hooks";
import type { Frames, Sheet } from "../api/types.ts";
import { IconButton, isTyping, useKeys } from "./basics.tsx";
import { drawTile } from "./pictures.ts";

export interface Player {
  readonly frame: number;
  readonly count: number;
  readonly playing: boolean;
  show(frame: number): void;
  setPlaying(playing: boolean): void;
}

/** A clock for `count` frames, with keys: space plays, the arrows step. */
export function usePlayer(count: number, fps: number): Player {
  const [frame, setFrame] = useState(0);
  const [playing, setPlaying] = useState(false);
  const now = useRef(0);
  now.current = frame;
  const show = (to: number) => {
    setPlaying(false);
    setFrame(Math.min(count - 1, Math.max(0, to)));
  };
  useEffect(() => {
    if (!playing || count < 2) return;
    const [start, first] = [performance.now(), now.current];
    let request = requestAnimationFrame(function tick(time: number) {
      setFrame((first + Math.floor((Math.max(0, time - start) / 1000) * fps)) % count);
      request = requestAnimationFrame(tick);
    });
    return () => cancelAnimationFrame(request);
  }, [playing, count, fps]);
  useKeys((event) => {
    if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey) return false;
    const target = event.target as HTMLElement;
    const isControl = target.closest("button, a, input, summary") !== null;
    const step = { ArrowLeft: frame - 1, ArrowRight: frame + 1, Home: 0, End: count - 1 }[event.key];
    if (step !== undefined && target.tagName !== "INPUT") show(step);
    else if (event.key === " " && !isControl) setPlaying((before) => !before);
    else return false;
    return true;
  });
  return { frame, count, playing, show, setPlaying };
}

export function PlayerBar({ player }: { player: Player }) {
  const { frame, count, playing } = player;
  return (
    <div class="row">
      <IconButton
        icon={playing ? "pause" : "play"}
        label={playing ? "Pause" : "Play"}
        keys="Space"
        onClick={() => player.setPlaying(!playing)}
      />
      <input
        type="range"
        class="grow"
        min={0}
        max={Math.max(0, count - 1)}
        value={frame}
        aria-label="Frame"
        aria-valuetext={`frame ${frame + 1} of ${count}`}
        onInput={(event) => player.show(Number(event.currentTarget.value))}
      />
      <span class="number small muted">
        {frame + 1} / {count}
      </span>
    </div>
  );
}

/** One frame of a sheet. */
export function SheetFrame({
  sheet,
  url,
  frame,
  label,
  class: extra,
}: {
  sheet: Sheet;
  url: string;
  frame: number;
  label: string;
  class?: string;
}) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [picture, setPicture] = useState<HTMLImageElement | null>(null);
  useEffect(() => {
    let isGone = false;
    const image = new Image();
    image.src = url;
    image.decode().then(
      () => !isGone && setPicture(image),
      () => {},
    );
    return () => {
      isGone = true;
    };
  }, [url]);
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (context && picture) drawTile(context, picture, sheet, frame);
  }, [picture, frame, sheet]);
  return (
    <canvas
      ref={canvas}
      class={extra ?? ""}
      width={sheet.tile_width}
      height={sheet.tile_height}
      role="img"
      aria-label={`${label}, frame ${frame + 1}`}
    />
  );
}

/** Frames that are loaded when they are shown. */
export function useFrames(
  load: ((signal: AbortSignal) => Promise<Frames>) | null,
  key: string,
): Frames | "none" | null {
  const [found, setFound] = useState<Frames | "none" | null>(null);
  useEffect(() => {
    setFound(null);
    if (!load) {
      setFound("none");
      return;
    }
    const controller = new AbortController();
    load(controller.signal).then(setFound, () => {
      if (!controller.signal.aborted) setFound("none");
    });
    return () => controller.abort();
  }, [key]);
  return found;
}
