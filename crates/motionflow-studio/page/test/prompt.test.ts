import assert from "node:assert/strict";
import { test } from "node:test";
import { parsePrompt, subjectsOf, toggleWord, wordsOf, writePrompt } from "../src/logic/prompt.ts";

test("a prompt with subjects is read and written", () => {
  for (const written of ["a [dog] chasing a [red ball]", "no subject", String.raw`a \[sign\] and a [dog]`]) {
    const prompt = parsePrompt(written);
    assert.equal(prompt.error, null);
    assert.equal(writePrompt(prompt), written);
  }
  assert.deepEqual(subjectsOf(parsePrompt("a [ dog ] and [red ball]")), ["dog", "red ball"]);
});

test("brackets that make no sense are told", () => {
  assert.match(parsePrompt("a [dog").error ?? "", /not closed/);
  assert.match(parsePrompt("a dog]").error ?? "", /not opened/);
  assert.match(parsePrompt("a [[dog]]").error ?? "", /inside/);
  assert.match(parsePrompt("a [ ]").error ?? "", /nothing/);
});

test("a click marks a word, another one unmarks it", () => {
  const plain = parsePrompt("a dog, a cat.");
  assert.deepEqual(
    wordsOf(plain).map((word) => word.text),
    ["a", "dog", "a", "cat"],
  );
  const two = toggleWord(toggleWord(plain, 3), 1);
  assert.equal(writePrompt(two), "a [dog], a [cat].");
  assert.deepEqual(
    wordsOf(two).map((word) => word.subject),
    [-1, 0, -1, 1],
  );
  assert.equal(writePrompt(toggleWord(two, 1)), "a dog, a [cat].");
});

test("a word can join the subject beside it, and leave it", () => {
  const prompt = parsePrompt("a red [ball] rolls");
  assert.equal(writePrompt(toggleWord(prompt, 1, true)), "a [red ball] rolls");
  assert.equal(writePrompt(toggleWord(prompt, 3, true)), "a red [ball rolls]");
  assert.equal(writePrompt(toggleWord(parsePrompt("[a b c]"), 1)), "[a] b [c]");
});

test("words of other scripts are words", () => {
  const words = wordsOf(parsePrompt("ein [größer] Hund, l'été 犬"));
  assert.deepEqual(
    words.map((word) => word.text),
    ["ein", "größer", "Hund", "l'été", "犬"],
  );
});
