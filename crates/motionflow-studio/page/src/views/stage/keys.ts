// The keys of the stage.
import { short } from "../../logic/motion.ts";
import { redoMotion, subjectCount, undoMotion } from "../../state/draft.ts";
import { helpShown } from "../../state/shell.ts";
import {
  brushSize,
  canFill,
  clearFrame,
  copyBefore,
  cursor,
  fillFrames,
  frame,
  lastFrame,
  nudge,
  onion,
  playing,
  selected,
  showFrame,
  tool,
} from "../../state/stage.ts";
import { isTyping } from "../../ui/basics.tsx";
import { abandon, addChange, paintGesture } from "./gestures.ts";
import { TOOLS } from "./tools.tsx";

/** The keys of the stage. Gives whether it took the key. */
export function stageKey(event: KeyboardEvent): boolean {
  if (isTyping(event)) return false;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.ctrlKey || event.metaKey) {
    if (key !== "z" && key !== "y") return false;
    if (key === "y" || event.shiftKey) redoMotion();
    else undoMotion();
    return true;
  }
  const target = event.target as HTMLElement;
  const isButton = target.closest("button, a, summary, input, label") !== null;
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (step && event.shiftKey) return arrow(step[0] ?? 0, step[1] ?? 0, event.altKey);
  if (event.altKey) return false;
  if (target instanceof HTMLInputElement && (step || event.key === "Home" || event.key === "End"))
    return false;
  const simple: Record<string, () => void> = {
    ArrowLeft: () => showFrame(frame.value - 1),
    ArrowRight: () => showFrame(frame.value + 1),
    Home: () => showFrame(0),
    End: () => showFrame(lastFrame.value),
    Delete: clearFrame,
    o: () => {
      onion.value = !onion.value;
    },
    f: () => canFill.value && fillFrames(),
    c: copyBefore,
    "[": () => {
      brushSize.value = Math.max(0.005, brushSize.value - 0.005);
    },
    "]": () => {
      brushSize.value = Math.min(0.25, brushSize.value + 0.005);
    },
    "?": () => {
      helpShown.value = true;
    },
  };
  const named = TOOLS.find(([, , , letter]) => letter.toLowerCase() === key);
  if (named) tool.value = named[0];
  else if (/^[1-9]$/.test(key) && Number(key) <= Math.max(1, subjectCount.value))
    selected.value = Number(key) - 1;
  else if (key === " " && !isButton) playing.value = !playing.value;
  else if (key === "Enter" && !isButton) return enter();
  else if (key === "Escape") return abandon();
  else if (simple[key]) {
    if (step || key === "Home" || key === "End") playing.value = false;
    simple[key]();
  } else return boxKey(key);
  return true;
}

/** Shift and an arrow: moves the brush, the box or the whole motion. */
function arrow(x: number, y: number, isFar: boolean): boolean {
  const by = isFar ? 0.05 : 0.01;
  if (tool.value === "track") nudge({ x: x * by, y: y * by });
  else if (tool.value === "transform") addChange(`move ${short(x * by)} ${short(y * by)}`);
  else if (tool.value === "brush" || tool.value === "eraser") {
    const from = cursor.value ?? { x: 0.5, y: 0.5 };
    const inside = (value: number) => Math.min(1, Math.max(0, value));
    cursor.value = { x: inside(from.x + 2 * x * by), y: inside(from.y + 2 * y * by) };
  } else return false;
  return true;
}

/** Enter: paints where the brush is, or sets a key frame. */
function enter(): boolean {
  if (tool.value === "brush" || tool.value === "eraser") {
    cursor.value ??= { x: 0.5, y: 0.5 };
    paintGesture(cursor.value)?.end();
  } else if (tool.value === "track") nudge({});
  else return false;
  return true;
}

/** Plus, minus, comma and period: size and turn of the box. */
function boxKey(key: string): boolean {
  const sizes: Record<string, number> = { "+": 0.05, "=": 0.05, "-": -0.05 };
  const turns: Record<string, number> = { ",": -5, ".": 5 };
  const [grow, turn] = [sizes[key], turns[key]];
  if (tool.value === "track" && grow) nudge({ width: grow, height: grow });
  else if (tool.value === "track" && turn) nudge({ rotation: turn });
  else if (tool.value === "transform" && grow) addChange(`scale ${short(1 + grow)}`);
  else if (tool.value === "transform" && turn) addChange(`rotate ${turn}`);
  else return false;
  return true;
}
