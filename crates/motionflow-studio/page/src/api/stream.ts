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

/** Opens a stream, and again where the browser gives up; `Last-Event-ID` is sent by the browser, and by us after that. */
export function openStream(tell: (message: Message) => void): void {
  let last = "";
  const connect = () => {
    const source = new EventSource(last ? `/api/events?after=${last}` : "/api/events");
    source.onopen = () => tell({ kind: "open" });
    source.onerror = () => {
      tell({ kind: "lost" });
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
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

/** Listens to the stream that this browser's tabs share. */
export function listen(tell: (message: Message) => void): void {
  if (typeof SharedWorker === "undefined") {
    openStream(tell);
    return;
  }
  const worker = new SharedWorker("/events.js", { type: "module", name: "motionflow-events" });
  let answered = false;
  worker.port.onmessage = (event: MessageEvent<Message>) => {
    answered = true;
    tell(event.data);
  };
  worker.onerror = () => {
    if (!answered) openStream(tell);
  };
  worker.port.start();
}
