"""How many texts of a namespace have a word. Counting walks over all of them, so large namespaces keep numbers for a
while: a rank changes little with a number that is a little old. A word that nothing had is looked for again each time.

It does not know words or ranks. Used by several threads: a number that two of them count is counted twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import apsw

_LARGE = 4_096
"""Items of a namespace from which on numbers are kept."""

_GROWTH = 16
"""A number is counted anew when the namespace has grown or shrunk by this part of itself since."""

_MOST_KEPT = 1 << 16


@dataclass(frozen=True, slots=True)
class _Counted:
    """A number, and how many items the namespace had then."""

    texts: int
    items: int


class Frequencies:
    """Of one database."""

    def __init__(self) -> None:
        self._known: dict[str, _Counted] = {}

    def of(self, connection: apsw.Connection, token: str, items: int) -> int:
        """How many texts have a word, by its token; the namespace has so many items now."""
        known = self._known.get(token)
        if known is not None and abs(items - known.items) * _GROWTH <= known.items:
            return known.texts
        row = connection.execute("select doc from word_counts where term = ?", (token,)).fetchone()
        texts = 0 if row is None else int(row[0])
        if items >= _LARGE and texts:
            if len(self._known) >= _MOST_KEPT:
                self._known.clear()
            self._known[token] = _Counted(texts, items)
        return texts
