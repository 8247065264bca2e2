"""Variational autoencoders whose decoder is a GAN's generator, so that the spectra of both can be compared."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from tfjc import architectures
from tfjc.models._model import Batch, images_of, objective
from tfjc.models._penalised import GeneratorPenalty, PenalisedModel
from tfjc.support import checks, noise, precision, replicas
from tfjc.support.images import to_images

if TYPE_CHECKING:
    import tensorflow_probability as tfp

LIKELIHOODS = ("bernoulli", "gaussian")
_LEAST = 1e-6  # the least probability of a pixel and of its complement: in float32 tanh is ±1 from 9 on


class VAE(PenalisedModel):
    """A decoder G and an encoder that maximise ELBO = E_q ln p(x|z) − β·KL(q(z|x) ‖ p(z)) (Kingma and Welling 2014).

    The encoder's outputs define q(z|x) = N(mean, diag exp(log-variance)), of which one sample is drawn for each image.
    The KL divergence has a closed form. β = 1 gives the evidence lower bound, β > 1 the β-VAE of Higgins et al. 2017.
    The decoder makes images in [−1, 1] as generators do, so its Jacobian needs no rescaling. Likelihoods of a pixel x:

    - "bernoulli": (x + 1)/2 has the probability (G + 1)/2. Grey values count as probabilities, as is usual.
    - "gaussian": x is N(G, σ²).

    Args:
      generator: the decoder, Keras model z [B, n_z] → images in [−1, 1].
      encoder: Keras model images → [mean, log-variance], [B, n_z] each. It takes the critic's place in the model.
      likelihood: "bernoulli" or "gaussian".
      sigma: σ > 0 of "gaussian", on the scale of images; None for "bernoulli".
      beta: β ≥ 0.
      generator_penalties: penalties on the decoder at latents of the prior; the mean of each is added to −ELBO.
      prior: distribution over latents [n_z] (`architectures.Prior`); by default N(0, I) of the decoder's input size.
      seed: seed of all noise in training.

    Raises:
      ValueError: the networks do not fit each other, an argument is out of range, or the KL divergence from a Gaussian
        to the prior has no closed form.
    """

    prior: tfp.distributions.Distribution

    def __init__(
        self,
        generator: keras.Model,
        encoder: keras.Model,
        *,
        likelihood: str = "bernoulli",
        sigma: float | None = None,
        beta: float = 1.0,
        generator_penalties: Sequence[GeneratorPenalty] = (),
        prior: architectures.Prior | None = None,
        seed: int = 0,
        name: str = "vae",
    ) -> None:
        options: dict[str, Any] = {"prior": prior, "seed": seed, "name": name}
        super().__init__(generator, encoder, generator_penalties=generator_penalties, **options)
        if isinstance(self.prior, architectures.StandardNormal):
            self.prior = _distributions().MultivariateNormalDiag(tf.zeros(self.prior.event_shape))
        self.likelihood = checks.one_of("likelihood", likelihood, LIKELIHOODS)
        if (sigma is None) == (likelihood == "gaussian"):
            raise ValueError(f"sigma is for likelihood = 'gaussian', which needs it; found {sigma!r}, {likelihood!r}")
        self.sigma = None if sigma is None else checks.real("sigma", sigma, above=0.0)
        self.beta = checks.real("beta", beta, minimum=0.0)
        self._check_encoder()
        self._ready(["generator_loss", "log_likelihood", "kl"])

    @property
    def encoder(self) -> keras.Model:
        """The encoder. The base class calls the second network `critic`."""
        return self.critic

    def train_step(self, data: Batch) -> dict[str, tf.Tensor]:
        """One update of decoder and encoder by the gradient of −ELBO, averaged over the batch."""
        images = to_images(images_of(data))
        with tf.control_dependencies([images]):
            with tf.GradientTape() as tape:
                terms = self.terms(images, self._seed(noise.Stream.POSTERIOR_SEED), training=True)
                log_likelihood, kl = map(tf.reduce_mean, terms)
                loss = self.beta * tf.cast(kl, log_likelihood.dtype) - log_likelihood
                added, of_penalties = self._added_at_prior(tf.shape(images)[0])
                minimised = objective(self.encoder, objective(self.generator, loss, added), [])
            self._track([("generator_loss", loss), ("log_likelihood", log_likelihood), ("kl", kl), *of_penalties])
            self._descend_together(tape, minimised)
            self.step.assign_add(1)
        return self._results()

    def _descend_together(self, tape, loss):
        """Updates both networks by the gradient of one loss.

        In float16 each optimiser asks for its own multiple of the loss, and divides by it. The loss is multiplied by
        the smaller one, so that either optimiser can lower the scale when its gradients overflow.
        """
        networks = [(self.generator, self.generator_optimizer), (self.encoder, self.critic_optimizer)]
        asked = [tf.cast(optimizer.scale_loss(1.0), loss.dtype) for _, optimizer in networks]
        least, variables = tf.minimum(*asked), [network.trainable_variables for network, _ in networks]
        gradients = tape.gradient(loss, variables, output_gradients=least, unconnected_gradients="zero")
        for gradient, scale, (network, optimizer) in zip(gradients, asked, networks, strict=True):
            scaled = [tf.convert_to_tensor(g) * tf.cast(scale / least, g.dtype) for g in gradient]
            self._apply(optimizer, scaled, network.trainable_variables)

    def elbo(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """ELBO of each image in nats, [B], in inference mode, from one sample of q.

        Args:
          images: [B, ...], uint8 or floats in [−1, 1].
          seed: int[2].
        """
        log_likelihood, kl = self.terms(to_images(images), seed)
        return log_likelihood - self.beta * tf.cast(kl, log_likelihood.dtype)

    def terms(self, images: tf.Tensor, seed: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
        """The two terms of ELBO for each image in nats: ln p(x|z) at one sample z of q(z|x), and KL(q(z|x) ‖ p(z)).

        Args:
          images: [B, ...] in [−1, 1].
          seed: int[2].
          training: whether the networks run in training mode.

        Returns:
          (log-likelihood [B], KL divergence [B]).
        """
        posterior = self.posterior(images, training)
        draw = functools.partial(tf.random.stateless_normal, seed=noise.seed(seed, noise.Stream.POSTERIOR))
        drawn = replicas.rows(draw, tf.shape(posterior.mean()))
        z = posterior.mean() + posterior.stddev() * tf.cast(drawn, posterior.dtype)
        return self.log_likelihood(images, z, training), _distributions().kl_divergence(posterior, self.prior)

    def posterior(self, images: tf.Tensor, training: bool = False) -> tfp.distributions.Distribution:
        """q(z|x), a TensorFlow Probability distribution over B latents [n_z]."""
        mean, log_variance = (tf.cast(x, self.prior.dtype) for x in self.encoder(images, training=training))
        return _distributions().MultivariateNormalDiag(mean, tf.exp(0.5 * log_variance))

    def log_likelihood(self, images: tf.Tensor, z: tf.Tensor, training: bool = False) -> tf.Tensor:
        """ln p(x|z) of each image at its latent, summed over pixels and channels: [B]."""
        decoded = precision.full(self.generator(z, training=training))
        images = tf.cast(images, decoded.dtype)
        if self.likelihood == "gaussian":
            logs = _distributions().Normal(decoded, self.sigma).log_prob(images)
        else:
            probabilities = tf.clip_by_value(0.5 * (decoded + 1.0), _LEAST, 1.0 - _LEAST)
            pixels = _distributions().Bernoulli(probs=probabilities, dtype=decoded.dtype)
            logs = pixels.log_prob(0.5 * (images + 1.0))
        return tf.reduce_sum(logs, axis=list(range(1, images.shape.rank)))

    def _check_encoder(self):
        """Builds the encoder by one call, and checks that the KL divergence has a closed form."""
        z, images = self._examples()
        outputs = self.encoder(images, training=False)
        found = [list(output.shape) for output in outputs] if isinstance(outputs, (list, tuple)) else outputs.shape
        expected = list(z.shape)
        if found != [expected, expected]:
            raise ValueError(f"the encoder must return [mean, log-variance], {expected} each for B = 2, found {found}")
        try:
            _distributions().kl_divergence(self.posterior(images), self.prior)
        except NotImplementedError as error:
            raise ValueError(f"a VAE needs a prior with a closed-form KL divergence, found {self.prior!r}") from error


def _distributions() -> Any:
    """TensorFlow Probability's distributions, imported only for VAEs because the import is slow."""
    import tensorflow_probability as tfp

    return tfp.distributions
