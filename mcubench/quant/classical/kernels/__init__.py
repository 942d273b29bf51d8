"""What a device computes of classical models, stage by stage; dense layers in int8 are those of networks."""

from mcubench.quant.classical.kernels.base import ArrayKernel
from mcubench.quant.classical.kernels.bayes import GaussianScores
from mcubench.quant.classical.kernels.dense import DenseFloat, DenseWide, Function
from mcubench.quant.classical.kernels.features import Scale, ScaleFloat, Select, UnitLength
from mcubench.quant.classical.kernels.neighbours import Neighbours
from mcubench.quant.classical.kernels.trees import TreeClass, TreeKernel, TreeScores, TreeShares
from mcubench.quant.classical.kernels.vectors import PairDecisions, PairVotes, VectorKernel

__all__ = [
    "ArrayKernel",
    "DenseFloat",
    "DenseWide",
    "Function",
    "GaussianScores",
    "Neighbours",
    "PairDecisions",
    "PairVotes",
    "Scale",
    "ScaleFloat",
    "Select",
    "TreeClass",
    "TreeKernel",
    "TreeScores",
    "TreeShares",
    "UnitLength",
    "VectorKernel",
]
