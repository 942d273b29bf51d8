"""The command line: ``python -m mcubench``.

`main` answers ``--help`` and ``--version`` by itself and imports the rest only for a verb.
"""
