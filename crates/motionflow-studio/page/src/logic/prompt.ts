// A prompt with its subjects in brackets, as the program reads it: `a [dog] chasing a [red ball]`.
// A literal bracket is written `\[` or `\]`.

/** A part of a text, from the character `start` up to before `end`. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** A prompt without its brackets, and the parts that were in them, in order. */
export interface Prompt {
  readonly text: string;
  readonly subjects: readonly Range[];
}

/** A word of a prompt, and the subject that it belongs to. */
export interface Word extends Range {
  readonly text: string;
  /** Index into `Prompt.subjects`, or -1. */
  readonly subject: number;
}

/** Reads brackets; what makes no sense comes back as `error`, with the text as far as it can be read. */
export function parsePrompt(written: string): Prompt & { readonly error: string | null } {
  let text = "";
  let open = -1;
  let error: string | null = null;
  const subjects: Range[] = [];
  for (let i = 0; i < written.length; i++) {
    const character = written[i];
    if (character === "\\" && (written[i + 1] === "[" || written[i + 1] === "]")) {
      text += written[++i];
    } else if (character === "[") {
      if (open >= 0) error ??= "a bracket opens inside of another one";
      else open = text.length;
    } else if (character === "]") {
      if (open < 0) {
        error ??= "a bracket closes that was not opened";
        continue;
      }
      const inside = text.slice(open);
      const start = open + (inside.length - inside.trimStart().length);
      const end = open + inside.trimEnd().length;
      if (end > start) subjects.push({ start, end });
      else error ??= "there is nothing in the brackets";
      open = -1;
    } else {
      text += character;
    }
  }
  if (open >= 0) error ??= "a bracket is not closed";
  return { text, subjects, error };
}

/** Writes the brackets. */
export function writePrompt({ text, subjects }: Prompt): string {
  const escaped = (part: string) => part.replace(/[[\]]/g, "\\$&");
  let written = "";
  let at = 0;
  for (const { start, end } of subjects) {
    written += `${escaped(text.slice(at, start))}[${escaped(text.slice(start, end))}]`;
    at = end;
  }
  return written + escaped(text.slice(at));
}

/** The words of a prompt, without the punctuation around them. */
export function wordsOf({ text, subjects }: Prompt): Word[] {
  const words: Word[] = [];
  for (const match of text.matchAll(/[\p{L}\p{N}](?:[\p{L}\p{N}\p{M}'’_-]*[\p{L}\p{N}\p{M}])?/gu)) {
    const start = match.index;
    const end = start + match[0].length;
    const subject = subjects.findIndex((range) => start < range.end && range.start < end);
    words.push({ start, end, text: match[0], subject });
  }
  return words;
}

/**
 * Marks the word at `index` as a subject, or unmarks it. With `extend`, an unmarked word joins the subject before it, or
 * the one after it, together with what is between them.
 */
export function toggleWord(prompt: Prompt, index: number, extend = false): Prompt {
  const words = wordsOf(prompt);
  const word = words[index];
  if (!word) return prompt;
  if (word.subject >= 0) return { text: prompt.text, subjects: without(prompt, words, word) };
  const subjects = [...prompt.subjects];
  const before = subjects.findLastIndex((range) => range.end <= word.start);
  const after = subjects.findIndex((range) => range.start >= word.end);
  const [left, right] = [subjects[before], subjects[after]];
  if (extend && left) subjects[before] = { start: left.start, end: word.end };
  else if (extend && right) subjects[after] = { start: word.start, end: right.end };
  else subjects.splice(before + 1, 0, { start: word.start, end: word.end });
  return { text: prompt.text, subjects };
}

/** The subjects without a word; what is left of its subject on both sides stays one each. */
function without(prompt: Prompt, words: readonly Word[], word: Word): Range[] {
  return prompt.subjects.flatMap((range, subject) => {
    if (subject !== word.subject) return [range];
    const rest = (side: (other: Word) => boolean): Range[] => {
      const own = words.filter((other) => other.subject === subject && side(other));
      const [first, last] = [own[0], own.at(-1)];
      return first && last ? [{ start: first.start, end: last.end }] : [];
    };
    return [...rest((other) => other.end <= word.start), ...rest((other) => other.start >= word.end)];
  });
}

/** The words of each subject. */
export function subjectsOf(prompt: Prompt): string[] {
  return prompt.subjects.map(({ start, end }) => prompt.text.slice(start, end));
}
