// What a file of a motion is: key frames that can be edited, tracked points, or masks.
import { ApiError, api } from "../api/client.ts";
import type { SubjectEntry } from "../api/types.ts";
import type { Base } from "../logic/motion.ts";
import { readTrack } from "../logic/track.ts";
import { video } from "./draft.ts";

/** Whether the program can make masks of it. */
async function isRead(entry: SubjectEntry): Promise<boolean> {
  await api.motionMasks({ subject: [entry] }, video.value, 1, 16);
  return true;
}

/** The key frames of a track; null where the file is none, or has points instead. */
export async function keyFramesOf(ref: string, fps: number): Promise<Base | null> {
  try {
    return { kind: "track", track: readTrack(JSON.stringify(await api.track(ref)), fps) };
  } catch (error) {
    if (error instanceof ApiError && error.problem.status === 422) return null;
    throw error;
  }
}

/** What an uploaded file moves a subject with. The message of what is none is that of a mask, or of a track where it is a text. */
export async function motionBase(ref: string, name: string): Promise<Base> {
  const track = await keyFramesOf(ref, video.value.fps);
  if (track) return track;
  const isText = /\.(csv|json)$/i.test(name);
  try {
    await isRead(isText ? { track: ref } : { mask: ref });
    return { kind: "file", ref, name, as: isText ? "track" : "mask" };
  } catch (error) {
    const hasPoints = !isText && (await isRead({ track: ref }).catch(() => false));
    if (hasPoints) return { kind: "file", ref, name, as: "track" };
    throw error;
  }
}
