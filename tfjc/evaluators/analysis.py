"""Analyses one generator: spectra, quotients and directions in z, as records, figures and a table."""

import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

import tfjc
from tfjc import evaluators, geometry
from tfjc.geometry import eigenvectors, spectrum
from tfjc.support import figures, precision
from tfjc.support.files import replacing, write_text

WALKS, STEPS, REACH = 4, 9, 2.0  # number of walks, pictures in each walk, its length to either side of the latent
_KEPT = 8  # directions at each end of a spectrum that spectra.npz keeps for each latent


def analyze(
    generate: geometry.Generator,
    z: tf.Tensor | np.ndarray,
    output: str | os.PathLike,
    *,
    labels: tf.Tensor | np.ndarray | None = None,
    chunk: int | None = None,
    seed: int = 0,
    about: Mapping[str, Any] | None = None,
    progress: Callable[[int], Any] | None = None,
) -> dict[str, Any]:
    """Measures a generator at latents z and writes `analysis.json`, `spectra.npz` and figures into a directory.

    - `analysis.json`: most keys of `metrics.jsonl` (see docs/records.md), the log-determinant, the effective and
      stable rank, the log-condition number of the average Jacobian, the output's shape and range. `scale` is the range
      of the generator's images [low, high], which σ, Q and ln det M_z refer to, or None where it is unknown.
      `finite_differences` checks the derivatives: it is the relative distance between σ_max and
      ‖G(z + hv) − G(z − hv)‖/2h along v_max.
    - `spectra.npz`: z [B, n_z], singular_values [B, n_z], average_jacobian [n_z], average_metric_tensor [n_z, n_z] and
      its eigenvectors average_vectors [n_z, n_z]; most and least [B, n_z, ≤ 8], directions in columns, beginning with
      the direction that moves the image most, and least.
    - `spectra.png`: the spectrum at each latent, the histogram of log-condition numbers, the spectrum of E[J].
    - `walks.png`: images along the directions that move the image most and least. Written if outputs are images.

    Args:
      generate: callable z [B, n_z] → x [B, ...], or (z, labels) → x.
      z: latents [B, n_z], in float64 for a generator that computes in float64.
      output: directory to write.
      labels: [B, ...], one for each latent.
      chunk: as in `tfjc.geometry.jacobian`.
      seed: of the steps in z for the quotients.
      about: entries that `analysis.json` begins with.
      progress: called with the number of latents in each finished block.

    Returns:
      The content of `analysis.json`.

    Raises:
      ValueError: as `tfjc.geometry.jacobian`; or the generator has more latent numbers than outputs.
    """
    began = time.monotonic()
    images = look(generate, z, labels)
    scale = evaluators.tell(generate, z, images, labels)
    run = make_directory(output)
    found = spectrum(generate, z, labels=labels, chunk=chunk, vectors=True, progress=progress)
    result = {
        **(about or {}),
        **described(z, images, scale),
        **_measurements(generate, z, labels, seed, found, scale),
        "finite_differences": finite_differences(generate, z, labels, found),
    }
    _write_spectra(run / "spectra.npz", z, found)
    figures.analysis(found, run / "spectra.png")
    if as_pictures(images[:1]) is not None:
        _write_walks(run / "walks.png", generate, z, labels, found, images)
    result["seconds"] = round(time.monotonic() - began, 2)
    write_text(run / "analysis.json", json.dumps(result, indent=2) + "\n")
    return result


def look(generate: geometry.Generator, z: tf.Tensor, labels: tf.Tensor | None) -> np.ndarray:
    """The images at z. Raises ValueError if n_x < n_z, G fails at z, or no output is finite."""
    n_z, n_x = z.shape[1], geometry.inspect(generate, z, labels).n_x
    if n_x < n_z:
        raise ValueError(f"expected a generator, with n_x ≥ n_z, found n_z = {n_z} and n_x = {n_x}, as in classifiers")
    try:
        images = np.asarray(tf.cast(geometry.run(generate, z, labels), tf.float32))
    except tf.errors.OpError as error:
        raise ValueError(f"the generator fails on these latents: {geometry.summary(error)}") from error
    if not np.isfinite(images).any():
        raise ValueError("no output of the generator is finite: its weights have diverged")
    return images


def described(z: tf.Tensor, images: np.ndarray, scale: evaluators.OutputRange | None) -> dict[str, Any]:
    """The entries of `analysis.json` about the latents and the outputs."""
    return {
        "tfjc": tfjc.__version__,
        "samples": len(z),
        "n_z": z.shape[1],
        "output_shape": list(images.shape[1:]),
        "output_range": [float(images.min()), float(images.max())],
        "scale": None if scale is None else [scale.low, scale.high],
    }


def make_directory(output: str | os.PathLike) -> pathlib.Path:
    """Makes the directory `output`; raises ValueError if it cannot be made or written."""
    run = pathlib.Path(output)
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"output {run} cannot be made: {error.strerror}") from error
    if not os.access(run, os.W_OK):
        raise ValueError(f"output {run} cannot be written")
    return run


def _measurements(generate, z, labels, seed, found, scale):
    evaluator = evaluators.ConditioningEvaluator(z, labels=labels, seed=seed)
    measured = evaluator.summary(found, evaluator.quotients(generate))
    if scale is None or (scale.low, scale.high) != (-1.0, 1.0):  # [λ_min, λ_max] = [1, 20] is for images in [−1, 1]
        measured = {name: value for name, value in measured.items() if name not in ("clamped_low", "clamped_high")}
    return measured | found.summary()


def finite_differences(
    generate: geometry.Generator,
    z: tf.Tensor,
    labels: tf.Tensor | None,
    found: geometry.Spectrum | geometry.PartialSpectrum,
) -> float:
    """Median over latents of |‖G(z + hv) − G(z − hv)‖/(2hσ_max) − 1| along v_max (eq. 5). Its error is O(h²)."""
    assert found.vectors is not None
    h = max(1e-2, found.epsilon ** (1 / 3))
    step, ends = tf.cast(h * found.vectors[:, :, 0], z.dtype), []
    with geometry.same_noise(geometry.inspect(generate, z, labels).states) as restart:
        for sign in (1, -1):
            restart()
            ends.append(geometry.call(generate, z + sign * step, labels))
    moved = precision.safe_norm(tf.cast(ends[0], tf.float64) - tf.cast(ends[1], tf.float64)).numpy() / (2 * h)
    return float(np.median(np.abs(moved / np.where(found.sigma_max > 0, found.sigma_max, np.nan) - 1.0)))


def _write_spectra(path, z, found):
    kept = min(_KEPT, z.shape[1])
    with replacing(path) as temporary, open(temporary, "wb") as stream:
        np.savez(
            stream,
            z=np.asarray(z),
            singular_values=found.singular_values,
            average_jacobian=found.average_jacobian,
            average_metric_tensor=found.average_metric_tensor,
            average_vectors=eigenvectors(found.average_metric_tensor),
            most=found.vectors[:, :, :kept],
            least=found.vectors[:, :, : -kept - 1 : -1],
        )


def _write_walks(path, generate, z, labels, found, images):
    rows, titles = [], []
    offsets = np.linspace(-REACH, REACH, STEPS)
    for b in range(min(WALKS, len(z))):
        for name, k in (("most", 0), ("least", -1)):
            along = tf.cast(np.asarray(z)[b] + offsets[:, None] * found.vectors[b, :, k], z.dtype)
            walk = geometry.run(
                generate, along, None if labels is None else tf.repeat(labels[b : b + 1], STEPS, axis=0)
            )
            rows.append(as_pictures(np.asarray(tf.cast(walk, tf.float32)), images))
            titles.append(f"z{b} {name}\nσ = {found.singular_values[b, k]:.3g}")
    figures.walks(np.stack(rows), titles, offsets, path)


def as_pictures(x: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray | None:
    """Outputs as pictures [B, height, width, 1 or 3] in [0, 1], or None where they are no images.

    The channel axis may be first, last or missing. The range is the `scale` of `reference` (by default x).
    """
    x = x[..., None] if x.ndim == 3 else x
    if x.ndim != 4:
        return None
    x = x if x.shape[-1] in (1, 3) else np.moveaxis(x, 1, -1)
    if x.shape[-1] not in (1, 3) or min(x.shape[1:3]) < 4:
        return None
    low, high = scale(x if reference is None else reference)
    return np.clip((x - low) / (high - low), 0.0, 1.0)


def scale(x: np.ndarray) -> tuple[float, float]:
    """The range that outputs are drawn with: (0, 255) if some exceed 2, else (0, 1) if none is negative, or (−1, 1)."""
    if x.max() > 2.0:
        return 0.0, 255.0
    return (0.0, 1.0) if x.min() >= 0.0 else (-1.0, 1.0)


def table(result: Mapping[str, Any]) -> str:
    """The result of `analyze` as text, one quantity a line."""
    quantiles, n_z = result["log_condition_quantiles"], result["n_z"]
    median, low, high = result["median_log_condition"], quantiles["0.05"], quantiles["0.95"]
    lines = {
        **head(result),
        "mean log-condition": f"{result['mean_log_condition']:.2f}   (ln λ_max/λ_min of M_z = JᵀJ)",
        "  median, 5 to 95 %": f"{median:.2f}, {low:.2f} to {high:.2f}",
        "  resolved": f"{result['resolved']:.0%} of latents   (σ_min above rounding, {result['floor']:.1e})",
        "rank of J_z": f"{result['rank']:.4g} of {n_z}   (directions that move the output by more than rounding)",
        "  log-condition of these": f"{result['nonzero_log_condition']:.2f}   (mean of ln λ_max/λ_rank)",
        "σ_max, σ_min": f"{result['sigma_max']:.4g}, {result['sigma_min']:.4g}   (mean)",
        "effective rank": f"{result['effective_rank']:.1f} of {n_z}   (stable rank {result['stable_rank']:.1f}, "
        f"participation ratio {result['participation_ratio']:.1f})",
        "ln det M_z": f"{result['log_determinant']:.1f}   (mean; ln tr M_z/n_z {result['log_scale']:.2f})",
        "average Jacobian": f"log-condition {result['average_jacobian_log_condition']:.2f}",
        "quotient, 5 to 95 %": _quotient(result),
        "finite differences": f"{result['finite_differences']:.1%} from the Jacobian's σ_max   (median)",
        "time": f"{result['seconds']:.1f} s",
    }
    return aligned(lines)


def head(result: Mapping[str, Any]) -> dict[str, str]:
    """The first lines of a table: the latents and the outputs."""
    low, high = result["output_range"]
    return {
        "latents": f"{result['samples']} of {result['n_z']} numbers each",
        "output": f"{result['output_shape']}, values from {low:.3g} to {high:.3g}",
        "scale": f"σ, Q and ln det M_z are those of outputs {_scale(result)}",
    }


def aligned(lines: Mapping[str, str]) -> str:
    """{name: value} as text, one a line, the values below each other."""
    width = max(map(len, lines))
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in lines.items())


def _quotient(result):
    if "quotient_quantiles" not in result:
        return "none, see below"
    quantiles = result["quotient_quantiles"]
    return f"{quantiles['0.05']:.3g} to {quantiles['0.95']:.3g}   (Q = ‖G(z) − G(z')‖/‖z − z'‖)"


def _scale(result):
    if result["scale"] is None:
        return "as made: their range is unknown"
    low, high = result["scale"]
    factor = "" if (low, high) == (-1.0, 1.0) else f"; on [−1, 1] σ and Q are {2.0 / (high - low):.4g} times as large"
    return f"in [{low:g}, {high:g}]{factor}"


def remarks(result: Mapping[str, Any]) -> Iterator[str]:
    """Warnings about the numbers of `analyze`, one sentence or more each."""
    if not result["sigma_max"] > 0.0:
        yield "J_z is 0 or not finite: the output does not depend on z, or the weights have diverged."
        return
    yield from on_outputs(result)
    yield from _on_resolution(result)
    if "no_quotient" in result:
        yield f"no quotients: {result['no_quotient']}."
    elif result["quotient_quantiles"]["0.5"] < 0.05 * np.ptp(result["output_range"]) / 2.0:
        yield "images hardly change with z: the generator looks collapsed."


def on_outputs(result: Mapping[str, Any]) -> Iterator[str]:
    """Warnings about the type, the range and the smoothness of a generator's outputs."""
    if result["epsilon"] > 1e-4:
        yield (
            f"the generator computes in 16 bits (ε = {result['epsilon']:.1g}): small σ, Q and finite differences are "
            "rounded; --float64 avoids that, for Keras models."
        )
    low, high = result["output_range"]
    if result["scale"] != [-1.0, 1.0]:
        yield (
            f"outputs run from {low:.3g} to {high:.3g}, not over [−1, 1]: condition numbers are the same on any scale, "
            "but σ and Q are not (over [0, 1] they are half, over [0, 255] 127.5 times those on [−1, 1])."
        )
    if result["finite_differences"] > 0.1 and result["epsilon"] < 1e-4:
        yield (
            f"finite differences along v_max are {result['finite_differences']:.0%} off: the generator is not smooth "
            "there, draws noise of its own, or its gradients are not those of its outputs."
        )


def _on_resolution(result):
    infinite = result["infinite_latents"]
    if infinite:
        yield (
            f"at {infinite:.0%} of the latents J_z is rank-deficient: some directions in z do not move the output (a "
            "generator that normalises z has one such direction; dead units, and layers narrower than z, make more). "
            f"{result['rank']:.4g} of {result['n_z']} directions move the output by more than rounding; their "
            f"log-condition number is {result['nonzero_log_condition']:.2f}."
        )
    if 1.0 - result["resolved"] > infinite:
        yield (
            f"at {1.0 - result['resolved'] - infinite:.0%} of the latents σ_min is below the rounding of the Jacobian, "
            "and ln κ is a rough value; --float64 gives a better one, for Keras models."
        )
