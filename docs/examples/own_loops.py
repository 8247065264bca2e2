"""Jacobian Clamping in training loops of your own: the lines between rules are what it takes.

    python docs/examples/own_loops.py [--steps=300] [--lambda_min=1] [--lambda_max=20]

Three loops on scikit-learn's 8×8 digits, without `tfjc.models.GAN`: a plain loop under `tf.function`, keras.io's
WGAN-GP with its `train_step`, and keras.io's conditional GAN, whose generator takes the one-hot label as a part of its
input. Each prints the quotients and the mean log-condition number that it ends with. It takes half a minute.
"""

import argparse

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

import tfjc

N_Z, CLASSES, BATCH = 16, 10, 32
ADAM = {"learning_rate": 1e-3, "beta_1": 0.5}


def train_by_hand(generator, critic, images, clamp, steps):
    """A loop of one's own: non-saturating losses, one update of each network a step."""
    optimizers = [keras.optimizers.Adam(**ADAM) for _ in range(2)]
    for network, optimizer in zip((generator, critic), optimizers, strict=True):
        optimizer.build(network.trainable_variables)
    bce = keras.losses.BinaryCrossentropy(from_logits=True)

    @tf.function
    def update(real, step):
        z = tf.random.normal([tf.shape(real)[0], N_Z])
        with tf.GradientTape(persistent=True) as tape:
            # ---- z and z' in one pass, and the penalty ----------------------------------------------------------
            z_near = clamp.perturb(z, seed=[0, step])
            fake, fake_near = tf.split(generator(tf.concat([z, z_near], axis=0), training=True), 2)
            penalty = tf.reduce_mean(clamp(z, z_near, fake, fake_near))
            # ----------------------------------------------------------------------------------------------------
            of_real, of_fake = critic(real, training=True), critic(fake, training=True)
            critic_loss = bce(tf.ones_like(of_real), of_real) + bce(tf.zeros_like(of_fake), of_fake)
            generator_loss = bce(tf.ones_like(of_fake), of_fake) + penalty
        losses = (generator_loss, critic_loss)
        for network, loss, optimizer in zip((generator, critic), losses, optimizers, strict=True):
            optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)

    for step, real in enumerate(tf.data.Dataset.from_tensor_slices(images).repeat().batch(BATCH).take(steps)):
        update(real, tf.constant(step))


class WGANGP(keras.Model):
    """keras.io's WGAN-GP: several critic updates and one generator update a step, gradient penalty by hand."""

    def __init__(self, discriminator, generator, latent_dim, clamp, discriminator_extra_steps=3, gp_weight=10.0):
        super().__init__()
        self.discriminator, self.generator, self.latent_dim = discriminator, generator, latent_dim
        self.d_steps, self.gp_weight = discriminator_extra_steps, gp_weight
        self.clamp, self.built = clamp, True

    def compile(self, d_optimizer, g_optimizer):
        """Keeps the two optimizers."""
        super().compile(jit_compile=False)
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer

    def gradient_penalty(self, real, fake):
        """E (‖∇D(x̂)‖ − 1)² between real and generated images."""
        alpha = tf.random.uniform([tf.shape(real)[0], 1, 1, 1])
        with tf.GradientTape() as tape:
            between = real + alpha * (fake - real)
            tape.watch(between)
            scores = self.discriminator(between, training=True)
        gradients = tape.gradient(scores, between)
        return tf.reduce_mean((tf.sqrt(tf.reduce_sum(tf.square(gradients), axis=[1, 2, 3]) + 1e-12) - 1.0) ** 2)

    def train_step(self, real):
        """As on keras.io; the generator's part has the clamp."""
        batch_size = tf.shape(real)[0]
        for _ in range(self.d_steps):
            with tf.GradientTape() as tape:
                fake = self.generator(tf.random.normal([batch_size, self.latent_dim]), training=True)
                d_loss = tf.reduce_mean(self.discriminator(fake, training=True))
                d_loss -= tf.reduce_mean(self.discriminator(real, training=True))
                d_loss += self.gp_weight * self.gradient_penalty(real, fake)
            gradients = tape.gradient(d_loss, self.discriminator.trainable_variables)
            self.d_optimizer.apply(gradients, self.discriminator.trainable_variables)
        z = tf.random.normal([batch_size, self.latent_dim])
        with tf.GradientTape() as tape:
            # ---- z and z' in one pass, and the penalty ----------------------------------------------------------
            z_near = self.clamp.perturb(z, seed=[1, self.g_optimizer.iterations])
            fake, fake_near = tf.split(self.generator(tf.concat([z, z_near], axis=0), training=True), 2)
            penalty = tf.reduce_mean(self.clamp(z, z_near, fake, fake_near))
            # ----------------------------------------------------------------------------------------------------
            g_loss = -tf.reduce_mean(self.discriminator(fake, training=True)) + penalty
        gradients = tape.gradient(g_loss, self.generator.trainable_variables)
        self.g_optimizer.apply(gradients, self.generator.trainable_variables)
        return {"d_loss": d_loss, "g_loss": g_loss, "clamping": penalty}


class ConditionalGAN(keras.Model):
    """keras.io's conditional GAN: the generator's input is z and then a one-hot label."""

    def __init__(self, discriminator, generator, latent_dim, clamp):
        super().__init__()
        self.discriminator, self.generator, self.latent_dim = discriminator, generator, latent_dim
        self.clamp, self.built = clamp, True

    def compile(self, d_optimizer, g_optimizer):
        """Keeps the two optimizers."""
        super().compile(jit_compile=False)
        self.d_optimizer, self.g_optimizer = d_optimizer, g_optimizer
        self.bce = keras.losses.BinaryCrossentropy(from_logits=True)

    def judge(self, images, labels):
        """The logits of images with the one-hot label as further channels."""
        size = tf.shape(images)
        maps = tf.broadcast_to(labels[:, None, None, :], [size[0], size[1], size[2], CLASSES])
        return self.discriminator(tf.concat([images, maps], axis=-1), training=True)

    def train_step(self, data):
        """As on keras.io, with the clamp. Only z is moved: the labels of z' are those of z."""
        real, labels = data
        z = tf.random.normal([tf.shape(real)[0], self.latent_dim])
        with tf.GradientTape(persistent=True) as tape:
            # ---- z and z' in one pass, and the penalty ----------------------------------------------------------
            z_near = self.clamp.perturb(z, seed=[2, self.g_optimizer.iterations])
            inputs = tf.concat([tf.concat([latents, labels], axis=1) for latents in (z, z_near)], axis=0)
            fake, fake_near = tf.split(self.generator(inputs, training=True), 2)
            penalty = tf.reduce_mean(self.clamp(z, z_near, fake, fake_near))
            # ----------------------------------------------------------------------------------------------------
            of_real, of_fake = self.judge(real, labels), self.judge(fake, labels)
            d_loss = self.bce(tf.ones_like(of_real), of_real) + self.bce(tf.zeros_like(of_fake), of_fake)
            g_loss = self.bce(tf.ones_like(of_fake), of_fake) + penalty
        for network, loss, optimizer in (
            (self.discriminator, d_loss, self.d_optimizer),
            (self.generator, g_loss, self.g_optimizer),
        ):
            optimizer.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
        return {"d_loss": d_loss, "g_loss": g_loss, "clamping": penalty}


def networks(inputs=N_Z, channels=1):
    """A generator [B, inputs] → images [B, 8, 8, 1] in [−1, 1], and a critic of images [B, 8, 8, channels]."""
    layers = keras.layers
    generator = [keras.Input([inputs]), layers.Dense(128, "relu"), layers.Dense(64, "tanh"), layers.Reshape([8, 8, 1])]
    critic = [keras.Input([8, 8, channels]), layers.Flatten(), layers.Dense(128), layers.LeakyReLU(0.2)]
    return keras.Sequential(generator), keras.Sequential([*critic, layers.Dense(1)])


def report(name, generator, labels=None):
    """Measures without `fit`: one line for the quotients, one for the spectrum."""
    z = tf.random.stateless_normal([64, N_Z], seed=[3, 0])
    generate = generator if labels is None else lambda z, labels: generator(tf.concat([z, labels], axis=1))
    clamp = tfjc.penalties.JacobianClamping()
    q = tfjc.geometry.quotients(generate, z, clamp.perturb(z, seed=[4, 0]), labels=labels)
    spectrum = tfjc.geometry.spectrum(generate, z, labels=labels)
    print(f"{name:16s} median Q {np.median(q):5.2f}   mean ln κ(M_z) {spectrum.mean_log_condition:5.2f}")


def main():
    """Trains three GANs with the clamp."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--lambda_min", type=float, default=1.0)
    parser.add_argument("--lambda_max", type=float, default=20.0)
    flags = parser.parse_args()
    keras.utils.set_random_seed(0)
    digits = load_digits()
    images = (digits.images[..., None] / 8.0 - 1.0).astype(np.float32)
    one_hot = np.eye(CLASSES, dtype=np.float32)[digits.target]
    clamp = tfjc.penalties.JacobianClamping(flags.lambda_min, flags.lambda_max)

    generator, critic = networks()
    train_by_hand(generator, critic, images, clamp, flags.steps)
    report("by hand", generator)

    generator, critic = networks()
    wgan = WGANGP(critic, generator, N_Z, clamp)
    wgan.compile(keras.optimizers.Adam(**ADAM), keras.optimizers.Adam(**ADAM))
    wgan.fit(
        tf.data.Dataset.from_tensor_slices(images).repeat().batch(BATCH).take(flags.steps), shuffle=False, verbose=0
    )
    report("WGAN-GP", generator)

    generator, critic = networks(N_Z + CLASSES, 1 + CLASSES)
    conditional = ConditionalGAN(critic, generator, N_Z, clamp)
    conditional.compile(keras.optimizers.Adam(**ADAM), keras.optimizers.Adam(**ADAM))
    data = tf.data.Dataset.from_tensor_slices((images, one_hot))
    conditional.fit(data.repeat().batch(BATCH).take(flags.steps), shuffle=False, verbose=0)
    report("conditional GAN", generator, one_hot[:64])


if __name__ == "__main__":
    main()
