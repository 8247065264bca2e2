"""Analyses one generator of many latent numbers from products with J: the top of its spectrum, traces, density."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfjc import evaluators, geometry
from tfjc.evaluators import analysis
from tfjc.support import figures
from tfjc.support.files import replacing, write_text

_LARGEST = 16  # singular values that are computed at each latent
_POINTS = 200  # of the density
_NEGLIGIBLE = 1e-6  # a share of directions that is not drawn


def analyze(
    generate: geometry.Generator,
    z: tf.Tensor | np.ndarray,
    output: str | os.PathLike,
    *,
    labels: tf.Tensor | np.ndarray | None = None,
    probes: int = 8,
    steps: int = 64,
    seed: int = 0,
    about: Mapping[str, Any] | None = None,
    announce: Callable[[str], object] = lambda text: None,
    progress: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Measures a generator by `tfjc.geometry.partial_spectrum` and writes its results into a directory.

    - `analysis.json`: see docs/records.md.
    - `spectra.npz`: z [B, n_z]; largest and largest_residuals [B, k]; vectors float32 [B, n_z, k]; the quadrature rules
      gauss_nodes and gauss_weights [B, probes, steps], radau_nodes and radau_weights [B, probes, steps + 1]; the
      density of ln λ [B, P] at the points log_eigenvalues [P], with density_error [B, P].
    - `spectra.png`: the largest singular values and the density.

    Args:
      generate, z, output, labels, about: as in `tfjc.evaluators.analysis.analyze`.
      probes, steps: as in `tfjc.geometry.partial_spectrum`.
      seed: of the probes.
      announce: called with a sentence on the memory before the start, and on the time after the first products.
      progress: called with 1 after each Lanczos step at one latent; there are B·min(steps, n_z − k) of these.

    Returns:
      The content of `analysis.json`.

    Raises:
      ValueError: as `tfjc.geometry.operator` and `partial_spectrum`; or the generator has more latent numbers than
        outputs.
    """
    began = time.monotonic()
    images = analysis.look(generate, z, labels)
    scale = evaluators.tell(generate, z, images, labels)
    maps = geometry.operator(generate, z, labels=labels)
    k = number(z.shape[1])
    size = geometry.partial_memory(maps.shape, k, probes, steps)
    announce(f"memory: {size / 2**30:.2g} GiB for vectors, beside the generator's own")
    announce(f"time: about {_expected(maps, k, probes, steps)}, by the first products")
    run = analysis.make_directory(output)
    found = geometry.partial_spectrum(maps, k, probes=probes, steps=steps, seed=seed, progress=progress)
    result = {
        **(about or {}),
        **analysis.described(z, images, scale),
        **found.summary(),
        "finite_differences": analysis.finite_differences(generate, z, labels, found),
        "memory_bytes": size,
    }
    _write(run, z, found)
    result["seconds"] = round(time.monotonic() - began, 2)
    write_text(run / "analysis.json", json.dumps(result, indent=2) + "\n")
    return result


def number(n_z: int) -> int:
    """The number k of largest singular values that are computed for n_z."""
    return min(_LARGEST, max(1, n_z - 1))


def _expected(maps, k, probes, steps):
    """The expected time as text: that of `steps` products for all probes, and of some hundred single ones."""
    steps = min(steps, maps.shape[2] - k)
    searching = 3 * min(4 * k + 2, maps.shape[2])
    seconds = len(maps) * (steps * _seconds(maps[0], probes) + searching * _seconds(maps[0], 1))
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _seconds(one, columns):
    """The time of Jv and Jᵀu for so many columns, without the first call, which traces."""
    v = np.ones([one.shape[1], columns], one.dtype)
    for _ in range(2):
        began = time.monotonic()
        one.rmatmat(one.matmat(v))
    return time.monotonic() - began


def _write(run, z, found):
    points, width = _grid(found)
    density = found.density(points, width)
    with replacing(run / "spectra.npz") as temporary, open(temporary, "wb") as stream:
        np.savez(
            stream,
            z=np.asarray(z),
            largest=found.largest,
            largest_residuals=found.largest_residuals,
            vectors=found.vectors.astype(np.float32),
            gauss_nodes=found.gauss.nodes,
            gauss_weights=found.gauss.weights,
            radau_nodes=found.radau.nodes,
            radau_weights=found.radau.weights,
            log_eigenvalues=points,
            density=density.value,
            density_error=density.error,
        )
    error = np.sqrt(np.sum(np.square(density.error), axis=0)) / len(density.error)
    share = float(np.mean(found.unresolved_share))
    end = 2.0 * np.log(_positive(np.min(found.least_node)))
    unresolved = max(end, points[0]), share if share > _NEGLIGIBLE else 0.0
    figures.partial_analysis(found.largest, points, density.value, error, unresolved, run / "spectra.png")


def _grid(found):
    """(points ln λ from the rounding error, or the smallest node, to λ_max; the width of the density's Gaussians)."""
    low = 2.0 * np.log(_positive(max(np.min(found.least_node), np.min(found.floor))))
    high = max(low, 2.0 * np.log(_positive(np.max(found.sigma_max))))
    width = max((high - low) / 30.0, 0.05)
    return np.linspace(low - 4.0 * width, high + 4.0 * width, _POINTS), width


def _positive(value):
    return max(float(value), np.finfo(np.float64).tiny)


def table(result: Mapping[str, Any]) -> str:
    """The result of `analyze` as text, one quantity a line."""

    def with_error(name, digits=".4g"):
        return f"{result[name]:{digits}} ± {result[f'{name}_error']:.2g}"

    largest = result["largest"]
    lines = {
        **analysis.head(result),
        f"σ_1 to σ_{len(largest)}": f"{largest[0]:.4g} to {largest[-1]:.4g}   (mean; residuals of at most "
        f"{result['largest_residual']:.1e})",
        "tr M_z": f"{with_error('trace')}   (mean; ln tr M_z/n_z {with_error('log_scale', '.2f')})",
        "participation ratio": f"{with_error('participation_ratio')} of {result['n_z']}   (stable rank "
        f"{with_error('stable_rank')})",
        "ln det M_z": _log_determinant(result),
        "smallest σ": f"σ_min is at most {result['least_node']:.3g}   (mean; rounding {result['floor']:.1e})",
        "not resolved": f"up to {result['unresolved_share']:.2%} of the directions may have σ below rounding",
        "errors": f"standard errors over {result['probes']} probes of {result['lanczos_steps']} Lanczos steps",
        "finite differences": f"{result['finite_differences']:.1%} from the Jacobian's σ_max   (median)",
        "time": f"{result['seconds']:.1f} s",
    }
    return analysis.aligned(lines)


def _log_determinant(result):
    if "no_log_determinant" in result:
        return "none, see below"
    return f"{result['log_determinant']:.4g} ± {result['log_determinant_error']:.2g}   (mean)"


def remarks(result: Mapping[str, Any]) -> Iterator[str]:
    """Warnings about the numbers of `analyze`, one sentence or more each."""
    if not result["sigma_max"] > 0.0:
        yield "J_z is 0: the output does not depend on z."
        return
    yield from analysis.on_outputs(result)
    if "no_log_determinant" in result:
        yield f"no ln det M_z: {result['no_log_determinant']}."
