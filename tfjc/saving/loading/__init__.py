"""Loads generators from SavedModels, `.keras` files and run directories, as callables of flat latents."""

from tfjc.saving.loading._drawing import draw_labels, draw_latents, num_classes
from tfjc.saving.loading._files import load_any
from tfjc.saving.loading._loaded import Loaded, in_float64, with_labels_at

__all__ = [
    "Loaded",
    "draw_labels",
    "draw_latents",
    "in_float64",
    "load_any",
    "num_classes",
    "with_labels_at",
]
