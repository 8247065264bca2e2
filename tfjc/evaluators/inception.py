"""The Inception network of TF-GAN's TF-Hub module, for Inception Score, FID and KID."""

import contextlib
import hashlib
import os
import pathlib
import socket
from typing import Any

import numpy as np
import tensorflow as tf

from tfjc.evaluators import _cache, _samples, tfgan
from tfjc.evaluators._samples import Unavailable
from tfjc.support import checks

_SIZE = 299


class Inception:
    """Images [B, height, width, 1 or 3] in [−1, 1] → (logits [B, 1008], features [B, 2048]).

    Images are resized to 299×299 bilinearly, without antialiasing. Grey images are repeated over three channels.
    The features are the activations `pool_3`.

    Args:
      handle: URL or SavedModel directory of a TF-Hub module with the outputs `logits` and `pool_3`.

    Raises:
      Unavailable: the module is not on this machine and cannot be downloaded.
      ValueError: the module lacks these outputs.
    """

    name, layer, resizing = "inception", "pool_3", f"bilinear {_SIZE}"

    def __init__(self, handle: str | os.PathLike = tfgan.INCEPTION) -> None:
        self.handle = check_handle(handle)
        path = _resolve(self.handle)
        self.digest = _cache.file_digest(path)
        module = _load(path)
        self._module = module  # keeps its variables alive
        function = module if callable(module) else _signature(module, path)

        def infer(images):
            return _outputs(function(_resized(images)), path)

        self._run = tf.function(lambda images: _samples.shared(infer)(images), reduce_retracing=True)

    def __call__(self, images: tf.Tensor | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(logits, features) as arrays."""
        images = checks.rank("images", tf.convert_to_tensor(images, tf.float32), 4, "[B, height, width, channels]")
        if images.shape[-1] not in (1, 3):
            raise ValueError(f"Inception takes images of 1 or 3 channels, found {images.shape[-1]}")
        images = tf.image.grayscale_to_rgb(images) if images.shape[-1] == 1 else images
        logits, features = self._run(images)
        return logits.numpy(), features.numpy()

    def about(self) -> dict[str, Any]:
        """What identifies this module, for records."""
        return {"inception": self.handle, "resizing": self.resizing, "sha256": self.digest}


def check_handle(handle: str | os.PathLike) -> str:
    """`handle` as text; raises ValueError unless it is a URL or an existing directory."""
    handle = os.path.expanduser(os.fspath(handle))
    if "://" not in handle and not os.path.isdir(handle):
        raise ValueError(f"inception must be a TF-Hub handle, or the directory of a module, found {handle!r}")
    return handle


def _resolve(handle):
    """The directory of a module, downloaded into TF-Hub's cache if missing."""
    hub = tfgan.hub()
    try:
        with _patience(30.0):
            path = pathlib.Path(hub.resolve(handle))
    except Exception as error:  # TF-Hub passes on any error of its network or file layer
        raise Unavailable(_advice(handle, error)) from error
    if not (path / "saved_model.pb").exists():
        raise ValueError(f"{path} is no SavedModel directory: expected TF-Hub's module {tfgan.INCEPTION}, unpacked")
    return path


@contextlib.contextmanager
def _patience(seconds):
    """A context in which sockets time out after `seconds`; TF-Hub sets no timeout."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _advice(handle, error):
    reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    return (
        f"the Inception module {handle} is not on this machine and cannot be downloaded ({reason}). "
        "On a machine with network run\n"
        f"  python -c \"import tensorflow_hub as hub; print(hub.resolve('{handle}'))\"\n"
        "copy the directory that it prints to this machine, and either\n"
        "  name it:             --inception=DIR, or\n"
        f"  put it where TF-Hub looks: $TFHUB_CACHE_DIR/{hashlib.sha1(handle.encode()).hexdigest()}"
    )


def _load(path):
    try:
        return tf.saved_model.load(str(path))
    except Exception as error:  # a damaged file can raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"{path} cannot be loaded: {reason}") from error


def _signature(module, path):
    """The default signature of a SavedModel that is not callable, as a function of images."""
    signatures = dict(module.signatures)
    name = next((name for name in ("serving_default", "default", "image_feature_vector") if name in signatures), None)
    if name is None:
        raise ValueError(
            f"{path} cannot be called and has no default signature, found {', '.join(signatures) or 'none'}"
        )
    function = signatures[name]
    (argument,) = function.structured_input_signature[1]
    return lambda images: function(**{argument: images})


def _resized(images):
    return tf.ensure_shape(tf.image.resize(images, [_SIZE, _SIZE], method="bilinear"), [None, _SIZE, _SIZE, 3])


def _outputs(found, path):
    if not isinstance(found, dict) or not {"logits", "pool_3"} <= found.keys():
        keys = ", ".join(sorted(found)) if isinstance(found, dict) else type(found).__name__
        raise ValueError(f"{path} must return logits and pool_3, as {tfgan.INCEPTION} does, found {keys}")
    batch = tf.shape(found["logits"])[0]
    return tuple(tf.cast(tf.reshape(found[name], [batch, -1]), tf.float32) for name in ("logits", "pool_3"))
