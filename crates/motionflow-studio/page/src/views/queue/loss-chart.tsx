// The loss of each guided update.
import type { Loss } from "../../api/types.ts";
import { figure } from "../../logic/format.ts";

export function LossChart({ losses }: { losses: readonly Loss[] }) {
  const values = losses.map(({ total }) => total);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [width, height] = [600, 150];
  const x = (i: number) => (values.length > 1 ? (i / (values.length - 1)) * width : width / 2);
  const y = (value: number) => height - 6 - ((value - low) / (high - low || 1)) * (height - 12);
  const points = values.map((value, i) => `${x(i).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  const [first, last] = [values[0] ?? 0, values.at(-1) ?? 0];
  return (
    <figure>
      <svg
        class="chart"
        viewBox={`0 0 ${width} ${height}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`Loss of ${values.length} updates, from ${figure(first)} to ${figure(last)}`}
      >
        {[0, 0.5, 1].map((share) => (
          <line
            key={share}
            class="axis"
            x1="0"
            x2={width}
            y1={6 + share * (height - 12)}
            y2={6 + share * (height - 12)}
          />
        ))}
        <polyline class="line" points={values.length > 1 ? points : `0,${y(last)} ${width},${y(last)}`} />
      </svg>
      <figcaption class="row small muted number">
        <span class="grow">
          {values.length} {values.length === 1 ? "update" : "updates"}
        </span>
        <span>
          from {figure(first)} to <strong>{figure(last)}</strong>
        </span>
      </figcaption>
    </figure>
  );
}
