// Source, mask and result of runs, all in step.
import { useEffect } from "preact/hooks";
import { api } from "../../api/client.ts";
import type { Frames, Run } from "../../api/types.ts";
import { cls, Spinner } from "../../ui/basics.tsx";
import { type Player, PlayerBar, SheetFrame, useFrames, usePlayer } from "../../ui/player.tsx";

export type What = "source" | "mask" | "result";

const CAPTIONS: Readonly<Record<What, string>> = { source: "Source", mask: "Motion mask", result: "Result" };

/** Videos of runs, all in step. */
export function Panes({ runs, whats }: { runs: readonly Run[]; whats: readonly What[] }) {
  const video = runs[0]?.video;
  const count = Math.max(...runs.map((run) => run.video?.frames ?? 1));
  const player = usePlayer(count, video?.fps ?? 8);
  useEffect(() => {
    if (!matchMedia("(prefers-reduced-motion: reduce)").matches) player.setPlaying(true);
  }, []);
  return (
    <>
      <div class={cls("panes", runs.length > 1 && "two")}>
        {runs.flatMap((run) =>
          whats.map((what) => (
            <Pane
              key={`${run.name} ${what}`}
              run={run}
              what={what}
              player={player}
              caption={runs.length > 1 ? run.name : CAPTIONS[what]}
            />
          )),
        )}
      </div>
      <PlayerBar player={player} />
    </>
  );
}

function Pane({ run, what, player, caption }: { run: Run; what: What; player: Player; caption: string }) {
  const frames = useFrames((signal) => api.runFrames(run.name, what, signal), `${run.name} ${what}`);
  if (frames === "none") return null;
  return (
    <figure class="card pane">
      <div class="picture">
        {frames ? (
          <FrameOf frames={frames} frame={player.frame} label={`${caption} of ${run.name}`} />
        ) : (
          <Spinner label="Loading" />
        )}
      </div>
      <figcaption>
        <span class="grow ellipsis">{caption}</span>
      </figcaption>
    </figure>
  );
}

const FrameOf = ({ frames, frame, label }: { frames: Frames; frame: number; label: string }) => (
  <SheetFrame sheet={frames} url={frames.sheet} frame={Math.min(frame, frames.frames - 1)} label={label} />
);
