"""Keras callbacks: conditioning, samples, records and checkpoints. `Conditioning` works in anybody's `fit`."""

from tfjc.callbacks.checkpoints import Checkpoints
from tfjc.callbacks.conditioning import Conditioning
from tfjc.callbacks.recorder import Recorder
from tfjc.callbacks.samples import Samples

__all__ = ["Checkpoints", "Conditioning", "Recorder", "Samples"]
