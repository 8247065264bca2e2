"""Assembles one run from data, networks, model and callbacks; trains, records, exports."""

import functools
import inspect
import json
import logging
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfjc import architectures, callbacks, datasets, models
from tfjc.evaluators import Evaluator
from tfjc.layers import SpectralNormalization
from tfjc.runs import devices, foreign, recorder, saver, sessions
from tfjc.saving import export
from tfjc.support import checks, figures, noise
from tfjc.support.files import is_score, write_text
from tfjc.support.run_directory import RunDirectory

_MOST_AT_ONCE = 100  # steps of one call under steps_per_execution="auto"


def train_and_evaluate(
    workdir: str | os.PathLike,
    *,
    seed: int = 0,
    dataset: Callable[..., datasets.Dataset] = datasets.load,
    architecture: Callable[..., architectures.Networks] = architectures.dcgan,
    model: Callable[..., models.GenerativeModel] = models.GAN,
    generator_optimizer: Callable[[], keras.Optimizer] = models.default_optimizer,
    critic_optimizer: Callable[[], keras.Optimizer] = models.default_optimizer,
    steps: int = 8000,
    batch_size: int = 64,
    eval_every: int = 500,
    eval_latents: int = 64,
    alarm_quotient: float | None = 0.05,
    alarm_log_condition: float | None = None,
    stop_on_collapse: bool = False,
    scores: Sequence[tuple[Callable[..., Evaluator], int]] = (),
    score_samples: int = 10_000,
    callbacks: Sequence[Callable[[], keras.callbacks.Callback] | keras.callbacks.Callback] = (),
    chunk: int | None = None,
    steps_per_execution: int | str = 1,
    data_dir: str | os.PathLike | None = None,
    manual_dir: str | os.PathLike | None = None,
    resume: bool = True,
    force: bool = False,
    dry_run: bool = False,
    config: Callable[[], Mapping[str, str]] = dict,
    bindings: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]] | None:
    """Trains a model in a run directory, or resumes the run that the directory holds.

    Args:
      workdir: the run directory.
      seed: of the weights, the order of the data, all noise and the fixed latents.
      dataset: callable (data_dir, manual_dir) → `datasets.Dataset`.
      architecture: callable (image_shape, seed) → `architectures.Networks`.
      model: callable (generator, critic, prior, seed) → `models.GenerativeModel`. For class-conditional networks it
        also takes num_classes.
      generator_optimizer, critic_optimizer: callables () → Keras optimiser.
      steps: total number of generator updates.
      batch_size: samples of the generator in an update.
      eval_every: steps between evaluations, checkpoints and pictures.
      eval_latents: number of fixed latents for the conditioning.
      alarm_quotient, alarm_log_condition, stop_on_collapse: as in `tfjc.callbacks.Conditioning`. A run that ends for a
        collapse has the status `collapsed`.
      scores: pairs (evaluator, every). The evaluator is a callable (z, data) → evaluator of samples, such as
        `evaluators.ClassifierEvaluator`. `every` is the number of steps between its scores, rounded up to a multiple
        of `eval_every`.
      score_samples: number of samples for the scores, at fixed latents.
      callbacks: Keras callbacks, or callables () → Keras callback. They run after the records of an evaluation are
        written and before its checkpoint. At an evaluation their `logs` hold its numbers, scores among them. A callback
        that sets `model.stop_training` ends the run. `fit` may be called several times in a run.
      chunk: as in `tfjc.geometry.jacobian`.
      steps_per_execution: the most steps that TensorFlow takes in one call, without Python between them. A call takes
        a number that divides the interval between evaluations. "auto" is 100 where XLA is on and there is one replica,
        else 1. The numbers are the same.
      data_dir, manual_dir: as in `tfjc.datasets.load`.
      resume: False refuses a run directory that holds a run.
      force: resumes the run with a changed configuration. `run.json` records the change.
      dry_run: prints the configuration and the networks, and writes nothing.
      config: callable () → {file name: text} of configuration files for the run directory.
      bindings: {"configurable.parameter": value}, the configuration as JSON data for `run.json`. Studies need it to
        compare runs.

    Returns:
      The rows of `metrics.jsonl`; None for a dry run.

    Raises:
      ValueError, TypeError: the configuration cannot be run, or is not that of the run in the directory; or the
        directory is in use, holds other files, or holds a run without an intact checkpoint. No record has changed.
      FloatingPointError: the training diverged.
      sessions.Collapsed: the generator has collapsed, under `stop_on_collapse`.
      sessions.TrainingError: the training failed. `DiskFull`: the disk is full. `WorkerLost`: another worker ended.
    """
    steps = checks.integer("train_and_evaluate.steps", steps, minimum=1, maximum=checks.LARGEST_SEED)
    eval_every = checks.integer("train_and_evaluate.eval_every", eval_every, minimum=1, maximum=checks.LARGEST_SEED)
    batch_size = checks.integer("train_and_evaluate.batch_size", batch_size, minimum=1)
    eval_latents = checks.integer("train_and_evaluate.eval_latents", eval_latents, minimum=1)
    chunk = None if chunk is None else checks.integer("train_and_evaluate.chunk", chunk, minimum=1)
    seed = checks.seed("seed", seed)
    data = _make("dataset", dataset, datasets.Dataset, data_dir=data_dir, manual_dir=manual_dir)
    networks = _make("architecture", architecture, architectures.Networks, data.image_shape, seed=seed)
    classes = {} if networks.num_classes is None else {"num_classes": networks.num_classes}
    if classes and not _takes(model, "num_classes"):
        name = getattr(model, "__name__", model)
        raise ValueError(
            f"the architecture makes networks of {networks.num_classes} classes, but {name} takes no labels"
        )
    gan = _make("model", model, models.GenerativeModel, *networks[:2], prior=networks.prior, seed=seed, **classes)
    gan.check_batch_size("train_and_evaluate.batch_size", batch_size)
    optimizers = {"generator_optimizer": generator_optimizer, "critic_optimizer": critic_optimizer}
    optimizers = {name: _make(name, function, keras.Optimizer) for name, function in optimizers.items()}
    gan.compile(**optimizers)
    at_once = _steps_at_once(steps_per_execution, gan)
    _warn_of_decay(optimizers, {"generator_optimizer": steps, "critic_optimizer": steps * gan.images_per_sample})
    batches = functools.partial(
        datasets.batches, gan.training_data(data), gan.images_per_sample * batch_size, seed=seed
    )
    batches()  # checks the number of images
    checks.fits(f"train_and_evaluate.eval_latents = {eval_latents}", eval_latents * _bytes(gan))
    evaluators = _evaluators(scores, eval_every, data, gan, score_samples)
    alarms = {"alarm_quotient": alarm_quotient, "alarm_log_condition": alarm_log_condition}
    alarms["stop_on_collapse"] = stop_on_collapse
    _check_alarms(gan, alarms)
    foreign.check(callbacks)
    if dry_run:
        return _describe(data, networks, config())
    run = RunDirectory(workdir)
    sessions.changed(run, seed, bindings, resume, force)
    if sessions.is_finished(run, steps):
        print(f"{run.path} is finished, {steps} steps asked for\n{summary(run, run.read_metrics())}", flush=True)
        return run.read_metrics()
    with sessions.entered(run) as own:
        changed = sessions.changed(own, seed, bindings, resume, force)  # another process may have held the lock before
        own.sweep()
        checkpoints = saver.Checkpoints(gan, own.checkpoints, eval_every)
        sessions.restore(run, checkpoints)
        step = sessions.common_step(gan)
        sessions.check_latents(run, step, _latents(gan, eval_latents, noise.Stream.MEASURED_LATENTS)[0], changed)
        conditioning = _conditioning(own, gan, eval_latents, eval_every, chunk=chunk, **alarms)
        sessions.resume(run, step, conditioning)
        listed = _callbacks(own, gan, conditioning, evaluators, steps, bindings)
        listed += foreign.made(callbacks, listed[-1])
        with sessions.session(own, seed, config, bindings, step=step, **({"changed": changed} if changed else {})):
            write_text(own.generator, gan.generator.to_json())
            own.update_run(**classes)
            _train(own, gan, conditioning, batches, steps, [*listed, checkpoints], at_once)
        rows = own.read_metrics()
        if devices.is_chief():
            print(summary(run, rows), flush=True)
    return rows


def _steps_at_once(asked, gan):
    """The most steps that one call of the training function takes."""
    if asked == "auto":
        return _MOST_AT_ONCE if gan.jit_compile and gan.replicas == 1 else 1
    at_once = checks.integer("steps_per_execution", asked, minimum=1)
    if at_once > 1 and gan.replicas > 1:
        raise ValueError(
            f"{gan.replicas} replicas take one step at a time, found steps_per_execution = {at_once}; "
            "leave it out, or use one device"
        )
    return at_once


def _warn_of_decay(optimizers, updates):
    """Warns if a learning rate decays over another number of updates than the run makes."""
    for name, optimizer in optimizers.items():
        decay = getattr(getattr(optimizer, "_learning_rate", None), "decay_steps", updates[name])
        if decay != updates[name]:
            logging.getLogger("tfjc").warning(
                "the learning rate of %s decays over %d updates, the run makes %d", name, decay, updates[name]
            )


def _train(run, gan, conditioning, batches, steps, listed, at_once):
    """Trains up to step `steps`, or to a collapse, then draws the figures and exports the generator."""
    _fit(gan, conditioning, batches, steps, listed, at_once)
    sessions.check(run)
    figures.conditioning(run.read_metrics(), run.figure)
    figures.scores(run.read_metrics(), run.score_figure)
    if found := conditioning.collapse(conditioning.latest):
        raise sessions.Collapsed(run, int(gan.step.numpy()), found)
    export.export_generator(gan.evaluated_generator, run.saved_model, prior=gan.prior, num_classes=gan.num_classes)


def _evaluators(scores, eval_every, data, gan, samples):
    """(evaluator, interval, prefix of its keys) for each configured evaluator and each kind of latents."""
    samples = checks.integer("train_and_evaluate.score_samples", samples, minimum=1)
    checks.fits(f"train_and_evaluate.score_samples = {samples}", samples * _bytes(gan))
    if not isinstance(scores, (list, tuple)):
        raise ValueError(f"train_and_evaluate.scores must be a list of pairs, found {scores!r}")
    z, labels = _latents(gan, samples, noise.Stream.SCORED_LATENTS) if scores else (None, None)
    conditions, made = {} if labels is None else {"labels": labels}, []
    for pair in scores:
        if not (isinstance(pair, (tuple, list)) and len(pair) == 2 and callable(pair[0])):
            raise ValueError(
                "train_and_evaluate.scores must be pairs of an evaluator and an interval, "
                f"such as [(@ClassifierEvaluator, 1000)], found {pair!r}"
            )
        every = checks.integer("the interval in train_and_evaluate.scores", pair[1], minimum=1)
        every = -(-every // eval_every) * eval_every
        made.append((pair[0](z, data, **conditions), every, ""))
        made += [(pair[0](known[:samples], data), every, f"{name}_") for name, known in gan.known_latents.items()]
    return made


def _bytes(gan):
    """The size of a latent and its image in float32."""
    return 4 * (gan.prior.event_shape.num_elements() + math.prod(gan.image_shape))


def _latents(gan, count, stream):
    """(latents [count, n_z] of the prior, labels [count] 0, 1, ... or None); a function of the run's seed."""
    labels = None if gan.num_classes is None else tf.range(count) % gan.num_classes
    return gan.prior.sample(count, seed=noise.seed(gan.seed, stream)), labels


def _conditioning(run, gan, count, every, **options):
    generator, (z, labels) = gan.evaluated_generator, _latents(gan, count, noise.Stream.MEASURED_LATENTS)
    penalties = getattr(gan, "generator_penalties", ())
    clamping = next((p for p in penalties if hasattr(p, "clamped")), None)
    options |= {"labels": labels, "clamping": clamping, "seed": gan.seed}
    return callbacks.Conditioning(generator, z, every, log_dir=run.tensorboard, **options)


def _check_alarms(gan, alarms):
    """Raises ValueError where `callbacks.Conditioning` refuses the thresholds of its alarms."""
    callbacks.Conditioning(gan.generator, _latents(gan, 1, noise.Stream.MEASURED_LATENTS)[0], **alarms)


def _callbacks(run, gan, conditioning, evaluators, last, bindings):
    generator, every = conditioning.generator, conditioning.every
    z, labels = conditioning.evaluator.z, conditioning.evaluator.labels
    scores = [
        callbacks.Scores(generator, evaluator, interval, prefix=prefix, log_dir=run.tensorboard, last=last)
        for evaluator, interval, prefix in evaluators
    ]
    weights, hyperparameters = _weight_spectra(run, gan), _hyperparameters(gan, bindings)
    return [
        sessions.Watch(run),
        conditioning,
        callbacks.Samples(generator, z[:64], run.samples, every, log_dir=run.tensorboard, labels=labels),
        *scores,
        *([weights] if weights else []),
        recorder.Recorder(run, conditioning, every, scores=scores, weights=weights, hyperparameters=hyperparameters),
    ]


def _weight_spectra(run, gan):
    """The callback for the model's networks that have normalised layers; None if there are none."""
    networks = {"generator": gan.generator, "critic": gan.critic}
    wrapped = {
        name: network
        for name, network in networks.items()
        if network is not None and any(isinstance(layer, SpectralNormalization) for layer in network._flatten_layers())
    }
    return callbacks.WeightSpectra(wrapped, log_dir=run.tensorboard) if wrapped else None


def _hyperparameters(gan, bindings):
    """The seed and every binding, by name: numbers, booleans and strings unchanged, other values as JSON."""
    plain = (bool, int, float, str)
    named = {name: value if isinstance(value, plain) else json.dumps(value) for name, value in (bindings or {}).items()}
    return {"seed": gan.seed, **named}


def _fit(gan, conditioning, batches, steps, listed, at_once):
    """Fits up to step `steps`, or until a callback stops the training, with one epoch for each evaluation.

    A run that had collapsed is not trained where a collapse ends it. The first and last epoch may be shorter.
    """
    every = conditioning.every
    while (done := int(gan.step.numpy())) < steps and not conditioning.collapse(conditioning.latest):
        epoch, behind = divmod(done, every)
        full = 0 if behind else (steps - done) // every
        length = every if full else min(every - behind, steps - done)
        together = max(k for k in range(1, at_once + 1) if length % k == 0)
        if together != gan.steps_per_execution:
            gan.steps_per_execution, gan.train_function = together, None  # Keras's function keeps the number
        gan.fit(
            batches(start=done),
            initial_epoch=epoch,
            epochs=epoch + max(full, 1),
            steps_per_epoch=length,
            callbacks=listed,
            verbose=0 if not devices.is_chief() else 1 if sys.stdout.isatty() else 2,
        )
        if gan.stop_training:
            break


def _make(name, function, kind, *args, **kwargs):
    """The result of `function`; raises ValueError unless it is a `kind`."""
    if not callable(function):
        raise ValueError(
            f"train_and_evaluate.{name} must be callable (in gin: @name), found a {type(function).__name__}"
        )
    made = function(*args, **kwargs)
    if not isinstance(made, kind):
        raise ValueError(f"train_and_evaluate.{name} must make {kind.__name__}, found {type(made).__name__}")
    return made


def _takes(function, name):
    """Whether a callable has a parameter of this name, or takes any name."""
    try:  # the signature of a Keras model's class is that of its __new__, which takes anything
        parameters = inspect.signature(
            function.__init__ if isinstance(function, type) else function
        ).parameters.values()
    except (TypeError, ValueError):  # no callable, or one that does not tell; calling it gives the error
        return True
    return any(p.name == name or p.kind == p.VAR_KEYWORD for p in parameters)


def _describe(data, networks, config):
    for name, text in config.items():
        print(f"# ---- {name} ----\n{text}")
    print(f"dataset {data.name}: {len(data.images)} × {data.image_shape} {data.images.dtype}")
    networks.generator.summary()
    networks.critic.summary()


def summary(run: RunDirectory, rows: Sequence[Mapping[str, Any]]) -> str:
    """The final numbers of a finished run, and the places of its files, as text."""
    first, last = rows[0], rows[-1]
    lines = {
        "mean log-condition": f"{last['mean_log_condition']:.2f} (at step {first['step']}: "
        f"{first['mean_log_condition']:.2f}), median {last.get('median_log_condition', math.nan):.2f}, "
        f"resolved {last.get('resolved', math.nan):.0%}",
        **({"rank of J_z": _rank(run, last)} if "rank" in last else {}),
        "quotient, 5 to 95 %": _quotient(last),
        **{name.replace("_", " "): f"{last[name]:.4g}" for name in ("generator_loss", "critic_loss") if name in last},
        **_scored(rows),
        "samples": run.samples / f"step_{last['step']:08d}.png",
        "conditioning curve": run.figure,
        **({"score curves": run.score_figure} if run.score_figure.exists() else {}),
        "records": run.metrics,
        "generator": f"{run.saved_model} (tfjc.saving.load_generator, or tf.saved_model.load)",
        "TensorBoard": f"{os.path.relpath(sys.executable)} -m tensorboard.main --logdir={run.path}",
    }
    width = max(map(len, lines))
    table = "\n".join(f"  {name:<{width}} {value}" for name, value in lines.items())
    return f"\n{last['step']} steps in {last['seconds']:.0f} s\n{table}"


def _rank(run, last):
    n_z = run.read_spectrum(last["step"])["z"].shape[1]
    return f"{last['rank']:.4g} of {n_z} (mean), log-condition of these directions {last['nonzero_log_condition']:.2f}"


def _quotient(last):
    if "quotient_quantiles" not in last:
        return f"none: {last['no_quotient']}"
    low, high = (last["quotient_quantiles"][quantile] for quantile in ("0.05", "0.95"))
    clamped = f"below λ_min {last['clamped_low']:.0%}, above λ_max {last['clamped_high']:.0%}"
    return f"{low:.2f} to {high:.2f}, {clamped}"


def _scored(rows):
    """The newest value of each score; of scores that share a plain name, the first one's."""
    newest = {key: value for row in rows for key, value in row.items() if isinstance(value, float)}
    first = {}
    for key in filter(is_score, newest):
        first.setdefault(key.partition("/")[0], key)
    return {key: f"{newest[key]:.4g}" for key in first.values()}
