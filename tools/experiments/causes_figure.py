"""Draws the main figure of docs/results/causes from the records of its first study.

tools/run python tools/experiments/causes_figure.py
"""

import gzip
import json
import pathlib

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "docs/results/causes"
ARMS = {
    "floor=none,target=none": "nothing held",
    "clamp": "the paper's clamp",
    "floor=1,target=none": "scale held",
    "floor=none,target=10": "ln κ held at 10",
    "floor=1,target=10": "both held",
}
PANELS = {
    ("median_log_condition", 3000): "ln κ(M) at step 3,000",
    ("classifier_score", 1000): "classifier score at step 1,000",
    ("classifier_score", 3000): "classifier score at step 3,000",
}


def main():
    """Reads the records, and writes the figure."""
    with gzip.open(FOLDER / "collapsing/metrics.jsonl.gz", "rt", encoding="utf-8") as stream:
        rows = {(row["arm"], row["seed"], row["step"]): row for row in map(json.loads, stream)}
    seeds = sorted({seed for _, seed, _ in rows})
    figure = Figure(figsize=(11, 2.9))
    for axes, ((name, step), title) in zip(figure.subplots(1, 3, sharey=True), PANELS.items(), strict=True):
        values = np.array([[rows[arm, seed, step][name] for seed in seeds] for arm in ARMS])
        axes.plot(values, np.arange(len(ARMS)), color="0.85", linewidth=0.6, zorder=0)
        for place, found in enumerate(values):
            axes.plot(found, np.full(len(found), place), "o", color=f"C{place}", markersize=4, alpha=0.8)
            half = stats.t.ppf(0.975, len(found) - 1) * stats.sem(found)
            axes.errorbar(found.mean(), place, xerr=half, fmt="D", color="black", markersize=5, linewidth=2.5)
        axes.set(xlabel=title, yticks=range(len(ARMS)), yticklabels=ARMS.values())
    axes.invert_yaxis()
    figure.tight_layout()
    figure.savefig(FOLDER / "answer.png", dpi=120)


if __name__ == "__main__":
    main()
