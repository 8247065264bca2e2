"""Evaluators: each measures a generator, a callable z → images, and returns a flat dict of numbers."""

from tfjc.evaluators import tfgan
from tfjc.evaluators._protocols import Evaluator
from tfjc.evaluators._ranges import OutputRange, tell
from tfjc.evaluators._samples import NotFinite, Unavailable
from tfjc.evaluators.classifier import Classifier, classifier
from tfjc.evaluators.conditioning import ConditioningEvaluator
from tfjc.evaluators.features import ClassifierEvaluator, InceptionEvaluator
from tfjc.evaluators.inception import Inception
from tfjc.evaluators.modes import MissingModes

__all__ = [
    "Classifier",
    "ClassifierEvaluator",
    "ConditioningEvaluator",
    "Evaluator",
    "Inception",
    "InceptionEvaluator",
    "MissingModes",
    "NotFinite",
    "OutputRange",
    "Unavailable",
    "classifier",
    "tell",
    "tfgan",
]
