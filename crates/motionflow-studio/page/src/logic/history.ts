// Undo and redo over states that never change.

export interface History<T> {
  readonly past: readonly T[];
  readonly present: T;
  readonly future: readonly T[];
}

/** How many steps can be undone. */
const LENGTH = 100;

export const begin = <T>(present: T): History<T> => ({ past: [], present, future: [] });

/** Goes on to a new state; what was undone before is forgotten. */
export function commit<T>({ past, present }: History<T>, next: T): History<T> {
  return { past: [...past, present].slice(-LENGTH), present: next, future: [] };
}

export function undo<T>(history: History<T>): History<T> {
  const before = history.past.at(-1);
  if (!history.past.length) return history;
  return {
    past: history.past.slice(0, -1),
    present: before as T,
    future: [history.present, ...history.future],
  };
}

export function redo<T>(history: History<T>): History<T> {
  const [next, ...future] = history.future;
  if (!history.future.length) return history;
  return { past: [...history.past, history.present], present: next as T, future };
}
