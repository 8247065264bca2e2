"""Keras callbacks: conditioning, samples, scores, records and checkpoints; the first three work in anybody's `fit`."""

from tfjc.callbacks.checkpoints import Checkpoints
from tfjc.callbacks.conditioning import Conditioning
from tfjc.callbacks.recorder import Recorder
from tfjc.callbacks.samples import Samples
from tfjc.callbacks.scores import Scores

__all__ = ["Checkpoints", "Conditioning", "Recorder", "Samples", "Scores"]
