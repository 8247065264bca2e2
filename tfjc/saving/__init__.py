"""Files of generators: loads them, exports them, and writes checkpoints that survive a crash."""

from tfjc.saving.export import ExportedGenerator, export_generator, load_generator
from tfjc.saving.loading import Loaded, load_any

__all__ = ["ExportedGenerator", "Loaded", "export_generator", "load_any", "load_generator"]
