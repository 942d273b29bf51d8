"""Processes that begin with torch, lightning and mcubench imported, for tests of what a process does."""

from tests.forked.client import Process, run, start

__all__ = ["Process", "run", "start"]
