"""Measures a trained generator: `python -m tfjc.analyze --model=generator.keras`."""

import os
import pathlib
from collections.abc import Sequence

from absl import flags, logging

from tfjc.runs import commands
from tfjc.support import checks

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads it when it is imported, below

_NAMED = commands.define_generator_flags()
flags.adopt_module_key_flags(commands)  # --help lists them
_SAMPLES = flags.DEFINE_integer(
    "samples", None, "Number of latents to measure at; 64 by default, 4 with --partial.", lower_bound=1
)
_OUTPUT = flags.DEFINE_string("output", None, "The directory to write; analysis/NAME by default.")
_CHUNK = flags.DEFINE_integer("chunk", None, "(Sample, pass) pairs held at once; set by the free memory by default.", 1)
_FLOAT64 = flags.DEFINE_boolean("float64", False, "Compute in float64, as a reference; for Keras models.")
_PARTIAL = flags.DEFINE_boolean(
    "partial",
    False,
    "Measure the top of the spectrum, its trace, density and ln det M from products with J; for latents of 10⁴ numbers "
    "and more, whose full spectra cannot be computed.",
)
_PROBES = flags.DEFINE_integer("probes", None, "With --partial: number of random probes; 8 by default.", lower_bound=2)
_STEPS = flags.DEFINE_integer(
    "lanczos_steps", None, "With --partial: Lanczos steps of each probe; 64 by default.", lower_bound=2
)

_MANY = 2048  # a full spectrum of more latent numbers takes minutes


def main(argv: Sequence[str]) -> int:
    """Analyses the generator that the flags name; returns the exit status, 2 if it cannot be analysed."""
    return commands.status("analyze", _analyze, argv)


def _analyze():
    if not _NAMED.model.value:
        raise ValueError(
            "--model is needed: a .keras or .h5 file, a SavedModel or TF-Hub directory, or a run directory"
        )
    checks.existing("model", _NAMED.model.value)  # before TensorFlow is imported, which takes seconds
    logging.set_verbosity(logging.WARNING)
    _check_flags()
    from tfjc.runs import devices
    from tfjc.saving import loading

    devices.prepare(_NAMED.jit_compile.value, deterministic=False)
    path, samples = _NAMED.model.value, _SAMPLES.value or (4 if _PARTIAL.value else 64)
    loaded, z, labels = commands.load_generator(_NAMED, path, samples)
    generate = loaded.generate
    if _FLOAT64.value:
        generate, z = loading.in_float64(loaded), z.numpy().astype("float64")
    output = pathlib.Path(_OUTPUT.value or pathlib.Path("analysis") / pathlib.Path(path).resolve().stem)
    about = commands.about_latents(_NAMED, loaded) | {"float64": _FLOAT64.value}
    options = {"labels": labels, "seed": _NAMED.seed.value, "about": about}
    table, remarks = (_partial if _PARTIAL.value else _whole)(generate, z, output, options)
    print(table)
    for remark in remarks:
        print(f"note: {remark}")
    print(f"written: {', '.join(sorted(str(path) for path in output.iterdir()))}")


def _check_flags():
    """Raises ValueError for a flag that the other flags leave without effect."""
    if _PARTIAL.value and _CHUNK.value is not None:
        raise ValueError("--chunk is for full spectra; --partial fits its products to the free memory")
    for flag in (_PROBES, _STEPS):
        if flag.value is not None and not _PARTIAL.value:
            raise ValueError(f"--{flag.name} is for --partial")


def _whole(generate, z, output, options):
    """(table, remarks) of a full analysis."""
    from tqdm import tqdm

    from tfjc.evaluators import analysis

    samples, n_z = z.shape
    if n_z > _MANY:
        print(f"note: each latent takes n_z = {n_z} passes, and a decomposition whose time grows as n_z³. --partial")
        print("measures the top of the spectrum, its trace and density from some hundred products.")
    with tqdm(total=samples, unit=" latents", leave=False) as bar:
        result = analysis.analyze(generate, z, output, chunk=_CHUNK.value, progress=bar.update, **options)
    return analysis.table(result), analysis.remarks(result)


def _partial(generate, z, output, options):
    """(table, remarks) of a partial analysis."""
    from tqdm import tqdm

    from tfjc.evaluators import partial_analysis

    samples, n_z = z.shape
    numbers = {"probes": _PROBES.value or 8, "steps": _STEPS.value or 64}
    steps = min(numbers["steps"], n_z - partial_analysis.number(n_z))
    with tqdm(total=samples * steps, unit=" steps", leave=False) as bar:
        result = partial_analysis.analyze(
            generate, z, output, **numbers, announce=tqdm.write, progress=bar.update, **options
        )
    return partial_analysis.table(result), partial_analysis.remarks(result)


def run() -> None:
    """Starts the command line."""
    commands.start("analyze", main)


if __name__ == "__main__":
    run()
