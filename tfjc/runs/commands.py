"""Shared code of the command lines: start, exit status, and the flags that name a generator."""

import json
import math
import os
import sys
import types
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from absl import app, flags

from tfjc.runs import terminals
from tfjc.support import checks, interrupts

if TYPE_CHECKING:
    import tensorflow as tf

    from tfjc.saving.loading import Loaded

XLA = ["auto", "on", "off"]  # values of --jit_compile
PRECISIONS = ["float32", "mixed_bfloat16", "mixed_float16"]  # values of --precision


def status(command: str, work: Callable[[], int | None], argv: Sequence[str], interrupted: str = "interrupted") -> int:
    """Does the `work` of `python -m tfjc.COMMAND` and returns the exit status of the process.

    The status is the result of `work` (None counts as 0). It is 2 where `work` raises ValueError, OSError or
    ImportError, for a mistake of the user, 130 after Ctrl-C and 143 after SIGTERM. Messages go to stderr.

    Args:
      command: name of the command, for messages.
      work: reads the flags and does the work.
      argv: the words of the command line that are no flags. Only the first, the program's name, is allowed.
      interrupted: message after Ctrl-C.
    """
    try:
        if len(argv) > 1:
            named = [f"; try --{name}={argv[1]}" for name in ("model", "gin_file", "workdir") if name in flags.FLAGS]
            raise ValueError(f"expected only flags, found {argv[1]!r}{named[0] if named else ''}")
        interrupts.check()
        return work() or 0
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt) or interrupts.received():  # TensorFlow may raise another error instead
            print(f"\n{interrupted}", file=sys.stderr)
            return interrupts.status()
        if isinstance(error, (ValueError, OSError, ImportError)):
            return _fail(command, error)
        raise


def start(command: str, main: Callable[[Sequence[str]], int]) -> None:
    """Parses the flags, runs `main(argv)` and ends the process with its result, or with 2 for wrong flags.

    `-h` is `--help`. A value that begins with "~", which shells leave alone after "=", is expanded.
    """

    def parse(argv):
        try:
            return flags.FLAGS([argv[0], *map(_expanded, argv[1:])])
        except flags.UnrecognizedFlagError as error:
            sys.exit(_fail(command, f"{error}{_hint(error.flagname)}"))
        except flags.Error as error:
            sys.exit(_fail(command, error))
        except SystemExit:  # of --help, where absl has 1
            sys.exit(0)

    interrupts.install()
    terminals.steady()
    try:
        app.run(main, flags_parser=parse)
    except KeyboardInterrupt:
        sys.exit(interrupts.status())
    finally:
        interrupts.ignore()


def _expanded(word):
    """A word of the command line with "~" and "~user" expanded at the beginning of a flag's value."""
    name, equals, value = word.partition("=")
    if word == "-h":
        return "--help"
    return f"{name}={os.path.expanduser(value)}" if equals and name.startswith("-") and value.startswith("~") else word


def _hint(name):
    """How a parameter is set that is no flag, for the commands that take gin bindings."""
    if "gin_bindings" not in flags.FLAGS:
        return ""
    return (
        f". Parameters of an experiment are set by bindings: "
        f'--gin_bindings="CONFIGURABLE.{name} = VALUE", such as --gin_bindings="train_and_evaluate.steps = 100"'
    )


def _fail(command, error):
    print(f"tfjc.{command}: {error}", file=sys.stderr)
    return 2


def inception_binding(inception: str | None) -> list[str]:
    """The gin bindings for the value of `--inception`."""
    return [f"InceptionEvaluator.inception = {inception!r}"] if inception else []


def define_jit_compile() -> flags.FlagHolder[str]:
    """Defines `--jit_compile`; returns its absl holder."""
    return flags.DEFINE_enum("jit_compile", "auto", XLA, "XLA; auto: on for GPU and TPU, off for CPU.")


def define_data_flags() -> types.SimpleNamespace:
    """Defines the flags of a configuration's bindings, data and Inception; returns their absl holders by name."""
    return types.SimpleNamespace(
        gin_bindings=flags.DEFINE_multi_string(
            "gin_bindings", [], "A gin binding that overrides the files; repeatable."
        ),
        data_dir=flags.DEFINE_string("data_dir", None, "The data directory of tensorflow-datasets."),
        manual_dir=flags.DEFINE_string("manual_dir", None, "A directory with the dataset's official archives."),
        inception=flags.DEFINE_string("inception", None, "Directory or TF-Hub handle of TF-GAN's Inception module."),
    )


def define_generator_flags() -> types.SimpleNamespace:
    """Defines the flags that name a trained generator and its latents; returns their absl holders by name."""
    return types.SimpleNamespace(
        model=flags.DEFINE_string(
            "model", None, "A SavedModel or TF-Hub directory, a .keras or .h5 file, or a run directory."
        ),
        step=flags.DEFINE_integer("step", None, "The checkpoint of a run directory; the newest by default.", 0),
        seed=flags.DEFINE_integer("seed", 0, "Seed of the latents and labels.", lower_bound=0),
        prior=flags.DEFINE_enum(
            "prior",
            "normal",
            ["normal", "uniform", "truncated_normal"],
            "N(0, I), uniform on [-1, 1], or N(0, I) cut at 2.",
        ),
        latent_shape=flags.DEFINE_list(
            "latent_shape", None, "Shape of one latent, if the model leaves it open: 4,4,8."
        ),
        latent=flags.DEFINE_string("latent", None, "Name of the input that takes z, if the model leaves it open."),
        labels=flags.DEFINE_string("labels", None, "Name of the input that takes labels, if the model leaves it open."),
        labels_at=flags.DEFINE_string(
            "labels_at", None, "START:STOP, the part of the one input that is a one-hot label; the rest is z."
        ),
        signature=flags.DEFINE_string("signature", None, "Signature of a SavedModel; serving_default by default."),
        tags=flags.DEFINE_list(
            "tags", None, "Tags of the graph in a SavedModel of several; none, or serve, by default."
        ),
        constants=flags.DEFINE_multi_string(
            "set", [], "NAME=VALUE, the value of an input beside z and labels, as in --set=truncation=0.5; repeatable."
        ),
        num_classes=flags.DEFINE_integer(
            "num_classes", None, "Number of classes to draw labels from, if the model takes labels.", 1
        ),
        label=flags.DEFINE_integer("label", None, "One class for all latents, instead of drawn ones.", lower_bound=0),
        trust=flags.DEFINE_boolean(
            "trust",
            False,
            "Load a model file or a run's configuration even if it holds or imports code. Such code can do anything.",
        ),
        jit_compile=define_jit_compile(),
    )


def check_generator_flags(named: types.SimpleNamespace) -> None:
    """Raises ValueError for values that fit no generator. TensorFlow is not imported for that.

    Args:
      named: from `define_generator_flags`.
    """
    checks.seed("--seed", named.seed.value)
    _constants(named.constants.value)
    _part(named.labels_at.value)
    _shape(named.latent_shape.value)


def load_with_latents(
    named: types.SimpleNamespace, path: str, samples: int
) -> "tuple[Loaded, tf.Tensor, tf.Tensor | None]":
    """Loads the generator at `path` and draws its latents.

    Args:
      named: from `define_generator_flags`.
      path: a model file, a SavedModel directory or a run directory.
      samples: number of latents.

    Returns:
      (generator, latents [samples, n_z], labels or None). The generator's `num_classes` is the number of classes that
      labels are drawn from.

    Raises:
      ValueError: the generator cannot be loaded, or the flags do not fit it.
    """
    from tfjc.saving import loading  # imports TensorFlow, after the command has set TF_CPP_MIN_LOG_LEVEL

    loaded = loading.load_any(
        path,
        step=named.step.value,
        signature=named.signature.value,
        tags=named.tags.value,
        constants=_constants(named.constants.value),
        latent=named.latent.value,
        labels=named.labels.value,
        latent_shape=_shape(named.latent_shape.value),
        trust=named.trust.value,
    )
    if part := _part(named.labels_at.value):
        loaded = loading.with_labels_at(loaded, *part)
    seed, classes, label = named.seed.value, named.num_classes.value, named.label.value
    checks.fits(f"--samples={samples}", 4 * samples * loaded.n_z)
    print(f"{loaded.source}: latents of shape {list(loaded.latent_shape)}, {named.prior.value} prior", flush=True)
    labels = loading.draw_labels(loaded, samples, classes=classes, label=label, seed=seed)
    if loaded.labels is not None:
        print(f"labels {loaded.labels.name}: {'one class' if label is not None else 'classes drawn uniformly'}")
        loaded = loaded._replace(num_classes=loading.num_classes(loaded, classes))
    return loaded, loading.draw_latents(named.prior.value, [samples, loaded.n_z], seed), labels


def about_latents(named: types.SimpleNamespace, loaded: "Loaded") -> dict[str, Any]:
    """How `load_with_latents` drew latents and labels, for records."""
    about = {"model": loaded.source, "prior": named.prior.value, "seed": named.seed.value}
    if loaded.labels is not None:
        about |= {"num_classes": loaded.num_classes, "label": named.label.value}
    if named.constants.value:
        about["set"] = _constants(named.constants.value)
    return about if loaded.labels_at is None else about | {"labels_at": list(loaded.labels_at)}


def output_range(values: Sequence[str] | None) -> tuple[float, float] | None:
    """(low, high) from the parts of --output_range=LOW,HIGH; None for None."""
    if values is None:
        return None
    try:
        low, high = map(float, values)
    except ValueError:
        low, high = math.nan, math.nan
    if not -math.inf < low < high < math.inf:
        found = ",".join(values)
        raise ValueError(f"--output_range must be two numbers, the lower first, such as 0,1 or -1,1, found {found!r}")
    return low, high


def _constants(texts):
    """{name: number or list of numbers} from NAME=VALUE; numbers of a list are parted by commas."""
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            numbers = [json.loads(part) for part in value.split(",")]
        except ValueError:
            numbers = [None]
        if not name or not all(isinstance(number, (bool, int, float)) for number in numbers):
            raise ValueError(
                f"--set must be NAME=VALUE, a number, true or false, or numbers with commas between, found {text!r}"
            )
        if name in found:
            raise ValueError(f"--set gives {name} two values, {found[name]} and {value}: give one of them")
        found[name] = numbers if "," in value else numbers[0]
    return found


def _part(text):
    """(start, stop) for START:STOP; None for None."""
    if text is None:
        return None
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
