"""What a plain plan gets besides: sprites that turn and change their size, a third sprite, things that may hide them, and a
camera that pans.  `sample` is `world.sample` with all that; the plain plans of a seed stay what they are.
"""

from dataclasses import replace

import numpy as np

import props
import scenes
import world
from world import MOTIONS, NAMES, Plan

SLOTS = 3
MORE = MOTIONS[len(world.PLAIN_MOTIONS) :]
#: Motions in which a subject stays where it stands, and so moves in the picture as the scene does when the camera pans.
IN_PLACE = [MOTIONS.index(m) for m in ("still", "bounce", "spin", "turn", "grow", "shrink")]
MOST_PAN = scenes.PANORAMA - world.SIZE


def sample(rng: np.random.Generator, n: int, split="train", scene_seeds=192, two=0.35, three=0.1, frames=world.FRAMES, more=0.3,
           in_front=0.6, behind=0.35, camera=0.2, **fixed) -> Plan:
    """As world.sample; of the clips `two` have two subjects and `three` have three, of the subjects `more` have a motion
    that is no plain one, and of the clips `behind` have a prop behind all and `camera` a pan;
    `in_front` would have a prop in front of a subject, of which a quarter fits."""
    plan = world.sample(rng, n, split, scene_seeds, two + three, frames=frames, **fixed)
    plan = with_third(rng, plan, three / max(two + three, 1e-9), split)
    with_more_motions(rng, plan, more)
    plan = with_camera(rng, plan, camera)
    return with_props(rng, plan, in_front, behind, split)


def with_third(rng, plan, share, split):
    """A third sprite for a share of the clips that have two, all three a little smaller and on a ring."""
    n, _, frames = plan.x.shape
    also = (plan.count == 2) & (rng.random(n) < share)
    allowed = np.ones((n, len(NAMES)), bool) if split != "train" else ~world.HELD_OUT[:, plan.scene].T
    allowed[np.arange(n)[:, None], plan.sprite] = False
    third = np.argmax(allowed * rng.random(allowed.shape), 1)
    motion = rng.integers(len(world.PLAIN_MOTIONS), size=n)
    x, y, scale, rotation, sign = world.paths(rng, motion, frames)
    heading = np.sign(x[:, -1] - x[:, 0])
    heading = np.where(abs(x[:, -1] - x[:, 0]) > 0.15, heading, sign)
    join = lambda old, new: np.concatenate([old, new[:, None]], 1)
    # A pair's paths are 0.6 of a single one's, around places 0.9 apart (world.sample); here 0.45, on a ring.
    angle = rng.uniform(0, 2 * np.pi, n)[:, None] + np.arange(3) * 2 * np.pi / 3
    centred = lambda v: v - v.mean(-1, keepdims=True)
    ring = lambda v, place: centred(v) * np.array([0.75, 0.75, 0.45])[None, :, None] + 0.5 * place[..., None]
    x3, y3 = ring(join(plan.x, x), np.cos(angle)), ring(join(plan.y, y), np.sin(angle))
    scale3 = join(plan.scale, scale * 0.8) * 0.85
    limit = 1.05 - 0.75 * scale3
    x3, y3 = np.clip(x3, -limit, limit), np.clip(y3, -limit, limit)
    pick = lambda new, old: np.where(also[:, None, None], new, join(old, old[:, 1]))
    return replace(plan, count=np.where(also, 3, plan.count), sprite=join(plan.sprite, third), motion=join(plan.motion, motion),
                   x=pick(x3, plan.x), y=pick(y3, plan.y), scale=pick(scale3, plan.scale), rotation=join(plan.rotation, rotation),
                   flip=join(plan.flip, world.LOOKS[third] * heading < 0))


def with_more_motions(rng, plan, share):
    """Gives a share of the subjects another motion, around the middle of the path that they had."""
    n, slots, frames = plan.x.shape
    t = np.linspace(0, 1, frames)
    plan.squeeze = np.ones(plan.x.shape)
    u = lambda low, high: rng.uniform(low, high, (n, slots, 1))
    chosen = rng.random((n, slots)) < share
    kind = rng.integers(len(MORE), size=(n, slots))
    drift, turns, sign = u(-0.15, 0.15), u(0.6, 1.3), np.where(rng.random((n, slots, 1)) < 0.5, -1, 1)
    reach, small, first = u(0.4, 0.65), u(0.5, 0.62), rng.uniform(0, 2 * np.pi, (n, slots, 1))
    middle_x, middle_y = plan.x.mean(-1, keepdims=True), plan.y.mean(-1, keepdims=True)
    side = plan.scale.mean(-1, keepdims=True)
    ease = t * t * (3 - 2 * t)
    in_place_x, in_place_y = np.clip(middle_x + drift * (t - 0.5), -0.6, 0.6), np.clip(middle_y + 0 * t, -0.6, 0.6)
    bigger = np.minimum(side * 1.35, 0.6)
    shrinking = bigger + (bigger * small - bigger) * ease
    # Rolling on its rim: as far as its circumference says.
    rolled = 2 * reach * t / (0.5 * 2 * side)
    crowd = np.where(plan.count == 1, 1.0, 0.45)[:, None, None]
    along = lambda way: np.clip(middle_x, -0.3, 0.3) + way * crowd * reach * (2 * t - 1)
    table = {
        "away": (middle_x * (0.5 + 0.5 * t), middle_y * (0.5 + 0.5 * t), bigger + (bigger * 0.45 - bigger) * ease, 0 * t, None),
        "spin": (in_place_x, in_place_y, side + 0 * t, first + sign * turns * 2 * np.pi * t, None),
        "turn": (in_place_x, in_place_y, side + 0 * t, 0 * t, np.cos(first + sign * turns * 2 * np.pi * t)),
        "roll-right": (along(1), middle_y + 0 * t, side + 0 * t, crowd * rolled, None),
        "roll-left": (along(-1), middle_y + 0 * t, side + 0 * t, -crowd * rolled, None),
        "grow": (in_place_x, in_place_y, shrinking[..., ::-1], 0 * t, None),
        "shrink": (in_place_x, in_place_y, shrinking, 0 * t, None),
    }
    for index, name in enumerate(MORE):
        use = (chosen & (kind == index))[..., None]
        x, y, scale, rotation, squeeze = table[name]
        plan.scale = np.where(use, scale, plan.scale)
        limit = 1.05 - 0.75 * plan.scale
        plan.x, plan.y = np.where(use, np.clip(x, -limit, limit), plan.x), np.where(use, np.clip(y, -limit, limit), plan.y)
        plan.rotation = np.where(use, rotation, plan.rotation)
        if squeeze is not None:  # never thinner than a fifth, so that it can be seen
            plan.squeeze = np.where(use, np.where(squeeze < 0, -1, 1) * np.maximum(abs(squeeze), 0.2), plan.squeeze)
        plan.motion = np.where(use[..., 0], len(world.PLAIN_MOTIONS) + index, plan.motion)


def with_camera(rng, plan, share):
    """A pan for a share of the clips.  Subjects that stay in their place move in the picture as the scene does."""
    n, slots, frames = plan.x.shape
    t = np.linspace(0, 1, frames)[None]
    camera = np.where(rng.random(n) < share, rng.integers(1, 3, size=n), 0)
    way = np.array([0, -1, 1])[camera]
    far = rng.uniform(0.45, 1, n) * MOST_PAN * abs(way)
    # The window begins where the whole way fits; in a mirrored scene the camera's right is the panorama's left.
    way_there = np.where(plan.mirror, -way, way)
    free = rng.random(n) * (MOST_PAN - far)
    window = np.where(camera == 0, plan.window, np.round(np.where(way_there > 0, free, free + far))).astype(plan.window.dtype)
    pan = (way * far)[:, None] * np.where((rng.random(n) < 0.5)[:, None], t, t * t * (3 - 2 * t))
    stays = np.isin(plan.motion, IN_PLACE) & (camera > 0)[:, None]
    moved = plan.x - stays[..., None] * (pan - pan.mean(1, keepdims=True))[:, None] * 2 / world.SIZE
    limit = 1.05 - 0.75 * plan.scale
    return replace(plan, window=window, camera=camera, pan=pan, x=np.where(stays[..., None], np.clip(moved, -limit - 0.3, limit + 0.3), plan.x))


def with_props(rng, plan, in_front, behind, split):
    """Up to two props: the first may stand in a subject's way, nearer than it; the other behind all."""
    n, slots, frames = plan.x.shape
    kinds = [[props.KINDS.index(k) for k in props.OF_SCENE[scene]] for scene in scenes.SCENES]
    prop = np.array([[kinds[s][rng.integers(len(kinds[s]))] for _ in range(2)] for s in plan.scene])
    seeds = (0, props.SEEDS) if split == "train" else (props.SEEDS, props.SEEDS + props.HELD_OUT_SEEDS)
    low, high = (np.array([props.SCALE[k][i] for k in props.KINDS])[prop] for i in (0, 1))
    scale = rng.uniform(low, high)
    half = np.array([props.HALF_WIDTH[k] for k in props.KINDS])[prop] * scale
    slot = (rng.random(n) * plan.count).astype(int)
    at = rng.integers(frames // 4, frames - frames // 4, size=n)
    row = np.arange(n)
    # Where the camera has not moved.
    way = plan.x + plan.pan[:, None] * 2 / world.SIZE
    x, y, size = way[row, slot], plan.y[row, slot], plan.scale[row, slot]
    low_part = np.isin(prop, [props.KINDS.index(k) for k in ("bush", "rock", "cloud")])
    place_x = np.stack([x[row, at] + rng.uniform(-0.05, 0.05, n), rng.uniform(-0.9, 0.9, n)], 1)
    over = np.where(low_part[:, 0], rng.uniform(-0.1, 0.15, n), rng.uniform(-0.3, 0.2, n) * scale[:, 0])
    place_y = np.stack([y[row, at] + over, 1 - rng.uniform(0.55, 0.95, n) * 1.2 * np.maximum(scale[:, 1], 0.4)], 1)
    # It may hide its subject for no more than about half of the time, and never a subject that it would hide as a whole.
    hidden = (abs(x - place_x[:, :1]) < half[:, :1] + 0.25 * size).mean(1)
    reach = np.hypot(x.max(1) - x.min(1), y.max(1) - y.min(1))
    stands = (rng.random(n) < in_front) & (hidden < 0.7) & (reach > 0.35) & (half[:, 0] < 0.85 * size.mean(1))
    there = np.stack([stands, rng.random(n) < behind], 1)
    return replace(plan, prop=np.where(there, prop, -1), prop_seed=rng.integers(*seeds, size=(n, 2)), prop_x=place_x, prop_y=place_y,
                   prop_scale=scale, prop_depth=np.stack([slot, np.full(n, slots)], 1))
