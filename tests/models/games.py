"""GANs of one parameter a player: games in the plane, as the real trainer plays them."""

import keras
import numpy as np

from tfjc import models

NOTHING = np.full([8, 1], -1e-30, np.float32)  # data: δ at 0


class Shift(keras.layers.Layer):
    """z ↦ 0·z + b."""

    def build(self, shape):
        self.bias = self.add_weight(shape=(1,), name="bias")

    def call(self, z):
        return 0.0 * z + self.bias


def game(x, y, *, rate=0.1, model=models.GAN, optimizer=keras.optimizers.SGD, **options):
    """The generator b = x, the critic d ↦ y·d, data δ at 0: with Wasserstein's loss L_g = −xy, L_d = xy.

    Then ξ = (y, −x), the bilinear game; with the others the Dirac GAN (Mescheder et al. 2018, section 2).
    """
    generator = keras.Sequential([keras.Input([1]), Shift()])
    critic = keras.Sequential([keras.Input([1]), keras.layers.Dense(1, use_bias=False)])
    gan = model(generator, critic, **{"loss": "wasserstein", **options})
    gan.compile(optimizer(rate), optimizer(rate))
    generator.set_weights([np.array([x])])
    critic.set_weights([np.array([[y]])])
    return gan


def parameters(gan):
    """(x, y)."""
    return np.array([gan.generator.get_weights()[0].item(), gan.critic.get_weights()[0].item()], np.float64)


def play(gan, steps, **options):
    """Trains for `steps` steps, all in one execution of the graph, and returns (x, y)."""
    gan.steps_per_execution = steps
    gan.fit(NOTHING, batch_size=8, epochs=1, steps_per_epoch=steps, verbose=0, **options)
    return parameters(gan)
