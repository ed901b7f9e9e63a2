import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { type Message, openStream } from "../src/api/stream.ts";

/** A stream that the test tells what to bring. */
class FakeSource {
  static all: FakeSource[] = [];
  onopen: (() => void) | null = null;
  onerror: (() => void) | null = null;
  isClosed = false;
  private readonly listeners = new Map<string, (event: unknown) => void>();
  constructor(readonly url: string) {
    FakeSource.all.push(this);
  }
  addEventListener(name: string, listener: (event: unknown) => void) {
    this.listeners.set(name, listener);
  }
  close() {
    this.isClosed = true;
  }
  bring(name: string, id: number, data: unknown) {
    this.listeners.get(name)?.({ lastEventId: String(id), data: JSON.stringify(data) });
  }
}

const original = globalThis.EventSource;
let told: Message[] = [];

beforeEach(() => {
  FakeSource.all = [];
  told = [];
  globalThis.EventSource = FakeSource as unknown as typeof EventSource;
  mock.timers.enable({ apis: ["setTimeout"] });
});

afterEach(() => {
  globalThis.EventSource = original;
  mock.timers.reset();
});

test("a stream begins after the event that is known", () => {
  openStream(41, (message) => told.push(message));
  assert.equal(FakeSource.all[0]?.url, "/api/events?after=41");
  FakeSource.all[0]?.onopen?.();
  FakeSource.all[0]?.bring("runs", 42, {});
  assert.deepEqual(told, [{ kind: "open" }, { kind: "event", id: 42, name: "runs", data: "{}" }]);
});

test("a stream that is lost goes on after the last event that came", () => {
  openStream(41, (message) => told.push(message));
  const [first] = FakeSource.all;
  first?.bring("queue", 57, { paused: true, order: [] });
  first?.onerror?.();
  assert.equal(first?.isClosed, true);
  assert.deepEqual(told.at(-1), { kind: "lost" });
  mock.timers.tick(1000);
  assert.equal(FakeSource.all.length, 2);
  assert.equal(FakeSource.all[1]?.url, "/api/events?after=57");
  FakeSource.all[1]?.onerror?.();
  mock.timers.tick(1000);
  assert.equal(FakeSource.all[2]?.url, "/api/events?after=57");
});
