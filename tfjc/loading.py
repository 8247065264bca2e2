"""Anybody's generator from a file: SavedModels, .keras files and our run directories, as a callable of flat latents."""

import math
import pathlib
import re
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import keras
import tensorflow as tf

import tfjc.layers  # noqa: F401  which makes our layers known to Keras
from tfjc import checkpoints, checks, jacobian, noise, records


class Input(NamedTuple):
    """One input of a model: its name, its shape without the batch axis, its type."""

    name: str
    shape: tuple
    dtype: tf.DType


class Loaded(NamedTuple):
    """A generator as `load` found it.

    Attributes:
      generate: callable z [B, n_z] → x [B, ...]; with labels, (z, labels) → x.
      latent_shape: the shape of one latent as the model itself takes it; n_z is its size.
      labels: the `Input` that takes labels beside z, or None.
      model: the Keras model if it is one with z as its only input, which can be cloned in float64; else None.
      source: where it came from, as text.
      num_classes: how many classes the labels are from, where that is known.
    """

    generate: Callable
    latent_shape: tuple
    labels: Input | None
    model: keras.Model | None
    source: str
    num_classes: int | None = None

    @property
    def n_z(self):
        """The size of a latent."""
        return math.prod(self.latent_shape)


def load(path, *, step=None, signature=None, latent=None, latent_shape=None, trust=False):
    """Loads a generator of one latent, with or without labels, as `Loaded`.

    Args:
      path: a SavedModel directory, a `.keras` (or `.h5`) file, or one of our run directories.
      step: of a run directory, which checkpoint; the newest by default.
      signature: of a SavedModel, which one; "serving_default", or the only one, by default.
      latent: name of the input that takes z, where that is not clear.
      latent_shape: shape of one latent, where the model does not say.
      trust: whether to load a `.keras` file that holds Python code (Lambda layers), which then can do anything.

    Raises:
      ValueError: there is no such file, it is damaged, or it is not a generator of one latent; with what was found.
    """
    path = pathlib.Path(path)
    if not path.exists():
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        near = checks.nearest(path.name, siblings)
        raise ValueError(f"model {path} does not exist" + (f"; nearest: {', '.join(near)}" if near else ""))
    run = records.RunDirectory(path)
    if step is not None and not run.run.exists():
        raise ValueError(f"step is for run directories, and {path} is none: it has no run.json")
    if signature is not None and not (path / "saved_model.pb").exists():
        raise ValueError(f"signature is for SavedModels, and {path} is none")
    if run.run.exists() and (step is not None or run.generator.exists() or not run.saved_model.exists()):
        loaded = _from_keras(*_restored(run, step), latent, latent_shape)
        return loaded._replace(num_classes=run.read_run().get("num_classes"))
    if run.run.exists():  # of version 0.1.0 or older
        path = run.saved_model
    if (path / "saved_model.pb").exists():
        return _from_saved_model(path, signature, latent, latent_shape)
    if path.suffix in (".keras", ".h5"):
        if path.suffix == ".keras" and not zipfile.is_zipfile(path):
            raise ValueError(f"{path} cannot be loaded: it is no zip archive, as .keras files are; is it cut off?")
        model = _reading(path, lambda: keras.models.load_model(path, compile=False, safe_mode=not trust))
        return _from_keras(model, str(path), latent, latent_shape)
    raise ValueError(
        f"{path} is no model: expected a SavedModel directory (with saved_model.pb), a .keras file or a run directory "
        f"(with run.json), found a {'directory without these' if path.is_dir() else 'file of another kind'}"
    )


def _reading(path, read):
    """What `read` returns; ValueError naming the file for whatever it raises."""
    try:
        return read()
    except Exception as error:  # a damaged or foreign file can raise anything
        text = str(error)
        if "Lambda" in text and "safe" in text:
            raise ValueError(
                f"{path} holds Python code in a Lambda layer, which loading would run: it could do anything. "
                "If you trust whoever made it, say so (--trust)"
            ) from error
        if "Could not locate" in text:
            missing = re.search(r"Could not locate (\w+ '\w+')", text)
            raise ValueError(
                f"{path} needs {missing[1] if missing else 'code'} of its maker's, which is not here: where that is, "
                "export the model as a SavedModel (model.export('DIR')) and give that directory"
            ) from error
        raise ValueError(f"{path} cannot be loaded: {jacobian.summary(error)}") from error


def _restored(run, step):
    """(the generator of a run at a step, its description)."""
    step = _checkpoint(run, step)
    if not run.generator.exists():
        raise ValueError(f"{run.path} has no {run.generator.name}: its networks cannot be made again")
    model = _reading(run.generator, lambda: keras.models.model_from_json(run.generator.read_text(encoding="utf-8")))
    path = checkpoints.path(run.checkpoints, step)
    checkpoint = tf.train.Checkpoint(model=tf.train.Checkpoint(**{_evaluated(path): model}))
    _reading(path, lambda: checkpoint.restore(path).expect_partial().assert_existing_objects_matched())
    return model, f"{run.path} at step {step}"


def _checkpoint(run, step):
    """The step of the newest whole checkpoint of a run, or `step`, whose checkpoint must be there and whole."""
    steps = checkpoints.steps(run.checkpoints)
    if not steps:
        raise ValueError(f"{run.path} holds no checkpoint yet")
    if step is None:
        return checkpoints.find(run.checkpoints)[0]
    if step not in steps:
        raise ValueError(f"{run.path} holds no checkpoint of step {step}; it has {', '.join(map(str, steps))}")
    wrong = checkpoints.damage(run.checkpoints, step)
    if wrong:
        raise ValueError(f"the checkpoint of step {step} in {run.path} is damaged: {wrong}")
    return step


def _evaluated(path):
    """Which of a checkpoint's generators is the one to measure: the averaged one where there is one."""
    names = [name for name, _ in tf.train.list_variables(path)]
    averaged = any(name.startswith("model/averaged_generator/") for name in names)
    return "averaged_generator" if averaged else "generator"


def _from_keras(model, source, latent, latent_shape):
    if not isinstance(model, keras.Model):
        raise ValueError(f"{source} holds a {type(model).__name__}, expected a Keras model")
    tensors = getattr(model, "inputs", None)
    if not tensors:
        return _subclassed(model, source, latent_shape)
    inputs = [Input(t.name, tuple(t.shape[1:]), tf.as_dtype(t.dtype)) for t in tensors]
    names = [entry.name for entry in inputs]

    def apply(values):
        return model([values[name] for name in names] if len(names) > 1 else values[names[0]])

    loaded = _loaded(apply, inputs, source, latent, latent_shape)
    plain = len(inputs) == 1 and len(loaded.latent_shape) == 1
    return loaded._replace(generate=model, model=model) if plain else loaded


def _subclassed(model, source, latent_shape):
    shape = getattr(model, "input_shape", None) if model.built else None
    if isinstance(shape, tuple) and latent_shape is None and None not in shape[1:]:
        latent_shape = shape[1:]
    if latent_shape is None:
        raise ValueError(f"{source} does not tell the shape of its latent: name it (--latent_shape)")
    z = Input("z", tuple(latent_shape), tf.float32)
    loaded = _loaded(lambda values: model(values["z"]), [z], source, None, None)
    return loaded._replace(generate=model, model=model) if len(latent_shape) == 1 else loaded


def _from_saved_model(path, signature, latent, latent_shape):
    archive = _reading(path, lambda: tf.saved_model.load(str(path)))
    signatures = dict(archive.signatures)
    if not signatures:
        raise ValueError(f"{path} has no signatures: export its generator with one (Keras: model.export)")
    default = "serving_default" if len(signatures) > 1 else next(iter(signatures))
    signature = checks.one_of("signature", default if signature is None else signature, signatures)
    function = signatures[signature]
    specs = function.structured_input_signature[1]
    inputs = [Input(name, _shape(spec), spec.dtype) for name, spec in sorted(specs.items())]
    outputs = sorted(function.structured_outputs)
    if len(outputs) != 1:
        found = ", ".join(outputs) or "nothing"
        raise ValueError(f"signature {signature!r} of {path} must return one tensor of images, found {found}")
    loaded = _loaded(lambda values: function(**values)[outputs[0]], inputs, str(path), latent, latent_shape)
    return loaded._replace(generate=_Module(loaded.generate, archive))


def _shape(spec):
    return (None,) if spec.shape.rank is None else tuple(spec.shape[1:])


class _Module(jacobian.Frozen):
    """A function of a SavedModel, with the archive that it belongs to: the engine keeps its traces by module."""

    def __init__(self, function, archive):
        super().__init__()
        self._function, self._archive = function, archive

    def __call__(self, *arguments):
        return self._function(*arguments)


def _loaded(apply, inputs, source, latent, latent_shape):
    """The `Loaded` for a function of {input name: tensor}."""
    z = _find_latent(inputs, source, latent)
    rest = [entry for entry in inputs if entry is not z]
    if len(rest) > 1 or any(entry.dtype == tf.bool for entry in rest):
        raise ValueError(f"{source} must take one latent and at most labels beside it, found {_described(inputs)}")
    shape = tuple(latent_shape or z.shape)
    if None in shape or math.prod(shape) < 1:
        raise ValueError(f"{source} leaves the shape of its latent open ({_described([z])}): name it (--latent_shape)")
    if len(shape) != len(z.shape) or any(a not in (None, b) for a, b in zip(z.shape, shape, strict=True)):
        raise ValueError(f"{source} takes latents of shape {list(z.shape)}, found latent_shape {list(shape)}")
    labels = rest[0] if rest else None

    def generate(latents, classes=None):
        values = {z.name: tf.cast(tf.reshape(latents, [-1, *shape]), z.dtype)}
        if labels is not None:
            values[labels.name] = classes
        return apply(values)

    return Loaded(generate, shape, labels, None, source)


def _find_latent(inputs, source, name):
    if name is not None:
        checks.one_of("latent", name, [entry.name for entry in inputs])
        return next(entry for entry in inputs if entry.name == name)
    floating = [entry for entry in inputs if entry.dtype.is_floating and entry.shape]
    if len(floating) != 1:
        found = "none" if not floating else "several: name the one that is z (--latent)"
        have = _described(inputs)
        raise ValueError(f"{source} must take one latent of floating type, found {found}; its inputs: {have}")
    return floating[0]


def _described(inputs):
    return ", ".join(f"{i.name} {i.dtype.name} [B, {', '.join(map(str, i.shape))}]".replace(", ]", "]") for i in inputs)


def draw_latents(prior, shape, seed):
    """Latents [n, n_z] of a prior: "normal" N(0, I), "uniform" on [−1, 1], "truncated_normal" N(0, I) cut off at ±2."""
    sample = {
        "normal": tf.random.stateless_normal,
        "uniform": lambda shape, seed: tf.random.stateless_uniform(shape, seed, minval=-1.0, maxval=1.0),
        "truncated_normal": tf.random.stateless_truncated_normal,
    }
    return sample[checks.one_of("prior", prior, sample)](shape, noise.seed(seed, noise.Stream.LOADED_LATENTS))


def draw_labels(loaded, count, *, classes=None, label=None, seed=0):
    """Labels [count, ...] for a generator that takes them, or None for one that does not.

    All of class `label`, or else drawn uniformly from `classes` (for one-hot labels, their number is known).

    Raises:
      ValueError: labels are asked of a generator that takes none, their number is not known, or one is out of range.
    """
    if loaded.labels is None:
        if classes is not None or label is not None:
            raise ValueError(f"{loaded.source} takes no labels, but they were asked for")
        return None
    shape, dtype = loaded.labels.shape, loaded.labels.dtype
    if not (dtype.is_integer or dtype.is_floating):
        raise ValueError(
            f"{loaded.source} takes {_described([loaded.labels])} beside z: labels of that type are unknown"
        )
    if loaded.num_classes is not None and classes is not None and classes > loaded.num_classes:
        raise ValueError(f"{loaded.source} has {loaded.num_classes} classes, found num_classes = {classes}")
    one_hot = len(shape) == 1 and shape[0] not in (None, 1)
    classes = shape[0] if one_hot else loaded.num_classes if classes is None else classes
    if classes is None and label is None:
        raise ValueError(f"{loaded.source} takes labels ({_described([loaded.labels])}): say --num_classes or --label")
    if classes is not None and label is not None and label >= classes:
        raise ValueError(f"label must be less than {classes}, found {label}")
    drawn = tf.random.stateless_uniform(
        [count], noise.seed(seed, noise.Stream.LOADED_LABELS), maxval=classes or 1, dtype=tf.int32
    )
    drawn = drawn if label is None else tf.fill([count], label)
    return tf.cast(tf.one_hot(drawn, classes) if one_hot else tf.reshape(drawn, [count, *[1] * len(shape)]), dtype)


def in_float64(loaded):
    """The generator of a `Loaded` in float64; raises ValueError where it is no Keras model of z alone."""
    if loaded.model is None:
        raise ValueError(f"{loaded.source} cannot be computed in float64: only Keras models whose only input is z can")
    return jacobian.in_float64(loaded.model)
