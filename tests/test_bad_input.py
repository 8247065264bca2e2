"""Bad input to the library, by area: each case raises ValueError, whose one message says what was expected and found.

What is wrong with gin files, flags, studies and model files is in test_bad_calls.py.
"""

import copy
import functools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.sparse.linalg import LinearOperator
from scipy.sparse.linalg import aslinearoperator as linear

from tfjc import architectures, callbacks, datasets, geometry, layers, losses, models
from tfjc.architectures import dcgan, mlp, sngan_cnn, sngan_resnet, wgangp_resnet
from tfjc.evaluators import ClassifierEvaluator, ConditioningEvaluator, MissingModes, scores
from tfjc.penalties import R1, R2, ConditionNumber, GradientPenalty, Isometry, JacobianClamping, OroJaR, PathLength
from tfjc.study import statistics

NAN, INF = math.nan, math.inf
IMAGES = np.random.default_rng(0).integers(0, 256, [12, 8, 8, 1], np.uint8)
LABELS = np.arange(12) % 3
Z = np.zeros([4, 3], np.float32)
X = np.zeros([4, 8, 8, 1], np.float32)


@functools.cache
def networks():
    return dcgan((8, 8, 1), n_z=3, channels=1)


@functools.cache
def labelled():
    return wgangp_resnet((16, 16, 1), num_classes=3, n_z=3, channels=1)


@functools.cache
def gan():
    return models.GAN(networks().generator, networks().critic)


@functools.cache
def conditional():
    return models.GAN(*labelled()[:2], num_classes=3)


def planar():
    return keras.Sequential([keras.Input([1, 1, 3]), keras.layers.Flatten(), keras.layers.Dense(2)])


def twofold():
    z = keras.Input([3])
    return keras.Model(z, [keras.layers.Dense(2)(z), keras.layers.Dense(2)(z)])


def named_critic():
    x = keras.Input([8, 8, 1])
    return keras.Model(x, {"real": keras.layers.Dense(1)(keras.layers.Flatten()(x))})


def critic_of_planes():
    return keras.Sequential([keras.Input([2]), keras.layers.Dense(1)])


def made(**options):
    return models.GAN(networks().generator, networks().critic, **options)


def data(images=IMAGES, labels=LABELS):
    return datasets.Dataset("mine", images, labels)


def fitted(images, labels=None, model=gan, **options):
    return model().fit(images, labels, verbose=0, **options)


def batched(*arrays, size=4):
    return tf.data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0]).batch(size)


def with_nan():
    images = IMAGES / 127.5 - 1.0
    images[3, 2, 2] = NAN
    return images


def grown(images=IMAGES):
    return np.repeat(np.repeat(images, 2, axis=1), 2, axis=2)


OF_DATA = {
    "images of a wrong rank": (lambda: fitted(IMAGES[0, 0, 0]), "shape [N, ...]", "[1]"),
    "no images": (lambda: fitted(IMAGES[:0]), "N ≥ 1", "[0, 8, 8, 1]"),
    "images without colours": (lambda: fitted(IMAGES[..., 0]), "makes images (8, 8, 1)", "(8, 8)"),
    "images of another size": (lambda: fitted(grown()), "makes images (8, 8, 1)", "(16, 16, 1)"),
    "images of other colours": (lambda: fitted(np.repeat(IMAGES, 3, axis=-1)), "makes images (8, 8, 1)", "(8, 8, 3)"),
    "images channels first": (lambda: fitted(np.moveaxis(IMAGES, -1, 1)), "makes images (8, 8, 1)", "(1, 8, 8)"),
    "images in [0, 255]": (lambda: fitted(IMAGES.astype(np.float32)), "must lie in [-1, 1]", "255]"),
    "images of int64": (lambda: fitted(IMAGES.astype(np.int64)), "must be uint8, or floats", "int64"),
    "images of bool": (lambda: fitted(IMAGES > 9), "must be uint8, or floats", "bool"),
    "images of complex numbers": (lambda: fitted(IMAGES * 1j), "must be uint8, or floats", "complex128"),
    "images of strings": (lambda: fitted(IMAGES.astype(str)), "must be uint8, or floats", "<U"),
    "images of objects": (lambda: fitted(IMAGES.astype(object)), "must be uint8, or floats", "object"),
    "a nan pixel": (lambda: fitted(with_nan()), "must lie in [-1, 1]", "nan"),
    "an infinite pixel": (lambda: fitted(np.full([4, 8, 8, 1], INF)), "must lie in [-1, 1]", "inf"),
    "fewer than a batch": (lambda: fitted(IMAGES, batch_size=64), "a batch takes 64 images", "12"),
    "a batch of 10**12": (lambda: fitted(IMAGES, batch_size=10**12), "a batch takes 1000000000000 images", "12"),
    "a batch of none": (lambda: fitted(IMAGES, batch_size=0), "at least 1", "0"),
    "a batch of -3": (lambda: fitted(IMAGES, batch_size=-3), "at least 1", "-3"),
    "a batch of 2.5": (lambda: fitted(IMAGES, batch_size=2.5), "a whole number", "2.5"),
    "a batch of True": (lambda: fitted(IMAGES, batch_size=True), "a whole number", "True"),
    "a batch of '8'": (lambda: fitted(IMAGES, batch_size="8"), "a whole number", "'8'"),
    "a list of images": (lambda: fitted(IMAGES.tolist()), "an array or a tf.data.Dataset", "list"),
    "None for images": (lambda: fitted(None), "an array or a tf.data.Dataset", "NoneType"),
    "a path for images": (lambda: fitted("images/"), "an array or a tf.data.Dataset", "str"),
    "a batched dataset and a batch size": (lambda: fitted(batched(IMAGES), batch_size=4), "in batches", "4"),
    "a dataset without batches": (lambda: fitted(tf.data.Dataset.from_tensor_slices(IMAGES)), ".batch(n)", "(8, 1)"),
    "a dataset of dicts": (lambda: fitted(batched({"a": IMAGES})), "a dataset of images", "['a']"),
    "a dataset of strings": (lambda: fitted(batched(np.array(["x"] * 8))), "N, ...", "[4]"),
    "an empty dataset": (lambda: fitted(batched(IMAGES).take(0)), "at least one batch", "none"),
    "a dataset and labels": (lambda: fitted(batched(IMAGES), LABELS), "as (images, labels)", "y beside it"),
    "an epoch of 0 steps": (lambda: fitted(IMAGES, steps_per_epoch=0), "steps_per_epoch must be at least 1", "0"),
    "labels of an unlabelled generator": (lambda: fitted(IMAGES, LABELS), "takes latents alone", "[12]"),
    "no labels": (lambda: fitted(grown(), model=conditional), "3 classes", "no labels"),
    "a label too high": (lambda: fitted(grown(), LABELS + 1, conditional), "0 to 2", "1 to 3"),
    "a negative label": (lambda: fitted(grown(), LABELS - 1, conditional), "0 to 2", "-1 to 1"),
    "labels of another number": (lambda: fitted(grown(), LABELS[:7], conditional), "[12]", "[7]"),
    "labels of a wrong rank": (lambda: fitted(grown(), LABELS[:, None, None], conditional), "[12]", "[12, 1, 1]"),
    "labels one-hot": (lambda: fitted(grown(), np.eye(3)[LABELS], conditional), "whole numbers [12]", "[12, 3]"),
    "labels of floats": (lambda: fitted(grown(), LABELS / 2, conditional), "whole numbers", "float64"),
    "labels of strings": (lambda: fitted(grown(), LABELS.astype(str), conditional), "whole numbers", "<U"),
    "labels in a dataset too high": (
        lambda: fitted(batched(grown(), LABELS + 5), model=conditional),
        "0 to 2",
        "5 to 7",
    ),
    "float images where bytes are needed": (
        lambda: fitted(IMAGES / 255.0, model=lambda: made(dequantise=True)),
        "uint8",
        "float64",
    ),
    "a dataset of another size": (lambda: gan().training_data(data(grown())), "[8, 8, 1]", "[16, 16, 1]"),
    "a dataset of fewer classes": (
        lambda: conditional().training_data(data(grown(), LABELS % 2)),
        "3 classes",
        "labels 0 to 1",
    ),
    "a dataset without labels": (lambda: data(labels=None).labelled(), "labels", "no labels"),
    "a dataset of four": (lambda: data(IMAGES[:4], LABELS[:4]).labelled(), "a fifth", "4 images"),
    "batches with a negative seed": (lambda: datasets.batches(IMAGES, 4, seed=-1), "at least 0", "-1"),
    "an unknown dataset": (lambda: datasets.load("cifar100"), "nearest: cifar10", "'cifar100'"),
    "a number for a dataset": (lambda: datasets.load(7), "valid: cifar10", "7"),
    "a dataset of 10**6 pixels": (lambda: datasets.load("digits", size=10**6), "GiB of memory", "1000000"),
    "a size of three numbers": (
        lambda: datasets.load("image_folder", folder="/no", size=[8, 8, 3]),
        "a number, or [height, width]",
        "[8, 8, 3]",
    ),
    "a height of 0": (lambda: datasets.load("image_folder", folder="/no", size=(0, 8)), "at least 1", "found 0"),
    "a rectangle of digits": (lambda: datasets.load("digits", size=(8, 16)), "the images are squares", "(8, 16)"),
    "a size of True": (lambda: datasets.load("digits", size=True), "a whole number", "True"),
    "a size of nan": (lambda: datasets.load("digits", size=NAN), "a whole number", "nan"),
    "a split of a number": (lambda: datasets.load("mnist", split=3), "a string", "3"),
    "an option of another dataset": (lambda: datasets.load("digits", folder="x"), "no option 'folder'", "'x'"),
    "a misspelt dataset": (lambda: datasets.load("mnits"), "nearest: mnist", "'mnits'"),
    "a size of 0": (lambda: datasets.load("digits", size=0), "dataset.size must be at least 1", "found 0"),
    "a size of 0.5": (lambda: datasets.load("digits", size=0.5), "dataset.size must be a whole number", "found 0.5"),
    "a split of what has none": (
        lambda: datasets.load("digits", split="test"),
        "dataset 'digits' has no option 'split'",
        "found split = 'test'",
    ),
    "a folder of MNIST": (lambda: datasets.load("mnist", folder="x"), "dataset 'mnist' has no option 'folder'", "'x'"),
    "no folder": (lambda: datasets.load("image_folder"), "dataset.folder =", "none"),
    "a folder that is not there": (lambda: datasets.load("image_folder", folder="/no"), "a folder of images", "'/no'"),
    "a number for a folder": (lambda: datasets.load("image_folder", folder=3), "a string", "3"),
}

OF_NETWORKS = {
    "images of one odd side": (lambda: dcgan((8, 9, 1)), "even image sizes of at least 8", "found 8 by 9"),
    "images of one side too small": (lambda: wgangp_resnet((32, 8, 1)), "halved 2 times", "found 32 by 8"),
    "images of an odd size": (lambda: dcgan((9, 9, 1)), "even image sizes", "9"),
    "images of no size": (lambda: dcgan((0, 0, 1)), "at least 1", "0"),
    "images of 33 pixels": (lambda: dcgan((33, 33, 1)), "even image sizes of at least 8", "found 33"),
    "images of 6 pixels": (lambda: dcgan((6, 6, 1)), "even image sizes of at least 8", "found 6"),
    "images without channels": (lambda: dcgan((28, 32)), "images (height, width, channels)", "found (28, 32)"),
    "points for a DCGAN": (lambda: dcgan((2,)), "needs images", "found (2,)"),
    "channels of '64'": (lambda: dcgan((28, 28, 1), channels="64"), "channels must be a whole number", "'64' (str)"),
    "a number for a shape": (lambda: dcgan(28), "(height, width, channels)", "28"),
    "a shape of strings": (lambda: dcgan(("a", "a", 1)), "a whole number", "'a'"),
    "a negative size": (lambda: dcgan((-8, -8, 1)), "at least 1", "-8"),
    "no latents": (lambda: dcgan((8, 8, 1), n_z=0), "n_z must be at least 1", "0"),
    "10**9 latents": (lambda: dcgan((8, 8, 1), n_z=10**9), "GiB of memory", "n_z = 1000000000"),
    "10**30 latents": (lambda: dcgan((8, 8, 1), n_z=10**30), "GiB of memory", "n_z = 1000"),
    "latents of 1e3": (lambda: dcgan((8, 8, 1), n_z=1e3), "a whole number", "1000.0"),
    "latents of '64'": (lambda: dcgan((8, 8, 1), n_z="64"), "a whole number", "'64'"),
    "latents of True": (lambda: dcgan((8, 8, 1), n_z=True), "a whole number", "True"),
    "latents of nan": (lambda: dcgan((8, 8, 1), n_z=NAN), "a whole number", "nan"),
    "10**7 channels": (lambda: dcgan((8, 8, 1), channels=10**7), "GiB of memory", "channels = 10000000"),
    "channels of None": (lambda: dcgan((8, 8, 1), channels=None), "a whole number", "None"),
    "batch_norm of 1": (lambda: dcgan((8, 8, 1), batch_norm=1), "True or False", "1"),
    "a negative seed": (lambda: dcgan((8, 8, 1), seed=-1), "seed must be at least 0", "-1"),
    "a seed of 2**31": (lambda: dcgan((8, 8, 1), seed=2**31), "seed must be at most 2147483647", "2147483648"),
    "a seed of 10**30": (lambda: mlp((2,), seed=10**30), "seed must be at most 2147483647", "1000000"),
    "an MLP of 10**9": (lambda: mlp((2,), width=10**9), "GiB of memory", "width = 1000000000"),
    "an MLP 10**9 deep": (lambda: mlp((2,), depth=10**9), "depth must be at most 1000", "1000000000"),
    "an SN-GAN of 10 pixels": (lambda: sngan_cnn((10, 10, 3)), "32 or 48 pixels", "(10, 10, 3)"),
    "an SN-GAN of 10**9 latents": (lambda: sngan_resnet((32, 32, 3), n_z=10**9), "GiB of memory", "n_z = 1000000000"),
    "an unknown normalisation": (
        lambda: sngan_cnn((32, 32, 3), normalise="critics"),
        "nearest: critic",
        "'critics'",
    ),
    "preconditioning without": (
        lambda: sngan_cnn((32, 32, 3), normalise="none", preconditioning=1),
        "'critic' or 'both'",
        "preconditioning = 1",
    ),
    "preconditioning of the generator alone": (
        lambda: sngan_resnet((32, 32, 3), preconditioning=1, normalise="generator"),
        "preconditioning = 1 needs spectral normalisation of the critic",
        "normalise = 'generator'; set",
    ),
    "an SN-GAN of 28 pixels": (
        lambda: sngan_cnn((28, 28, 1)),
        "sngan_cnn is for images of 32 or 48 pixels on the shorter side",
        "found (28, 28, 1)",
    ),
    "an SN-GAN's ResNet of 28 pixels": (
        lambda: sngan_resnet((28, 28, 1)),
        "images of 32, 48, 64, 128 or 256 pixels on the shorter side",
        "found (28, 28, 1); dataset",
    ),
    "an SN-GAN of 32 by 50 pixels": (lambda: sngan_resnet((32, 50, 3)), "multiples of 8", "found (32, 50, 3)"),
    "an SN-GAN of points": (lambda: sngan_resnet((2,)), "(height, width, channels)", "found (2,)"),
    "an SN-GAN without channels": (lambda: sngan_resnet((32, 32, 3), channels=0), "channels must be at least 1", "0"),
    "an SN-GAN without latents": (lambda: sngan_cnn((32, 32, 3), n_z=0), "n_z must be at least 1", "found 0"),
    "an SN-GAN's negative seed": (lambda: sngan_cnn((32, 32, 3), seed=-1), "seed must be at least 0", "found -1"),
    "level 5": (
        lambda: sngan_cnn((32, 32, 3), preconditioning=5),
        "level must be 0 to 4 or adaptive",
        "found 5",
    ),
    **{
        f"a layer of level {level!r}": (
            lambda level=level: layers.Preconditioning(keras.layers.Conv2D(2, 3), level),
            "level must be 0 to 4 or adaptive",
            f"found {level!r}",
        )
        for level in (5, -1, True, 1.5, "adaptative")
    },
    "an adaptive polynomial": (lambda: layers.polynomial(0.5, "adaptive"), "level must be 0 to 4", "'adaptive'"),
    "preconditioning of a named Dense": (
        lambda: layers.Preconditioning(keras.layers.Dense(3, name="top")),
        "use SpectralNormalization for Dense layers",
        "found Dense 'top'",
    ),
    "spectral normalisation of a ReLU": (
        lambda: layers.SpectralNormalization(keras.layers.ReLU(name="r")),
        "Dense, Conv2D, Conv2DTranspose",
        "found ReLU 'r'",
    ),
    "spectral normalisation of a string": (
        lambda: layers.SpectralNormalization("dense"),
        "Dense, Conv2D, Conv2DTranspose",
        "found 'dense'",
    ),
    "normalisation by no class": (lambda: layers.ConditionalBatchNormalization(0), "num_classes", "0"),
    "a momentum of 1": (
        lambda: layers.ConditionalBatchNormalization(3, momentum=1.0),
        "momentum must be less than 1",
        "1.0",
    ),
    "level 'high'": (lambda: sngan_cnn((32, 32, 3), preconditioning="high"), "0 to 4", "'high'"),
    "one class": (lambda: wgangp_resnet((16, 16, 1), num_classes=1), "num_classes must be at least 2", "1"),
    "10**9 classes": (
        lambda: wgangp_resnet((16, 16, 1), num_classes=10**9),
        "GiB of memory",
        "num_classes = 1000000000",
    ),
    "spectral normalisation of a Flatten": (
        lambda: layers.SpectralNormalization(keras.layers.Flatten()),
        "Dense",
        "Flatten",
    ),
    "preconditioning of a Dense": (
        lambda: layers.Preconditioning(keras.layers.Dense(3)),
        "convolutions",
        "Dense",
    ),
    "a prior of no latents": (lambda: architectures.standard_normal(0), "n_z must be at least 1", "0"),
}

OF_MODELS = {
    "an unknown loss": (lambda: made(loss="hing"), "nearest: hinge", "'hing'"),
    "a number for a loss": (lambda: losses.get(3), "valid: hinge", "3"),
    "a list for a loss": (lambda: losses.get(["hinge"]), "hinge", "['hinge']"),
    "no critic steps": (lambda: made(d_steps=0), "d_steps must be at least 1", "0"),
    "critic steps of 1.0": (lambda: made(d_steps=1.0), "a whole number", "1.0"),
    "critic steps of True": (lambda: made(d_steps=True), "a whole number", "True"),
    "a generator batch of 10**9": (lambda: made(generator_batch=10**9), "GiB of memory", "1000000000"),
    "pairs of several generated images": (
        lambda: made(loss="relativistic", generator_batch=2),
        "a paired loss",
        "found 2",
    ),
    "dequantise of 'yes'": (lambda: made(dequantise="yes"), "True or False", "'yes'"),
    "an average of 1": (lambda: made(ema_decay=1.0), "less than 1", "1.0"),
    "an average of nan": (lambda: made(ema_decay=NAN), "a finite number", "nan"),
    "an average of True": (lambda: made(ema_decay=True), "a finite number", "True"),
    "a seed of a GAN of 10**30": (lambda: made(seed=10**30), "seed must be at most 2147483647", "1000000"),
    "class weights of none": (lambda: made(class_weights=(1.0, 1.0)), "takes no labels", "(1.0, 1.0)"),
    "one class weight": (
        lambda: models.GAN(*labelled()[:2], num_classes=3, class_weights=1.0),
        "a pair",
        "1.0",
    ),
    "classes of a generator without": (lambda: made(num_classes=3), "num_classes = 3", "latents alone"),
    "a generator of other classes": (
        lambda: models.GAN(*labelled()[:2], num_classes=4),
        "0 to 3",
        "num_classes = 4",
    ),
    "a conditional generator without classes": (
        lambda: models.GAN(*labelled()[:2]),
        "how many classes",
        "labels beside z",
    ),
    "a critic of other images": (
        lambda: models.GAN(networks().generator, dcgan((16, 16, 1), channels=1).critic),
        "expected shape=(None, 16, 16, 1)",
        "found shape=(2, 8, 8",
    ),
    "networks exchanged": (lambda: models.GAN(networks().critic, networks().generator), "[B, n_z]", "[B, 8, 8, 1]"),
    "latents of several axes": (
        lambda: models.GAN(planar(), critic_of_planes()),
        "keras.layers.Reshape([1, 1, 3])",
        "[B, 1, 1, 3]",
    ),
    "latents of several axes with a prior": (
        lambda: models.GAN(planar(), critic_of_planes(), prior=architectures.standard_normal(3)),
        "keras.Input([3])",
        "[B, 1, 1, 3]",
    ),
    "two images of a generator": (lambda: models.GAN(twofold(), critic_of_planes()), "one tensor", "a list of 2"),
    "a critic of named outputs": (lambda: models.GAN(networks().generator, named_critic()), "logits [B, 1]", "real"),
    "images of different weights": (lambda: fitted(IMAGES, class_weight={0: 2.0}), "weigh all", "class_weight"),
    "validation data": (lambda: fitted(IMAGES, validation_data=(IMAGES,)), "tfjc.callbacks.Scores", "validation"),
    "a validation split": (lambda: fitted(IMAGES, validation_split=0.5), "tfjc.callbacks.Scores", "validation"),
    "evaluating a GAN": (lambda: gan().evaluate(IMAGES), "tfjc.callbacks.Scores", "validation"),
    "predicting with a GAN": (lambda: gan().predict(Z), "model.generator.predict(z)", "predict"),
    "calling a GAN": (lambda: gan()(Z), "model.generator(z)", "model.critic(images)"),
    "saving a GAN": (lambda: gan().save("g.keras"), "model.generator.save", "cannot be saved whole"),
    "exporting a GAN": (lambda: gan().export("g"), "tfjc.saving.export_generator", "cannot be saved whole"),
    **{
        f"{what} of a GAN": (lambda call=call: call(gan()), "tfjc.saving.export_generator", "cannot be saved whole")
        for what, call in {
            "the text": lambda model: model.to_json(),
            "the configuration": lambda model: model.get_config(),
            "a file": lambda model: keras.saving.save_model(model, "g.keras"),
            "a file of the older format": lambda model: keras.saving.save_model(model, "g.h5"),
            "a clone": keras.models.clone_model,
            "a copy": copy.deepcopy,
        }.items()
    },
    "a test on a batch": (lambda: gan().test_on_batch(IMAGES), "tfjc.callbacks.Scores", "validation"),
    "a prediction on a batch": (lambda: gan().predict_on_batch(Z), "model.generator.predict(z)", "predict"),
    "a checkpoint of a whole GAN": (
        lambda: fitted(IMAGES, callbacks=[keras.callbacks.ModelCheckpoint("g.keras")]),
        "save_weights_only=True",
        "cannot be saved whole",
    ),
    "a scheduler of one rate": (
        lambda: fitted(IMAGES, callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)]),
        "CosineDecay",
        "LearningRateScheduler",
    ),
    "one rate reduced": (
        lambda: fitted(IMAGES, callbacks=keras.callbacks.ReduceLROnPlateau("loss")),
        "CosineDecay",
        "ReduceLROnPlateau",
    ),
    "another name for an optimiser": (lambda: gan().compile(d_optimizer="adam"), "critic_optimizer", "d_optimizer"),
    "one optimiser": (lambda: gan().compile(optimizer="adam"), "generator_optimizer", "optimizer"),
    "a string for a generator": (lambda: models.GAN("dcgan", networks().critic), "a Keras model", "'dcgan'"),
    "None for a critic": (lambda: models.GAN(networks().generator, None), "a Keras model", "None"),
    "a prior of another size": (
        lambda: made(prior=architectures.standard_normal(5)),
        "expected shape=(None, 3)",
        "found shape=(2, 5)",
    ),
    "a prior that is none": (lambda: made(prior="normal"), "a distribution", "'normal'"),
    "a class for a penalty": (lambda: made(generator_penalties=[JacobianClamping]), "objects", "JacobianClamping"),
    "a critic's penalty for the generator": (lambda: made(generator_penalties=[R1()]), "JacobianClamping()", "R1"),
    "one optimiser for two": (lambda: gan().compile(*[keras.optimizers.Adam()] * 2), "each", "one for both"),
    "an unknown optimiser": (lambda: gan().compile("adamm"), "an optimiser", "'adamm'"),
    "a number for an optimiser": (lambda: gan().compile(3), "an optimiser", "3"),
    "an unknown adjustment": (
        lambda: models.DampedGAN(*networks()[:2], adjustment="konsensus"),
        "nearest: consensus",
        "'konsensus'",
    ),
    "a negative weight of an adjustment": (
        lambda: models.DampedGAN(*networks()[:2], weight=-1),
        "at least 0",
        "-1",
    ),
    "a likelihood without its sigma": (
        lambda: models.VAE(*networks()[:2], likelihood="gaussian"),
        "needs it",
        "None",
    ),
    "an encoder of one output": (lambda: models.VAE(*networks()[:2]), "[mean, log-variance]", "(2, 1)"),
    "one pair": (lambda: models.Memoriser(networks().generator, pairs=1), "at least 2", "1"),
    "more pairs than images": (
        lambda: fitted(IMAGES, model=lambda: models.Memoriser(networks().generator, pairs=10**12)),
        "1000000000000 pairs need 500000000001 images",
        "12",
    ),
}

OF_PENALTIES = {
    "lambda_min above lambda_max": (lambda: JacobianClamping(2.0, 1.0), "must not exceed", "2.0 > 1.0"),
    "a negative lambda_min": (lambda: JacobianClamping(-1.0), "lambda_min must be at least 0", "-1.0"),
    "a lambda_max of 0": (lambda: JacobianClamping(0.0, 0.0), "greater than 0", "0.0"),
    "an infinite lambda_max": (lambda: JacobianClamping(1.0, INF), "a finite number", "inf"),
    "a lambda_min of nan": (lambda: JacobianClamping(NAN), "a finite number", "nan"),
    "a lambda of '1'": (lambda: JacobianClamping("1"), "a finite number", "'1'"),
    "an epsilon of 0": (lambda: JacobianClamping(epsilon=0.0), "epsilon must be greater than 0", "0.0"),
    "an epsilon of -1": (lambda: JacobianClamping(epsilon=-1), "epsilon must be greater than 0", "-1"),
    "an epsilon of True": (lambda: JacobianClamping(epsilon=True), "a finite number", "True"),
    "an epsilon of 1e-300": (lambda: JacobianClamping(epsilon=1e-300), "at least", "1e-300"),
    "a lambda_max of 1e300": (lambda: JacobianClamping(1.0, 1e300), "float32's range", "1e+300"),
    "a penalty of None": (lambda: GradientPenalty(None), "a finite number", "None"),
    "a negative penalty": (lambda: GradientPenalty(-10), "weight must be at least 0", "-10"),
    "a lambda_max of '20'": (lambda: JacobianClamping(lambda_max="20"), "lambda_max must be a finite", "'20' (str)"),
    "an epsilon of nan": (lambda: JacobianClamping(epsilon=NAN), "epsilon must be a finite number", "nan"),
    "a gradient penalty at no step": (lambda: GradientPenalty(every=0), "every must be at least 1", "0"),
    "R2 at half the steps": (lambda: R2(every=0.5), "every must be a whole number", "0.5"),
    "a negative gamma of R2": (lambda: R2(gamma=-1.0), "gamma must be at least 0", "-1.0"),
    "a negative gamma": (lambda: R1(gamma=-1.0), "gamma must be at least 0", "-1.0"),
    "a negative weight of path lengths": (lambda: PathLength(weight=-1.0), "weight must be at least 0", "-1.0"),
    "a negative weight of OroJaR": (lambda: OroJaR(weight=-1.0), "weight must be at least 0", "-1.0"),
    "an unknown reduction": (lambda: OroJaR(1.0, reduction="maximum"), "nearest: max", "'maximum'"),
    "a decay of 0": (lambda: PathLength(decay=0.0), "decay must be greater than 0", "0.0"),
    "an infinite gamma": (lambda: R1(INF), "a finite number", "inf"),
    "a decay of 2": (lambda: PathLength(decay=2.0), "at most 1", "2.0"),
    "a step of 0": (lambda: OroJaR(1.0, epsilon=0), "epsilon must be greater than 0", "0"),
    "another number of neighbours": (lambda: JacobianClamping()(Z, Z[:1], X, X), "the same shape", "[4, 3] and [1, 3]"),
    "images of other latents": (lambda: JacobianClamping()(Z, Z, X[:2], X[:2]), "one row for each", "[4, 3] and [2, 8"),
    "one image of the neighbours": (lambda: JacobianClamping()(Z, Z, X, X[:1]), "x_perturbed", "[1, 8, 8, 1]"),
    "one image of OroJaR's neighbours": (lambda: OroJaR(1.0)(Z, [Z, Z], X, [X, X[:1]]), "same shape", "[1, 8, 8, 1]"),
    "grey levels to clamp": (lambda: JacobianClamping()(Z, Z, IMAGES[:4], X), "x must be of floating type", "uint8"),
    "grey levels to differ by": (
        lambda: GradientPenalty()(networks().critic, IMAGES[:4], X, [0, 0]),
        "real must be of floating type",
        "uint8",
    ),
    "more images than were generated": (
        lambda: GradientPenalty()(networks().critic, np.zeros([5, 8, 8, 1], np.float32), X, [0, 0]),
        "real and fake must have the same shape",
        "[5, 8, 8, 1] and [4, 8, 8, 1]",
    ),
    "grey levels for R1": (lambda: R1()(networks().critic, IMAGES[:4], X, [0, 0]), "floating type", "uint8"),
    "no seed": (lambda: JacobianClamping().perturb(Z, None), "a whole number or a pair", "None"),
    "one latent to perturb": (lambda: JacobianClamping().perturb(Z[0], [0, 1]), "[B, n_z]", "[3]"),
    "latents of two axes to perturb": (lambda: JacobianClamping().perturb(X[..., 0], [0, 1]), "[B, n_z]", "[4, 8, 8]"),
    "whole numbers to perturb": (lambda: JacobianClamping().perturb(Z.astype(int), [0, 1]), "floating", "int64"),
    "one latent of OroJaR": (lambda: OroJaR(1.0).perturb(Z[0], [0, 1]), "[B, n_z]", "[3]"),
    "one neighbour of OroJaR": (lambda: OroJaR(1.0)(Z, [Z], X, [X]), "two mini-batches", "found 1"),
    **{
        f"{penalty.__name__} of a constant": (
            lambda penalty=penalty, options=options: penalty(**options)(lambda z, training: X, Z, [0, 1]),
            "no gradient with respect to its latents",
            "the generator's images",
        )
        for penalty, options in ((PathLength, {}), (ConditionNumber, {"target": 1.0}), (Isometry, {}))
    },
}


OF_MEASUREMENTS = {
    "a file for TensorBoard": (
        lambda: callbacks.Conditioning(networks().generator, Z, log_dir=__file__),
        "log_dir must be a directory",
        "test_bad_input.py",
    ),
    "latents of a wrong size": (
        lambda: geometry.spectrum(networks().generator, np.zeros([4, 5])),
        "latents [B, 3]",
        "[4, 5]",
    ),
    "latents of a wrong rank": (lambda: geometry.spectrum(networks().generator, np.zeros(3)), "[B, n_z]", "[3]"),
    "no latents at all": (lambda: geometry.spectrum(networks().generator, Z[:0]), "at least one latent", "none"),
    "latents of whole numbers": (lambda: geometry.jacobian(networks().generator, Z.astype(int)), "floating", "int64"),
    "latents of strings": (lambda: geometry.jacobian(networks().generator, Z.astype(str)), "floating", "string"),
    "None for latents": (lambda: geometry.jacobian(networks().generator, None), "[B, n_z]", "None"),
    "labels of a generator without": (
        lambda: geometry.jacobian(networks().generator, Z, labels=[0] * 4),
        "takes no labels",
        "one input",
    ),
    "labels for other latents": (
        lambda: geometry.jacobian(labelled().generator, Z, labels=[0, 1]),
        "one for each latent",
        "(2,) for z (4, 3)",
    ),
    "a string for a generator to measure": (lambda: geometry.jacobian("g", Z), "callable", "'g'"),
    "an unknown method": (
        lambda: geometry.jacobian(networks().generator, Z, method="pulback"),
        "nearest: pullback",
        "'pulback'",
    ),
    "a chunk of 0": (lambda: geometry.jacobian(networks().generator, Z, chunk=0), "chunk must be at least 1", "0"),
    "a chunk of 2.0": (lambda: geometry.jacobian(networks().generator, Z, chunk=2.0), "a whole number", "2.0"),
    "a generator of whole numbers": (lambda: geometry.jacobian(lambda z: tf.cast(z, tf.int32), Z), "floating", "int32"),
    "a generator without batches": (lambda: geometry.jacobian(tf.reduce_sum, Z), "must return [B, ...]", "()"),
    "latents to watch of several axes": (
        lambda: callbacks.Conditioning(gan, np.zeros([2, 1, 1, 3])),
        "tf.reshape(z, [-1, 1, 1, 3])",
        "[2, 1, 1, 3]",
    ),
    "quotients in a graph": (
        lambda: tf.function(lambda z: geometry.quotients(lambda z: z, z, z + 1.0))(Z),
        "call it outside",
        "inside a tf.function",
    ),
    "an interval of measuring of 0": (lambda: callbacks.Conditioning(gan, Z, every=0), "at least 1", "0"),
    "latents to watch of a wrong rank": (lambda: callbacks.Conditioning(gan, Z[0]), "[B, n_z]", "[3]"),
    "an alarm of nan": (lambda: callbacks.Conditioning(gan, Z, alarm_quotient=NAN), "a finite number", "nan"),
    "no evaluator": (lambda: callbacks.Scores(gan, "fid"), "such as ClassifierEvaluator", "'fid'"),
    "networks to watch by list": (lambda: callbacks.WeightSpectra([1]), "by name", "[1]"),
    "a clamp that is none": (lambda: ConditioningEvaluator(Z, clamping=3), "JacobianClamping", "3"),
    "labels to measure at": (lambda: ConditioningEvaluator(Z, labels=[1]), "[4, ...]", "(1,)"),
    "images for a dataset": (lambda: MissingModes(Z, IMAGES), "datasets.Dataset", "ndarray"),
    "modes without labels": (lambda: MissingModes(Z, data(labels=None)), "classify=", "no labels"),
    "a classifier without classes": (
        lambda: MissingModes(Z, data(), classify=len),
        "a function, and the number",
        "None",
    ),
    "samples of another shape": (
        lambda: MissingModes(Z, data(grown()), classify=len, classes=3)(networks().generator),
        "[16, 16, 1]",
        "[8, 8, 1]",
    ),
    "one sample": (lambda: ClassifierEvaluator(Z[:1], data()), "at least 6 samples", "found 1"),
    "a batch of scores of 0": (lambda: MissingModes(Z, data(), batch_size=0), "at least 1", "0"),
    "features of nan": (lambda: scores.frechet_distance(np.full([4, 2], NAN), np.ones([4, 2])), "finite", "4 of 4"),
    "features of two sizes": (
        lambda: scores.frechet_distance(np.ones([4, 2]), np.ones([4, 3])),
        "of one size",
        "2 and 3",
    ),
    "features of one sample": (
        lambda: scores.kernel_distance(np.ones([1, 2]), np.ones([4, 2])),
        "at least 2 real features",
        "found 1",
    ),
    "a confidence of 2": (
        lambda: statistics.summary([1.0], confidence=2.0),
        "less than 1",
        "2.0",
    ),
    "a seed for a generator of numbers": (lambda: statistics.two_clusters([1.0, 2.0], rng=0), "Generator", "int"),
    "no numbers in a latent": (
        lambda: geometry.spectrum(networks().generator, Z[:, :0]),
        "n_z of at least 1",
        "[4, 0]",
    ),
    "weights of an array": (lambda: geometry.polarity_weights(X, 1.0), "tfjc.geometry.Spectrum", "ndarray"),
    "norms of an array": (lambda: geometry.smallest_norms(X, 0.5), "tfjc.geometry.Spectrum", "ndarray"),
    "extremes of an array": (lambda: geometry.extremes(X[0, ..., 0]), "aslinearoperator(J)", "ndarray"),
    "extremes of None": (lambda: geometry.extremes(None), "aslinearoperator(J)", "NoneType"),
    "extremes of whole numbers": (lambda: geometry.extremes(linear(np.eye(9, dtype=int))), "floating type", "int64"),
    "a seed of 1.5 for probes": (lambda: geometry.partial_spectrum(linear(np.eye(9)), 2, seed=1.5), "seed", "1.5"),
    "no seed for a solver": (lambda: geometry.extremes(linear(np.eye(9)), 2, seed=None), "seed", "None"),
    "operators by name": (lambda: geometry.partial_spectrum({"a": linear(np.eye(9))}, 2), "a list of them", "dict"),
    "a product alone": (
        lambda: geometry.partial_spectrum(LinearOperator((9, 9), matvec=lambda v: v, dtype=np.float64), 2),
        "rmatvec (Jᵀu)",
        "not defined",
    ),
    **{
        f"a product that is no transpose in {function.__name__}": (
            lambda function=function: function(
                LinearOperator((9, 9), matvec=lambda v: v, rmatvec=lambda u: 2.0 * u, dtype=np.float64), 2
            ),
            "rmatvec must be the product with the transpose",
            "found ",
        )
        for function in (geometry.partial_spectrum, geometry.extremes)
    },
}

TABLE = OF_DATA | OF_NETWORKS | OF_MODELS | OF_PENALTIES | OF_MEASUREMENTS


@pytest.mark.parametrize("case", TABLE)
def test_it_is_refused_in_one_message(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Keras begins some files before it asks for what is refused
    call, expected, found = TABLE[case]
    with pytest.raises(ValueError) as caught:
        call()
    message = str(caught.value)
    assert expected in message and found in message, message
    assert len(message) < 600 and "Traceback" not in message


def test_no_case_hides_another():
    areas = (OF_DATA, OF_NETWORKS, OF_MODELS, OF_PENALTIES, OF_MEASUREMENTS)
    assert len(TABLE) == sum(map(len, areas)) >= 100
    assert all(expected and found for _, expected, found in TABLE.values())


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_corrupt_picture_in_a_folder_is_named(tmp_path, content):
    (tmp_path / "7.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"7\.png cannot be read as an image"):
        datasets.load("image_folder", folder=str(tmp_path), size=8)
