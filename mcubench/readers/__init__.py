"""Models in files of others, as the same graphs that modules are traced to."""

from mcubench.readers.model_file import FORMATS, ModelFile, is_model_file, read_model

__all__ = ["FORMATS", "ModelFile", "is_model_file", "read_model"]
