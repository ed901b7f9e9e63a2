"""The 48 sprites of the world: Noto Color Emoji drawn with Pillow, cropped to the glyph and centred.

    python sprites.py --font NotoColorEmoji.ttf --out atlas.npz [--sheet sheet.png]

atlas.npz holds `atlas` [48, 128, 128, 4] uint8 (straight alpha) and `names` [48].
The font is licensed under the SIL Open Font License 1.1.
"""

import argparse
from pathlib import Path

import numpy as np

# Name -> (emoji, does it look to the left?).  None: it has no front, so it is never mirrored to face its way.
SPRITES = {
    "dog": ("🐕", True), "cat": ("🐈", True), "panda": ("🐼", None), "penguin": ("🐧", True),
    "elephant": ("🐘", True), "tiger": ("🐅", True), "rabbit": ("🐇", True), "camel": ("🐫", True),
    "horse": ("🐎", True), "cow": ("🐄", True), "pig": ("🐖", True), "duck": ("🦆", True),
    "owl": ("🦉", None), "bee": ("🐝", True), "butterfly": ("🦋", None), "turtle": ("🐢", True),
    "fish": ("🐠", True), "whale": ("🐳", True), "octopus": ("🐙", None), "crab": ("🦀", None),
    "frog": ("🐸", None), "fox": ("🦊", None), "flamingo": ("🦩", True), "zebra": ("🦓", True),
    "car": ("🚗", True), "bus": ("🚌", True), "truck": ("🚚", True), "tractor": ("🚜", True),
    "train": ("🚂", True), "bicycle": ("🚲", True), "motorcycle": ("🏍", True), "helicopter": ("🚁", True),
    "airplane": ("✈", False), "rocket": ("🚀", False), "boat": ("⛵", True), "ufo": ("🛸", None),
    "ball": ("⚽", None), "balloon": ("🎈", None), "apple": ("🍎", None), "pumpkin": ("🎃", None),
    "guitar": ("🎸", None), "robot": ("🤖", None), "snowman": ("⛄", None), "umbrella": ("☂", None),
    "sunflower": ("🌻", None), "mushroom": ("🍄", None), "ghost": ("👻", None), "crown": ("👑", None),
}
NAMES = list(SPRITES)
SIZE = 128
FONT_SIZE = 109  # the only size that this bitmap font has


def draw(font_path: Path) -> np.ndarray:
    """All sprites as [48, SIZE, SIZE, 4] uint8: the longer side of each glyph fills the square."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype(str(font_path), FONT_SIZE)
    out = []
    for name, (glyph, _) in SPRITES.items():
        page = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
        ImageDraw.Draw(page).text((20, 20), glyph, font=font, embedded_color=True)
        box = page.getbbox()
        if box is None:
            raise SystemExit(f"the font has no glyph for {name}")
        page = page.crop(box)
        scale = (SIZE - 4) / max(page.size)
        page = page.resize([max(1, round(side * scale)) for side in page.size], Image.LANCZOS)
        square = Image.new("RGBA", (SIZE, SIZE), (0, 0, 0, 0))
        square.paste(page, ((SIZE - page.width) // 2, (SIZE - page.height) // 2))
        out.append(np.asarray(square))
    return np.stack(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--font", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("atlas.npz"))
    parser.add_argument("--sheet", type=Path, help="also write a picture of all sprites")
    args = parser.parse_args()
    atlas = draw(args.font)
    np.savez_compressed(args.out, atlas=atlas, names=np.array(NAMES))
    print(f"{args.out}: {len(atlas)} sprites, {args.out.stat().st_size} bytes")
    if args.sheet:
        from PIL import Image

        flat = atlas[..., :3] * (atlas[..., 3:] / 255.0) + 170 * (1 - atlas[..., 3:] / 255.0)
        rows = [np.concatenate(list(flat[i : i + 12]), 1) for i in range(0, len(flat), 12)]
        Image.fromarray(np.concatenate(rows, 0).astype(np.uint8)).save(args.sheet)


if __name__ == "__main__":
    main()
