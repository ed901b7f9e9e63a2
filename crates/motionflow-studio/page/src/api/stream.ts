// The stream of events. Browsers allow six connections to a server, so the tabs of one browser share a stream through a
// shared worker; where there is none, a tab has its own.
import type { Events } from "./types.ts";

export const EVENT_NAMES = [
  "job",
  "removed",
  "queue",
  "stage",
  "stage_done",
  "progress",
  "loss",
  "masks",
  "preview",
  "note",
  "warning",
  "look",
  "runs",
  "disk",
  "reset",
] as const satisfies readonly (keyof Events)[];

/** What reaches a tab: an event with its id, or that the stream opened or was lost. */
export type Message =
  | { readonly kind: "open" }
  | { readonly kind: "lost" }
  | { readonly kind: "event"; readonly id: number; readonly name: keyof Events; readonly data: string };

/** Opens a stream after the event `after`, and whenever it is lost another one that goes on where it ended. */
export function openStream(after: number, tell: (message: Message) => void): void {
  let last = String(after);
  const connect = () => {
    const source = new EventSource(`/api/events?after=${last}`);
    source.onopen = () => tell({ kind: "open" });
    source.onerror = () => {
      // Browsers wait longer and longer before they try again.
      source.close();
      tell({ kind: "lost" });
      setTimeout(connect, 500 + 500 * Math.random());
    };
    for (const name of EVENT_NAMES) {
      source.addEventListener(name, (event: MessageEvent<string>) => {
        last = event.lastEventId || last;
        tell({ kind: "event", id: Number(event.lastEventId), name, data: event.data });
      });
    }
  };
  connect();
}

/**
 * Listens to the stream that this browser's tabs share. What comes back begins it after an event, unless another tab has begun
 * it: then its events come already.
 */
export function listen(tell: (message: Message) => void): (after: number) => void {
  if (typeof SharedWorker === "undefined") return (after) => openStream(after, tell);
  const worker = new SharedWorker("/events.js", { type: "module", name: "motionflow-events" });
  worker.port.onmessage = (event: MessageEvent<Message>) => tell(event.data);
  let isBroken = false;
  let begun: number | null = null;
  worker.onerror = () => {
    if (isBroken) return;
    isBroken = true;
    if (begun !== null) openStream(begun, tell);
  };
  return (after) => {
    begun = after;
    if (isBroken) openStream(after, tell);
    else worker.port.postMessage(after);
  };
}
