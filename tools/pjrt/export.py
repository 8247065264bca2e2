"""Writes a bundle: tfjc's own computations as XLA modules, which `run.py` loads where there is no TensorFlow.

tools/run python tools/pjrt/export.py FOLDER --data_dir=DIR
tools/run python tools/pjrt/export.py FOLDER --data_dir=DIR --small

A bundle has `manifest.json`, `arrays.npz`, a study's `images.npz`, and one file a module: the HloModuleProto before any
optimisation. Seed and step are variables of a training step, so one module serves all seeds. Weights and latents are
kept as the seeds of their draws.
"""

import argparse
import functools
import json
import os
import pathlib
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1]), str(HERE.parent / "benchmarks")]

import _bundle  # noqa: E402
import _tensorflow as networks  # noqa: E402
import _trace  # noqa: E402
import gin  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from _training import BATCH  # noqa: E402
from _training import case as training_case  # noqa: E402
from _training_tfjc import Training  # noqa: E402

from tfjc import architectures, evaluators, geometry, penalties  # noqa: E402
from tfjc.runs import configuration, environment  # noqa: E402
from tfjc.study import _plan  # noqa: E402
from tfjc.support import noise, precision  # noqa: E402

FULL = {
    "metric": ["dcgan28-64", "wgangp32-128", *(f"dcgan32-{n_z}" for n_z in (128, 16, 32, 64, 256, 512))],
    "latents": 64,
    "step": {"dcgan28-64": 1, "wgangp32-128-1": 50, "dcgan32-64": 100},
    "bindings": [],
    "seeds": 20,
    "images": 60_000,
    "updates": 100,
}
SMALL = {
    "metric": ["dcgan28-16-4", "wgangp32-16-4", "dcgan32-8-4"],
    "latents": 4,
    "step": {"dcgan28-4": 1},  # others take CPUs minutes to compile
    "bindings": [
        "dcgan.channels = 4",
        "train_and_evaluate.steps = 40",
        "train_and_evaluate.eval_every = 10",
        "train_and_evaluate.eval_latents = 8",
        "train_and_evaluate.scores = [(@ClassifierEvaluator, 20)]",
        "train_and_evaluate.score_samples = 400",
    ],
    "seeds": 2,
    "images": 1000,
    "updates": 5,
}


PARTS = "metric", "step", "study"


class Writer:
    """Collects what a bundle holds, and writes it."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.arrays, self.images, self.manifest = {}, None, {"modules": {}, "states": {}}

    def module(self, name, function, inputs, names, **more):
        """Adds a module and the constants that it captures."""
        hlo, entry, constants = _trace.module(function, inputs, names)
        for parameter in entry["parameters"]:
            if parameter["kind"] == "constant":
                parameter["array"] = f"{name}.{parameter['name']}"
                self.arrays[parameter["array"]] = constants[parameter["name"]]
        self.manifest["modules"][name] = {"file": _trace.write(self.folder, name, hlo), **entry, **more}
        print(f"{name}: {len(entry['parameters'])} parameters, {len(entry['results'])} results", flush=True)

    def state(self, name, names, models=()):
        """Adds a state: the present values of the variables in `names`, weights as draws where `models` tell how."""
        drawn = {key: recipe for model in models for key, recipe in _draws(model).items()}
        recipes = {}
        for handle, (variable, _) in names.items():
            value = names[handle][1].numpy()
            recipes[variable] = self.recipe(f"{name}.{variable}", value, drawn.get(handle))
        self.manifest["states"][name] = recipes

    def recipe(self, name, value, draw=None):
        """How to make `value` again: by `draw` if that is right, as a constant, else from `arrays` under `name`."""
        value = np.asarray(value)
        about = {"shape": list(value.shape), "dtype": value.dtype.name}
        if draw is not None:
            made = _bundle.make({**about, **draw})
            if np.max(np.abs(made - value)) > 1e-5 * np.max(np.abs(value)):
                raise ValueError(f"{name} is not what its seed gives")
            return {**about, **draw}
        if value.size and np.all(value == value.flat[0]) and value.dtype != bool:
            return {**about, "fill": value.flat[0].item()}
        self.arrays[name] = value
        return {"array": name}

    def write(self, **more):
        """Writes the manifest and the arrays."""
        np.savez_compressed(self.folder / "arrays.npz", **self.arrays)
        if self.images is not None:  # most of the bundle, and the same for every study of a dataset
            np.savez_compressed(self.folder / "images.npz", **{"study/images": self.images})
        text = json.dumps({**self.manifest, **more, "session": environment.describe()}, indent=1)
        (self.folder / "manifest.json").write_text(text, encoding="utf-8")


def _draws(model):
    """{id of a kernel's handle: how TensorFlow drew it} of a network's layers."""
    found = {}
    for layer in model._flatten_layers():
        initializer, kernel = getattr(layer, "kernel_initializer", None), getattr(layer, "kernel", None)
        if isinstance(initializer, keras.initializers.RandomNormal):
            draw = {"draw": "normal", "scale": initializer.stddev, "shift": initializer.mean}
        elif isinstance(initializer, keras.initializers.VarianceScaling) and initializer.distribution == "uniform":
            fan_in, fan_out = keras.src.initializers.random_initializers.compute_fans(kernel.shape)
            limit = float(np.sqrt(3.0 * initializer.scale / max(1.0, (fan_in + fan_out) / 2)))
            draw = {"draw": "uniform", "scale": 2 * limit, "shift": -limit}
        else:
            continue
        if isinstance(initializer.seed, int):
            found[id(kernel.value.handle)] = {**draw, **_trace.key_of([initializer.seed, 0])}
    return found


# ---- Metric tensors


def export_metric(writer, settings):
    """Metric tensors of untrained generators whose normalisation has seen latents, with their description for peers."""
    for name in settings["metric"]:
        model = _generator(name)
        networks._calibrate(model)
        n_z = model.input_shape[1]
        names = _trace.names_of(generator=model.variables)
        z, draw = _trace.drawn_with(lambda n_z=n_z: tf.random.stateless_normal([settings["latents"], n_z], [0, 0]))
        reference = geometry.metric_tensor(model, z[:2]).numpy()  # which also chooses the method: a trace cannot
        operations = networks.describe(model)
        values = {id(variable.value.handle): names[id(variable.value.handle)][0] for variable in model.variables}
        for operation, layer in zip(operations, model.layers, strict=True):
            operation["weights"] = [values[id(variable.value.handle)] for variable in layer.weights]
        writer.state(f"metric/{name}", names, [model])
        writer.module(
            f"metric/{name}",
            functools.partial(_metric_tensor, model),
            {"z": tf.TensorSpec(z.shape)},
            names,
            state=f"metric/{name}",
            z=writer.recipe("z", z, {"draw": "normal", "scale": 1.0, "shift": 0.0, **draw}),
            reference=writer.recipe(f"metric/{name}.reference", reference),
            operations=operations,
            macs=networks.macs(model),
            image_shape=list(model.output_shape[1:]),
        )
    writer.manifest["metric"] = settings["metric"]


def _metric_tensor(model, z):
    return {"metric_tensor": geometry.metric_tensor(model, z)}


def _generator(name):
    """The generator called dcgan32-128 or wgangp32-128 (size, n_z), with channels as a third number."""
    architecture, n_z, *channels = name.split("-")
    if not architecture.startswith("wgangp"):
        return networks.build(name)
    size = int(architecture.removeprefix("wgangp"))
    made = architectures.wgangp_resnet(
        (size, size, 3), num_classes=None, n_z=int(n_z), channels=int(*channels or [128])
    )
    return made.generator


# ---- Training steps


def export_steps(writer, settings):
    """One update and many of GANs on random images, and what an update draws, for the peers."""
    writer.manifest["step"] = []
    for name, updates in settings["step"].items():
        for clamped, kind in ((False, "float32"), (True, "float32"), (True, "bfloat16")):
            training = Training(training_case(name, clamped), kind)
            arm = "clamped" if clamped else "unclamped"
            key = f"step/{name}/{arm}" + ("" if kind == "float32" else "/bfloat16")
            gan, names = _with_seed(training.gan)
            writer.state(key, names, [gan.generator, gan.critic])
            count = BATCH * gan.d_steps
            data = training.data if isinstance(training.data, tuple) else (training.data,)
            batch = {n: tf.TensorSpec([count, *a.shape[1:]], a.dtype) for n, a in zip(("images", "labels"), data)}  # noqa: B905
            more = {"state": key, "case": name, "clamped": clamped, "updates": 1, "batch": count}
            if kind == "float32":
                writer.module(f"{key}/one", functools.partial(_one, gan), batch, names, **more, **_of_peers(gan, names))
                writer.module(f"{key}/noise", functools.partial(_noise, training), {}, names, state=key)
            if updates > 1:
                _many(writer, f"{key}/many", gan, names, data, updates, more)
            if name == next(iter(settings["step"])) and kind != "float32":
                _many(writer, f"{key}/many", gan, names, data, settings["updates"], more)
            writer.manifest["step"].append(key)


def _many(writer, key, gan, names, data, updates, more):
    inputs = {n: tf.TensorSpec(a.shape, a.dtype) for n, a in zip(("images", "labels"), data)}  # noqa: B905
    inputs["index"] = tf.TensorSpec([updates, more["batch"]], tf.int32)
    writer.module(key, functools.partial(many, gan, updates), inputs, names, **{**more, "updates": updates})


def _with_seed(gan):
    """A GAN whose seed is a variable, and the names of all its variables."""
    seed = tf.Variable(gan.seed, dtype=tf.int32, trainable=False, name="seed")
    object.__setattr__(gan, "seed", seed)
    names = _trace.names_of(
        generator=gan.generator.variables,
        critic=gan.critic.variables,
        generator_optimizer=gan.generator_optimizer.variables,
        critic_optimizer=gan.critic_optimizer.variables,
        mean=[variable for tracker in gan._trackers.values() for variable in tracker.variables],
        gan=[gan.step, gan.watch.note, seed],
        penalty=[variable for penalty in gan.generator_penalties for variable in getattr(penalty, "variables", ())],
    )
    return gan, names


def _one(gan, *batch):
    """One update on a batch of images, or of images and labels."""
    return gan.train_step(batch if len(batch) > 1 else batch[0])


def many(gan, updates, *arrays):
    """`updates` updates in one loop: images [N, ...], labels [N] if there are, and whose turn it is, [updates, batch].

    Returns the means of what the updates measured, since the means were last 0.
    """
    *data, index = arrays

    def update(step):
        batch = [tf.gather(array, index[step]) for array in data]
        _one(gan, *batch)
        return [step + 1]

    tf.while_loop(lambda step: step < updates, update, [tf.constant(0)], maximum_iterations=updates)
    return {name: tracker.result() for name, tracker in gan._trackers.items()}


def _noise(training):
    """What the next update draws, for other frameworks to compute the same."""
    drawn = training._noise()
    return {name: tf.stack(value) if isinstance(value, list) else value for name, value in drawn.items()}


def _of_peers(gan, names):
    """The names of kernel, bias, kernel, ... of both networks, in the order of `_training_tfjc._kernels`."""
    found = {}
    for network in ("generator", "critic"):
        layers = [layer for layer in getattr(gan, network)._flatten_layers() if hasattr(layer, "kernel_initializer")]
        layers = [layer for layer in layers if hasattr(layer, "kernel")]
        streams = noise.Stream.GENERATOR_WEIGHTS, noise.Stream.CRITIC_WEIGHTS
        places = {noise.integer(0, stream, place): place for stream in streams for place in range(len(layers))}
        layers = sorted(layers, key=lambda layer: places[layer.kernel_initializer.seed])
        variables = [variable for layer in layers for variable in (layer.kernel, layer.bias)]
        found[network] = [names[id(variable.value.handle)][0] for variable in variables]
    return {"peers": found}


# ---- A study's runs


def export_study(writer, settings, name, data_dir):
    """The runs of a study of one DCGAN without classes: modules to train, measure and score, and what seeds set."""
    runs, about, study = {}, None, _plan.parse(name)
    for arm, parts in study.arms.items():
        parts = [*study.bindings, *parts]
        files = [part for part in parts if part.endswith(".gin")]
        bindings = [part for part in parts if not part.endswith(".gin")]
        configuration.parse(files, [*bindings, *settings["bindings"]])
        bound = gin.query_parameter
        data = bound("train_and_evaluate.dataset").scoped_configurable_fn(data_dir=data_dir)
        batch, every = (bound(f"train_and_evaluate.{name}") for name in ("batch_size", "eval_every"))
        gan, made, names = _configured(data, seed=0)
        images = data.images[: settings["images"]]
        updates = settings["updates"]
        if every % updates:
            raise ValueError(f"{updates} updates in a module do not divide {every}")
        inputs = {
            "images": tf.TensorSpec(images.shape, tf.uint8),
            "index": tf.TensorSpec([updates, batch * gan.d_steps], tf.int32),
        }
        more = {"clamped": arm == "clamped", "batch": batch}
        more["case"] = f"dcgan{data.image_shape[0]}-{bound('dcgan.channels')}"
        function = functools.partial(many, gan, updates)
        writer.state(f"study/{arm}", names, [made.generator, made.critic])
        writer.module(f"study/{arm}/many", function, inputs, names, state=f"study/{arm}", updates=updates, **more)
        runs[arm] = {"config": configuration.texts(), "bindings": configuration.bindings(), "tensors": gan.watch._names}
        about = about or _measurements(writer, settings, gan, made, names, data)
    writer.images = images
    writer.manifest["study"] = {
        "study": study.as_dict(),
        "runs": runs,
        "batch": batch,
        "updates": updates,
        "eval_every": every,
        "steps": bound("train_and_evaluate.steps"),
        **about,
    }
    _seeds(writer, settings, data, len(images), batch, bound("train_and_evaluate.steps"))


def _configured(data, seed):
    """(GAN with its seed as a variable, its networks, names of its variables) of the configuration, with a seed."""

    def make(name):
        return gin.query_parameter(f"train_and_evaluate.{name}").scoped_configurable_fn

    made = make("architecture")(data.image_shape, seed=seed)
    gan = make("model")(*made[:2], prior=made.prior, seed=seed)
    gan.compile(make("generator_optimizer")(), make("critic_optimizer")())
    gan, names = _with_seed(gan)
    return gan, made, names


def _measurements(writer, settings, gan, made, names, data):
    """The modules that measure and score a generator; returns what the records say of them."""
    count, samples = (
        gin.query_parameter(f"train_and_evaluate.{name}")
        if configuration._is_bound(f"train_and_evaluate.{name}")
        else default
        for name, default in (("eval_latents", 64), ("score_samples", 10_000))
    )
    n_z = made.generator.input_shape[1]
    geometry.metric_tensor(made.generator, tf.zeros([1, n_z]) + 0.1)  # chooses the method, which a trace cannot do
    latents = tf.TensorSpec([count, n_z])
    function = functools.partial(measure, made.generator)
    writer.module("study/conditioning", function, {"z": latents, "z_perturbed": latents}, names)
    evaluator = evaluators.ClassifierEvaluator(made.prior.sample(samples, seed=[0, 0]), data)
    evaluator.prepare()
    classifier = next(
        cell.cell_contents for cell in _cells(evaluator._network._run) if isinstance(cell.cell_contents, keras.Model)
    )
    own = _trace.names_of(classifier=classifier.variables)
    at_once = min(samples, 2500)
    function = functools.partial(classify, made.generator, classifier)
    writer.module("study/classify", function, {"z": tf.TensorSpec([at_once, n_z])}, {**names, **own})
    writer.state("study/classifier", own)
    writer.arrays["study/real"] = evaluator._real
    (pair,) = gin.query_parameter("train_and_evaluate.scores")
    return {
        "scores": [{"evaluator": type(evaluator).__name__, **evaluator.about()}],
        "score_every": pair[1],
        "samples": samples,
        "clamping": [1.0, 20.0],
        "epsilon": float(np.finfo(np.float32).eps),
        "name": evaluator._network.name,
        "where": evaluator._where(),
    }


def _cells(function):
    """The closure's cells of what a tf.function wraps, and of the functions in these."""
    found, pending = [], [function.python_function]
    while pending:
        for cell in getattr(pending.pop(), "__closure__", None) or ():
            found.append(cell)
            pending += [cell.cell_contents] if hasattr(cell.cell_contents, "__closure__") else []
    return found


def measure(generator, z, z_perturbed):
    """Metric tensors M_z, E[J]ᵀE[J] (both float64), quotients Q and images at z, in inference mode."""
    j = geometry.jacobian(generator, z)
    average = tf.reduce_mean(tf.cast(j, tf.float64), axis=0, keepdims=True)
    x, x_perturbed = (precision.full(geometry.call(generator, at)) for at in (z, z_perturbed))
    return {
        "metric_tensor": geometry.gram(j),
        "average": geometry.gram(average)[0],
        "quotient": penalties.quotient(z, z_perturbed, x, x_perturbed),
        "images": geometry.run(generator, z),
    }


def classify(generator, classifier, z):
    """Logits and features of the samples G(z)."""
    logits, features = classifier(geometry.run(generator, z), training=False)
    return {"logits": logits, "features": features}


def _seeds(writer, settings, data, images, batch, steps):
    """For each seed: weights and latents as draws, the measured latents and their neighbours, keys of the epochs."""
    clamping, epochs = penalties.JacobianClamping(), -(-steps * batch // images)
    about = writer.manifest["study"]
    about["seeds"] = []
    for seed in range(settings["seeds"]):
        _, made, names = _configured(data, seed)
        names = {key: named for key, named in names.items() if named[0].split("/")[0] in ("generator", "critic", "gan")}
        writer.state(f"study/{seed}", names, [made.generator, made.critic])
        sample = made.prior.sample
        count = next(p for p in writer.manifest["modules"]["study/conditioning"]["parameters"])["shape"][0]
        z = sample(count, seed=noise.seed(seed, noise.Stream.MEASURED_LATENTS)).numpy()
        stream = noise.seed(seed, noise.Stream.SCORED_LATENTS)
        scored, draw = _trace.drawn_with(lambda sample=sample, stream=stream: sample(about["samples"], seed=stream))
        perturbed = clamping.perturb(tf.constant(z), noise.seed(seed, noise.Stream.DIRECTIONS)).numpy()
        keys = [_epoch_key(seed, epoch) for epoch in range(epochs)]
        writer.arrays |= {
            f"study/{seed}.z": z,
            f"study/{seed}.z_perturbed": perturbed,
            f"study/{seed}.epochs": np.stack(keys),
        }
        recipe = writer.recipe(f"study/{seed}.scored", scored, {"draw": "normal", "scale": 1.0, "shift": 0.0, **draw})
        about["seeds"].append({"seed": seed, "scored": recipe})
        print(f"seed {seed}", flush=True)


def _epoch_key(seed, epoch):
    from tfjc.datasets import _batches

    return _batches._epoch_seed(seed, tf.constant(epoch, tf.int64)).numpy()


def main():
    """Writes the bundle that the flags ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--data_dir", help="of study: the data directory of tensorflow-datasets")
    parser.add_argument("--small", action="store_true", help="narrow networks and short runs, for a trial on CPUs")
    parser.add_argument("--study", default="figure1.gin", help="of study: a file of gin/studies, of one network")
    parser.add_argument("--seeds", type=int, help="of study: seeds of the runs")
    flags = parser.parse_args()
    settings = dict(SMALL if flags.small else FULL)
    settings["seeds"] = flags.seeds or settings["seeds"]
    writer = Writer(flags.folder)
    if "metric" in flags.parts:
        export_metric(writer, settings)
    if "step" in flags.parts:
        export_steps(writer, settings)
    if "study" in flags.parts:
        export_study(writer, settings, flags.study, flags.data_dir)
    writer.write(small=flags.small)


if __name__ == "__main__":
    main()
