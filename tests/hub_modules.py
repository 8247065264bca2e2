"""Writes modules of TensorFlow 1 as TF-Hub has them: a SavedModel whose graphs differ in their tags."""

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
RANDOM = np.random.default_rng(0)
W, E = RANDOM.normal(size=(4, 12)).astype("float32"), RANDOM.normal(size=(3, 4)).astype("float32")


def written(path, make, tag_sets, signature="default"):
    """A module whose graphs `make(training)` → (inputs by name, outputs by name) have one set of tags each."""
    builder = v1.saved_model.Builder(str(path))
    for index, tags in enumerate(tag_sets):
        with v1.Graph().as_default(), v1.Session() as session:
            signatures = {signature: v1.saved_model.signature_def_utils.predict_signature_def(*make("train" in tags))}
            session.run(v1.global_variables_initializer())
            if index:
                builder.add_meta_graph(tags, signatures)
            else:
                builder.add_meta_graph_and_variables(session, tags, signatures)
    builder.save()
    return path


def biggan(integer=False):
    """A graph with BigGAN's interface: x = upsampled sin(truncation · (z + e(y)) W), [B, 4, 4, 3]."""

    def make(training):
        z, truncation = v1.placeholder(tf.float32, [None, 4], "z"), v1.placeholder(tf.float32, [], "truncation")
        y = v1.placeholder(*((tf.int32, [None]) if integer else (tf.float32, [None, 3])), "y")
        w, e = v1.get_variable("w", initializer=W), v1.get_variable("e", initializer=E)
        code = tf.gather(e, y) if integer else y @ e
        x = tf.reshape(tf.sin(truncation * (z + code) @ w), [-1, 2, 2, 3])
        x = v1.image.resize_nearest_neighbor(-x if training else x, [4, 4])
        return {"z": z, "y": y, "truncation": truncation}, {"default": x}

    return make
