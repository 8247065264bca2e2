"""Whether XLA is used."""

import pytest
import tensorflow as tf

from tfjc.support.xla import choose_xla, use_xla


def test_one_place_decides_on_xla():
    answers = {}
    for choice in ("on", "off", "auto"):
        choose_xla(choice)
        answers[choice] = use_xla()
    assert answers == {"on": True, "off": False, "auto": bool(tf.config.list_physical_devices("GPU"))}
    with pytest.raises(ValueError, match="unknown jit_compile 'yes'"):
        choose_xla("yes")
