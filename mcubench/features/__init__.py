"""HAPT's 561 features from raw samples: in windows of a recording, or as samples come; and what they cost on a device.

Imports numpy and scipy only. docs/hapt.md has the conventions, and how well each agrees with the published values.
"""

from mcubench.features.catalogue import SIGNALS, Column, columns, original, originals
from mcubench.features.conditioning import STEP, WINDOW
from mcubench.features.cost import FeatureCost, FeatureMemory, StageCost, feature_cost
from mcubench.features.operations import Operations
from mcubench.features.selection import select
from mcubench.features.streaming import HaptFeatures
from mcubench.features.windows import recording_features

__all__ = [
    "SIGNALS",
    "STEP",
    "WINDOW",
    "Column",
    "FeatureCost",
    "FeatureMemory",
    "HaptFeatures",
    "Operations",
    "StageCost",
    "columns",
    "feature_cost",
    "original",
    "originals",
    "recording_features",
    "select",
]
