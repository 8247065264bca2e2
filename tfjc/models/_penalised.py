"""The part of models that penalises the generator."""

import functools
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfjc import geometry, penalties
from tfjc.models._layers import noise_states, normalises, warn_of_second_derivatives
from tfjc.models._model import GenerativeModel, Measured, total
from tfjc.support import noise, precision

GeneratorPenalty = penalties.ComparingPenalty | penalties.DifferentiatingPenalty


class PenalisedModel(GenerativeModel):
    """A model whose generator can be penalised. A subclass adds the penalties to its loss.

    Args:
      generator, critic, options: as in `GenerativeModel`.
      generator_penalties: penalties such as `JacobianClamping`.

    Raises:
      ValueError: also if something is no penalty, or the generator's noise cannot be repeated for one that compares
        images.
    """

    def __init__(
        self,
        generator: keras.Model,
        critic: keras.Model | None = None,
        *,
        generator_penalties: Sequence[GeneratorPenalty] = (),
        **options: Any,
    ) -> None:
        super().__init__(generator, critic, **options)
        self.generator_penalties = checked("generator_penalties", generator_penalties, of_generator=True)
        remembered = [v for p in self.generator_penalties for v in getattr(p, "variables", ())]
        for index, variable in enumerate(remembered):  # checkpoints do not save a list of Keras variables
            setattr(self, f"remembered_{index}", variable)

    def compile(self, *optimizers: Any, **options: Any) -> None:
        """As `GenerativeModel.compile`; raises ValueError too for a `SpectralSpread` that XLA cannot compile."""
        super().compile(*optimizers, **options)
        for penalty in self.generator_penalties:
            if self.jit_compile and isinstance(penalty, penalties.SpectralSpread) and penalty.every > 1:
                raise ValueError(
                    f"XLA compiles SpectralSpread at every step alone, found every = {penalty.every}: set every = 1, "
                    "or turn XLA off (jit_compile=False; --jit_compile=off)"
                )

    def _ready(self, names: Iterable[str]) -> None:
        self._check_generator()
        warn_of_second_derivatives(self._differentiated_twice())
        super()._ready([*names, *self._penalty_names()])

    def _penalty_names(self):
        """The names of the scalars that penalties log."""
        z, x = self._examples()
        seed = noise.seed(0, noise.Stream.EXAMPLES, 1)
        measured = [
            name
            for p in self.generator_penalties
            for name in p.measure(*((z, z + 1.0, x, x) if compares(p) else (self._infer, z, seed)))
        ]
        return [*["generator_penalty"] * bool(self.generator_penalties), *measured]

    def _added(self, arguments) -> tuple[list[tf.Tensor], Measured]:
        """(what the penalties add to the loss, the (name, value) pairs that are logged), by each one's arguments."""
        if not self.generator_penalties:
            return [], []
        calls = list(zip(self.generator_penalties, arguments, strict=True))
        latents = [found[0] if compares(penalty) else found[1] for penalty, found in calls]
        added = [self._mean(*call, like=z) for call, z in zip(calls, latents, strict=True)]
        logged = [pair for penalty, found in calls for pair in penalty.measure(*found).items()]
        return added, [("generator_penalty", total(added)), *logged]

    def _added_at_prior(self, batch_size) -> tuple[list[tf.Tensor], Measured]:
        """`_added` at latents of the prior, for a model that does not sample the prior to train."""
        if not self.generator_penalties:
            return [], []
        return self._added(self._penalised(self._latents(batch_size, update=0), None, needs_images=False)[1])

    def _mean(self, penalty, arguments, like):
        """The mean of a penalty; of one for every k-th step, k times the mean at these steps and 0 at the others.

        The result of such a penalty has the type of `like`.
        """
        every = getattr(penalty, "every", 1)
        if every == 1:
            return tf.reduce_mean(penalty(*arguments))
        return tf.cond(
            self.step % every == 0,
            lambda: tf.cast(every * tf.reduce_mean(penalty(*arguments)), like.dtype),
            lambda: tf.zeros([], like.dtype),
        )

    def _penalised(self, z, labels, needs_images=True):
        """(G(z), the arguments of each generator penalty). z and its neighbours pass the generator together.

        Where nobody needs G(z), the generator is left alone: a pass would move its batch statistics.
        """
        seeds = [self._seed(noise.Stream.GENERATOR_PENALTY, index) for index in range(len(self.generator_penalties))]
        penalties = list(zip(self.generator_penalties, seeds, strict=True))
        moved = [penalty.perturb(z, seed) if compares(penalty) else [] for penalty, seed in penalties]
        passed = [z, *tf.nest.flatten(moved)] if needs_images or any(map(compares, self.generator_penalties)) else []
        x, *images = one_pass(self.generator, passed, labels) if passed else [None]
        rows = zip(penalties, moved, tf.nest.pack_sequence_as(moved, images), strict=True)
        return x, [
            (z, z_p, x, x_p) if compares(penalty) else (*self._differentiable(index, penalty, z, labels), seed)
            for index, ((penalty, seed), z_p, x_p) in enumerate(rows)
        ]

    def _differentiable(self, index, penalty, z, labels):
        """(`generate`, latents) of a penalty that differentiates the generator: new latents where it says how many.

        Every replica draws all of these few latents, so that the penalty does not depend on the number of replicas.
        """
        if _takes_new_latents(penalty):
            z = self.prior.sample(penalty.samples, seed=self._seed(noise.Stream.PENALTY_LATENTS, index))
            seed = self._seed(noise.Stream.PENALTY_LABELS, index)
            labels = None if labels is None else self._uniform_labels([penalty.samples], seed)
        return functools.partial(generated, self.generator, labels=labels), z

    def _differentiated_twice(self):
        """The networks whose gradient a penalty differentiates in training mode."""
        of_generator = [p for p in self.generator_penalties if not compares(p) and not _takes_new_latents(p)]
        return [self.generator] if of_generator else []

    def _check_generator(self):
        """Raises ValueError where a penalty compares images and the generator's noise cannot be repeated.

        Warns where z and z' cannot share both their noise and their batch normalisation, as in the paper.
        """
        compared = any(map(compares, self.generator_penalties))
        if compared and self.replicas == 1 and not self._repeats():
            raise ValueError(
                "the generator draws noise that cannot be repeated (tf.random.normal or the like): z and z' would get "
                "different noise, and a penalty that compares their images would measure the noise; draw it by "
                "keras.random with a keras.random.SeedGenerator"
            )
        if compared and noise_states(self.generator) and normalises(self.generator):
            warnings.warn(
                "the generator has both batch normalisation and noise of its own (dropout): z and z' get the same "
                "noise but are normalised separately, which lowers the quotients",
                stacklevel=5,
            )

    def _repeats(self):
        """Whether equal latents give equal images in one `one_pass`, so that the generator's noise can be repeated."""
        z, labels = self._examples()[0], None if self.num_classes is None else tf.constant([0, self.num_classes - 1])
        before = [(variable, variable.numpy()) for variable in self.generator.non_trainable_variables]
        first, second = (precision.full(x) for x in one_pass(self.generator, [z, z], labels))
        for variable, value in before:  # moving statistics and states of seeds
            variable.assign(value)
        apart, size = (tf.norm(tf.reshape(x, [-1])).numpy() for x in (first - second, first))
        least = max(1e-3, 4.0 * geometry.inspect(self.generator, z, labels).epsilon)
        return not apart > least * size  # values that are not finite do not count as noise


def one_pass(generator: keras.Model, latents: Sequence[tf.Tensor], labels: tf.Tensor | None = None) -> list[tf.Tensor]:
    """[G(z) for z in latents] from one training-mode pass over all mini-batches together.

    Batch normalisation then sees one batch (Odena et al. 2018, section 4: two mini-batches at a time). A generator
    that draws its own noise (dropout) runs once for each mini-batch instead, from the same state of its seeds. The
    difference of two outputs then measures the step in z and not the noise.

    Args:
      generator: Keras model z → images, or (z, labels) → images.
      latents: mini-batches [B, n_z].
      labels: labels [B], the same for each mini-batch, or None.
    """
    states = noise_states(generator)
    if not states or len(latents) == 1:
        repeated = None if labels is None else tf.concat([labels] * len(latents), axis=0)
        return tf.split(generated(generator, tf.concat(latents, axis=0), repeated), len(latents))
    before = [tf.identity(state.value) for state in states]
    outputs = []
    for z in latents:
        for state, value in zip(states, before, strict=True):
            state.assign(value)
        outputs.append(generated(generator, z, labels))
    return outputs


def generated(generator: keras.Model, z: tf.Tensor, labels: tf.Tensor | None, training: bool = True) -> tf.Tensor:
    """G(z), or G(z, labels), in training or inference mode."""
    functional = getattr(generator, "inputs", None)
    return generator(*([z] if labels is None else [[z, labels]] if functional else [z, labels]), training=training)


def compares(penalty: Any) -> bool:
    """Whether a generator penalty compares images of neighbouring latents; the others differentiate the generator."""
    return hasattr(penalty, "perturb")


def _takes_new_latents(penalty):
    return getattr(penalty, "samples", None) is not None


def checked(name: str, penalties: Any, of_generator: bool) -> tuple:
    """`penalties` as a tuple. A generator penalty has `measure`, a critic penalty does not."""
    penalties = tuple(penalties) if isinstance(penalties, (list, tuple)) else (penalties,)
    for penalty in penalties:
        if isinstance(penalty, type) or not callable(penalty) or hasattr(penalty, "measure") != of_generator:
            example = "JacobianClamping()" if of_generator else "GradientPenalty()"
            raise ValueError(f"{name} must be penalty objects such as {example}, found {penalty!r}")
    return penalties
