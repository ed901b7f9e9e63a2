import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { ApiError, api, fileUrl, newId, url } from "../src/api/client.ts";

interface Call {
  url: string;
  init: RequestInit;
}

let calls: Call[] = [];
let answer: () => Response | Promise<Response>;
const original = globalThis.fetch;

beforeEach(() => {
  calls = [];
  answer = () => Response.json({});
  globalThis.fetch = async (url, init) => {
    calls.push({ url: String(url), init: init ?? {} });
    return answer();
  };
});

afterEach(() => {
  globalThis.fetch = original;
});

test("refs and names are one segment of an address", async () => {
  await api.frames("run:folder/panda", { width: 64, start: undefined });
  assert.equal(calls[0]?.url, "/api/clips/run%3Afolder%2Fpanda?width=64");
  assert.equal(fileUrl("a/b", "masks/car/0001.png"), "/api/runs/a%2Fb/files/masks/car/0001.png");
  assert.equal(url("runs", { offset: 0, limit: 50 }), "/api/runs?offset=0&limit=50");
});

test("whatever changes something is sent as JSON, an empty body too", async () => {
  await api.cancelJob("a");
  assert.equal(calls[0]?.init.method, "POST");
  assert.equal(calls[0]?.init.body, "{}");
  assert.deepEqual(calls[0]?.init.headers, { "Content-Type": "application/json" });
  answer = () => new Response(null, { status: 204 });
  assert.equal(await api.removeJob("a"), undefined);
  assert.equal(calls[1]?.init.method, "DELETE");
  assert.equal(calls[1]?.init.body, "{}");
});

test("a GET has no body", async () => {
  answer = () => Response.json({ clips: [] });
  assert.deepEqual(await api.clips(), []);
  assert.equal(calls[0]?.init.body, null);
  assert.equal(calls[0]?.init.headers, undefined);
});

test("a problem is told in the words of the server", async () => {
  const problem = { title: "Conflict", status: 409, code: "job_running", detail: 'job "a" is running' };
  answer = () => Response.json(problem, { status: 409 });
  await assert.rejects(api.removeJob("a"), (error: unknown) => {
    assert.ok(error instanceof ApiError);
    assert.deepEqual(error.problem, problem);
    return error.message === problem.detail;
  });
});

test("an answer that is no problem, and no answer, are told too", async () => {
  answer = () => new Response("bad gateway", { status: 502, statusText: "Bad Gateway" });
  await assert.rejects(api.jobs(), /502 Bad Gateway/);
  answer = () => Promise.reject(new TypeError("fetch failed"));
  await assert.rejects(api.jobs(), /cannot be reached/);
});

test("ids are such as the server takes", () => {
  const ids = Array.from({ length: 100 }, () => newId());
  assert.ok(ids.every((id) => /^[a-zA-Z0-9_-]{1,64}$/.test(id)));
  assert.equal(new Set(ids).size, 100);
});
