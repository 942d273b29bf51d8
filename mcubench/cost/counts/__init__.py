"""What the tools of other vendors print as the operations of the same model, and why it is another number."""

from mcubench.cost.counts.counting import TOOLS, check_tools, count_like
from mcubench.cost.counts.parts import Part, ToolCount

__all__ = ["TOOLS", "Part", "ToolCount", "check_tools", "count_like"]
