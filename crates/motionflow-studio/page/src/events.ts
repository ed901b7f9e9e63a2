// The shared worker: one stream of events for all tabs.
import { type Message, openStream } from "./api/stream.ts";

const ports = new Set<MessagePort>();
let isBegun = false;
let state: Message | null = null;

function tell(message: Message) {
  if (message.kind !== "event") state = message;
  for (const port of ports) port.postMessage(message);
}

addEventListener("connect", (event) => {
  const port = (event as MessageEvent).ports[0];
  if (!port) return;
  ports.add(port);
  if (state) port.postMessage(state);
  port.onmessage = ({ data }: MessageEvent<number>) => {
    if (isBegun) return;
    isBegun = true;
    openStream(data, tell);
  };
});
