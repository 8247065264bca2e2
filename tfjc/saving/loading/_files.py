"""Loads generators from SavedModels, `.keras` files and run directories."""

import os
import pathlib
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import h5py
import keras
import tensorflow as tf
from numpy.typing import ArrayLike
from tensorflow.core.protobuf import saved_model_pb2

import tfjc.layers  # noqa: F401  registers tfjc's layers with Keras
from tfjc import geometry
from tfjc.geometry import inputs as model_inputs
from tfjc.saving import checkpoints
from tfjc.saving.loading import _foreign_code
from tfjc.saving.loading._loaded import Loaded, loaded
from tfjc.support import checks, keras_models
from tfjc.support.run_directory import RunDirectory


def load_any(
    path: str | os.PathLike,
    *,
    step: int | None = None,
    signature: str | None = None,
    tags: Sequence[str] | None = None,
    latent: str | None = None,
    labels: str | None = None,
    latent_shape: Sequence[int] | None = None,
    constants: Mapping[str, ArrayLike] | None = None,
    trust: bool = False,
) -> Loaded:
    """Loads the generator in anybody's model file or run directory: a callable of one latent, with or without labels.

    `tfjc.saving.load_generator` is for SavedModels that `export_generator` wrote; these can also draw samples.

    Args:
      path: a SavedModel directory (a module of TF-Hub is one), a `.keras` or `.h5` file of Keras 3 or 2, or a run
        directory.
      step: the checkpoint of a run directory; the newest by default.
      signature: the signature of a SavedModel; "serving_default", "default" or the only one, by default.
      tags: the tags of the graph in a SavedModel of several graphs; none, or "serve", by default.
      latent, labels: names of the inputs that take z and labels, where names, types and widths do not tell.
      latent_shape: the shape of one latent, where the model does not tell.
      constants: {name: value} of inputs beside latents and labels, such as the truncation of BigGAN. A value is a
        number, or has the input's shape without the batch axis.
      trust: whether to load a file or run whose networks hold code, or need code that Keras imports. Such code can do
        anything. Classes of other modules have to be known to Keras (`keras.saving.get_custom_objects()`).

    Raises:
      ValueError: the file does not exist, is damaged, or is not a generator of one latent. The message says what was
        found.
    """
    path, run = checks.existing("model", path), RunDirectory(path)
    named = {"latent": latent, "labels": labels, "latent_shape": latent_shape, "constants": constants}
    if step is not None and not run.run.exists():
        raise ValueError(f"step is for run directories, and {path} is not one: it has no run.json")
    for name, value in (("signature", signature), ("tags", tags)):
        if value is not None and not (path / "saved_model.pb").exists():
            raise ValueError(f"{name} is for SavedModels, and {path} is not one")
    if run.run.exists():
        run.check_files()
        found = _from_keras(*_restored(run, step, trust), **named)
        return found._replace(num_classes=run.read_run().get("num_classes"))
    if (path / "saved_model.pb").exists():
        return _from_saved_model(path, signature, tags, **named)
    if path.suffix in (".keras", ".h5", ".hdf5"):
        if path.suffix == ".keras" and not (zipfile.is_zipfile(path) or h5py.is_hdf5(path)):  # HDF5 until Keras 2.12
            raise ValueError(
                f"{path} cannot be loaded: .keras files are zip archives, and this is none; is it cut off?"
            )
        if not trust:
            _foreign_code.check(path)
        library = _foreign_code.reader(path)
        model = _reading(path, lambda: library.models.load_model(path, compile=False, safe_mode=not trust), path)
        return _from_keras(model, str(path), **named)
    raise ValueError(
        f"{path} is no model: expected a SavedModel directory (with saved_model.pb), a .keras file or a run directory "
        f"(with run.json), found a {'directory without these' if path.is_dir() else 'file of another kind'}"
    )


def _reading(path: pathlib.Path | str, read: Callable[[], Any], network: pathlib.Path | None = None) -> Any:
    """The result of `read`; any error becomes a ValueError that names the file, or what the `network`'s file lacks."""
    try:
        return read()
    except Exception as error:  # a damaged or foreign file can raise anything
        if network:
            _foreign_code.check(network, trust=True)
        if "Could not locate" in str(error):
            missing = re.search(r"Could not locate (\w+ '\w+')", str(error))
            raise ValueError(
                f"{path} needs {missing[1] if missing else 'code'}, which is not available here: export the model as a "
                "SavedModel (model.export('DIR')) where that code is, and give that directory"
            ) from error
        raise ValueError(f"{path} cannot be loaded: {geometry.summary(error)}") from error


def _restored(run, step, trust):
    """(the generator of a run at a step, its description)."""
    step = _checkpoint(run, step)
    if not run.generator.exists():
        export = f"; --model={run.saved_model} measures its export" if run.saved_model.exists() else ""
        raise ValueError(f"{run.path} has no {run.generator.name}: its networks cannot be rebuilt{export}")
    if not trust:
        _foreign_code.check(run.generator)
    read = lambda: keras.models.model_from_json(run.generator.read_text(encoding="utf-8"))  # noqa: E731
    model = _reading(run.generator, read, run.generator)
    with checkpoints.readable(run.checkpoints, step) as path:
        checkpoint = tf.train.Checkpoint(model=tf.train.Checkpoint(**{_evaluated(path): model}))
        _reading(path, lambda: checkpoint.restore(path).expect_partial().assert_existing_objects_matched())
    return model, f"{run.path} at step {step}"


def _checkpoint(run, step):
    """The step of a run's newest intact checkpoint, or `step` if its checkpoint is intact."""
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
    """The name of the generator that a checkpoint's run measures: the averaged one if there is one."""
    names = [name for name, _ in tf.train.list_variables(path)]
    averaged = any(name.startswith("model/averaged_generator/") for name in names)
    return "averaged_generator" if averaged else "generator"


def _from_keras(model, source, **named):
    if not keras_models.is_layer(model):
        raise ValueError(f"{source} holds a {type(model).__name__}, expected a Keras model")
    if not keras_models.is_functional(model):
        return _subclassed(model, source, **named)
    if len(model.outputs) != 1:
        found = ", ".join(f"{tensor.name} {list(tensor.shape)}" for tensor in model.outputs)
        raise ValueError(f"{source} must return one tensor of images, found {found}")

    def apply(values):
        return geometry.infer(model, model_inputs.arguments(model, values))

    found = loaded(apply, model_inputs.of(model), source, **named)
    return _whole(found, model, len(model.inputs) == 1 and len(found.latent_shape) == 1)


def _whole(found, model, plain):
    """A `Loaded` with the model itself where its only input is [B, n]."""
    generate = model if plain else _Module(found.generate, model)
    return found._replace(generate=generate, model=model if plain else None)


def _subclassed(model, source, latent_shape, constants, **names):
    shape = getattr(model, "input_shape", None) if model.built else None
    if isinstance(shape, tuple) and latent_shape is None and None not in shape[1:]:
        latent_shape = shape[1:]
    if latent_shape is None:
        raise ValueError(f"{source} does not tell the shape of its latent: name it (--latent_shape)")
    z = model_inputs.Input("z", tuple(latent_shape), tf.float32)
    found = loaded(lambda values: geometry.infer(model, values["z"]), [z], source, constants=constants, **names)
    return _whole(found, model, len(latent_shape) == 1)


def _from_saved_model(path, signature, tags, **named):
    tags = _tags(path, tags)
    archive = _reading(path, lambda: tf.saved_model.load(str(path), tags=tags))
    signatures = dict(archive.signatures)
    if not signatures:
        raise ValueError(
            f"{path} has no signatures: export its generator with one (Keras: model.export; "
            "TensorFlow: tf.saved_model.save(module, DIR, signatures=module.generate))"
        )
    default = _first_of(("serving_default", "default"), signatures)
    signature = checks.one_of("signature", default if signature is None else signature, signatures)
    function = signatures[signature]
    specs = sorted(function.structured_input_signature[1].items())
    inputs = [_input(name, spec, named["constants"] or {}) for name, spec in specs]
    outputs = sorted(function.structured_outputs)
    output = _first_of(("default",), outputs)  # the main output of TF-Hub's modules
    if output is None:
        found = ", ".join(outputs) or "nothing"
        raise ValueError(f"signature {signature!r} of {path} must return one tensor of images, found {found}")
    found = loaded(lambda values: function(**values)[output], inputs, str(path), **named)
    return found._replace(generate=_Module(found.generate, archive))


def _first_of(defaults, names):
    """The first of the defaults that is among the names, or the only name; else None."""
    return next((name for name in defaults if name in names), next(iter(names)) if len(names) == 1 else None)


def _tags(path, given):
    """The tags of the graph to load from a SavedModel, or None where it has one graph. Graphs for training have tags.

    Raises:
      ValueError: no graph has the given tags, or several have tags and none is given.
    """
    sets = _reading(path, lambda: _tag_sets(path))
    given = [given] if isinstance(given, str) else given
    if given is None and len(sets) <= 1:
        return None
    wanted = [set(given)] if given is not None else [set(), {"serve"}]
    chosen = next((tags for tags in wanted if tags in sets), None)
    if chosen is None:
        found = " or ".join(f"--tags={','.join(sorted(tags))}" for tags in sets)
        raise ValueError(f"{path} has {len(sets)} graph{'s' * (len(sets) > 1)}: name one by its tags, {found}")
    return sorted(chosen)


def _tag_sets(path):
    archive = saved_model_pb2.SavedModel()
    archive.ParseFromString((path / "saved_model.pb").read_bytes())
    return [set(graph.meta_info_def.tags) for graph in archive.meta_graphs]


def _input(name, spec, constants):
    """The `Input` of a signature. One without a batch axis is a scalar, or has a fixed shape and a constant."""
    shape = spec.shape
    if shape.rank is None:
        return model_inputs.Input(name, (None,), spec.dtype)
    batched = shape.rank > 0 and (shape[0] is None or name not in constants)
    return model_inputs.Input(name, tuple(shape[1:] if batched else shape), spec.dtype, batched)


class _Module(geometry.Frozen):
    """A function of a loaded model, together with the model, which nobody else changes: the engine keeps its traces."""

    def __init__(self, function, model) -> None:
        super().__init__()
        self._function, self._model = function, model

    def __call__(self, *arguments) -> Any:
        return self._function(*arguments)
