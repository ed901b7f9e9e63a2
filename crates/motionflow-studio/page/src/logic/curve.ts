// A value over time between given ones, as the program's tracks have it (docs/motion.md).

/** How a curve goes between its keys: straight, Catmull-Rom over uneven times, or Fritsch and Carlson's monotone cubic. */
export type Through = "straight" | "smooth" | "monotone";

/** The curve through pairs of time and value, the times ascending. Outside of them it stands still. */
export function curve(
  keys: readonly (readonly [number, number])[],
  through: Through,
): (time: number) => number {
  const steps = keys.slice(1).map(([time, value], i) => {
    const [before, start] = keys[i] as readonly [number, number];
    return { time: time - before, slope: (value - start) / (time - before) };
  });
  const slopes = keys.map((_, i) => {
    const [left, right] = [steps[i - 1], steps[i]];
    if (!left || !right) return (left ?? right)?.slope ?? 0;
    if (through !== "monotone") {
      return (right.time * left.slope + left.time * right.slope) / (left.time + right.time);
    }
    if (left.slope * right.slope <= 0) return 0;
    const [one, other] = [2 * right.time + left.time, right.time + 2 * left.time];
    return (one + other) / (one / left.slope + other / right.slope);
  });
  return (time) => {
    const after = keys.findIndex(([key]) => key > time);
    const [before, next] = [keys[after - 1], keys[after]];
    if (!before || !next) return (after === 0 ? keys[0] : keys.at(-1))?.[1] ?? 0;
    const length = next[0] - before[0];
    const u = (time - before[0]) / length;
    if (through === "straight") return before[1] + (next[1] - before[1]) * u;
    const [squared, cubed] = [u * u, u * u * u];
    return (
      before[1] * (2 * cubed - 3 * squared + 1) +
      next[1] * (3 * squared - 2 * cubed) +
      (slopes[after - 1] ?? 0) * length * (cubed - 2 * squared + u) +
      (slopes[after] ?? 0) * length * (cubed - squared)
    );
  };
}
