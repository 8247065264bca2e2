"""Draws the figures of docs/results/causes from the records of its studies.

tools/run python tools/experiments/causes_figure.py
"""

import gzip
import json
import pathlib

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "docs/results/causes"
COLLAPSING = {
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
HEALTHY = {
    "plain": "no penalty",
    "clamp": "clamp [1, 20]",
    "r1": "R1",
    "target=12": "ln κ ≤ 12",
    "target=10": "ln κ ≤ 10",
    "target=8": "ln κ ≤ 8",
    "target=6": "ln κ ≤ 6",
}
EQUAL_SCALE = {
    "none": "Q ≥ 1 alone",
    "ceiling": "1 ≤ Q ≤ 2.2",
    "condition": "ln κ ≤ 8, Q ≥ 1",
}
CIFAR10 = {
    "none": "no penalty",
    "clamp": "clamp [1, 20]",
    "r1": "R1",
    "condition": "ln κ ≤ 6, Q ≥ 1",
}
REGULARISERS = {
    "none": "no penalty",
    "clamp": "clamp [1, 20]",
    "r1": "R1",
    "clamp_found": "clamp [2.09, 5.79]",
    "path_length": "path length",
    "isometry": "Isometry",
    "spread": "SpectralSpread",
    "condition": "ln κ ≤ 10",
    "orojar": "OroJaR",
}


def main():
    """Reads the records, and writes the figures."""
    figure = Figure(figsize=(11, 7))
    above, below = figure.subfigures(2, 1, height_ratios=(0.42, 0.58))
    above.suptitle("Runs that collapse: DCGAN of 16 channels without batch normalisation", fontsize=10)
    below.suptitle("Healthy runs: DCGAN of 24 channels with batch normalisation", fontsize=10)
    _arms(above, "collapsing", COLLAPSING)
    doses, equal = below.subplots(1, 2)
    _runs(doses, "healthy", HEALTHY, 6000)
    _runs(equal, "equal_scale", EQUAL_SCALE, 3000, "log_scale")
    figure.savefig(FOLDER / "answer.png", dpi=120)
    figure = Figure(figsize=(11, 4))
    regularisers, cifar10 = figure.subplots(1, 2)
    _runs(regularisers, "regularisers", REGULARISERS, 3000)
    _runs(cifar10, "cifar10", CIFAR10, 6000)
    figure.savefig(FOLDER / "regularisers_and_cifar10.png", dpi=120)


def read(study):
    """{(arm, seed, step): row} and the seeds of a study."""
    with gzip.open(FOLDER / study / "metrics.jsonl.gz", "rt", encoding="utf-8") as stream:
        rows = {(row["arm"], row["seed"], row["step"]): row for row in map(json.loads, stream)}
    return rows, sorted({seed for _, seed, _ in rows})


def _arms(figure, study, arms):
    """Values of each arm on a line of its own, with the arm's mean and interval."""
    rows, seeds = read(study)
    all_axes = figure.subplots(1, len(PANELS), sharey=True)
    for axes, ((name, step), title) in zip(all_axes, PANELS.items(), strict=True):
        values = np.array([[rows[arm, seed, step][name] for seed in seeds] for arm in arms])
        axes.plot(values, np.arange(len(arms)), color="0.85", linewidth=0.6, zorder=0)
        for place, found in enumerate(values):
            axes.plot(found, np.full(len(found), place), "o", color=f"C{place}", markersize=4, alpha=0.8)
            half = stats.t.ppf(0.975, len(found) - 1) * stats.sem(found)
            axes.errorbar(found.mean(), place, xerr=half, fmt="D", color="black", markersize=5, linewidth=2.5)
        axes.set(xlabel=title, yticks=range(len(arms)), yticklabels=arms.values())
    all_axes[0].invert_yaxis()
    figure.subplots_adjust(left=0.13, right=0.98, top=0.89, bottom=0.2, wspace=0.06)


def _runs(axes, study, arms, step, by="median_log_condition"):
    """The score by ln κ or by the scale: a point for each run, with the arm's name."""
    rows, seeds = read(study)
    for place, (arm, name) in enumerate(arms.items()):
        x, y = (np.array([rows[arm, seed, step][of] for seed in seeds]) for of in (by, "classifier_score"))
        axes.plot(x, y, "o", color=f"C{place}", markersize=4, alpha=0.8, label=name)
    label = {"median_log_condition": "ln κ(M)", "log_scale": "scale ln(tr M/n_z)"}[by]
    axes.set(xlabel=f"{label} at step {step:,}", ylabel=f"classifier score at step {step:,}")
    axes.legend(fontsize=7, loc="lower right")
    axes.figure.subplots_adjust(left=0.07, right=0.98, top=0.91, bottom=0.13, wspace=0.16)


if __name__ == "__main__":
    main()
