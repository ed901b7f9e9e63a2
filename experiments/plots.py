"""Puts some plots of the reports side by side, for docs/experiments.md.

    python plots.py --out ../docs/figures
"""

import argparse
import re
from pathlib import Path

HERE = Path(__file__).parent
PLOTS = {
    "ablation": ["trajectory_error", "mask_iou", "text_similarity"],
    "losses": ["trajectory_error", "mask_iou", "subject_right"],
    "tau": ["trajectory_error", "mask_iou", "text_similarity"],
    "guided-steps": ["trajectory_error", "mask_iou", "text_similarity"],
    "step": ["trajectory_error", "mask_iou", "text_similarity"],
    "updates": ["trajectory_error", "mask_iou", "text_similarity"],
    "subjects": ["trajectory_error", "every_trajectory_within_0.12", "text_similarity"],
}


def plot(report, figure):
    for svg in re.findall(r"<svg.*?</svg>", report, flags=re.S):
        if re.search(rf"<title>{re.escape(figure)}[ <]", svg):
            width, height = (float(re.search(rf'{side}="([\d.]+)"', svg).group(1)) for side in ("width", "height"))
            return svg, width, height
    raise SystemExit(f"there is no plot of {figure}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name, figures in PLOTS.items():
        report = (HERE / name / "report" / "report.html").read_text()
        x, tallest, parts = 0, 0, []
        for figure in figures:
            svg, width, height = plot(report, figure)
            parts.append(svg.replace("<svg ", f'<svg x="{x:g}" ', 1))
            x, tallest = x + width + 16, max(tallest, height)
        whole = f'<svg xmlns="http://www.w3.org/2000/svg" width="{x:g}" height="{tallest:g}" color="#18181b">\n<rect width="100%" height="100%" fill="white"/>\n'
        (args.out / f"{name}.svg").write_text(whole + "\n".join(parts) + "\n</svg>\n")


if __name__ == "__main__":
    main()
