"""C99 of models: an integer graph in, text out. No compiler is called, and nothing is imported but what is written."""

from mcubench.codegen.project import ABI_VERSION, Facts, Layout, Project, generate
from mcubench.codegen.source import DIALECTS
from mcubench.codegen.unit import TreeForm

__all__ = ["ABI_VERSION", "DIALECTS", "Facts", "Layout", "Project", "TreeForm", "generate"]
