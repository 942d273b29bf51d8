"""Keras is an extra: without it there is nothing to compare with. The test command of the README installs it."""

from __future__ import annotations

import importlib.util
import os

collect_ignore_glob = [] if os.environ.get("CI") or importlib.util.find_spec("keras") else ["test_*.py"]
