"""What the command lines share: how one starts and ends, and the flags that name a generator."""

import sys
import types
from collections.abc import Callable, Sequence

from absl import app, flags

from tfjc.support import checks


def status(command: str, work: Callable[[], int | None], argv: Sequence[str], interrupted: str = "interrupted") -> int:
    """Does the `work` of `python -m tfjc.COMMAND`; returns the exit status of the process.

    The status is what `work` returns (None counts as 0), 2 for a mistake in how the command was called, and 130 after
    Ctrl-C. `work` raises ValueError or OSError for a mistake; the message goes to stderr.

    Args:
      command: name of the command, for messages.
      work: reads the flags and does everything.
      argv: the words of the command line that are no flags: its name alone is right.
      interrupted: printed after Ctrl-C.
    """
    try:
        if len(argv) > 1:
            raise ValueError(f"expected only flags, found {argv[1]!r}")
        return work() or 0
    except (ValueError, OSError) as error:
        return _fail(command, error)
    except KeyboardInterrupt:
        print(f"\n{interrupted}", file=sys.stderr)
        return 130


def start(command: str, main: Callable[[Sequence[str]], int]) -> None:
    """Parses the flags, runs `main(argv)` and ends the process with what it returns, or with 2 for wrong flags."""

    def parse(argv):
        try:
            return flags.FLAGS(argv)
        except flags.Error as error:
            sys.exit(_fail(command, error))

    app.run(main, flags_parser=parse)


def _fail(command, error):
    print(f"tfjc.{command}: {error}", file=sys.stderr)
    return 2


def inception_binding(inception):
    """The gin bindings that `--inception` stands for."""
    return [f"InceptionEvaluator.inception = {inception!r}"] if inception else []


def define_generator_flags():
    """Defines the flags that name a trained generator and its latents; returns their holders by name."""
    return types.SimpleNamespace(
        model=flags.DEFINE_string("model", None, "A SavedModel directory, a .keras or .h5 file, or a run directory."),
        step=flags.DEFINE_integer("step", None, "The checkpoint of a run directory; the newest by default.", 0),
        seed=flags.DEFINE_integer("seed", 0, "Seed of the latents and labels.", lower_bound=0),
        prior=flags.DEFINE_enum(
            "prior",
            "normal",
            ["normal", "uniform", "truncated_normal"],
            "N(0, I), uniform on [-1, 1], or N(0, I) cut at 2.",
        ),
        latent_shape=flags.DEFINE_list(
            "latent_shape", None, "Shape of one latent, where the model leaves it open: 4,4,8."
        ),
        latent=flags.DEFINE_string("latent", None, "Name of the input that takes z, where that is not clear."),
        labels=flags.DEFINE_string("labels", None, "Name of the input that takes labels, where that is not clear."),
        labels_at=flags.DEFINE_string(
            "labels_at", None, "Which numbers of the one input are a one-hot label, START:STOP; z is the others."
        ),
        signature=flags.DEFINE_string(
            "signature", None, "Which signature of a SavedModel; serving_default by default."
        ),
        num_classes=flags.DEFINE_integer(
            "num_classes", None, "Classes to draw labels from, where a model takes them.", 1
        ),
        label=flags.DEFINE_integer("label", None, "One class for all latents, instead of drawing.", lower_bound=0),
        trust=flags.DEFINE_boolean(
            "trust",
            False,
            "Load a .keras file or a run's configuration even if it holds or imports code, which can do anything.",
        ),
        jit_compile=flags.DEFINE_enum(
            "jit_compile", "auto", ["auto", "on", "off"], "XLA; auto: on for GPU and TPU, off for CPU."
        ),
    )


def load_generator(named, path, samples):
    """(the `loading.Loaded` at `path`, `samples` latents, labels or None) as the flags `named` say.

    Its `num_classes` is the number that labels are drawn from.
    """
    from tfjc.saving import loading  # not before the command has set what TensorFlow reads when it is imported

    loaded = loading.load(
        path,
        step=named.step.value,
        signature=named.signature.value,
        latent=named.latent.value,
        labels=named.labels.value,
        latent_shape=_shape(named.latent_shape.value),
        trust=named.trust.value,
    )
    if named.labels_at.value is not None:
        loaded = loading.with_labels_at(loaded, *_part(named.labels_at.value))
    seed, classes, label = checks.seed("--seed", named.seed.value), named.num_classes.value, named.label.value
    checks.fits(f"--samples={samples}", 4 * samples * loaded.n_z)
    print(f"{loaded.source}: latents of shape {list(loaded.latent_shape)}, {named.prior.value} prior", flush=True)
    labels = loading.draw_labels(loaded, samples, classes=classes, label=label, seed=seed)
    if labels is not None:
        print(f"labels {loaded.labels.name}: {'one class' if label is not None else 'classes drawn uniformly'}")
        loaded = loaded._replace(num_classes=loading.num_classes(loaded, classes))
    return loaded, loading.draw_latents(named.prior.value, [samples, loaded.n_z], seed), labels


def about_latents(named, loaded):
    """What records say of the latents and labels that `load_generator` drew: a dict."""
    about = {"model": loaded.source, "prior": named.prior.value, "seed": named.seed.value}
    if loaded.labels is not None:
        about |= {"num_classes": loaded.num_classes, "label": named.label.value}
    return about if loaded.labels_at is None else about | {"labels_at": list(loaded.labels_at)}


def output_range(values):
    """(low, high) for the flag --output_range=LOW,HIGH."""
    try:
        low, high = map(float, values)
    except ValueError as error:
        found = ",".join(values)
        raise ValueError(f"--output_range must be two numbers such as 0,1 or -1,1, found {found!r}") from error
    return low, high


def _part(text):
    """(start, stop) for START:STOP."""
    start, _, stop = text.partition(":")
    if not (start.isdecimal() and stop.isdecimal()):
        raise ValueError(
            f"--labels_at must be START:STOP, two whole numbers of 0 or more such as 128:138, found {text!r}"
        )
    return int(start), int(stop)


def _shape(sizes):
    if sizes is None:
        return None
    if not all(size.strip().isdigit() and int(size) > 0 for size in sizes):
        raise ValueError(f"--latent_shape must be whole numbers such as 4,4,8, found {','.join(sizes)!r}")
    return tuple(int(size) for size in sizes)
