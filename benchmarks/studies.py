"""Studies of a search, opened to be read."""

from __future__ import annotations

import json
from pathlib import Path

from mcubench.search.study import ASKED, Study

__all__ = ["study_in"]


def study_in(folder: Path) -> Study:
    """The study that ``search`` has begun in a folder."""
    return Study(folder, json.loads((folder / ASKED).read_text("utf-8"))["name"])
