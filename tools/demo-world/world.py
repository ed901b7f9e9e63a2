"""The world: clips of sprites that move over a painted scene, with captions and exact subject masks.

    python world.py --atlas atlas.npz --sheet sheet.png [--clips 8] [--split held-out] [--plain]     # look at it

`sample` draws the plan of a batch of clips (pure numpy, seeded), `variety.vary` adds to it, `Renderer` paints the plan on any
device.
Held out are: scene seeds from scenes.HELD_OUT_SEED on, and for every sprite the two kinds of scene of
`held_out_scenes`.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import props
import scenes
from scenes import SCENES
from sprites import NAMES, SPRITES

FRAMES, SIZE = 16, 128
CELLS = 64  # the grid of the masks that judges compare
PLAIN_MOTIONS = ["right", "left", "up", "down", "bounce", "circle", "zigzag", "still", "free", "near"]
#: Those behind the plain ones come from `variety.vary`.
MOTIONS = [*PLAIN_MOTIONS, "away", "spin", "turn", "roll-right", "roll-left", "grow", "shrink"]
CAMERAS = ["", "left", "right"]
MOTION_WORDS = {
    "right": ["moving to the right", "going right"], "left": ["moving to the left", "going left"],
    "up": ["rising", "moving up"], "down": ["falling", "moving down"], "bounce": ["bouncing", "jumping"],
    "circle": ["moving in a circle", "circling"], "zigzag": ["weaving", "weaving from side to side"], "still": ["standing still"],
    "free": ["moving around"], "near": ["coming closer"],
    "away": ["moving away", "going away"], "spin": ["spinning", "spinning around"], "turn": ["turning around"],
    "roll-right": ["rolling to the right"], "roll-left": ["rolling to the left"],
    "grow": ["growing", "growing bigger"], "shrink": ["shrinking", "getting smaller"],
}
CAMERA_WORDS = {
    "left": ["camera panning left", "the camera pans left", "camera panning to the left"],
    "right": ["camera panning right", "the camera pans right", "camera panning to the right"],
}
SCENE_WORDS = {
    "grass": ["on the grass", "on grass", "in a meadow"], "desert": ["in the desert", "in a desert"],
    "snow": ["in the snow", "on snow"], "sea": ["over the sea", "at sea"],
    "night": ["in the night sky", "at night"], "forest": ["in a forest", "in the forest"],
    "road": ["on a road", "on the road"], "beach": ["on a beach", "on the beach"],
}
# Words that say nothing about the picture, so that a user's own words do no harm.
FILLERS = ("big small little cute happy old young funny fast slow nice running walking driving flying riding "
           "swimming dancing playing slowly quickly today cartoon video animation").split()


def held_out_scenes(sprite: int) -> tuple[int, int]:
    """The two kinds of scene in which this sprite is never trained on (a fixed scramble, each kind 12 times)."""
    first = (sprite + 2 * (sprite // 8) + 1) % 8
    return first, (first + 4) % 8


LOOKS = np.array([{True: -1, False: 1, None: 0}[SPRITES[name][1]] for name in NAMES])  # to the left or to the right
HELD_OUT = np.array([[kind in held_out_scenes(s) for kind in range(8)] for s in range(len(NAMES))])


@dataclass
class Plan:
    """What is in B clips of F frames.  Places are in [-1, 1] of the picture, y downward; scale is a sprite's side over the
    picture's; a clip of fewer sprites than K, the slots that there are, has nothing in the last ones."""

    count: np.ndarray  # [B]
    sprite: np.ndarray  # [B, K]
    motion: np.ndarray  # [B, K]
    scene: np.ndarray  # [B]
    scene_seed: np.ndarray  # [B]
    window: np.ndarray  # [B] left edge in the panorama
    mirror: np.ndarray  # [B] bool, of the scene
    x: np.ndarray  # [B, K, F]
    y: np.ndarray
    scale: np.ndarray
    rotation: np.ndarray
    flip: np.ndarray  # [B, K] bool, of the sprite
    squeeze: np.ndarray | None = None  # [B, K, F]: a sprite's width over its height, negative seen from behind; None: 1
    camera: np.ndarray | None = None  # [B]: which of CAMERAS
    pan: np.ndarray | None = None  # [B, F]: how far the camera has moved to the right, in pixels
    prop: np.ndarray | None = None  # [B, P]: which of props.KINDS, or -1
    prop_seed: np.ndarray | None = None  # [B, P]
    prop_x: np.ndarray | None = None  # [B, P], where the camera has not moved
    prop_y: np.ndarray | None = None
    prop_scale: np.ndarray | None = None
    prop_depth: np.ndarray | None = None  # [B, P]: how many slots are nearer than it

    def __len__(self):
        return len(self.count)


def paths(rng, motion, frames=FRAMES):
    """x, y, scale, rotation [N, frames] and a random sign [N] for N plain motions."""
    n = len(motion)
    t = np.linspace(0, 1, frames)[None]
    u = lambda low, high: rng.uniform(low, high, (n, 1))
    coin = lambda: np.where(rng.random((n, 1)) < 0.5, -1.0, 1.0)
    ease = np.where(rng.random((n, 1)) < 0.6, t, t * t * (3 - 2 * t))
    x0, y0 = u(-0.45, 0.45), u(-0.4, 0.45)
    sway = rng.random((n, 1)) * 2 * np.pi
    scale = np.repeat(u(0.32, 0.5), frames, 1)
    still = np.zeros((n, frames))
    reach = u(0.35, 0.65)
    drift = u(-0.3, 0.3) * (t - 0.5) * (rng.random((n, 1)) < 0.5)
    arc = u(-0.35, 0.35) * np.sin(np.pi * t) * (rng.random((n, 1)) < 0.4)
    sign = coin()
    bounce = 0.45 - u(0.5, 0.9) * abs(np.sin(np.pi * (u(1, 2.2) * t + rng.random((n, 1)))))
    radius, turns = u(0.25, 0.45), coin() * u(0.7, 1.2)
    zigzag = 0.28 * np.sin(2 * np.pi * u(1.2, 2.5) * t + sway)
    fx, fy = still.copy(), still.copy()
    for k in (1, 2):
        fx += rng.standard_normal((n, 1)) * 0.4 / k * np.cos(np.pi * k * t + rng.random((n, 1)) * 2 * np.pi)
        fy += rng.standard_normal((n, 1)) * 0.35 / k * np.cos(np.pi * k * t + rng.random((n, 1)) * 2 * np.pi)
    near = u(0.2, 0.28) + (u(0.5, 0.65) - 0.24) * ease
    table = {
        "right": (reach * (2 * ease - 1) + u(-0.1, 0.1), y0 + drift + arc),
        "left": (reach * (1 - 2 * ease) + u(-0.1, 0.1), y0 + drift + arc),
        "up": (x0 + drift, reach * (1 - 2 * ease)),
        "down": (x0 + drift, reach * (2 * ease - 1)),
        "bounce": (x0 + u(-0.5, 0.5) * (2 * t - 1), bounce),
        "circle": (radius * np.cos(sway + turns * 2 * np.pi * t), radius * np.sin(sway + turns * 2 * np.pi * t)),
        "zigzag": (sign * reach * (2 * t - 1), y0 * 0.5 + zigzag),
        "still": (x0 + still, y0 + still),
        "free": (fx, fy),
        "near": (x0 * 0.6 * (1 - 0.5 * t), y0 * 0.6 * (1 - 0.5 * t)),
    }
    stack = lambda i: np.stack([table[m][i] for m in PLAIN_MOTIONS])[motion, np.arange(n)]
    x, y = stack(0), stack(1)
    scale = np.where((motion == MOTIONS.index("near"))[:, None], near, scale)
    wobble = u(0.05, 0.2) * np.sin(2 * np.pi * (u(0.7, 2) * t + rng.random((n, 1)))) * (rng.random((n, 1)) < 0.4)
    rotation = np.where((motion == MOTIONS.index("still"))[:, None], 0, wobble)
    return x, y, scale, rotation, sign[:, 0]


def sample(rng: np.random.Generator, n: int, split="train", scene_seeds=192, two=0.25, motion=None, sprite=None,
           scene=None, frames=FRAMES) -> Plan:
    """The plan of n clips of one or two sprites and plain motions.  split 'train': training scene seeds, no held-out pair of sprite and scene; 'held-out':
    scene seeds never trained on, any pair; 'held-out-pairs': those seeds and, for the first sprite, a held-out pair.
    `motion`, `sprite` ([n] or [n, 2]) and `scene` ([n]) fix what is drawn otherwise."""
    count = 1 + (rng.random(n) < two)
    first = rng.integers(len(NAMES), size=n)
    sprites = np.stack([first, (first + rng.integers(1, len(NAMES), size=n)) % len(NAMES)], 1)
    if sprite is not None:
        given = np.asarray(sprite).reshape(n, -1)
        sprites[:, : given.shape[1]] = given
    motions = rng.integers(len(PLAIN_MOTIONS), size=(n, 2)) if motion is None else np.asarray(motion).reshape(n, -1).repeat(2 // (np.asarray(motion).size // n), 1)
    if scene is None:
        bad = HELD_OUT[sprites[:, 0]] | (HELD_OUT[sprites[:, 1]] & (count == 2)[:, None])
        weight = {"train": ~bad, "held-out": np.ones((n, 8), bool), "held-out-pairs": HELD_OUT[sprites[:, 0]]}[split]
        scene = np.argmax(weight * rng.random((n, 8)), 1)
    seed = rng.integers(scene_seeds, size=n) + (0 if split == "train" else scenes.HELD_OUT_SEED)
    x, y, scale, rotation, sign = (v.reshape(n, 2, *v.shape[1:]) for v in paths(rng, motions.reshape(-1), frames))
    pair = (count == 2)[:, None]
    angle = rng.uniform(0, 2 * np.pi, n)
    apart = 0.45 * np.stack([np.cos(angle), np.sin(angle)])[:, :, None] * np.array([1, -1])
    x = np.where(pair[..., None], x * 0.6 + apart[0][..., None], x)
    y = np.where(pair[..., None], y * 0.6 + apart[1][..., None], y)
    scale = np.where(pair[..., None], scale * 0.8, scale)
    limit = 1.05 - 0.75 * scale  # at most about an eighth of the sprite leaves the picture
    x, y = np.clip(x, -limit, limit), np.clip(y, -limit, limit)
    heading = np.sign(x[..., -1] - x[..., 0]) * (abs(x[..., -1] - x[..., 0]) > 0.15)
    heading = np.where(heading == 0, sign, heading)
    return Plan(count, sprites, motions, np.asarray(scene), seed, rng.integers(scenes.PANORAMA - SIZE + 1, size=n),
                rng.random(n) < 0.5, x, y, scale, rotation, LOOKS[sprites] * heading < 0)


def article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def caption(plan: Plan, i: int, rng=None, brackets=False) -> str:
    """Clip i in words.  Without rng: 'a car and a dog on a road'; with it, the motion half of the time, other ways to
    say the same, and now and then a word that means nothing."""
    parts = []
    for k in range(plan.count[i]):
        name = NAMES[plan.sprite[i, k]]
        words = [f"[{name}]" if brackets else name]
        if rng is not None:
            ways = MOTION_WORDS[MOTIONS[plan.motion[i, k]]]
            if rng.random() < (0.5 if plan.count[i] < 3 else 0.25):
                words.append(ways[0] if rng.random() < 0.7 else ways[rng.integers(len(ways))])
            elif rng.random() < 0.15:
                words.append(FILLERS[rng.integers(len(FILLERS))])
            if rng.random() < 0.07:
                words.insert(0, FILLERS[rng.integers(len(FILLERS))])
        lead = "the" if rng is not None and rng.random() < 0.05 else article(words[0].strip("["))
        parts.append(" ".join([lead, *words]))
    ways = SCENE_WORDS[SCENES[plan.scene[i]]]
    scene = ways[0] if rng is None or rng.random() < 0.7 else ways[rng.integers(len(ways))]
    text = " and ".join(parts) + " " + scene
    if plan.camera is not None and plan.camera[i] and rng is not None and rng.random() < 0.5:
        ways = CAMERA_WORDS[CAMERAS[plan.camera[i]]]
        text += ", " + (ways[0] if rng.random() < 0.6 else ways[rng.integers(len(ways))])
    return text


class Renderer:
    """Paints plans.  Sub-pixel exact and soft-edged: the sprites are sampled with mip levels to match their size."""

    def __init__(self, atlas, device="cpu", train_seeds=0, held_out_seeds=0):
        """atlas: the file that sprites.py writes; beside it the scenes of seeds from 0 on, and of held-out ones, are kept."""
        cache, atlas = Path(atlas).resolve().parent, np.load(atlas)["atlas"]
        rgba = torch.from_numpy(atlas).to(device).float().permute(0, 3, 1, 2) / 255
        rgba[:, :3] *= rgba[:, 3:]  # premultiplied, so that edges do not darken
        self.atlas = F.avg_pool2d(rgba, 2)  # 64 pixels: about the size on the picture, so nothing aliases
        self.device = device
        self.banks, self.props = {}, None
        if train_seeds:
            self.banks[0] = scenes.bank(range(train_seeds), cache).to(device)
        if held_out_seeds:
            at = scenes.HELD_OUT_SEED
            self.banks[at] = scenes.bank(range(at, at + held_out_seeds), cache).to(device)

    def background(self, plan: Plan, pick) -> torch.Tensor:
        """[B, F, 3, SIZE, SIZE] in 0..1; pick: which frames, [B, F]."""
        base = scenes.HELD_OUT_SEED if plan.scene_seed.min() >= scenes.HELD_OUT_SEED else 0
        at = lambda v: torch.from_numpy(np.asarray(v)).to(self.device)
        if base in self.banks and plan.scene_seed.max() - base < self.banks[base].shape[1]:
            panorama = self.banks[base][at(plan.scene), at(plan.scene_seed - base)]
        else:
            panorama = torch.stack([torch.from_numpy(scenes.paint(SCENES[kind], int(seed))) for kind, seed in zip(plan.scene, plan.scene_seed)]).to(self.device)
        columns = np.where(plan.mirror[:, None], np.arange(SIZE)[::-1], np.arange(SIZE)) + plan.window[:, None]
        view = lambda places: panorama[:, None].expand(-1, places.shape[1], -1, -1, -1).gather(-1, places[:, :, None, None].expand(-1, -1, 3, SIZE, -1)).float() / 255
        if plan.pan is None:
            return view(at(columns)[:, None]).expand(-1, pick.shape[1], -1, -1, -1)
        moved = np.take_along_axis(plan.pan, pick, 1) * np.where(plan.mirror, -1, 1)[:, None]
        place = at(columns)[:, None] + at(moved).float()[..., None]
        place = place.clamp(0, scenes.PANORAMA - 1)
        left = place.floor().clamp(max=scenes.PANORAMA - 2)
        part = (place - left)[:, :, None, None]
        left = left.long()
        return view(left) * (1 - part) + view(left + 1) * part

    def layer(self, pictures, x, y, scale, rotation, width):
        """Squares [B, 4, s, s] as they lie in the picture: [B, F, 4, SIZE, SIZE]; places and sizes [B, F]."""
        n, f = x.shape
        cos, sin = rotation.cos(), rotation.sin()
        a, b, c, d = cos / (scale * width), sin / (scale * width), -sin / scale, cos / scale
        theta = torch.stack([torch.stack([a, b, -(a * x + b * y)], -1), torch.stack([c, d, -(c * x + d * y)], -1)], -2)
        grid = F.affine_grid(theta.reshape(n * f, 2, 3), (n * f, 4, SIZE, SIZE), align_corners=False)
        return F.grid_sample(pictures.repeat_interleave(f, 0), grid, mode="bilinear", align_corners=False).unflatten(0, (n, f))

    def __call__(self, plan: Plan, frames=None, whole=False):
        """Pictures [B, F, 3, SIZE, SIZE] in -1..1, and what of each picture element shows each subject [B, K, F, SIZE,
        SIZE] in 0..1, the nearer sprite (slot 0) and props hiding the others.  `frames`: which frames, [B, F] or None for
        all.  `whole`: also what would show each subject if nothing hid it, of the same shape as what does."""
        n, slots = plan.sprite.shape
        pick = np.arange(plan.x.shape[2])[None].repeat(n, 0) if frames is None else np.asarray(frames)
        take = lambda v: torch.from_numpy(np.take_along_axis(v, pick[:, None].repeat(v.shape[1], 1), 2)).float().to(self.device)
        x, y, scale, rotation = take(plan.x), take(plan.y), take(plan.scale), take(plan.rotation)
        width = torch.from_numpy(np.where(plan.flip, -1.0, 1.0)).float().to(self.device)[..., None].expand_as(x)
        if plan.squeeze is not None:
            width = width * take(plan.squeeze)
        count = torch.from_numpy(plan.count).to(self.device)
        picture = self.background(plan, pick)
        f = pick.shape[1]
        cover, full = torch.zeros(2, n, slots, f, SIZE, SIZE, device=self.device) if whole else (torch.zeros(n, slots, f, SIZE, SIZE, device=self.device), None)
        standing = self.standing(plan, pick)
        for nearer in range(slots, -1, -1):
            for layer, depth in standing:
                alpha = layer[:, :, 3:] * (depth == nearer).view(n, 1, 1, 1, 1)
                picture = layer[:, :, :3] * (depth == nearer).view(n, 1, 1, 1, 1) + picture * (1 - alpha)
                cover = cover * (1 - alpha[:, None, :, 0])
            if nearer == 0:
                break
            slot = nearer - 1
            sprite = self.atlas[torch.from_numpy(plan.sprite[:, slot]).to(self.device)]
            layer = self.layer(sprite, x[:, slot], y[:, slot], scale[:, slot], rotation[:, slot], width[:, slot])
            layer = layer * (count > slot).view(n, 1, 1, 1, 1)
            alpha = layer[:, :, 3:]
            picture = layer[:, :, :3] + picture * (1 - alpha)
            cover = cover * (1 - alpha[:, None, :, 0])
            cover[:, slot] = alpha[:, :, 0]
            if whole:
                full[:, slot] = alpha[:, :, 0]
        return (picture * 2 - 1, cover, full) if whole else (picture * 2 - 1, cover)

    def standing(self, plan: Plan, pick):
        """The props, each as a layer [B, F, 4, SIZE, SIZE] and how many slots are nearer than it [B]."""
        if plan.prop is None:
            return []
        if self.props is None:
            self.props = props.bank().to(self.device)
        at = lambda v: torch.from_numpy(np.asarray(v)).to(self.device)
        moved = -2 / SIZE * at(np.take_along_axis(plan.pan, pick, 1)).float()
        out = []
        for k in range(plan.prop.shape[1]):
            there = at(plan.prop[:, k] >= 0).view(-1, 1, 1, 1, 1)
            pictures = self.props[at(plan.prop[:, k].clip(0)), at(plan.prop_seed[:, k])]
            each = lambda v: at(v[:, k]).float()[:, None].expand_as(moved)
            one = torch.ones_like(moved)
            layer = self.layer(pictures, each(plan.prop_x) + moved, each(plan.prop_y), each(plan.prop_scale), 0 * one, one)
            out.append((layer * there, at(plan.prop_depth[:, k])))
        return out


def coverage(cover: torch.Tensor, cells: int) -> torch.Tensor:
    """The share of every cell that shows the subject: [..., SIZE, SIZE] -> [..., cells, cells]."""
    flat = F.avg_pool2d(cover.reshape(-1, 1, SIZE, SIZE), SIZE // cells)
    return flat.reshape(*cover.shape[:-2], cells, cells)


def truth(cover: torch.Tensor):
    """cover [F, SIZE, SIZE] of a subject -> centres [F, 2] of what is seen of it, x right and y down in fractions of the
    width (NaN where fewer than 64 picture elements are seen), and masks [F, CELLS, CELLS] bool: at least half covered."""
    at = (torch.arange(SIZE, device=cover.device) + 0.5) / SIZE
    total = cover.sum((1, 2))
    centre = torch.stack([(cover.sum(1) * at).sum(1), (cover.sum(2) * at).sum(1)], 1) / total.clamp(min=1e-9)[:, None]
    centre[total < 64] = float("nan")
    return centre, coverage(cover, CELLS) >= 0.5


def save_sheet(video: torch.Tensor, path, columns=8):
    """video [B, F, 3, H, W] in -1..1: one row a clip."""
    from PIL import Image

    pick = np.linspace(0, video.shape[1] - 1, columns).round().astype(int)
    small = ((video[:, pick].float().clamp(-1, 1) + 1) * 127.5).round().byte().cpu()
    rows = [torch.cat(list(clip), -1) for clip in small]
    Image.fromarray(torch.cat(rows, -2).permute(1, 2, 0).numpy()).save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atlas", default="atlas.npz")
    parser.add_argument("--sheet", default="sheet.png")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", default="train", choices=["train", "held-out", "held-out-pairs"])
    parser.add_argument("--plain", action="store_true", help="no more than one or two sprites and plain motions")
    args = parser.parse_args()
    import variety

    rng = np.random.default_rng(args.seed)
    plan = (sample if args.plain else variety.sample)(rng, args.clips, args.split)
    video, cover = Renderer(args.atlas)(plan)
    masks = coverage(cover, 16).repeat_interleave(8, -1).repeat_interleave(8, -2)
    third = masks[:, 2] if masks.shape[1] > 2 else torch.zeros_like(masks[:, 0])
    overlay = torch.stack([masks[:, 0], masks[:, 1], third], 2)
    save_sheet(torch.cat([video, (video + overlay).clamp(-1, 1)], 3), args.sheet)
    for i in range(args.clips):
        print(f"{MOTIONS[plan.motion[i, 0]]:10} {caption(plan, i, rng)}")


if __name__ == "__main__":
    main()
