"""Measurements of a generator. Each takes a callable z → images, never a model, and returns a flat dict."""

from tfjc.evaluators.conditioning import ConditioningEvaluator

__all__ = ["ConditioningEvaluator"]
