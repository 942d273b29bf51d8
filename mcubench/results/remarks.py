"""What several runs have to say, each thing once."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Remarks"]


class Remarks:
    """What several runs have to say, each thing once.

    Args:
        what: What the runs are: ``fold``, ``seed``.
        said: What they have said before, as the attribute has it.

    Attributes:
        said: By kind, the first remark and the runs that made one, as plain values.
    """

    def __init__(self, what: str, said: Mapping[str, tuple[str, list[int]]] | None = None) -> None:
        self.what = what
        self.said = dict(said or {})

    def add(self, run: int, text: str, kind: str | None = None) -> None:
        """Takes down a remark.

        Args:
            run: Whose it is.
            text: The remark.
            kind: What remarks that differ in details have in common; of these the first run's is told.
        """
        kind, told = kind or text, " ".join(text.split())
        before, runs = self.said.get(kind, (told, []))
        if run in runs:
            return
        if runs and run < runs[0]:  # runs that are done at the same time end in any order
            del self.said[kind]
            before = told
        self.said[kind] = (before, sorted([*runs, run]))

    def told(self) -> list[str]:
        """One line for each, with the runs that it is about; by run."""
        return [
            f"{self.what} {runs[0]}: {text}" + (f" (likewise in {', '.join(map(str, runs[1:]))})" if runs[1:] else "")
            for text, runs in sorted(self.said.values(), key=lambda each: each[1][0])
        ]
