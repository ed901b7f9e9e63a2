// The list of keys.
import { helpShown } from "../state/shell.ts";
import { Dialog, isTyping } from "../ui/basics.tsx";

export function Help() {
  const rows: readonly (readonly [string, string])[] = [
    ["Space", "Play or pause"],
    ["← →", "Frame before, after"],
    ["Home End", "First, last frame"],
    ["V B E T X", "Look, brush, eraser, track, transform"],
    ["1 … 9", "Choose a subject"],
    ["[ ]", "Smaller, larger brush"],
    ["O", "Onion skin"],
    ["F", "Fill between painted frames"],
    ["C", "Copy the mask of the frame before"],
    ["Shift + arrows", "Move the brush, the box or the motion; with Alt farther"],
    ["Enter", "Paint where the brush is; set a key frame"],
    ["+ − , .", "Size and turn of the box"],
    ["Delete", "Remove paint or key frame of this frame; a job of the queue"],
    ["Ctrl + Z", "Undo"],
    ["Ctrl + Shift + Z", "Redo"],
    ["Ctrl + Enter", "Add to the queue"],
    ["↑ ↓", "Queue: go through the jobs"],
    ["Alt + ↑ ↓", "Queue: move a job"],
    ["Enter, E, D, C", "Queue: open, edit, duplicate, cancel or continue"],
    ["← ↓ →", "Votes: left, same, right; Backspace takes one back, Enter votes"],
    ["Escape", "Close, or give up what is dragged"],
    ["?", "This list"],
  ];
  return (
    <Dialog
      title="Keys"
      onClose={() => {
        helpShown.value = false;
      }}
    >
      <dl class="keys">
        {rows.map(([keys, what]) => (
          <>
            <dt key={keys}>
              <kbd>{keys}</kbd>
            </dt>
            <dd>{what}</dd>
          </>
        ))}
      </dl>
    </Dialog>
  );
}

/** Keys of every view: the list of keys. */
export function globalKey(event: KeyboardEvent): void {
  if (event.key === "?" && !isTyping(event) && !document.querySelector("dialog[open]")) {
    helpShown.value = true;
    event.preventDefault();
  }
}
