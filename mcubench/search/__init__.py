"""Search under a budget: what may be varied, what a budget allows, what was found. Needs Optuna only when it runs."""

from mcubench.search.space import Choice, Dimension, Number, Space, Whole

__all__ = ["Choice", "Dimension", "Number", "Space", "Whole"]
