"""Keras callbacks for any `model.fit`: conditioning, samples, scores and the spectra of weights."""

from tfjc.callbacks.conditioning import Conditioning
from tfjc.callbacks.samples import Samples
from tfjc.callbacks.scores import Scores
from tfjc.callbacks.weight_spectra import WeightSpectra

__all__ = ["Conditioning", "Samples", "Scores", "WeightSpectra"]
