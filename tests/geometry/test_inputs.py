"""Models of two inputs: which one is the latent is told by names, types and widths, and never guessed."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfjc.geometry import inputs, jacobian
from tfjc.geometry._spectrum import spectrum
from tfjc.geometry.inputs import Input

SCALES = np.array([3.0, 1.0, 0.5], np.float32)


class Stretch(keras.layers.Layer):
    """(z [B, 3], label [B, 3]) → z·SCALES + 100·label: J by z is diag(SCALES), J by the label is 100·I."""

    def call(self, z, label):
        return z * SCALES + 100.0 * label


def stretching(order, names=("z", "label"), structure=list):
    z, label = (keras.Input([3], name=name) for name in names)
    x = Stretch()(z, label)
    if structure is dict:
        return keras.Model({"labels": label, "noise": z} if order == "label first" else {"noise": z, "y": label}, x)
    return keras.Model([label, z] if order == "label first" else [z, label], x)


Z, LABELS = tf.random.stateless_normal([2, 3], [1, 1]), tf.one_hot([0, 2], 3)


@pytest.mark.parametrize("order", ["z first", "label first"])
@pytest.mark.parametrize("structure", [list, dict])
@pytest.mark.parametrize("names", [("z", "label"), ("noise_vector", "input_7"), ("input_7", "classOneHot")])
def test_the_order_of_the_inputs_does_not_matter(order, structure, names):
    model = stretching(order, names, structure)
    if names[1] == "input_7" and structure is list:  # nothing says that it is labels
        with pytest.raises(ValueError, match=r"do not tell.*lambda z, labels: generator\(\[labels, z\]\)"):
            spectrum(model, Z, labels=LABELS)
        return
    np.testing.assert_allclose(spectrum(model, Z, labels=LABELS).singular_values, np.tile(SCALES, [2, 1]), rtol=1e-6)
    np.testing.assert_allclose(jacobian(model, Z, labels=LABELS), np.tile(np.diag(SCALES), [2, 1, 1]), rtol=1e-6)


def test_widths_decide_where_names_say_nothing():
    a, b = keras.Input([2], name="a"), keras.Input([3], name="b")
    x = keras.layers.Concatenate()([100.0 * a, b * SCALES])
    found = spectrum(keras.Model([a, b], x), Z, labels=tf.ones([2, 2]))
    np.testing.assert_allclose(found.singular_values, np.tile(SCALES, [2, 1]), rtol=1e-6)
    with pytest.raises(ValueError, match=r"found z \[2, 3\] and labels \[2, 4\]|do not tell"):
        spectrum(keras.Model([a, b], x), Z, labels=tf.ones([2, 4]))


def test_labels_that_are_passed_as_latents_are_refused():
    z, label = keras.Input([4], name="z"), keras.Input([3], name="label")
    model = keras.Model([z, label], keras.layers.Concatenate()([z, label]))
    with pytest.raises(ValueError, match=r"the latents z float32 \[B, 4\] .* found z \[2, 3\] and labels \[2, 4\]"):
        jacobian(model, Z, labels=tf.ones([2, 4]))


def floats(name, *shape):
    return Input(name, shape, tf.float32)


def integers(name, *shape):
    return Input(name, shape, tf.int32)


@pytest.mark.parametrize(
    "z, label",
    [
        (floats("z", 10), floats("label", 10)),
        (floats("input_1", 10), floats("y", 10)),
        (floats("input_1", 10), floats("one_hot", 10)),
        (floats("latentCode", 10), floats("condition", 10)),
        (floats("second", 10), floats("class_idx", 10)),  # "second" is no condition
        (floats("a", 10), integers("b")),
        (floats("a", 10), integers("b", 10)),
        (floats("a", 100), floats("b", 1)),
        (floats("a", 100), floats("b")),
        (floats("noise_class", 10), floats("digit", 10)),
        (floats("label_of_nothing", 10), None),  # one input is the latent, whatever it is called
    ],
)
def test_latents_and_labels_are_told_apart(z, label):
    entries = [z] if label is None else [z, label]
    assert inputs.tell_apart(entries, "m") == inputs.tell_apart(entries[::-1], "m") == (z, label)


@pytest.mark.parametrize(
    "entries, named, message",
    [
        (
            [floats("a", 10), floats("b", 10)],
            {},
            r"a float32 \[B, 10\], b .* which is the latent and which",
        ),
        ([floats("a", 100), floats("b", 10)], {}, "which is the latent and which"),
        ([floats("z", 100), floats("noise_2", 512)], {}, "name both"),
        ([floats("z", 100), floats("w", 512)], {}, "name both"),
        ([floats("label", 10), floats("y", 10)], {}, "name both"),
        ([floats("z", 10), floats("label", 10)], {"latent": "label"}, "that label is the latent, z labels; name both"),
        ([floats("z", 10), floats("label", 10)], {"labels": "z"}, "that label is the latent, z labels; name both"),
        ([floats("z", 10), integers("n")], {"latent": "n"}, "one latent of floating type as n, found none"),
        ([floats("z", 10), integers("n")], {"labels": "z"}, "has no latent beside the labels z"),
        ([floats("z", 10)], {"labels": "z"}, "has no latent beside the labels z"),
        ([floats("z", 10)], {"latent": "zz"}, "unknown latent 'zz'; nearest: z"),
        ([floats("z", 10), Input("flag", (), tf.bool)], {}, "at most one input of labels"),
        (
            [floats("z", 10), integers("y"), floats("truncation")],
            {},
            "at most one input of labels, found z .* truncation",
        ),
        ([integers("label")], {}, "found none"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(entries, named, message):
    with pytest.raises(ValueError, match=message):
        inputs.tell_apart(entries, "m", **named)


def test_naming_both_decides():
    z, label = floats("z", 10), floats("label", 10)
    assert inputs.tell_apart([z, label], "m", latent="label", labels="z") == (label, z)
    assert inputs.tell_apart([floats("a", 10), floats("b", 10)], "m", labels="a") == (floats("b", 10), floats("a", 10))
