"""C of classical models, for any core; dense layers in int8 are those of networks."""

from mcubench.codegen.classical import bayes, dense, features, neighbours, trees, vectors

__all__ = ["bayes", "dense", "features", "neighbours", "trees", "vectors"]
