"""The assistant's own tools: files, memory, the clock and a calculator; a model calls them, or a command.

Rules: files are those in one folder of the app's home, and nothing that a name says leads out of it; a tool changes
nothing but files there and memory. What a tool gives is data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b

import llmos

from .calculator import BadExpression, calculate

FOLDER = "files"
MOST_CHARACTERS = 6000
"""Of a file that is put before the model."""
FOUND = 5


@dataclass(slots=True, eq=False)
class Toolbox:
    """What the model may call, each method whose name has no underline before it and is in `functions`."""

    system: llmos.System

    @property
    def functions(self) -> Sequence[Callable[..., object]]:
        """The tools."""
        return (
            self.list_files,
            self.read_file,
            self.write_file,
            self.remember,
            self.search_memory,
            self.time_now,
            self.calculate,
        )

    def list_files(self) -> list[str]:
        """Lists the user's files."""
        try:
            return [entry.path.rpartition("/")[2] for entry in self.system.files.list(FOLDER)]
        except llmos.NotFound:
            return []

    def read_file(self, name: str) -> str:
        """Reads one of the user's files.

        Args:
            name: its name
        """
        data = self.system.files.read_bytes(path_of(name))
        return data.decode("utf-8", "replace")[:MOST_CHARACTERS]

    def write_file(self, name: str, text: str) -> str:
        """Writes a text into one of the user's files, instead of what is in it.

        Args:
            name: its name
            text: what it is to hold
        """
        self.system.files.mkdir(FOLDER, parents=True)
        stat = self.system.files.write_bytes(path_of(name), text.encode())
        return f"{name} has {stat.size} bytes"

    def remember(self, text: str) -> str:
        """Remembers a fact for later.

        Args:
            text: the fact, in one sentence
        """
        return self.system.memory.put(text.strip(), id=id_of(text)).id

    def search_memory(self, query: str) -> list[str]:
        """Searches what was remembered.

        Args:
            query: words of it
        """
        return [record.text for record in self.found(query)]

    def time_now(self) -> str:
        """Tells the date and the time."""
        return datetime.now().astimezone().strftime("%A, %d %B %Y, %H:%M %Z")

    def calculate(self, expression: str) -> str:
        """Calculates, with + - * / // % ** and brackets.

        Args:
            expression: for example (2 + 3) * 4
        """
        try:
            return calculate(expression)
        except BadExpression as error:
            raise llmos.InvalidArgument(str(error)) from None

    def found(self, query: str) -> Sequence[llmos.MemoryRecord]:
        """What was remembered that has words of the query."""
        return self.system.memory.search(query, limit=FOUND, mode="text")


def path_of(name: str) -> str:
    """Where a file of the user's is. Raises `llmos.InvalidArgument` for a name with a folder in it."""
    if not name or "/" in name or name in (".", "..") or len(name) > 100:
        raise llmos.InvalidArgument(f"{name[:100]!r} is no name of a file", "a name of up to 100 characters without /")
    return f"{FOLDER}/{name}"


def id_of(text: str) -> str:
    """The id under which a text is remembered: remembered twice, it is there once."""
    return blake2b(text.strip().encode(), digest_size=4).hexdigest()
