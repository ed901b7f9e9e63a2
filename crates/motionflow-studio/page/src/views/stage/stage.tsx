// The stage: the clip with its masks, and the frames to go through.

import { effect, signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { frames, framesError, look, source, subjectAt, video } from "../../state/draft.ts";
import { motionError, trackOf } from "../../state/masks.ts";
import { brushHindrance, frame, lastFrame, playing, selected, showFrame, tool } from "../../state/stage.ts";
import { cls, IconButton, Notice, Spinner, subjectClass } from "../../ui/basics.tsx";
import { dragging, pointers } from "./gestures.ts";
import { describeStage, paintStage } from "./paint.ts";
import { Tools } from "./tools.tsx";

export const size = signal({ width: 0, height: 0 });

export function Stage() {
  return (
    <section class="left" aria-label="Stage">
      <Tools />
      <Viewport />
      <Transport />
    </section>
  );
}

function Viewport() {
  const viewport = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);

  useEffect(() => {
    const element = viewport.current;
    if (!element) return;
    const measure = () => {
      const style = getComputedStyle(element);
      const padding = Number.parseFloat(style.paddingLeft) * 2;
      size.value = { width: element.clientWidth - padding, height: element.clientHeight - padding };
    };
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    measure();
    const stop = effect(() => {
      const context = canvas.current?.getContext("2d");
      if (!context) return;
      const { width, height } = video.value;
      const fit = Math.min(size.value.width / width, size.value.height / height);
      if (!(fit > 0)) return;
      const scale = Math.min(2, devicePixelRatio);
      const [w, h] = [Math.round(width * fit), Math.round(height * fit)];
      if (context.canvas.width !== Math.round(w * scale) || context.canvas.height !== Math.round(h * scale)) {
        context.canvas.width = Math.round(w * scale);
        context.canvas.height = Math.round(h * scale);
        context.canvas.style.width = `${w}px`;
        context.canvas.style.height = `${h}px`;
      }
      paintStage(context, scale, dragging.value);
    });
    return () => {
      observer.disconnect();
      stop();
    };
  }, []);

  const isPainting = tool.value === "brush" || tool.value === "eraser";
  const hindrance = isPainting ? brushHindrance.value : null;
  return (
    <div class="viewport" ref={viewport}>
      {/* biome-ignore lint/a11y/noInteractiveElementToNoninteractiveRole: an application takes keys */}
      <canvas
        ref={canvas}
        id="stage"
        tabIndex={0}
        role="application"
        aria-roledescription="stage"
        aria-label={describeStage()}
        class={cls(isPainting && "paint", (tool.value === "track" || tool.value === "transform") && "track")}
        {...pointers()}
      />
      <div class="veil">
        {framesError.value ? (
          <Notice kind="bad">{framesError.value}</Notice>
        ) : source.value && !frames.value ? (
          <span class="pill">
            <Spinner label="Reading the clip" />
          </span>
        ) : look.value.state === "running" || look.value.state === "waiting" ? (
          <span class="pill">
            <Spinner
              label={
                look.value.state === "waiting" ? "The look waits for the running job" : "Looking at the clip"
              }
            />
          </span>
        ) : hindrance ? (
          <span class="pill">{hindrance}</span>
        ) : motionError.value ? (
          <Notice kind="bad">{motionError.value}</Notice>
        ) : tool.value === "track" && !trackOf(selected.value) ? (
          <span class="pill">Drag a path over the picture, or press Enter for a box in the middle.</span>
        ) : null}
      </div>
    </div>
  );
}

function Transport() {
  const subject = subjectAt(selected.value);
  const track = trackOf(selected.value);
  const keys = new Set(track ? track.keys.map((key) => Math.round(key.frame)) : subject.edits.keys());
  const count = video.value.frames;
  return (
    <div class="transport">
      <IconButton
        icon={playing.value ? "pause" : "play"}
        label={playing.value ? "Pause" : "Play"}
        keys="Space"
        onClick={() => {
          playing.value = !playing.value;
        }}
      />
      <div class="timeline">
        <div class={cls("marks", subjectClass(selected.value))} aria-hidden="true">
          {Array.from({ length: count }, (_, i) => (
            <span
              key={i}
              class={keys.has(i) ? (subject.filled.has(i) ? "filled" : "key") : ""}
              style={{ left: `${(100 * i) / Math.max(1, count - 1)}%` }}
            />
          ))}
        </div>
        <input
          type="range"
          min={0}
          max={lastFrame.value}
          value={frame.value}
          aria-label="Frame"
          aria-valuetext={`frame ${frame.value + 1} of ${count}`}
          onInput={(event) => {
            playing.value = false;
            showFrame(Number(event.currentTarget.value));
          }}
        />
      </div>
      <span class="number small muted">
        {frame.value + 1} / {count}
      </span>
    </div>
  );
}
