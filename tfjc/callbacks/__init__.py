"""Keras callbacks: conditioning, spectra of weights, samples and scores, which work in anybody's `fit`; Lyapunov
exponents, records and checkpoints of `tfjc.models`."""

from tfjc.callbacks.checkpoints import Checkpoints
from tfjc.callbacks.conditioning import Conditioning
from tfjc.callbacks.lyapunov import Lyapunov
from tfjc.callbacks.recorder import Recorder
from tfjc.callbacks.samples import Samples
from tfjc.callbacks.scores import Scores
from tfjc.callbacks.weight_spectra import WeightSpectra

__all__ = ["Checkpoints", "Conditioning", "Lyapunov", "Recorder", "Samples", "Scores", "WeightSpectra"]
