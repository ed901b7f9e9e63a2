// Sweeps as grids: the last setting from left to right, the others from above to below.

export interface Cell<R> {
  readonly row: R;
  readonly values: Readonly<Record<string, unknown>>;
}

export interface Grid<R> {
  /** The setting of the columns; null where there is one setting, or none. */
  readonly across: string | null;
  readonly columns: readonly string[];
  readonly lines: readonly { readonly label: string; readonly cells: readonly (R | null)[] }[];
}

/** The columns of the settings that a sweep goes through, by the names of its variants: `tau 0.2, seed 1`. */
export function sweptSettings(variants: readonly string[], columns: readonly string[]): string[] {
  const names = (variants[0] ?? "").split(", ").map((part) => part.slice(0, part.lastIndexOf(" ")));
  const found = names.flatMap((name) => {
    const column = columns.find((one) => one === name || one.endsWith(`.${name}`));
    return column ? [column] : [];
  });
  return found.length ? found : columns.slice(0, 1);
}

/** The grid of rows over the settings `keys`, in the order in which the values come. */
export function gridOf<R extends { readonly values: Readonly<Record<string, unknown>> }>(
  rows: readonly R[],
  keys: readonly string[],
): Grid<R> {
  const across = keys.length > 1 ? (keys.at(-1) ?? null) : null;
  const down = across ? keys.slice(0, -1) : keys;
  const column = (row: R) => (across ? show(row.values[across]) : "");
  const label = (row: R) => down.map((key) => `${shortName(key)} ${show(row.values[key])}`).join(", ");
  const columns = [...new Set(rows.map(column))];
  const lines = [...new Set(rows.map(label))].map((text) => ({
    label: text,
    cells: columns.map((name) => rows.find((row) => label(row) === text && column(row) === name) ?? null),
  }));
  return { across: across && shortName(across), columns, lines };
}

/** A setting without its table. */
export const shortName = (column: string) => column.slice(column.lastIndexOf(".") + 1);

/** The columns to show: without settings that have a column of their own, `settings.seed` beside `seed`. */
export const withoutTwins = (columns: readonly string[]) =>
  columns.filter((column) => shortName(column) === column || !columns.includes(shortName(column)));

export const show = (value: unknown): string =>
  value === null || value === undefined
    ? "–"
    : typeof value === "object"
      ? JSON.stringify(value)
      : String(value);
