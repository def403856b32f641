"""The kernel's end of the process that compiles grammars first (`GrammarChecker`). Free of torch and llguidance.

The process starts with the first check and is replaced after one that ended it. Rule: only what ends a process that was
ready is the grammar's fault.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from multiprocessing import Pipe
from pathlib import Path

import msgspec

from llmos.drivers.workers.environment import import_environment
from llmos.kernel.ports.engine import Grammar, GrammarKind
from llmos.syscalls.abi.errors import DeviceError, InvalidArgument, TryAgain

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
            raise TryAgain(f"{_name(grammar)} cannot be checked: the daemon is shutting down")
        worker = self._started()
        try:
            fault = worker.ask(grammar)
        except (EOFError, OSError):
            self._end()
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

    def _started(self) -> _Worker:
        """The process that takes grammars. Raises `DeviceError`."""
        if self._worker is not None:
            return self._worker
        try:
            self._worker = _Worker(self._directory)
            if self._closed:
                # `close` has not seen it.
                self._worker.kill()
            self._worker.wait()
        except (EOFError, OSError) as error:
            self._end()
            raise DeviceError(
                f"no process that checks grammars can be started: {error or 'it ended'}",
                "try again; if it stays so, the tokenizer.json of the model cannot be used with grammars",
            ) from error
        return self._worker

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.close()
            self._worker = None


def _name(grammar: Grammar) -> str:
    return "the schema" if grammar.kind is GrammarKind.SCHEMA else "the regex"


class _Worker:
    """One process, and the channel to it."""

    def __init__(self, directory: Path) -> None:
        """Raises `OSError`."""
        self._channel, theirs = Pipe()
        with ExitStack() as unless_started, theirs:
            unless_started.enter_context(self._channel)
            self._process = subprocess.Popen(
                [sys.executable, "-m", _WORKER, str(theirs.fileno()), str(directory)],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=import_environment(),
                start_new_session=True,
            )
            unless_started.pop_all()

    def wait(self) -> None:
        """Until it takes grammars. Raises `EOFError` or `OSError` when it ended before."""
        self._receive()

    def ask(self, grammar: Grammar) -> str:
        """What is wrong with a grammar. Raises `EOFError` or `OSError` when it ended the process."""
        self._channel.send_bytes(msgspec.msgpack.encode(grammar))
        answer = self._receive().decode(errors="replace")
        return " ".join(answer.replace("<non-verbose/>", "").split())[:_LONGEST_REASON]

    def kill(self) -> None:
        """End it at once; whoever waits for its answer is told."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it, and give back the channel."""
        self.kill()
        self._channel.close()

    def _receive(self) -> bytes:
        if not self._channel.poll(_PATIENCE):
            raise EOFError("it does not answer")
        return self._channel.recv_bytes()
