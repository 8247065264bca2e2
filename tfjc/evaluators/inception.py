"""The Inception network of TF-GAN's TF-Hub module, for Inception Score, FID and KID."""

import contextlib
import hashlib
import os
import pathlib
import socket

import tensorflow as tf

from tfjc.evaluators import _cache, _samples, tfgan
from tfjc.evaluators._samples import Unavailable
from tfjc.support import checks

_SIZE = 299


class Inception:
    """Images [B, height, width, 1 or 3] in [−1, 1] → (logits [B, 1008], features [B, 2048]).

    Images are resized to 299×299 bilinearly, without antialiasing; grey ones are given three equal colours.
    The features are the activations `pool_3`.

    Args:
      handle: of a TF-Hub module with the outputs `logits` and `pool_3`: a URL, or a SavedModel's directory.

    Raises:
      Unavailable: the module is neither here nor to be downloaded.
      ValueError: it is another module.
    """

    name, layer, resizing = "inception", "pool_3", f"bilinear {_SIZE}"

    def __init__(self, handle=tfgan.INCEPTION):
        self.handle = check_handle(handle)
        path = _resolve(self.handle)
        self.digest = _cache.file_digest(path)
        module = _load(path)
        self._module = module  # keeps its variables
        function = module if callable(module) else _signature(module, path)

        def infer(images):
            return _outputs(function(_resized(images)), path)

        self._run = tf.function(lambda images: _samples.shared(infer)(images), reduce_retracing=True)

    def __call__(self, images):
        """(logits, features) as arrays."""
        images = checks.rank("images", tf.convert_to_tensor(images, tf.float32), 4, "[B, height, width, colours]")
        if images.shape[-1] not in (1, 3):
            raise ValueError(f"Inception takes images of 1 or 3 colours, found {images.shape[-1]}")
        images = tf.image.grayscale_to_rgb(images) if images.shape[-1] == 1 else images
        return tuple(output.numpy() for output in self._run(images))

    def about(self):
        """What tells this module from others."""
        return {"inception": self.handle, "resizing": self.resizing, "sha256": self.digest}


def check_handle(handle):
    """`handle` as text, which must be a URL, or a directory that exists; raises ValueError for others."""
    handle = os.fspath(handle)
    if "://" not in handle and not os.path.isdir(handle):
        raise ValueError(f"inception must be a TF-Hub handle, or the directory of a module, found {handle!r}")
    return handle


def _resolve(handle):
    """The directory of a module, downloaded into TF-Hub's cache if need be."""
    hub = tfgan.hub()
    try:
        with _patience(30.0):
            path = pathlib.Path(hub.resolve(handle))
    except Exception as error:  # TF-Hub passes on whatever its network or file layer raises
        raise Unavailable(_advice(handle, error)) from error
    if not (path / "saved_model.pb").exists():
        raise ValueError(f"{path} is no SavedModel directory: expected TF-Hub's module {tfgan.INCEPTION}, unpacked")
    return path


@contextlib.contextmanager
def _patience(seconds):
    """How long to wait for a network that does not answer; TF-Hub itself would wait for ever."""
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
    """The one function of a SavedModel that cannot be called itself."""
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
