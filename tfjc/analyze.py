"""Tells what a trained generator is doing: `python -m tfjc.analyze --model=generator.keras`."""

import os
import pathlib
import sys

from absl import flags

from tfjc import commands

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow reads it when it is imported, below

_MODEL = flags.DEFINE_string("model", None, "A SavedModel directory, a .keras or .h5 file, or a run directory.")
_STEP = flags.DEFINE_integer("step", None, "The checkpoint of a run directory; the newest by default.", lower_bound=0)
_SAMPLES = flags.DEFINE_integer("samples", 64, "How many latents to measure at.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "The directory to write; analysis/NAME by default.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the latents and labels.", lower_bound=0)
_PRIOR = flags.DEFINE_enum(
    "prior", "normal", ["normal", "uniform", "truncated_normal"], "N(0, I), uniform on [-1, 1], or N(0, I) cut at 2."
)
_LATENT_SHAPE = flags.DEFINE_list("latent_shape", None, "Shape of one latent, where the model leaves it open: 4,4,8.")
_LATENT = flags.DEFINE_string("latent", None, "Name of the input that takes z, where that is not clear.")
_SIGNATURE = flags.DEFINE_string("signature", None, "Which signature of a SavedModel; serving_default by default.")
_CLASSES = flags.DEFINE_integer("num_classes", None, "Classes to draw labels from, where a model takes them.", 1)
_LABEL = flags.DEFINE_integer("label", None, "One class for all latents, instead of drawing.", lower_bound=0)
_CHUNK = flags.DEFINE_integer("chunk", None, "(Sample, pass) pairs held at once; by free memory by default.", 1)
_FLOAT64 = flags.DEFINE_boolean("float64", False, "Compute all in float64: the referee, for Keras models.")
_TRUST = flags.DEFINE_boolean("trust", False, "Load a .keras file even if it holds Python code, which can do anything.")
_JIT = flags.DEFINE_enum("jit_compile", "auto", ["auto", "on", "off"], "XLA; auto: on for GPU and TPU, off for CPU.")


_MANY = 2048  # latent numbers from which a full spectrum takes minutes


def main(argv):
    """Analyses the generator that the flags name; returns the exit status, 2 for whatever cannot be analysed."""
    if len(argv) > 1:
        return _fail(f"expected only flags, found {argv[1]!r}")
    if not _MODEL.value:
        return _fail("--model is needed: a SavedModel directory, a .keras file, or a run directory")
    try:
        _analyze()
    except (ValueError, OSError) as error:
        return _fail(error)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        return 130
    return 0


def _analyze():
    from tqdm import tqdm

    from tfjc import analysis, loading, strategies

    strategies.prepare(_JIT.value, deterministic=False)
    loaded = loading.load(
        _MODEL.value,
        step=_STEP.value,
        signature=_SIGNATURE.value,
        latent=_LATENT.value,
        latent_shape=_shape(_LATENT_SHAPE.value),
        trust=_TRUST.value,
    )
    generate, z = loaded.generate, analysis.prior(_PRIOR.value, [_SAMPLES.value, loaded.n_z], _SEED.value)
    labels = loading.draw_labels(loaded, _SAMPLES.value, classes=_CLASSES.value, label=_LABEL.value, seed=_SEED.value)
    if _FLOAT64.value:
        generate, z = loading.in_float64(loaded), z.numpy().astype("float64")
    output = pathlib.Path(_OUTPUT.value or pathlib.Path("analysis") / pathlib.Path(_MODEL.value).resolve().stem)
    about = {"model": loaded.source, "prior": _PRIOR.value, "seed": _SEED.value, "float64": _FLOAT64.value}
    print(f"{loaded.source}: latents of shape {list(loaded.latent_shape)}, {_PRIOR.value} prior", flush=True)
    if labels is not None:
        print(f"labels {loaded.labels.name}: {'one class' if _LABEL.value is not None else 'classes drawn uniformly'}")
    if loaded.n_z > _MANY:
        print(f"note: n_z = {loaded.n_z} takes as many passes a latent, and a decomposition that grows as n_z³; fewer")
        print("--samples help, and tfjc.jacobian.operator(...).extremes() in Python finds the ends of a spectrum alone")
    with tqdm(total=_SAMPLES.value, unit=" latents", leave=False) as bar:
        result = analysis.analyze(
            generate,
            z,
            output,
            labels=labels,
            chunk=_CHUNK.value,
            seed=_SEED.value,
            about=about,
            progress=bar.update,
        )
    print(analysis.table(result))
    for remark in analysis.remarks(result):
        print(f"note: {remark}")
    print(f"written: {', '.join(sorted(str(path) for path in output.iterdir()))}")


def _shape(sizes):
    if sizes is None:
        return None
    if not all(size.strip().isdigit() and int(size) > 0 for size in sizes):
        raise ValueError(f"--latent_shape must be whole numbers such as 4,4,8, found {','.join(sizes)!r}")
    return tuple(int(size) for size in sizes)


def _fail(message):
    return commands.fail("analyze", message)


if __name__ == "__main__":
    commands.start("analyze", main)
