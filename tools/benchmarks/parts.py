"""Times what tfjc's own layers and gradients bring: a step, or metric tensors, with each replaced by TensorFlow's.

tools/run python tools/benchmarks/parts.py --output FILE

All variants take turns in one process, so that a drift of speed meets all alike. The ratio is the median over rounds of
the CPU time without the part, divided by the time with it in the same round.
"""

import argparse
import contextlib
import os
import pathlib
import statistics
import sys
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from jacobian import machine, markdown  # noqa: E402
from penalties import BATCH, milliseconds, step_of  # noqa: E402

from tfjc import architectures, geometry, layers, models, penalties  # noqa: E402
from tfjc.geometry import _gradients  # noqa: E402

N_Z = 64
DCGAN = sys.modules["tfjc.architectures.dcgan"]
ACTIVATIONS = ("ReluGrad", "LeakyReluGrad", "SigmoidGrad", "TanhGrad")


def main():
    """Measures, and prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--channels", type=int, default=64, help="of the DCGAN; the ResNet has half as many")
    parser.add_argument("--output", type=pathlib.Path, help="a Markdown file to write")
    flags = parser.parse_args()
    rows = [["what", "without", "ms with all", "ratio"]]
    for what, (make, count, parts) in cases(flags.channels).items():
        rows += measured(what, make, count, parts, flags.rounds)
    document = f"{machine()}, float32, {flags.rounds} rounds.\n\n" + "\n".join(markdown(rows, left=2))
    print(document)
    if flags.output:
        flags.output.write_text(f"# Own layers and gradients, measured\n\n{document}\n", encoding="utf-8")


def cases(channels):
    """{what: (function that makes a call, calls of a round, {part: context without it})}."""
    normalisation = {"fused batch normalisation": lambda: _replaced(layers.BatchNormalization, "_is_fusible", _never)}
    dcgan = {f"{name} of tfjc": _of_keras(name) for name in ("LeakyReLU", "Conv2D", "Conv2DTranspose")}
    return {
        "DCGAN, clamped step": (
            lambda: step_of(channels, True, [penalties.JacobianClamping()]),
            10,
            {**dcgan, **normalisation},
        ),
        "WGAN-GP, step": (
            lambda: _wgangp_step(channels // 2),
            3,
            {"fused resampling": _plain_resampling, **normalisation},
        ),
        "DCGAN, 8 metric tensors": (
            lambda: _metric_tensors(channels),
            5,
            {
                "gradient of Conv2D": lambda: _without("Conv2D"),
                "gradients of activations": lambda: _without(*ACTIVATIONS),
            },
        ),
    }


def measured(what, make, count, parts, rounds):
    """The rows of one case."""
    calls = {"": make()}
    for part, without in parts.items():
        with without():
            calls[part] = make()
    found = {part: [] for part in calls}
    for _ in range(rounds):
        for part, call in calls.items():
            with parts.get(part, contextlib.nullcontext)():
                found[part].append(milliseconds(call, count))
    ratios = {part: sorted(a / b for a, b in zip(found[part], found[""], strict=True)) for part in parts}
    return [
        [what, part, f"{statistics.median(found['']):.1f}", f"{statistics.median(r):.2f} ({r[0]:.2f} to {r[-1]:.2f})"]
        for part, r in ratios.items()
    ]


def _wgangp_step(channels):
    networks = architectures.wgangp_resnet((32, 32, 3), n_z=128, channels=channels, num_classes=10)
    gan = models.GAN(
        *networks[:2],
        prior=networks.prior,
        loss="wasserstein",
        critic_penalties=[penalties.GradientPenalty()],
        num_classes=10,
    )
    gan.compile(keras.optimizers.Adam(2e-4, beta_1=0.5), keras.optimizers.Adam(2e-4, beta_1=0.5))
    images = tf.constant(np.random.default_rng(0).integers(0, 256, [BATCH, 32, 32, 3]).astype(np.uint8))
    step = tf.function(lambda: gan.train_step((images, tf.zeros([BATCH], tf.int32))))
    for _ in range(3):
        step()
    return step


def _metric_tensors(channels):
    generator = architectures.dcgan((28, 28, 1), n_z=N_Z, channels=channels).generator
    z = tf.random.stateless_normal([8, N_Z], [0, 0])
    geometry.metric_tensor(generator, z)
    return lambda: geometry.metric_tensor(generator, z)


def _replaced(where, name, what):
    return mock.patch.object(where, name, what)


def _never(*_):
    return False


def _of_keras(name):
    return lambda: _replaced(DCGAN, name, getattr(keras.layers, name))


@contextlib.contextmanager
def _plain_resampling():
    with (
        _replaced(layers, "UpsampledConv2D", lambda *a, **o: _two(keras.layers.UpSampling2D(), _convolution(*a, **o))),
        _replaced(
            layers, "PooledConv2D", lambda *a, **o: _two(_convolution(*a, **o), keras.layers.AveragePooling2D(2))
        ),
    ):
        yield


def _convolution(*arguments, **options):
    return keras.layers.Conv2D(*arguments, **options)


def _two(first, second):
    return lambda x: second(first(x))


def _without(*names):
    kept = {name: make for name, make in _gradients._GRADIENTS.items() if name not in names}
    return _replaced(_gradients, "_GRADIENTS", kept)


if __name__ == "__main__":
    main()
