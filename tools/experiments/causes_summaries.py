"""Which summary of the spectrum goes with the scores, over the runs and checkpoints of docs/results/causes.

tools/run python tools/experiments/causes_summaries.py
"""

import numpy as np
from causes_figure import read

from tfjc.study import statistics

STUDIES = {
    "collapsing": 3000,
    "healthy": 6000,
    "regularisers": 3000,
    "scale": 3000,
    "equal_scale": 3000,
    "cifar10": 6000,
    "cifar10_collapsing": 3000,
}
SUMMARIES = {
    "mean ln κ": lambda row: row["mean_log_condition"],
    "median ln κ": lambda row: row["median_log_condition"],
    "ln σ_max": lambda row: np.log(row["sigma_max"]),
    "ln σ_min": lambda row: np.log(max(row["sigma_min"], 1e-300)),
    "ln(tr M/n_z)": lambda row: row["log_scale"],
    "participation ratio": lambda row: row["participation_ratio"],
    "median Q": lambda row: row["quotient_quantiles"]["0.5"],
    "Q's 95 % by its 5 % quantile": lambda row: row["quotient_quantiles"]["0.95"] / row["quotient_quantiles"]["0.05"],
}


def main():
    """Prints a table for each study."""
    for study, last in STUDIES.items():
        rows, seeds = read(study)
        scored = {key: row for key, row in rows.items() if key[2] and "classifier_score" in row}
        arms = list(dict.fromkeys(arm for arm, _, _ in scored))
        print(f"\n{study}: {len(scored)} checkpoints\n")
        print("| summary | arms and checkpoints | runs of an arm |\n|---|---|---|")
        for name, summary in SUMMARIES.items():
            everywhere = [_pairs([row for (_, s, _), row in scored.items() if s == seed], summary) for seed in seeds]
            within = [_pairs([scored[arm, seed, last] for seed in seeds], summary) for arm in arms]
            over, pooled = (
                statistics.mean_correlation(everywhere),
                statistics.pooled_correlation(within, seeds=[seeds] * len(arms)),
            )
            cells = (over.spearman, over.low, over.high), (pooled.spearman, pooled.low, pooled.high)
            print(f"| {name} | " + " | ".join(f"{r:.2f} [{low:.2f}, {high:.2f}]" for r, low, high in cells) + " |")


def _pairs(rows, summary):
    return [summary(row) for row in rows], [row["classifier_score"] for row in rows]


if __name__ == "__main__":
    main()
