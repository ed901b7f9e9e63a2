// Masks out of the attention maps of a look, at any τ, as the program makes them.
import type { LookResult } from "../api/types.ts";
import type { Mask } from "./mask.ts";

export function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

export function floatsOf(base64: string): Float32Array {
  const bytes = bytesOf(base64);
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length >> 2 }, (_, i) => view.getFloat32(4 * i, true));
}

/** Maps of a look: of each subject its layers, every value a fraction of the largest in its frame. */
export interface Maps {
  readonly frames: number;
  readonly videoFrames: number;
  readonly width: number;
  readonly height: number;
  readonly apart: boolean;
  /** By subject and layer, [frames, height, width]. */
  readonly subjects: readonly (readonly Float32Array[])[];
}

export function mapsOf(look: LookResult): Maps {
  const places = look.map_width * look.map_height;
  const scaled = (values: Float32Array) => {
    for (let frame = 0; frame < look.frames; frame++) {
      const part = values.subarray(frame * places, (frame + 1) * places);
      const most = part.reduce((a, b) => Math.max(a, b), 0);
      if (most > 0)
        part.forEach((value, i) => {
          part[i] = value / most;
        });
    }
    return values;
  };
  return {
    frames: look.frames,
    videoFrames: look.video_frames,
    width: look.map_width,
    height: look.map_height,
    apart: look.apart,
    subjects: look.subjects.map(({ layers }) => layers.map(({ values }) => scaled(floatsOf(values)))),
  };
}

/** The map frame that a frame of the video shows. */
export function mapFrame(maps: Maps, frame: number): number {
  const { frames, videoFrames } = maps;
  const of = frames < videoFrames ? Math.ceil((frame * (frames - 1)) / (videoFrames - 1)) : frame;
  return Math.min(frames - 1, Math.max(0, of));
}

/** A subject's mask in a frame of the maps. */
export function maskAt(maps: Maps, subject: number, frame: number, tau: number): Mask {
  const { width, height, apart } = maps;
  const places = width * height;
  const pixels = new Uint8Array(places);
  const layers = maps.subjects[subject] ?? [];
  for (let i = 0; i < places; i++) {
    const at = frame * places + i;
    let votes = 0;
    layers.forEach((values, layer) => {
      const value = values[at] ?? 0;
      if (value <= tau) return;
      const stronger = (other: readonly Float32Array[], index: number) => {
        const theirs = other[layer]?.[at] ?? 0;
        return index !== subject && (theirs > value || (theirs === value && index < subject));
      };
      if (!apart || !maps.subjects.some(stronger)) votes++;
    });
    if (layers.length && 2 * votes >= layers.length) pixels[i] = 255;
  }
  return { width, height, pixels };
}
