"""Files of generators: anybody's are loaded, Keras's are exported, checkpoints are written whole."""

from tfjc.saving.export import LoadedGenerator, export_generator, load_generator
from tfjc.saving.loading import Loaded, load

__all__ = ["Loaded", "LoadedGenerator", "export_generator", "load", "load_generator"]
