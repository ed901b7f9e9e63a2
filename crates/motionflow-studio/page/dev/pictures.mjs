// PNGs of a ball that moves over a field, for the mock server.
import { deflateSync } from "node:zlib";

function crc(bytes) {
  let value = ~0;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0xedb88320 : 0);
  }
  return ~value >>> 0;
}

function chunk(name, data) {
  const body = Buffer.concat([Buffer.from(name), data]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  sum.writeUInt32BE(crc(body));
  return Buffer.concat([length, body, sum]);
}

export function png(width, height, pixel) {
  const rows = Buffer.alloc(height * (3 * width + 1));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) rows.set(pixel(x, y), y * (3 * width + 1) + 1 + 3 * x);
  }
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  const magic = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  return Buffer.concat([
    magic,
    chunk("IHDR", head),
    chunk("IDAT", deflateSync(rows)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

/** Where the ball is in frame `n` of `count`, in fractions of the picture. */
export const ball = (n, count, other = 0) => {
  const u = n / Math.max(1, count - 1);
  return other ? [0.8 - 0.6 * u, 0.3] : [0.2 + 0.6 * u, 0.65 - 0.3 * Math.sin(Math.PI * u)];
};

const HUES = [
  [214, 84, 60],
  [52, 120, 200],
  [230, 180, 60],
  [120, 90, 190],
];

/** All frames in one picture, `columns` to a row. */
export function sheet(side, count, columns, look) {
  const rows = Math.ceil(count / columns);
  const [r, g, b] = HUES[look % HUES.length];
  return png(side * columns, side * rows, (x, y) => {
    const n = Math.min(count - 1, Math.floor(x / side) + columns * Math.floor(y / side));
    const [u, v] = [(x % side) / side, (y % side) / side];
    const [bx, by] = ball(n, count);
    if (Math.hypot(u - bx, v - by) < 0.12) return [r, g, b];
    if (v > 0.7) return look % 2 ? [238, 240, 246] : [88, 128 - 40 * (v - 0.7), 74];
    return [150 + 60 * v, 186 + 40 * v, 222 + 20 * v];
  });
}
