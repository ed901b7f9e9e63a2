// The shared worker: one stream of events for all tabs.
import { type Message, openStream } from "./api/stream.ts";

const ports = new Set<MessagePort>();
let state: Message | null = null;

function tell(message: Message) {
  if (message.kind !== "event") state = message;
  for (const port of ports) port.postMessage(message);
}

addEventListener("connect", (event) => {
  const port = (event as MessageEvent).ports[0];
  if (!port) return;
  const isFirst = ports.size === 0 && state === null;
  ports.add(port);
  port.start();
  if (state) port.postMessage(state);
  if (isFirst) openStream(tell);
});
