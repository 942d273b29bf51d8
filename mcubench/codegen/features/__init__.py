"""HAPT's features in C99: columns in, text out. No compiler is called."""

from mcubench.codegen.features.project import FeatureProject, generate_features

__all__ = ["FeatureProject", "generate_features"]
