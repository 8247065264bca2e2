"""Draws the figures of a run and of an analysis from recorded numbers, without TensorFlow."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfjc.support.files import is_score, replacing

Rows = Sequence[Mapping[str, Any]]  # the lines of `metrics.jsonl`


class DrawnSpectrum(Protocol):
    """What `analysis` draws of a `tfjc.geometry.Spectrum`."""

    @property
    def singular_values(self) -> np.ndarray:
        """σ of J_z, [B, n_z], descending."""
        ...

    @property
    def average_jacobian(self) -> np.ndarray:
        """Singular values of E[J_z], [n_z], descending."""
        ...

    @property
    def floor(self) -> np.ndarray:
        """The rounding error of σ at each latent, [B]."""
        ...

    @property
    def log_condition(self) -> np.ndarray:
        """ln κ(M_z) at each latent, [B]."""
        ...

    @property
    def resolved(self) -> np.ndarray:
        """Whether σ_min is above the rounding error, [B]."""
        ...


def conditioning(rows: Rows, path: str | os.PathLike) -> None:
    """Draws conditioning over training as a PNG (Odena et al. 2018, figures 1 and 2).

    Left: the log-condition number at each fixed latent, and its mean. Right: quantiles of the quotient Q.

    Args:
      rows: the lines of `metrics.jsonl`.
      path: the picture to write.
    """
    steps = [row["step"] for row in rows]
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(steps, [row["log_condition"] for row in rows], color="tab:blue", alpha=0.15, linewidth=0.8)
    left.plot(steps, [row["mean_log_condition"] for row in rows], color="black", label="mean (while all are finite)")
    left.set(xlabel="step", ylabel="ln κ(M_z)", title="Log-condition number at each fixed z")
    left.legend()
    names = "0.05", "0.25", "0.5", "0.75", "0.95"
    quantiles = {q: [row.get("quotient_quantiles", {}).get(q, np.nan) for row in rows] for q in names}
    right.fill_between(steps, quantiles["0.05"], quantiles["0.95"], alpha=0.2, color="tab:orange", label="5–95 %")
    right.fill_between(steps, quantiles["0.25"], quantiles["0.75"], alpha=0.4, color="tab:orange", label="25–75 %")
    right.plot(steps, quantiles["0.5"], color="black", label="median")
    right.set(xlabel="step", ylabel="Q = ‖G(z) − G(z')‖ / ‖z − z'‖", title="Quotient", ylim=(0, None))
    right.legend()
    _save(figure, path)


def scores(rows: Rows, path: str | os.PathLike) -> None:
    """Draws every score over training as a PNG with one plot for each score. Without scores it draws nothing.

    Args:
      rows: the lines of `metrics.jsonl`.
      path: the picture to write.
    """
    keys = {key for row in rows for key, value in row.items() if not isinstance(value, list)}
    names = sorted(filter(is_score, keys))
    if not names:
        return
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(4.6 * columns, 2.8 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False).flat
    for name, axes in zip(names, grid, strict=False):  # names first: zip would consume one more axes
        taken = [(row["step"], row[name]) for row in rows if name in row]
        axes.plot(*zip(*taken, strict=True), color="black", marker=".")
        values = [value for _, value in taken]
        if min(values) > 0 and max(values) > 50 * min(values):
            axes.set_yscale("log")
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("step")
    for axes in list(grid):
        axes.set_axis_off()
    _save(figure, path)


def _save(figure, path):
    with replacing(path) as temporary:
        figure.savefig(os.fspath(temporary), format="png", dpi=120)


def spectra(axes: Axes, singular_values: np.ndarray, average_jacobian: np.ndarray) -> Axes:
    """Draws spectra in log scale on `axes` (Odena et al. 2018, figures 3 and 4). Zeros are left out.

    Args:
      axes: Matplotlib axes.
      singular_values: singular values of J_z at each latent, [B, n_z].
      average_jacobian: singular values of E[J_z], [n_z].

    Returns:
      `axes`.
    """
    index = range(1, singular_values.shape[1] + 1)
    singular_values, average_jacobian = (np.where(v > 0, v, np.nan) for v in (singular_values, average_jacobian))
    axes.set_yscale("log")
    axes.plot(index, singular_values.T, color="tab:blue", alpha=0.25, linewidth=0.8)
    axes.plot(index, average_jacobian, color="black", label="average Jacobian E[J]")
    axes.set(xlabel="index k", ylabel="singular value σ_k of J_z", title=f"Spectra at {len(singular_values)} latents")
    axes.legend()
    return axes


def analysis(spectrum: DrawnSpectrum, path: str | os.PathLike) -> None:
    """Draws a `Spectrum` as a PNG: all spectra, the log-condition numbers, and the spectrum of E[J_z]."""
    figure = Figure(figsize=(15, 4.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    spectra(left, spectrum.singular_values, spectrum.average_jacobian)
    if np.mean(spectrum.floor) > 0:
        left.axhline(np.mean(spectrum.floor), color="tab:red", linestyle=":", linewidth=0.8, label="rounding (mean)")
    left.legend()
    _log_condition_histogram(middle, spectrum)
    average = np.where(spectrum.average_jacobian > 0, spectrum.average_jacobian, np.nan)
    right.set_yscale("log")
    right.plot(range(1, len(average) + 1), average, "k.-", markersize=3)
    right.set(xlabel="index k", ylabel="singular value of E[J_z]", title="Spectrum of the average Jacobian")
    _save(figure, path)


def partial_analysis(
    largest: np.ndarray,
    log_eigenvalues: np.ndarray,
    density: np.ndarray,
    error: np.ndarray,
    unresolved: tuple[float, float],
    path: str | os.PathLike,
) -> None:
    """Draws a partial spectrum as a PNG: the largest singular values, and the density of ln λ with its errors.

    Args:
      largest: the k largest σ at each latent, [B, k].
      log_eigenvalues: the points of the density, [P].
      density: the density of ln λ at each latent, [B, P].
      error: the standard error of its mean over latents, [P].
      unresolved: (ln λ, share): below ln λ up to this share of the directions is not resolved; nothing is marked for 0.
      path: the picture to write.
    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.set_yscale("log")
    index = range(1, largest.shape[1] + 1)
    left.plot(index, np.where(largest > 0, largest, np.nan).T, color="tab:blue", alpha=0.5, marker=".")
    left.set(xlabel="index k", ylabel="singular value σ_k of J_z", title=f"Largest values at {len(largest)} latents")
    mean = density.mean(axis=0)
    right.plot(log_eigenvalues, density.T, color="tab:blue", alpha=0.25, linewidth=0.8)
    right.plot(log_eigenvalues, mean, color="black", label="mean over latents")
    right.fill_between(log_eigenvalues, mean - error, mean + error, color="black", alpha=0.2, label="± standard error")
    end, share = unresolved
    if share > 0.0:
        label = f"not resolved: up to {share:.1%} of the directions"
        right.axvspan(log_eigenvalues[0], end, color="tab:red", alpha=0.1, label=label)
    right.set(xlabel="ln λ of M_z", ylabel="density a nat", title="Spectral density", ylim=(0, None))
    right.legend()
    _save(figure, path)


def _log_condition_histogram(axes, spectrum):
    values = spectrum.log_condition
    finite = np.isfinite(values)
    sure, flagged = values[finite & spectrum.resolved], values[finite & ~spectrum.resolved]
    axes.hist(
        [sure, flagged], bins=20, stacked=True, color=["tab:blue", "tab:red"], label=["resolved", "below rounding"]
    )
    without = f", {np.sum(~finite)} infinite" if not finite.all() else ""
    mean = f"mean {np.mean(values[finite]):.2f}" if finite.any() else "none finite"
    axes.set(xlabel="ln κ(M_z)", ylabel="latents", title=f"Log-condition number: {mean}{without}")
    axes.legend()


def walks(rows: np.ndarray, titles: Sequence[str], offsets: Iterable[float], path: str | os.PathLike) -> None:
    """Draws walks in z as a PNG with one strip of images for each walk.

    Args:
      rows: images [R, steps, height, width, channels] in [0, 1].
      titles: R titles.
      offsets: the position of each step along its walk, [steps].
      path: the picture to write.
    """
    count, steps, height, width, channels = rows.shape
    gap = max(1, width // 16)  # white columns between two images
    strips = np.pad(rows, [(0, 0)] * 3 + [(0, gap), (0, 0)], constant_values=1.0)
    strips = np.moveaxis(strips, 1, 2).reshape(count, height, steps * (width + gap), channels)[:, :, :-gap]
    figure = Figure(figsize=(1.6 + 1.1 * steps, 0.4 + 1.1 * count * height / width), layout="constrained")
    grid = figure.subplots(count, 1, squeeze=False)[:, 0]
    for axes, strip, title in zip(grid, strips, titles, strict=True):
        axes.imshow(strip, cmap="gray", vmin=0.0, vmax=1.0)
        axes.set(xticks=[], yticks=[], frame_on=False)
        axes.set_ylabel(title, rotation=0, ha="right", va="center")
    centres = (width - 1) / 2 + (width + gap) * np.arange(steps)
    grid[0].set_xticks(centres, labels=[f"{offset:+.1f}" for offset in offsets])
    grid[0].tick_params(top=False, bottom=False, labeltop=True, labelbottom=False)
    _save(figure, path)
