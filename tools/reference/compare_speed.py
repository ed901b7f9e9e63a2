"""Time a transfer at the size of ZeroScope, AnimateDiff or Wan: ours (`motionflow bench`) against plain diffusers
(bench_reference.py, bench_reference_arch.py), in one run.

    xtask random-checkpoint zeroscope
    python compare_speed.py --program motionflow --model zeroscope --out OUT            # phase by phase, at 576x320x24
    python compare_speed.py --program motionflow --model zeroscope --out OUT --sweep    # a whole transfer at many sizes

    xtask random-checkpoint --like animatediff ad
    python compare_speed.py --like animatediff --program motionflow --model ad/base --motion-adapter ad/motion-adapter \\
        --out OUT                                                                       # at 512x512x16

    xtask random-checkpoint --like wan-1.3b wan
    python compare_speed.py --like wan-1.3b --program motionflow --model wan --out OUT --time-limit 600    # at 832x480x33
    python compare_speed.py --like wan-1.3b --program motionflow --model wan --out OUT --frames 81 --time-limit 600

    ... -- --device cuda:1                                       # what follows -- goes to motionflow

The two take turns on the same GPU. Writes OUT/speed.json (OUT/sweep.json), after every turn, and a table for people,
OUT/speed.md (OUT/sweep.md). What does not fit into the device's memory is said to not fit.

Needs a GPU, torch and diffusers; the program computes with torch's own libraries.
"""

import argparse
import contextlib
import gc
import io
import json
import os
import re
import runpy
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

PHASES = ("encode", "invert", "update", "sample", "decode")
# What --like names: size, frames, precision, the script of the reference, and which of its sizes.
LIKE = {
    "zeroscope": ("576x320", 24, "f16", "bench_reference.py", None),
    "animatediff": ("512x512", 16, "f16", "bench_reference_arch.py", "animatediff"),
    "animatediff-v3": ("512x512", 16, "f16", "bench_reference_arch.py", "animatediff-v3"),
    "animatediff-tiny": ("64x64", 4, "f16", "bench_reference_arch.py", "animatediff-tiny"),  # to see that it runs
    "wan-1.3b": ("832x480", 33, "bf16", "bench_reference_arch.py", "wan-1.3b"),
    "wan-14b": ("832x480", 33, "bf16", "bench_reference_arch.py", "wan-14b"),
    "wan-tiny": ("64x64", 5, "bf16", "bench_reference_arch.py", "wan-tiny"),  # to see that it runs
}
SIZES = "256x256,384x384,512x512,576x320,768x432,1024x576"
NOT_THERE = "does not fit"

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--out", type=Path, required=True, help="folder for the tables")
p.add_argument("--program", type=Path, required=True, help="the built program motionflow")
p.add_argument("--model", required=True, help="checkpoint of the shape that --like names")
p.add_argument("--motion-adapter", help="the same of motionflow: the folder of the adapter, where --model has none")
p.add_argument("--like", choices=list(LIKE), default="zeroscope", help="the net that the reference times")
p.add_argument("--size", help="WxH; the published one unless given")
p.add_argument("--frames", type=int, help="24 for ZeroScope, 16 for AnimateDiff, 33 for Wan unless given")
p.add_argument("--dtype", help="of the reference, and --precision of motionflow; bf16 for Wan, else f16 unless given")
p.add_argument("--memory", default="balanced,low,fast", help="settings of --memory to time; a sweep takes the first")
p.add_argument("--repeat", type=int, default=5)
p.add_argument("--turns", type=int, default=2, help="turns that the two take; the table has the medians over them")
p.add_argument("--sweep", action="store_true", help="one turn each at all --sweep-sizes and --sweep-frames, 3 times a phase")
p.add_argument("--sweep-sizes", default=SIZES)
p.add_argument("--sweep-frames", default="16,24")
p.add_argument("--reference", type=Path, help="another script of the reference, which takes the same flags")
p.add_argument("--reference-flags", default="", help="more flags for the reference: --reference-flags='--device cpu'")
p.add_argument("--time-limit", type=float, default=180, help="seconds that one bench may take")
p.add_argument("flags", nargs="*", metavar="-- FLAGS", help="more flags for motionflow")
a = p.parse_args()
a.program = a.program.resolve()
usual_size, usual_frames, usual_dtype, script, reference_size = LIKE[a.like]
a.size, a.frames, a.dtype = a.size or usual_size, a.frames or usual_frames, a.dtype or usual_dtype
a.reference = a.reference or Path(__file__).with_name(script)
memories = a.memory.split(",")


def reference(size, frames, repeat):
    """One turn of the reference: phase -> {ms, times, peak_gib}, and total_s; or {"error": ...}."""
    before = sys.argv, list(sys.path)
    sys.path.insert(0, str(a.reference.resolve().parent))
    try:
        return run_reference(size, frames, repeat)
    finally:
        sys.argv, sys.path = before
        torch.set_default_device("cpu")
        torch.set_default_dtype(torch.float32)
        # What the script has made goes back to the device, for the other side.
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def run_reference(size, frames, repeat):
    printed = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "reference.json"
        video = [reference_size, "--video", f"{size}x{frames}"] if reference_size else ["--size", size, "--frames", str(frames)]
        sys.argv = [str(a.reference), *video, "--dtype", a.dtype, "--repeat", str(repeat), "--json", str(output),
                    *a.reference_flags.split()]
        try:
            with contextlib.redirect_stdout(printed):
                runpy.run_path(str(a.reference), run_name="__main__")
        except torch.OutOfMemoryError:
            pass
        else:
            found = json.loads(output.read_text())
            known = lambda figures: {name: figure for name, figure in figures.items() if figure is not None}
            timed = {phase: known(found[phase]) for phase in PHASES if phase in found}
            # bench_reference_arch.py goes on after a phase that does not fit.
            return {"total_s": found["total_s"], **timed} if "total_s" in found else {"error": NOT_THERE, **timed}
    done = re.findall(r"^(\w+) +([\d.]+) ms +peak +([\d.]+) GiB", printed.getvalue(), re.M)
    return {"error": NOT_THERE, **{phase: {"ms": float(ms), "peak_gib": float(gib)} for phase, ms, gib in done}}


def ours(size, frames, repeat, memory):
    """One turn of ours, in the same form; the peak over all of it is peak_gib."""
    width, height = size.split("x")
    libraries = [str(Path(torch.__file__).parent / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, libraries))}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "bench.json"
        adapter = ["--motion-adapter", a.motion_adapter] if a.motion_adapter else []
        command = [a.program, "bench", "--model", a.model, *adapter,
                   "--width", width, "--height", height, "--frames", str(frames), "--steps", "50", "--guided-steps", "20", "--repeat", str(repeat), "--precision", a.dtype,
                   "--memory", memory, "--quiet", "--output", output, *a.flags]
        try:
            ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=a.time_limit)
        except subprocess.TimeoutExpired:
            return {"error": f"took more than {a.time_limit:.0f} s"}
        if ended.returncode:
            message = ended.stderr.strip().removeprefix("error: ")
            return {"error": NOT_THERE if "memory" in message else message or f"ended with {ended.returncode}"}
        found = json.loads(output.read_text())
    turn = {"total_s": found["transfer_seconds"], **of_peak(found["peak"]), "device": found["device"]}
    for phase in found["phases"]:
        turn[phase["name"]] = {"ms": phase["ms"]["median"], "times": phase["times"], **of_peak(phase["peak"])}
    return turn


def of_peak(peak):
    if not peak:
        return {}
    return {"peak_gib": peak["allocated_bytes"] / 2**30, "reserved_gib": peak["reserved_bytes"] / 2**30}


def peak_of(turn):
    """The most memory over all phases, None where it is not known."""
    known = [part["peak_gib"] for part in [turn, *(turn.get(phase, {}) for phase in PHASES)] if "peak_gib" in part]
    return max(known, default=None)


def middle(turns):
    """The medians over turns; an error where one turn has failed."""
    if failed := next((turn for turn in turns if "error" in turn), None):
        return failed
    one = turns[0]
    merged = {key: {inner: statistics.median([turn[key][inner] for turn in turns]) for inner in value}
              if isinstance(value, dict) else value for key, value in one.items()}
    merged["total_s"] = statistics.median([turn["total_s"] for turn in turns])
    return merged


def number(value, digits):
    return "" if value is None else f"{value:.{digits}f}"


def table(head, rows):
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def ratio(mine, theirs):
    return number(mine / theirs, 2) if mine and theirs else ""


def phase_table(theirs, mine):
    head = ["", "times", "diffusers ms", "GiB"]
    for memory in mine:
        head += [f"ours, {memory} ms", "GiB", "ratio"]
    rows = []
    for phase in PHASES:
        there = theirs.get(phase, {})
        row = [phase, number(there.get("times"), 0), number(there.get("ms"), 1), number(there.get("peak_gib"), 2)]
        for turn in mine.values():
            here = turn.get(phase, {})
            row += [number(here.get("ms"), 1), number(here.get("peak_gib"), 2), ratio(here.get("ms"), there.get("ms"))]
        rows.append(row)
    row = ["whole transfer, s", "1", number(theirs.get("total_s"), 2) or theirs.get("error", ""), number(peak_of(theirs), 2)]
    for turn in mine.values():
        row += [number(turn.get("total_s"), 2) or turn.get("error", ""), number(peak_of(turn), 2),
                ratio(turn.get("total_s"), theirs.get("total_s"))]
    return table(head, rows + [row])


def sweep_table(rows):
    head = ["size", "frames", "diffusers s", "GiB", "ours s", "GiB", "ratio"]
    lines = []
    for row in rows:
        theirs, mine = row["reference"], row["ours"]
        line = [row["size"], str(row["frames"])]
        for turn in (theirs, mine):
            line += [turn.get("error") or number(turn["total_s"], 2), number(peak_of(turn), 2)]
        lines.append(line + [ratio(mine.get("total_s"), theirs.get("total_s"))])
    return table(head, lines)


def keep(name, record, text):
    a.out.mkdir(parents=True, exist_ok=True)
    (a.out / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    (a.out / f"{name}.md").write_text(text)


def told(what, turn):
    print(f"{what}: {turn.get('error') or format(turn['total_s'], '.2f') + ' s'}", flush=True)
    return turn


machine = {"like": a.like, "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
           "torch": torch.__version__, "dtype": a.dtype}
title = f"{a.like}, {machine['gpu']}, torch {torch.__version__}, {a.dtype}"
if a.sweep:
    rows = []
    for size in a.sweep_sizes.split(","):
        for frames in map(int, a.sweep_frames.split(",")):
            place = f"{size}, {frames} frames"
            rows.append({"size": size, "frames": frames,
                         "reference": told(f"{place}, diffusers", reference(size, frames, 3)),
                         "ours": told(f"{place}, ours", ours(size, frames, 3, memories[0]))})
            keep("sweep", {**machine, "memory": memories[0], "rows": rows},
                 f"{title}, --memory {memories[0]}: a whole transfer\n\n{sweep_table(rows)}")
    print(sweep_table(rows))
else:
    theirs, mine = [], {memory: [] for memory in memories}
    for turn in range(1, a.turns + 1):
        theirs.append(told(f"turn {turn}, diffusers", reference(a.size, a.frames, a.repeat)))
        for memory in memories:
            mine[memory].append(told(f"turn {turn}, ours, {memory}", ours(a.size, a.frames, a.repeat, memory)))
        middles = middle(theirs), {memory: middle(turns) for memory, turns in mine.items()}
        text = phase_table(*middles)
        keep("speed", {**machine, "size": a.size, "frames": a.frames, "repeat": a.repeat,
                       "reference": middles[0], "ours": middles[1], "turns": {"reference": theirs, "ours": mine}},
             f"{title}, {a.size}, {a.frames} frames, {turn} turns of {a.repeat}\n\n{text}")
    print(text)
