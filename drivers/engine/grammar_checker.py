"""The kernel's end of the process that compiles grammars first (`GrammarChecker`). Free of torch and llguidance.

The process starts with the first check and is replaced after one that ended it.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from llmos.drivers.engine.channel import channel_pair
from llmos.drivers.engine.launcher import import_environment
from llmos.kernel.ports.engine import Grammar, GrammarKind
from llmos.syscalls.abi.errors import InvalidArgument

_WORKER = "llmos.drivers.engine.grammar_worker"
_PATIENCE = 60.0
"""Seconds for an answer. The process ends itself after far less computing; a busy machine may take its time."""

_LONGEST_REASON = 400

_HINTS = {
    GrammarKind.SCHEMA: "a JSON schema of the keywords that llguidance supports",
    GrammarKind.REGEX: "a regular expression without look-around and back-references",
}


class Checker:
    """Checks grammars for one model."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._worker: _Worker | None = None
        self._closed = False

    def check(self, grammar: Grammar) -> None:
        if self._closed:
            raise InvalidArgument(f"{_name(grammar)} cannot be checked: the daemon is shutting down")
        if self._worker is None:
            self._worker = _Worker(self._directory)
        try:
            fault = self._worker.ask(grammar)
        except (EOFError, OSError):
            self._worker.close()
            self._worker = None
            raise InvalidArgument(
                f"{_name(grammar)} takes too much time or memory to be compiled",
                "make it simpler: smaller counts of repetition, fewer alternatives",
            ) from None
        if fault:
            raise InvalidArgument(f"{_name(grammar)} cannot be used: {fault}", _HINTS[grammar.kind])

    def close(self) -> None:
        self._closed = True
        if self._worker is not None:
            self._worker.kill()


def _name(grammar: Grammar) -> str:
    return "the schema" if grammar.kind is GrammarKind.SCHEMA else "the regex"


class _Worker:
    """One process, and the channel to it."""

    def __init__(self, directory: Path) -> None:
        self._channel, theirs = channel_pair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _WORKER, str(theirs.fileno()), str(directory)],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=import_environment(),
                start_new_session=True,
            )

    def ask(self, grammar: Grammar) -> str:
        """What is wrong with a grammar. Raises `EOFError` or `OSError` when it ended the process."""
        self._channel.send_bytes(msgspec.msgpack.encode(grammar))
        if not self._channel.poll(_PATIENCE):
            raise EOFError
        answer = self._channel.recv_bytes().decode(errors="replace")
        return " ".join(answer.replace("<non-verbose/>", "").split())[:_LONGEST_REASON]

    def kill(self) -> None:
        """End it at once; whoever waits for its answer is told."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it, and give back the channel."""
        self.kill()
        self._channel.close()
