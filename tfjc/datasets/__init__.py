"""Datasets as arrays in memory, and batches in an order that depends on (seed, step) alone."""

from tfjc.datasets._batches import batches, check_images, check_labels
from tfjc.datasets._load import NAMES, Dataset, check_size, load
from tfjc.datasets.gaussians import STANDARD_DEVIATION, grid_centres, ring_centres

__all__ = [
    "NAMES",
    "STANDARD_DEVIATION",
    "Dataset",
    "batches",
    "check_images",
    "check_labels",
    "check_size",
    "grid_centres",
    "load",
    "ring_centres",
]
