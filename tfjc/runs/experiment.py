"""Assembles one run: data, networks, model, callbacks; trains, records, exports."""

import functools
import json
import logging
import math
import os
import sys

import keras
import numpy as np
import tensorflow as tf

from tfjc import architectures, callbacks, datasets, models
from tfjc.layers import SpectralNormalization
from tfjc.runs import devices, recorder, saver, sessions
from tfjc.saving import export
from tfjc.support import checks, figures, noise
from tfjc.support.files import is_score, write_text
from tfjc.support.run_directory import RunDirectory


def train_and_evaluate(
    workdir,
    *,
    seed=0,
    dataset=datasets.load,
    architecture=architectures.dcgan,
    model=models.GAN,
    generator_optimizer=models.default_optimizer,
    critic_optimizer=models.default_optimizer,
    steps=8000,
    batch_size=64,
    eval_every=500,
    eval_latents=64,
    scores=(),
    score_samples=10_000,
    chunk=None,
    data_dir=None,
    manual_dir=None,
    resume=True,
    force=False,
    dry_run=False,
    config=dict,
    bindings=None,
):
    """Trains a model in a run directory, going on from its newest whole checkpoint if there is one.

    Args:
      workdir: the run directory.
      seed: of the weights, the data's order, all noise and the fixed latents.
      dataset: callable (data_dir, manual_dir) → `datasets.Dataset`.
      architecture: callable (image_shape, seed) → `architectures.Networks`.
      model: callable (generator, critic, prior, seed) → `models.GenerativeModel`; also of num_classes for
        class-conditional networks.
      generator_optimizer, critic_optimizer: callables () → Keras optimiser.
      steps: generator updates in all.
      batch_size: samples of the generator in an update.
      eval_every: steps between evaluations, checkpoints and pictures.
      eval_latents: fixed latents that the conditioning is measured on.
      scores: pairs (evaluator, every): a callable (z, data) → evaluator of samples, such as
        `evaluators.ClassifierEvaluator`, and the steps between its scores, rounded up to a multiple of `eval_every`.
      score_samples: samples that are scored, at latents that stay fixed.
      chunk: as in `tfjc.geometry.jacobian`.
      data_dir, manual_dir: as in `tfjc.datasets.load`.
      resume: False refuses a run directory that holds a run.
      force: goes on with a configuration that has changed, which `run.json` then says.
      dry_run: prints the configuration and the networks, and stops before anything is written.
      config: callable () → {file name: text} of configuration files to keep in the run directory.
      bindings: {"configurable.parameter": value}, the configuration as data that JSON can hold, for `run.json`; None
        where there is none: a study then does not know what the run is.

    Returns:
      The rows of `metrics.jsonl`; None for a dry run.

    Raises:
      ValueError, TypeError: the configuration cannot be run, or is not the one that the run directory began with, or
        that directory is in use, holds other files, or has no whole checkpoint; no record has been changed then.
      FloatingPointError: the training diverged.
      sessions.TrainingError: the training failed; `DiskFull` where it did for want of room, `WorkerLost` of a worker.
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
    try:
        gan = _make("model", model, models.GenerativeModel, *networks[:2], prior=networks.prior, seed=seed, **classes)
    except TypeError as error:
        if "num_classes" not in str(error):
            raise
        name = getattr(model, "__name__", model)
        raise ValueError(
            f"the architecture makes networks of {networks.num_classes} classes, {name} takes no labels"
        ) from error
    gan.check_batch_size("train_and_evaluate.batch_size", batch_size)
    optimizers = {"generator_optimizer": generator_optimizer, "critic_optimizer": critic_optimizer}
    optimizers = {name: _make(name, function, keras.Optimizer) for name, function in optimizers.items()}
    gan.compile(**optimizers)
    _warn_of_decay(optimizers, {"generator_optimizer": steps, "critic_optimizer": steps * gan.images_per_sample})
    batches = functools.partial(
        datasets.batches, gan.training_data(data), gan.images_per_sample * batch_size, seed=seed
    )
    batches()  # which checks that there are images enough
    checks.fits(f"train_and_evaluate.eval_latents = {eval_latents}", eval_latents * _bytes(gan))
    evaluators = _evaluators(scores, eval_every, data, gan, score_samples)
    if dry_run:
        return _describe(data, networks, config())
    run = RunDirectory(workdir)
    sessions.changed(run, seed, config(), resume, force)
    if sessions.is_finished(run, steps):
        print(f"{run.path} is finished, {steps} steps asked for\n{summary(run, run.read_metrics())}", flush=True)
        return run.read_metrics()
    with sessions.entered(run) as own:
        changed = sessions.changed(own, seed, config(), resume, force)  # again: another process may have been here
        own.sweep()
        checkpoints = saver.Checkpoints(gan, own.checkpoints, eval_every)
        sessions.restore(run, checkpoints)
        sessions.check_latents(run, _latents(gan, eval_latents, noise.Stream.MEASURED_LATENTS)[0], changed)
        step = sessions.common_step(gan)
        with sessions.session(own, seed, config, bindings, step=step, **({"changed": changed} if changed else {})):
            write_text(own.generator, gan.generator.to_json())
            own.update_run(**classes)
            listed = _callbacks(own, gan, eval_latents, eval_every, chunk, evaluators, steps, bindings)
            _train(own, gan, batches, steps, [*listed, checkpoints])
        rows = own.read_metrics()
        if own is run:
            print(summary(run, rows), flush=True)
    return rows


def _warn_of_decay(optimizers, updates):
    """Warns where a learning rate decays over another number of updates than the run makes."""
    for name, optimizer in optimizers.items():
        decay = getattr(getattr(optimizer, "_learning_rate", None), "decay_steps", updates[name])
        if decay != updates[name]:
            logging.getLogger("tfjc").warning(
                "the learning rate of %s decays over %d updates, the run makes %d", name, decay, updates[name]
            )


def _train(run, gan, batches, steps, listed):
    """Trains on from where the model is, then leaves what a finished run leaves."""
    _fit(gan, batches, steps, listed[-1].every, listed)
    figures.conditioning(run.read_metrics(), run.figure)
    figures.scores(run.read_metrics(), run.score_figure)
    export.export_generator(gan.evaluated_generator, run.saved_model, prior=gan.prior, num_classes=gan.num_classes)


def _evaluators(scores, eval_every, data, gan, samples):
    """(evaluator, interval, prefix of its names) for each that the configuration names, at each kind of latents.

    They get what they need at first use.
    """
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
    """Of a latent and its image."""
    return 4 * (gan.prior.event_shape.num_elements() + math.prod(gan.image_shape))


def _latents(gan, count, stream):
    """(latents [count, n_z] of the prior, labels [count] in turn or None): the same in every run of this seed."""
    labels = None if gan.num_classes is None else tf.range(count) % gan.num_classes
    return gan.prior.sample(count, seed=noise.seed(gan.seed, stream)), labels


def _callbacks(run, gan, count, every, chunk, evaluators, last, bindings):
    generator, (z, labels) = gan.evaluated_generator, _latents(gan, count, noise.Stream.MEASURED_LATENTS)
    penalties = getattr(gan, "generator_penalties", ())
    clamping = next((p for p in penalties if hasattr(p, "clamped")), None)
    conditioning = callbacks.Conditioning(
        generator, z, every, log_dir=run.tensorboard, labels=labels, clamping=clamping, chunk=chunk, seed=gan.seed
    )
    scores = [
        callbacks.Scores(generator, evaluator, interval, prefix=prefix, log_dir=run.tensorboard, last=last)
        for evaluator, interval, prefix in evaluators
    ]
    weights, hyperparameters = _weight_spectra(run, gan), _hyperparameters(gan, bindings)
    return [
        conditioning,
        callbacks.Samples(generator, z[:64], run.samples, every, log_dir=run.tensorboard, labels=labels),
        *scores,
        *([weights] if weights else []),
        recorder.Recorder(run, conditioning, every, scores=scores, weights=weights, hyperparameters=hyperparameters),
    ]


def _weight_spectra(run, gan):
    """The callback for those of a model's networks that have normalised layers, or None where none has."""
    networks = {"generator": gan.generator, "critic": gan.critic}
    wrapped = {
        name: network
        for name, network in networks.items()
        if network is not None and any(isinstance(layer, SpectralNormalization) for layer in network._flatten_layers())
    }
    return callbacks.WeightSpectra(wrapped, log_dir=run.tensorboard) if wrapped else None


def _hyperparameters(gan, bindings):
    """The seed and every binding, by name: numbers, truth values and strings as they are, others as JSON."""
    plain = (bool, int, float, str)
    named = {name: value if isinstance(value, plain) else json.dumps(value) for name, value in (bindings or {}).items()}
    return {"seed": gan.seed, **named}


def _fit(gan, batches, steps, every, listed):
    """Fits up to step `steps`, an epoch for each evaluation; the first and last may be shorter."""
    while (done := int(gan.step.numpy())) < steps:
        epoch, behind = divmod(done, every)
        whole = 0 if behind else (steps - done) // every
        gan.fit(
            batches(start=done),
            initial_epoch=epoch,
            epochs=epoch + max(whole, 1),
            steps_per_epoch=every if whole else min(every - behind, steps - done),
            callbacks=listed,
            verbose=0 if not devices.is_chief() else 1 if sys.stdout.isatty() else 2,
        )


def _make(name, function, kind, *args, **kwargs):
    """What `function` makes, which must be a `kind`."""
    if not callable(function):
        raise ValueError(
            f"train_and_evaluate.{name} must be callable (in gin: @name), found a {type(function).__name__}"
        )
    try:
        made = function(*args, **kwargs)
    except RecursionError:
        raise ValueError(
            f"train_and_evaluate.{name} is made with a value that is made with itself, found a loop"
        ) from None
    if not isinstance(made, kind):
        raise ValueError(f"train_and_evaluate.{name} must make {kind.__name__}, found {type(made).__name__}")
    return made


def _describe(data, networks, config):
    for name, text in config.items():
        print(f"# ---- {name} ----\n{text}")
    print(f"dataset {data.name}: {len(data.images)} × {data.image_shape} {data.images.dtype}")
    networks.generator.summary()
    networks.critic.summary()


def summary(run, rows):
    """What a finished run ended with, as text: scores, and where its files are."""
    first, last = rows[0], rows[-1]
    lines = {
        "mean log-condition": f"{last['mean_log_condition']:.2f} (at step {first['step']}: "
        f"{first['mean_log_condition']:.2f}), median {last['log_condition_quantiles']['0.5']:.2f}, "
        f"resolved {last['resolved']:.0%}",
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
    with np.load(run.spectra) as saved:
        n_z = saved["z"].shape[1]
    return f"{last['rank']:.4g} of {n_z} (mean), log-condition of these directions {last['nonzero_log_condition']:.2f}"


def _quotient(last):
    if "quotient_quantiles" not in last:
        return f"none: {last['no_quotient']}"
    low, high = (last["quotient_quantiles"][quantile] for quantile in ("0.05", "0.95"))
    clamped = f"below λ_min {last['clamped_low']:.0%}, above λ_max {last['clamped_high']:.0%}"
    return f"{low:.2f} to {high:.2f}, {clamped}"


def _scored(rows):
    """The newest value of each score, the first of those that share a plain name."""
    newest = {key: value for row in rows for key, value in row.items() if isinstance(value, float)}
    first = {}
    for key in filter(is_score, newest):
        first.setdefault(key.partition("/")[0], key)
    return {key: f"{newest[key]:.4g}" for key in first.values()}
