"""Measures a trained generator: `python -m tfjc.analyze --model=generator.keras`."""

import os
import pathlib
from collections.abc import Sequence

from absl import flags

from tfjc.runs import commands
from tfjc.support import checks

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads it when it is imported, below

_NAMED = commands.define_generator_flags()
flags.adopt_module_key_flags(commands)  # --help lists them
_SAMPLES = flags.DEFINE_integer("samples", 64, "Number of latents to measure at.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "The directory to write; analysis/NAME by default.")
_CHUNK = flags.DEFINE_integer("chunk", None, "(Sample, pass) pairs held at once; set by the free memory by default.", 1)
_FLOAT64 = flags.DEFINE_boolean("float64", False, "Compute in float64, as a reference; for Keras models.")

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
    from tqdm import tqdm

    from tfjc.evaluators import analysis
    from tfjc.runs import devices
    from tfjc.saving import loading

    devices.prepare(_NAMED.jit_compile.value, deterministic=False)
    path, seed = _NAMED.model.value, _NAMED.seed.value
    loaded, z, labels = commands.load_generator(_NAMED, path, _SAMPLES.value)
    generate = loaded.generate
    if _FLOAT64.value:
        generate, z = loading.in_float64(loaded), z.numpy().astype("float64")
    output = pathlib.Path(_OUTPUT.value or pathlib.Path("analysis") / pathlib.Path(path).resolve().stem)
    about = commands.about_latents(_NAMED, loaded) | {"float64": _FLOAT64.value}
    if loaded.n_z > _MANY:
        print(f"note: each latent takes n_z = {loaded.n_z} passes, and a decomposition whose time grows as n_z³. Fewer")
        print("--samples take less time. tfjc.geometry.operator(...).extremes() finds only the ends of a spectrum.")
    with tqdm(total=_SAMPLES.value, unit=" latents", leave=False) as bar:
        result = analysis.analyze(
            generate, z, output, labels=labels, chunk=_CHUNK.value, seed=seed, about=about, progress=bar.update
        )
    print(analysis.table(result))
    for remark in analysis.remarks(result):
        print(f"note: {remark}")
    print(f"written: {', '.join(sorted(str(path) for path in output.iterdir()))}")


def run() -> None:
    """Starts the command line."""
    commands.start("analyze", main)


if __name__ == "__main__":
    run()
