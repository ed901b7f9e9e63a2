// Icons, drawn on a grid of 24.
const PATHS = {
  alert: "M12 9v4m0 3.5v.01M10.3 4 2.6 17.5A2 2 0 0 0 4.3 20.5h15.4a2 2 0 0 0 1.7-3L13.7 4a2 2 0 0 0-3.4 0z",
  back: "M15 6l-6 6 6 6",
  brush:
    "M14 7l3 3M4 20c3 0 4.5-1 4.5-3.5A2.5 2.5 0 0 0 6 14c-2 0-2 2-2 3.5 0 1-.5 2-1 2.5zM8.5 14.5 19 4a1.7 1.7 0 0 1 2.4 2.4L11 17",
  caret: "M6 9l6 6 6-6",
  check: "M5 12.5l4.5 4.5L19 7.5",
  chevron: "M9 6l6 6-6 6",
  clip: "M4 5h16v14H4zM8 5v14M16 5v14M4 9.5h4M4 14.5h4M16 9.5h4M16 14.5h4",
  compare: "M12 3v18M4 6h5v12H4zM15 6h5v12h-5z",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  cursor: "M5 3l6 17 2.5-7L20 10.5z",
  down: "M12 4v12m-5-5 5 5 5-5M5 20h14",
  edit: "M4 20l1-4L16.5 4.5a2.1 2.1 0 0 1 3 3L8 19z",
  eraser:
    "M8 20h12M5.5 12.5 13 5a2 2 0 0 1 2.8 0L20 9.2a2 2 0 0 1 0 2.8L12 20H8.5l-3-3a3 3 0 0 1 0-4.5zM9.5 9l6.5 6.5",
  fill: "M4 7h4v10H4zM16 7h4v10h-4zM11 9v6M13 9v6",
  folder: "M3 6h6l2 2h10v11H3z",
  gallery: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  grip: "M9 6v.01M15 6v.01M9 12v.01M15 12v.01M9 18v.01M15 18v.01",
  eye: "M2 12s3.5-6.5 10-6.5S22 12 22 12s-3.5 6.5-10 6.5S2 12 2 12zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6z",
  help: "M9 9a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4M12 17.5v.01M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z",
  info: "M12 11v5M12 8v.01M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z",
  many: "M8 8h12v12H8zM4 16V4h12",
  more: "M5 12v.01M12 12v.01M19 12v.01",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5z",
  next: "M6 5l10 7-10 7zM19 5v14",
  onion: "M9 4a6 6 0 1 0 0 12A6 6 0 0 0 9 4zM15 8a6 6 0 1 1-6 8.5",
  pause: "M8 5v14M16 5v14",
  play: "M7 4l13 8-13 8z",
  plus: "M12 5v14M5 12h14",
  queue: "M4 6h16M4 12h16M4 18h10",
  redo: "M15 14l5-5-5-5M20 9h-9a6 6 0 0 0 0 12h2",
  search: "M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13zM15.5 15.5 21 21",
  spark: "M12 3l2 7 7 2-7 2-2 7-2-7-7-2 7-2z",
  stop: "M6 6h12v12H6z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6 19 19M5 19l1.4-1.4M17.6 6.4 19 5",
  system: "M3 5h18v11H3zM8 20h8M12 16v4",
  track: "M4 18c5 0 5-11 10-11s4 5 6 5M4 18v.01M14 7v.01M20 12v.01",
  transform: "M5 5h14v14H5zM3 3h4v4H3zM17 3h4v4h-4zM3 17h4v4H3zM17 17h4v4h-4z",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13M10 11v5M14 11v5",
  undo: "M9 14 4 9l5-5M4 9h9a6 6 0 0 1 0 12h-2",
  up: "M12 20V8m-5 5 5-5 5 5M5 4h14",
  vote: "M4 12l4 4 4-8M14 8h6M14 12h6M14 16h6",
  x: "M6 6l12 12M18 6 6 18",
} as const;

/** Icons of dots alone, which need a thicker line. */
const DOTS: ReadonlySet<string> = new Set(["more", "grip"]);

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg
      class="icon"
      viewBox="0 0 24 24"
      aria-hidden="true"
      {...(DOTS.has(name) ? { style: { strokeWidth: 3 } } : {})}
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
