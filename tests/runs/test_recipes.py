"""The optimisers of the gin files are the published ones: what every file of ours binds, made as a run makes it."""

import gin
import pytest

from tfjc import models
from tfjc.runs import configuration
from tfjc.support import gin_files

FILES = sorted(path.stem for path in gin_files.directory().glob("*.gin"))
DECAYING = [name for name in FILES if "sngan" in name or "pcgan" in name or "wgangp" in name]
NETWORKS = ("generator", "critic")


def bound(parameter, default):
    try:
        return gin.query_parameter(parameter)
    except ValueError:
        return default


def optimizer(network):
    """The optimiser that the configuration makes for a network, the models' own where it names none."""
    reference = bound(f"train_and_evaluate.{network}_optimizer", None)
    return models.default_optimizer() if reference is None else reference.scoped_configurable_fn()


@pytest.mark.parametrize("name", FILES)
def test_rates_and_epsilon_are_the_published_ones(name):
    """SN-GAN's, the PC-layer's and WGAN-GP's rates fall linearly to 0 over the updates that each network makes in the
    run; DCGAN's stay. ε is 1e-8, as in TensorFlow 1, PyTorch and Chainer (Keras has 1e-7)."""
    configuration.parse([name], [])
    steps = gin.query_parameter("train_and_evaluate.steps")
    for network, updates in zip(NETWORKS, (steps, steps * bound("GAN.d_steps", 1)), strict=True):
        made = optimizer(network)
        assert made.epsilon == 1e-8
        if name not in DECAYING:
            assert float(made.learning_rate) == pytest.approx(2e-4)
            continue
        rate, first = made._learning_rate, 1e-3 if name.startswith("digits_wgangp") else 2e-4
        assert rate.decay_steps == updates
        for share in (0.0, 0.5, 1.0):
            assert float(rate(share * updates)) == pytest.approx((1.0 - share) * first, rel=1e-5, abs=1e-12)


def test_orojar_is_the_published_one():
    """The maximum over the batch; weight and ε of the authors' code (simplegan_experiments)."""
    configuration.parse(["digits_orojar"], [])
    (reference,) = gin.query_parameter("GAN.generator_penalties")
    penalty = reference.scoped_configurable_fn()
    assert (penalty.reduction, penalty.weight, penalty.epsilon) == ("max", 1e-5, 0.1)
