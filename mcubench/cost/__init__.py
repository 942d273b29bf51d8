"""What a model costs on a microcontroller: MACs, flash, RAM, and on which devices it fits."""

from mcubench.cost.counts import TOOLS, Part, ToolCount, count_like
from mcubench.cost.devices import Device, Fit, devices, find_device
from mcubench.cost.macs import MacCount, Unsupported, count_macs, handles
from mcubench.cost.memory import MemoryPlan, plan_memory
from mcubench.cost.profiling import is_unfitted, profile, profile_graph
from mcubench.cost.report import CostReport, LayerCost
from mcubench.cost.size import BitWidths, FlashSize, flash_size
from mcubench.cost.units import bytes_text, parse_bytes, parse_count

__all__ = [
    "TOOLS",
    "BitWidths",
    "CostReport",
    "Device",
    "Fit",
    "FlashSize",
    "LayerCost",
    "MacCount",
    "MemoryPlan",
    "Part",
    "ToolCount",
    "Unsupported",
    "bytes_text",
    "count_like",
    "count_macs",
    "devices",
    "find_device",
    "flash_size",
    "handles",
    "is_unfitted",
    "parse_bytes",
    "parse_count",
    "plan_memory",
    "profile",
    "profile_graph",
]
