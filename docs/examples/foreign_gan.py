"""Watching the conditioning of a GAN that knows nothing of tfjc: copy the lines between the two rules.

    python docs/examples/foreign_gan.py [--epochs=20] [--log_dir=runs/foreign]

A plain Keras GAN on scikit-learn's 8×8 digits (no files, no network; ten seconds on two cores). The callback prints
`mean_log_condition` in Keras's progress line, draws its curve in TensorBoard, and warns when the generator collapses.
"""

import argparse

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

import tfjc

N_Z = 16


class ForeignGAN(keras.Model):
    """Somebody's GAN: non-saturating losses, one update of each network a step."""

    def __init__(self, generator, critic):
        super().__init__()
        self.generator, self.critic = generator, critic
        self.optimizers = [keras.optimizers.Adam(2e-4, beta_1=0.5) for _ in range(2)]
        self.bce = keras.losses.BinaryCrossentropy(from_logits=True)
        self.built = True

    def train_step(self, images):
        """One update of each network."""
        z = tf.random.normal([tf.shape(images)[0], N_Z])
        with tf.GradientTape(persistent=True) as tape:
            fake, real = self.critic(self.generator(z, training=True)), self.critic(images)
            critic_loss = self.bce(tf.ones_like(real), real) + self.bce(tf.zeros_like(fake), fake)
            generator_loss = self.bce(tf.ones_like(fake), fake)
        for network, loss, optimizer in zip(
            (self.generator, self.critic), (generator_loss, critic_loss), self.optimizers, strict=True
        ):
            optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
        return {"generator_loss": generator_loss, "critic_loss": critic_loss}


def networks():
    """A generator z [B, 16] → images [B, 8, 8, 1] in [−1, 1], and a critic."""
    layers = keras.layers
    generator = keras.Sequential(
        [
            keras.Input([N_Z]),
            layers.Dense(128, activation="relu"),
            layers.Dense(128, activation="relu"),
            layers.Dense(64, activation="tanh"),
            layers.Reshape([8, 8, 1]),
        ]
    )
    critic = keras.Sequential(
        [keras.Input([8, 8, 1]), layers.Flatten(), layers.Dense(128), layers.LeakyReLU(0.2), layers.Dense(1)]
    )
    return generator, critic


def main():
    """Trains the GAN and prints what the callback saw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--log_dir", default="runs/foreign")
    flags = parser.parse_args()
    images = (load_digits().images[..., None] / 8.0 - 1.0).astype(np.float32)
    model = ForeignGAN(*networks())
    model.compile(jit_compile=False)

    # ---- what watching takes ------------------------------------------------------------------------------------
    z = tf.random.stateless_normal([64, N_Z], seed=[0, 0])
    watch = tfjc.callbacks.Conditioning(
        model.generator, z, every=100, log_dir=flags.log_dir, alarm_quotient=0.05, alarm_log_condition=20.0
    )
    model.fit(images, batch_size=32, epochs=flags.epochs, callbacks=[watch], verbose=2)
    # -------------------------------------------------------------------------------------------------------------

    for row in watch.history:
        print(f"step {row['step']:5d}   mean ln κ(M_z) {row['mean_log_condition']:6.2f}   σ_max {row['sigma_max']:.2f}")
    print(f"curves: tensorboard --logdir={flags.log_dir}")


if __name__ == "__main__":
    main()
