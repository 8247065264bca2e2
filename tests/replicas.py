"""What a number of replicas makes of the same steps: a program, since TensorFlow fixes its devices once.

`python tests/replicas.py COUNT FILE NAME...` trains each case of `CASES` on COUNT logical CPUs (0: without a strategy)
in float64, so that only rounding may differ, and writes what comes of it to FILE.
"""

import os
import sys
import tempfile
import warnings

import keras
import numpy as np
import tensorflow as tf

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tfjc import architectures, geometry, layers, models, penalties
from tfjc.evaluators import Inception, _samples
from tfjc.evaluators.classifier import Classifier
from tfjc.runs import devices
from tfjc.support import replicas

IMAGES = np.random.default_rng(0).integers(0, 256, size=(64, 32, 32, 1)).astype(np.uint8)
LABELS = np.random.default_rng(1).integers(0, 3, size=64)


def _gan(model=models.GAN, architecture=architectures.dcgan, shape=(8, 8, 1), **options):
    networks = architecture(shape, n_z=3, channels=2)
    classes = {} if networks.num_classes is None else {"num_classes": networks.num_classes}
    return model(*networks[:2], prior=networks.prior, **classes, **options)


def _half():
    """Loss scaling: both optimisers divide by what losses are multiplied by, and look at every replica's gradients.

    With this seed no scaled gradient overflows. Where one replica's does, all skip the step, which one device may not.
    """
    keras.config.set_dtype_policy("mixed_float16")
    both = {"critic_penalties": [penalties.GradientPenalty()], "generator_penalties": [penalties.JacobianClamping()]}
    model = _gan(shape=(16, 16, 1), **both, seed=2)
    keras.config.set_dtype_policy("float64")
    return model


def _dense(shape, *, n_z, channels):
    return architectures.mlp(shape, n_z=n_z, width=4 * channels, depth=1)


def conditional(shape, seed=0, *, n_z, channels, num_classes=3):
    """One layer of each kind that `wgangp_resnet` has, and its inputs and outputs. Sizes are even."""
    keras.utils.set_random_seed(seed)
    z, labels, images = keras.Input([n_z]), keras.Input([], dtype="int32"), keras.Input(shape)
    size = shape[0] // 2
    x = keras.layers.Reshape([size, size, channels])(keras.layers.Dense(size**2 * channels)(z))
    x = keras.layers.ReLU()(layers.ConditionalBatchNormalization(num_classes)([x, labels]))
    x = layers.BatchNormalization()(layers.UpsampledConv2D(channels, 3, padding="same")(x))
    generator = keras.Model(
        [z, labels], keras.layers.Conv2D(1, 3, padding="same", activation="tanh")(x), name="generator"
    )
    x = keras.layers.ReLU()(layers.PooledConv2D(channels, 3, padding="same")(images))
    x = keras.layers.GlobalAveragePooling2D()(x)
    critic = keras.Model(images, [keras.layers.Dense(1)(x), keras.layers.Dense(num_classes)(x)])
    return architectures.Networks(generator, critic, architectures.standard_normal(n_z), num_classes=num_classes)


def _preconditioned(shape, *, n_z, channels):
    """Each kind of layer that `sngan_cnn` has, once."""
    size, normalised = shape[0] // 2, layers.SpectralNormalization
    up = keras.layers.Conv2DTranspose(channels, 4, 2, padding="same")
    generator = [normalised(keras.layers.Dense(size**2 * channels)), keras.layers.Reshape([size, size, channels])]
    generator += [normalised(up), layers.BatchNormalization(), keras.layers.ReLU()]
    generator += [normalised(keras.layers.Conv2D(1, 3, padding="same", activation="tanh"))]
    critic = [layers.Preconditioning(keras.layers.Conv2D(channels, 4, 2, padding="same"), 2), layers.LeakyReLU(0.1)]
    critic += [keras.layers.Flatten(), normalised(keras.layers.Dense(1))]
    networks = [keras.Sequential([keras.Input([n_z]), *generator]), keras.Sequential([keras.Input(shape), *critic])]
    return architectures.Networks(*networks, architectures.standard_normal(n_z))


CASES = {
    "plain": _gan,
    "clamped": lambda: _gan(
        d_steps=2,
        critic_penalties=[penalties.GradientPenalty(), penalties.R1()],
        generator_penalties=[penalties.JacobianClamping(1, 1.5), penalties.OroJaR(1.0)],
        dequantise=True,
        ema_decay=0.9,
    ),
    "path length": lambda: _gan(generator_penalties=[penalties.PathLength()]),
    "spectrum": lambda: _gan(
        architecture=_dense,
        generator_penalties=[
            penalties.ConditionNumber(0.1, gain=0.1),
            penalties.SpectralSpread(),
            penalties.Isometry(every=2),
        ],
    ),
    "consensus": lambda: _gan(models.DampedGAN),
    "symplectic": lambda: _gan(models.DampedGAN, shape=(16, 16, 1), adjustment="symplectic"),
    "conditional": lambda: _gan(
        architecture=conditional,
        loss="wasserstein",
        d_steps=2,
        generator_batch=2,
        critic_penalties=[penalties.GradientPenalty()],
        generator_penalties=[penalties.JacobianClamping()],
    ),
    "normalised weights": lambda: _gan(architecture=_preconditioned, loss="hinge", ema_decay=0.5),
    "float16": _half,
    "vae": lambda: _gan(models.VAE, architectures.dcgan_vae),
    "memoriser": lambda: _gan(models.Memoriser, pairs=24),
}


def train(make, steps=2):
    """{name: array}: the weights, the means that were logged, and what is measured of the trained generator."""
    model = make()
    model.compile(keras.optimizers.SGD(0.02), keras.optimizers.SGD(0.02), jit_compile=False)
    images = IMAGES[:, : model.image_shape[0], : model.image_shape[1]]
    labels = None if model.num_classes is None else LABELS
    logged = model.fit(images, labels, batch_size=8, steps_per_epoch=steps, verbose=0).history
    networks = [model.evaluated_generator, *([model.critic] if model.critic is not None else [])]
    found = {f"weight {n} {w.path}": w.numpy() for n, network in enumerate(networks) for w in network.variables}
    found |= {f"logged {name}": value[-1] for name, value in logged.items()}
    return found | measure(model)


def measure(model):
    """The spectrum at five latents, which no even number of replicas divides, and images."""
    z = tf.random.stateless_normal([5, 3], [1, 2])
    labels = None if model.num_classes is None else tf.constant([0, 1, 2, 0, 1])
    share = replicas.split(
        lambda z: tf.fill([z.shape[0]], tf.distribute.get_replica_context().replica_id_in_sync_group)
    )(z)
    singular_values = geometry.spectrum(model.evaluated_generator, z, labels=labels).singular_values
    images = np.concatenate(list(_samples._made(model.evaluated_generator, z, labels, 3)))
    return {"measured spectrum": singular_values, "measured images": images, "share": share}


def networks(folder):
    """A classifier and a module of Inception's signature, as loaded from files, and what tells its replica."""
    keras.utils.set_random_seed(0)
    images = keras.Input([8, 8, 1], dtype="float32")
    features = keras.layers.Dense(4, "tanh", dtype="float32")(keras.layers.Flatten()(images))
    classifier = Classifier(keras.Model(images, [keras.layers.Dense(3, dtype="float32")(features), features]), "a", 1.0)
    module = tf.Module()
    module.kernel = tf.Variable(tf.random.stateless_normal([27, 4], [1, 2]))

    @tf.function(input_signature=[tf.TensorSpec([None, 299, 299, 3], tf.float32)])
    def call(images):
        means = tf.reshape(tf.nn.avg_pool2d(images, 99, 99, "VALID"), [-1, 27])
        return {"logits": tf.matmul(means, module.kernel), "pool_3": means}

    module.__call__ = call
    tf.saved_model.save(module, folder)

    def replica(images):
        context = tf.distribute.get_replica_context()
        number = 0 if context is None else context.replica_id_in_sync_group
        return tf.fill([tf.shape(images)[0]], number)

    shared = tf.function(lambda images: (_samples.shared(replica)(images), images), reduce_retracing=True)
    return {"classifier": classifier, "inception": Inception(folder), "share": shared}


def look(networks):
    """{name: array} of what networks make of five images, and of three, whose number the graph does not know then."""
    images = tf.random.stateless_uniform([5, 8, 8, 1], [3, 4], -1.0, 1.0)
    return {
        f"networks: {name} {part} {count}": np.asarray(array)
        for name, network in networks.items()
        for count in (5, 3)
        for part, array in enumerate(network(images[:count]))
    }


def main(count, file, names):
    """Trains the cases `names` on `count` replicas."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * max(count, 1))
    devices.prepare()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    warnings.simplefilter("error", UserWarning)  # of layers that make the update depend on the number of replicas
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        made = networks(folder)
    look(made)  # outside of the strategy first: what is traced there is not what its replicas share
    with devices.create("mirrored" if count else "default").scope():
        assert replicas.count() == max(count, 1)
        for name in names:
            found |= {f"{name}: {key}": value for key, value in train(CASES[name]).items()}
        found |= look(made)
    np.savez(file, **found)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:] or CASES)
