"""One worker of a run, in float64: `python tests/workers.py WORKDIR STEPS`, with TF_CONFIG; alone without it."""

import os
import sys

import keras

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tfjc import architectures, datasets, models, penalties
from tfjc.runs import devices, environment, experiment


def _networks(shape, seed):
    return architectures.mlp(shape, n_z=3, width=4, seed=seed)


def _model(*networks, **options):
    return models.GAN(*networks, generator_penalties=[penalties.JacobianClamping(1, 1.5)], **options)


def main(workdir, steps):
    """Trains on the digits, with an evaluation every second step."""
    devices.prepare()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    name = "multi_worker" if "TF_CONFIG" in os.environ else "default"
    with devices.create(name, agreement=environment.versions()).scope():
        experiment.train_and_evaluate(
            workdir,
            dataset=lambda **where: datasets.load("digits"),
            architecture=_networks,
            model=_model,
            steps=steps,
            batch_size=8,
            eval_every=2,
            eval_latents=3,
        )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
