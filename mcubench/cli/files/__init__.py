"""Verbs about a file: each takes its words after the file's name. They need no Lightning, and start without it."""
