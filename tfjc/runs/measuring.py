"""The work of `python -m tfjc.analyze`: measures one generator, whole or in part, and prints what was found."""

import pathlib
import types

from tfjc.runs import commands
from tfjc.support import checks

_MANY = 2048  # a full spectrum of more latent numbers takes minutes


def check(named: types.SimpleNamespace, asked: types.SimpleNamespace) -> None:
    """Raises ValueError for flags that contradict each other or name no model. TensorFlow is not imported for that.

    Args:
      named: the flags of a generator (`commands.define_generator_flags`).
      asked: the other flags of the command, by name.
    """
    if not named.model.value:
        raise ValueError(
            "--model is needed: a .keras or .h5 file, a SavedModel or TF-Hub directory, or a run directory"
        )
    checks.existing("model", named.model.value)
    if asked.partial.value and asked.chunk.value is not None:
        raise ValueError("--chunk is for full spectra; --partial fits its products to the free memory")
    for flag in (asked.probes, asked.lanczos_steps):
        if flag.value is not None and not asked.partial.value:
            raise ValueError(f"--{flag.name} is for --partial")
    commands.check_generator_flags(named)
    output = _output(named, asked)
    if output.exists() and not output.is_dir():
        raise ValueError(f"--output must be a directory to write, found the file {output}")


def measure(named: types.SimpleNamespace, asked: types.SimpleNamespace) -> None:
    """Measures the generator, writes the results into a directory, and prints a table; arguments as in `check`.

    Raises:
      ValueError: the generator cannot be measured.
    """
    from tfjc.runs import devices
    from tfjc.saving import loading

    devices.prepare(named.jit_compile.value, deterministic=False)
    path, samples = named.model.value, asked.samples.value or (4 if asked.partial.value else 64)
    loaded, z, labels = commands.load_with_latents(named, path, samples)
    generate = loaded.generate
    if asked.float64.value:
        generate, z = loading.in_float64(loaded), z.numpy().astype("float64")
    output = _output(named, asked)
    about = commands.about_latents(named, loaded) | {"float64": asked.float64.value}
    options = {"labels": labels, "seed": named.seed.value, "about": about}
    table, remarks = (_in_part if asked.partial.value else _whole)(asked, generate, z, output, options)
    print(table)
    for remark in remarks:
        print(f"note: {remark}")
    print(f"written: {', '.join(sorted(str(path) for path in output.iterdir()))}")


def _output(named, asked):
    """The directory to write."""
    return pathlib.Path(asked.output.value or pathlib.Path("analysis") / pathlib.Path(named.model.value).resolve().stem)


def _whole(asked, generate, z, output, options):
    """(table, remarks) of a full analysis."""
    from tqdm import tqdm

    from tfjc.evaluators import analysis

    samples, n_z = z.shape
    if n_z > _MANY:
        print(f"note: each latent takes n_z = {n_z} passes, and a decomposition whose time grows as n_z³. --partial")
        print("measures the top of the spectrum, its trace and density from some hundred products.")
    with tqdm(total=samples, unit=" latents", leave=False) as bar:
        result = analysis.analyze(generate, z, output, chunk=asked.chunk.value, progress=bar.update, **options)
    return analysis.table(result), analysis.remarks(result)


def _in_part(asked, generate, z, output, options):
    """(table, remarks) of a partial analysis."""
    from tqdm import tqdm

    from tfjc.evaluators import partial_analysis

    samples, n_z = z.shape
    numbers = {"probes": asked.probes.value or 8, "steps": asked.lanczos_steps.value or 64}
    steps = min(numbers["steps"], n_z - partial_analysis.number(n_z))
    with tqdm(total=samples * steps, unit=" steps", leave=False) as bar:
        result = partial_analysis.analyze(
            generate, z, output, **numbers, announce=tqdm.write, progress=bar.update, **options
        )
    return partial_analysis.table(result), partial_analysis.remarks(result)
