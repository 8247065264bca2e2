"""Files of generators: loads them, exports them, and writes checkpoints that survive a crash."""

from tfjc.saving.export import LoadedGenerator, export_generator, load_generator
from tfjc.saving.loading import Loaded, load

__all__ = ["Loaded", "LoadedGenerator", "export_generator", "load", "load_generator"]
