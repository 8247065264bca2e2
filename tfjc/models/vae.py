"""Variational autoencoders whose decoder is a GAN's generator, so that the spectra of both can be compared."""

import functools

import tensorflow as tf

from tfjc import architectures
from tfjc.models._model import GenerativeModel, images_of, objective
from tfjc.support import checks, noise, precision, replicas
from tfjc.support.images import to_images

LIKELIHOODS = ("bernoulli", "gaussian")
_LEAST = 1e-6  # of a pixel's probability and its complement: float32's tanh is ±1 from 9 on


class VAE(GenerativeModel):
    """A decoder G and an encoder trained to raise ELBO = E_q ln p(x|z) − β·KL(q(z|x) ‖ p(z)) (Kingma and Welling 2014).

    q(z|x) is N(mean, diag exp(log-variance)) of the encoder's outputs, one sample of it is drawn for each image, and
    the KL divergence is in closed form. β = 1 gives the bound itself, β > 1 that of Higgins et al. 2017. The decoder
    gives images in [−1, 1], as generators do, and so its Jacobian needs no rescaling. Likelihoods of a pixel x:

    - "bernoulli": (x + 1)/2 has the probability (G + 1)/2; grey values count as probabilities, as is usual;
    - "gaussian": x is N(G, σ²).

    Args:
      generator: the decoder, Keras model z [B, n_z] → images in [−1, 1].
      encoder: Keras model images → [mean, log-variance], [B, n_z] each; stands in the critic's place.
      likelihood: "bernoulli" or "gaussian".
      sigma: σ > 0 of "gaussian", on the scale of images; None for "bernoulli".
      beta: β ≥ 0.
      prior: TensorFlow Probability distribution over latents [n_z]; N(0, I) of the decoder's input size by default.
      seed: of all noise drawn in training.

    Raises:
      ValueError: the networks do not fit each other, an argument is out of range, or the KL divergence from a Gaussian
        to the prior has no closed form.
    """

    def __init__(
        self, generator, encoder, *, likelihood="bernoulli", sigma=None, beta=1.0, prior=None, seed=0, name="vae"
    ):
        super().__init__(generator, encoder, prior=prior, seed=seed, name=name)
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
    def encoder(self):
        """The network in the critic's place."""
        return self.critic

    def train_step(self, data):
        """One update of decoder and encoder together, by the gradient of −ELBO, the batch's mean."""
        images = to_images(images_of(data))
        with tf.control_dependencies([images]):
            with tf.GradientTape() as tape:
                terms = self.terms(images, self._seed(noise.Stream.POSTERIOR_SEED), training=True)
                log_likelihood, kl = map(tf.reduce_mean, terms)
                loss = self.beta * tf.cast(kl, log_likelihood.dtype) - log_likelihood
                minimised = objective(self.critic, objective(self.generator, loss, []), [])
            self._track([("generator_loss", loss), ("log_likelihood", log_likelihood), ("kl", kl)])
            self._descend_together(tape, minimised)
            self.step.assign_add(1)
        return self._results()

    def _descend_together(self, tape, loss):
        """Both updates by the gradient of one loss.

        Optimisers of networks in float16 ask for a multiple of it, and divide by what they asked for. It is multiplied
        by the lesser: either whose gradients overflow brings it down.
        """
        networks = [(self.generator, self.generator_optimizer), (self.critic, self.critic_optimizer)]
        asked = [tf.cast(optimizer.scale_loss(1.0), loss.dtype) for _, optimizer in networks]
        least, variables = tf.minimum(*asked), [network.trainable_variables for network, _ in networks]
        gradients = tape.gradient(loss, variables, output_gradients=least, unconnected_gradients="zero")
        for gradient, scale, (network, optimizer) in zip(gradients, asked, networks, strict=True):
            scaled = [tf.convert_to_tensor(g) * tf.cast(scale / least, g.dtype) for g in gradient]
            self._apply(optimizer, scaled, network.trainable_variables)

    def elbo(self, images, seed):
        """ELBO of each image in nats, [B], in inference mode, from one sample of q; `seed` int[2]."""
        log_likelihood, kl = self.terms(to_images(images), seed)
        return log_likelihood - self.beta * tf.cast(kl, log_likelihood.dtype)

    def terms(self, images, seed, training=False):
        """(ln p(x|z) at a sample z of q(z|x), KL(q(z|x) ‖ p(z))) of each image, [B] each, in nats."""
        posterior = self.posterior(images, training)
        draw = functools.partial(tf.random.stateless_normal, seed=noise.seed(seed, noise.Stream.POSTERIOR))
        drawn = replicas.rows(draw, tf.shape(posterior.mean()))
        z = posterior.mean() + posterior.stddev() * tf.cast(drawn, posterior.dtype)
        return self.log_likelihood(images, z, training), _distributions().kl_divergence(posterior, self.prior)

    def posterior(self, images, training=False):
        """q(z|x), a TensorFlow Probability distribution over [B] latents [n_z]."""
        mean, log_variance = (tf.cast(x, self.prior.dtype) for x in self.critic(images, training=training))
        return _distributions().MultivariateNormalDiag(mean, tf.exp(0.5 * log_variance))

    def log_likelihood(self, images, z, training=False):
        """ln p(x|z) of each image at its latent, summed over pixels and colours: [B]."""
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
        """Runs the encoder once, which builds it, and takes the divergence once."""
        z, images = self._examples()
        outputs = self.critic(images, training=False)
        found = [list(output.shape) for output in outputs] if isinstance(outputs, (list, tuple)) else outputs.shape
        expected = list(z.shape)
        if found != [expected, expected]:
            raise ValueError(f"the encoder must return [mean, log-variance], {expected} each for B = 2, found {found}")
        try:
            _distributions().kl_divergence(self.posterior(images), self.prior)
        except NotImplementedError as error:
            raise ValueError(f"a VAE needs a prior with a closed-form KL divergence, found {self.prior!r}") from error


def _distributions():
    """TensorFlow Probability's distributions; slow to import, and only VAEs need them."""
    import tensorflow_probability as tfp

    return tfp.distributions
