"""Waiting for a daemon's start and end, with pipes and processes of the operating system."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmos.apps.llmosctl.failures import ExitCode, Failed
from llmos.apps.llmosctl.launch import await_ready, start_failure, watched


@dataclass(slots=True, eq=False)
class Pipe:
    """Both ends of a pipe."""

    reader: int
    writer: int | None

    def say(self, text: str) -> None:
        """Write as the daemon does."""
        assert self.writer is not None
        os.write(self.writer, text.encode())

    def end(self) -> None:
        """Close the writing end, as the death of the daemon does."""
        if self.writer is not None:
            os.close(self.writer)
            self.writer = None


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe that is closed at the end."""
    both = Pipe(*os.pipe())
    yield both
    both.end()
    os.close(both.reader)


def silent(_doing: str, _elapsed: float) -> None:
    """Nobody watches."""


def test_the_start_is_over_when_the_daemon_says_ready(pipe: Pipe) -> None:
    pipe.say("ready\n")
    assert await_ready(pipe.reader, 60, silent)


def test_a_daemon_that_dies_before_it_is_ready_has_failed(pipe: Pipe) -> None:
    pipe.say("loading the model\n")
    pipe.end()
    assert not await_ready(pipe.reader, 60, silent)


def test_half_a_word_is_not_ready(pipe: Pipe) -> None:
    pipe.say("rea")
    pipe.end()
    assert not await_ready(pipe.reader, 60, silent)


def test_lines_before_ready_are_progress(pipe: Pipe) -> None:
    seen = []
    pipe.say("loading the model\n")

    def watch(doing: str, _elapsed: float) -> None:
        seen.append(doing)
        if doing:
            pipe.say("ready\n")

    assert await_ready(pipe.reader, 60, watch)
    assert seen == ["", "loading the model"]


def test_a_start_that_takes_too_long_is_given_up(pipe: Pipe) -> None:
    with pytest.raises(Failed) as raised:
        await_ready(pipe.reader, 0.01, silent)
    assert raised.value.code is ExitCode.TIMED_OUT


def test_the_end_of_a_process_is_seen() -> None:
    with (
        subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process,
        watched(process.pid) as has_ended,
    ):
        assert not has_ended(0)
        process.communicate(b"\n")
        assert has_ended(60)


def test_a_process_that_is_not_there_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    with watched(process.pid) as has_ended:
        assert has_ended(0)


def test_a_failed_start_shows_what_was_logged_since_and_the_daemons_own_hint(tmp_path: Path) -> None:
    log = tmp_path / "llmosd.log"
    log.write_text("of an earlier start\nllmosd: no model is named x\nhint: llmosctl model pull x\n")
    failed = start_failure(log, len("of an earlier start\n"), 66)
    assert str(failed) == "llmosd ended with status 66 before it was ready:\n  llmosd: no model is named x"
    assert failed.hint == "llmosctl model pull x"


def test_a_start_that_was_killed_without_a_word_points_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "llmosd.log"
    log.touch()
    failed = start_failure(log, 0, -9)
    assert str(failed) == "llmosd was killed by signal 9 before it was ready"
    assert str(log) in failed.hint
