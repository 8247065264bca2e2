"""The figures of a study, from its records. Each function returns a matplotlib Figure, or None without data."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps, ticker
from matplotlib.figure import Figure
from PIL import Image

from tfjc.study import statistics
from tfjc.study._read import Recorded

LOGARITHMIC = ("frechet_distance", "fid")
_AT_THE_EDGE = {"clip_on": False, "in_layout": False}


def answer(
    recorded: Sequence[Recorded], arms: Sequence[str], claims: Sequence[Mapping[str, Any]], measured: Sequence[str]
) -> Figure | None:
    """The numbers that planned claims are about: by arm, or against a dose. The main figure of a report.

    By arm, lines join the runs of a seed. Black is the mean with its 95 % interval, or the median where a run is
    infinite. Without planned claims, the numbers are the first two of `measured`, and the second against the first.
    """
    pairs = [(claim.get("dose"), claim["outcome"]) for claim in claims] or [(None, name) for name in measured[:2]]
    if not claims and len(measured) > 1:
        pairs.append((measured[0], measured[1]))
    counted = [run for run in recorded if run.has_outcome]
    pairs = [
        pair
        for pair in sorted(dict.fromkeys(pairs), key=lambda pair: pair[0] is not None)
        if all(any(not np.isnan(run.outcome(name)) for run in counted) for name in pair if name)
    ]
    if not pairs:
        return None
    columns = min(3, len(pairs))
    figure, grid = _grid(-(-len(pairs) // columns), columns, 4.2, max(2.6, 1.2 + 0.3 * len(arms)))
    for axes in list(grid.flat)[len(pairs) :]:
        axes.set_axis_off()
    for index, (axes, (dose, outcome)) in enumerate(zip(grid.flat, pairs, strict=False)):
        if dose:
            _draw_dose(axes, counted, arms, dose, outcome)
        else:
            _draw_arms(axes, counted, arms, outcome)
            axes.tick_params(labelleft=index % columns == 0)
    if pairs[0][0]:  # no panel names the arms
        grid[0, -1].legend(fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _draw_arms(axes, recorded, arms, name):
    """A number of each run, an arm a row, with the runs of a seed joined."""
    seeds = sorted({run.run.seed for run in recorded})
    values = {(run.run.arm, run.run.seed): run.outcome(name) for run in recorded}
    table = np.array([[values.get((arm, seed), np.nan) for arm in arms] for seed in seeds])
    for row in table:
        axes.plot(_finite(row), range(len(arms)), color="0.6", linewidth=0.5, alpha=0.7)
    for position, column in enumerate(table.T):
        dots = {"color": _colour(position), "alpha": 0.8}
        axes.plot(_finite(column), np.full(len(column), position), "o", markersize=4, **dots)
        found = statistics.summary(column)
        ends = (found.mean, found.low, found.high)
        centre, low, high = (found.median, found.median_low, found.median_high) if found.counts.infinite else ends
        if np.isfinite([low, high]).all():
            axes.hlines(position, low, high, color="black", linewidth=2.0)
        if np.isfinite(centre):
            axes.plot([centre], [position], "D", color="black", markersize=5)
        infinite = np.count_nonzero(np.isposinf(column))
        options = {"transform": axes.get_yaxis_transform(), **_AT_THE_EDGE}  # x from 0 to 1 across the axes
        axes.plot(np.full(infinite, 1.0), np.full(infinite, position), ">", markersize=5, **dots, **options)
    axes.set_yticks(range(len(arms)), arms, fontsize=8)
    axes.set_ylim(len(arms) - 0.5, -0.5)
    _scale(axes, "x", name)
    axes.set_title(name, fontsize=9)


def _draw_dose(axes, recorded, arms, dose, outcome):
    for position, arm in enumerate(arms):
        points = [(run.outcome(dose), run.outcome(outcome)) for run in recorded if run.run.arm == arm]
        _scatter(axes, points, _colour(position), arm)
    axes.set_xlabel(dose, fontsize=8)
    _scale(axes, "y", outcome)
    axes.set_title(f"{outcome} by {dose}", fontsize=9)


def _scatter(axes, points, colour, label):
    """Points (x, y). Infinite x are triangles at the right edge."""
    points = np.array(points).reshape(-1, 2)
    x, y = _finite(points).T
    axes.plot(x, y, "o", color=colour, markersize=4, alpha=0.8, label=label)
    infinite = points[np.isposinf(points[:, 0]), 1]
    options = {"transform": axes.get_yaxis_transform(), **_AT_THE_EDGE}  # x from 0 to 1 across the axes
    axes.plot(np.full(len(infinite), 1.0), infinite, ">", color=colour, markersize=5, **options)


def curves(recorded: Sequence[Recorded], arms: Sequence[str], names: Sequence[str]) -> Figure | None:
    """Every number over training: a row for each number, a column for each arm, a colour for each run.

    They correspond to figures 1, 5 and 6 of the paper.
    """
    names = [name for name in names if any(run.series(name)[0] for run in recorded)]
    if not names:
        return None
    figure, grid = _grid(len(names), len(arms), 4.2, 2.4, sharey="row", sharex=True)
    for row, name in zip(grid, names, strict=True):
        for axes, arm in zip(row, arms, strict=True):
            for index, run in enumerate(_of(recorded, arm)):
                steps, values = run.series(name)
                axes.plot(steps, _finite(values), color=_colour(index), linewidth=1.0, label=f"seed {run.run.seed}")
            _scale(axes, "y", name)
            axes.set_title(f"{arm}: {name}", fontsize=9)
    _label(grid[-1], "step")
    most = max(grid[0], key=lambda axes: len(axes.lines))
    grid[0, -1].legend(handles=most.lines, fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def latents(recorded: Sequence[Recorded], arms: Sequence[str], columns: int = 4) -> Figure:
    """ln κ(M_z) at each fixed latent over training, for the first runs of each arm (figure 2)."""
    figure, grid = _grid(len(arms), columns, 3.0, 2.4, sharey=True, sharex=True)
    for row, arm in zip(grid, arms, strict=True):
        for axes, run in zip(row, _of(recorded, arm), strict=False):
            steps = [line["step"] for line in run.rows]
            axes.plot(steps, _finite([line["log_condition"] for line in run.rows]), color="tab:blue", alpha=0.15)
            axes.set_title(f"{arm}, seed {run.run.seed}", fontsize=9)
    _label(grid[-1], "step")
    _label(grid[:, 0], ylabel="ln κ(M_z)")
    return figure


def spectra(recorded: Sequence[Recorded], arms: Sequence[str]) -> Figure:
    """The final spectrum of each run's average Jacobian, one panel for each arm (figures 3 and 4)."""
    figure, grid = _grid(1, len(arms), 4.2, 3.0, sharey=True)
    for axes, arm in zip(grid[0], arms, strict=True):
        for index, run in enumerate(_of(recorded, arm)):
            if run.spectrum is not None:
                values = np.where(run.spectrum > 0, run.spectrum, np.nan)
                axes.plot(range(1, len(values) + 1), values, color=_colour(index), linewidth=1.0)
        axes.set_yscale("log")
        axes.set_title(arm, fontsize=9)
    _label(grid[0], "index k")
    grid[0, 0].set_ylabel("singular value of E[J_z]")
    return figure


def by_arm(recorded: Sequence[Recorded], arms: Sequence[str], names: Sequence[str]) -> Figure | None:
    """Final values of every run by arm, with each arm's median (figure 7). Triangles at the top are infinite."""
    figure, panels = _panels(recorded, names)
    for axes, name in panels:
        for position, arm in enumerate(arms):
            values = np.array([run.last(name) for run in _of(recorded, arm)])
            values = values[~np.isnan(values)]
            x = position + np.linspace(-0.12, 0.12, len(values))
            axes.plot(x, _finite(values), "o", markersize=4, alpha=0.7, color=_colour(position))
            _mark_infinite(axes, x, values, _colour(position))
            if len(values) and np.isfinite(np.median(values)):
                axes.hlines(np.median(values), position - 0.25, position + 0.25, color="black")
        is_crowded = sum(map(len, arms)) > 40
        axes.set_xticks(range(len(arms)), arms, fontsize=8, rotation=90 if is_crowded else 0)
    return figure


def against_conditioning(
    recorded: Sequence[Recorded], arms: Sequence[str], condition: str, names: Sequence[str]
) -> Figure | None:
    """Final scores against the final log-condition number, a colour for each arm (section 3).

    Infinite log-condition numbers are triangles at the right edge.
    """
    figure, panels = _panels(recorded, names)
    for axes, name in panels:
        for position, arm in enumerate(arms):
            points = [(run.final(condition), run.last(name)) for run in _of(recorded, arm)]
            _scatter(axes, points, _colour(position), arm)
        axes.set_xlabel(condition.replace("_", " "), fontsize=8)
    if panels:
        panels[0][0].legend(fontsize=7)
    return figure


def _mark_infinite(axes, x, values, colour):
    """Draws triangles at the top edge for infinite values."""
    found = x[np.isposinf(values)]
    options = {"transform": axes.get_xaxis_transform(), **_AT_THE_EDGE}  # y from 0 to 1 across the axes
    axes.plot(found, np.full(len(found), 1.0), "^", color=colour, markersize=5, **options)


def histograms(recorded: Sequence[Recorded], arms: Sequence[str]) -> Figure | None:
    """The number of samples in each predicted class, a line for each run (figure 10)."""
    if not any(run.histogram() for run in recorded):
        return None
    figure, grid = _grid(1, len(arms), 4.2, 2.6, sharey=True)
    for axes, arm in zip(grid[0], arms, strict=True):
        for index, run in enumerate(_of(recorded, arm)):
            if run.histogram():
                axes.step(
                    range(len(run.histogram())), run.histogram(), where="mid", color=_colour(index), linewidth=1.0
                )
        axes.set_title(arm, fontsize=9)
    _label(grid[0], "class")
    grid[0, 0].set_ylabel("samples")
    return figure


def samples(recorded: Sequence[Recorded], arms: Sequence[str], columns: int = 6) -> Figure | None:
    """The newest samples of the first runs of each arm."""
    pictures = {arm: [(run, _newest(run)) for run in _of(recorded, arm)][:columns] for arm in arms}
    count = max((len(row) for row in pictures.values()), default=0)
    if all(picture is None for row in pictures.values() for _, picture in row):
        return None
    figure, grid = _grid(len(arms), count, 2.2, 2.4)
    for axes in grid.flat:
        axes.set_axis_off()
    for row, arm in zip(grid, arms, strict=True):
        for axes, (run, picture) in zip(row, pictures[arm], strict=False):
            if picture is not None:
                axes.imshow(picture, cmap="gray")
                axes.set_title(f"{arm}, seed {run.run.seed}", fontsize=8)
    return figure


def _newest(run: Recorded) -> np.ndarray | None:
    """The newest picture that can be read; None if there is none."""
    for path in sorted(run.run.directory.samples.glob("step_*.png"), reverse=True):
        with contextlib.suppress(Exception), Image.open(path) as picture:  # a damaged file can raise anything
            return np.asarray(picture)
    return None


def _panels(recorded, names):
    """(figure, [(axes, name)]) with a titled panel for every number that a run has; (None, []) without any."""
    names = [name for name in names if not all(np.isnan(run.last(name)) for run in recorded)]
    if not names:
        return None, []
    columns = min(4, len(names))
    figure, grid = _grid(-(-len(names) // columns), columns, 3.0, 2.6)
    for axes in list(grid.flat)[len(names) :]:
        axes.set_axis_off()
    panels = list(zip(grid.flat, names, strict=False))
    for axes, name in panels:
        axes.set_title(name, fontsize=9)
        _scale(axes, "y", name)
    return figure, panels


class _LogTicks(ticker.LogLocator):
    """Powers of ten; within less than a decade, about four round numbers."""

    def tick_values(self, vmin, vmax):
        return ticker.MaxNLocator(4).tick_values(vmin, vmax) if vmax < 10 * vmin else super().tick_values(vmin, vmax)


def _scale(axes, which, name):
    """Makes the axis "x" or "y" logarithmic where it shows a number with such a scale."""
    if name.partition("@")[0] in LOGARITHMIC:
        axes.set(**{f"{which}scale": "log"})
        axis = getattr(axes, f"{which}axis")
        axis.set_major_locator(_LogTicks())
        axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
        axis.set_minor_formatter(ticker.NullFormatter())


def _of(recorded, arm):
    return [run for run in recorded if run.run.arm == arm and run.rows]


def _finite(values):
    values = np.asarray(values, dtype=float)
    return np.where(np.isfinite(values), values, np.nan)


def _colour(index):
    index %= 20
    return colormaps["tab10"](index) if index < 10 else colormaps["tab20"](2 * (index - 10) + 1)  # the paler colours


def _grid(rows, columns, width, height, **options):
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _label(row, xlabel=None, ylabel=None):
    for axes in row:
        axes.set(**{name: text for name, text in {"xlabel": xlabel, "ylabel": ylabel}.items() if text})
