"""How llmosctl ends: exit codes, `error:` and `hint:`."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from llmos.apps.llmosctl.failures import ExitCode, Failed, complaint_of
from llmos.apps.llmosctl.generate import check_end, usage_line
from llmos.apps.llmosctl.main import run
from llmos.syscalls.abi.errors import (
    BY_NUMBER,
    Cancelled,
    Error,
    NoSuchProcess,
    NotFound,
    PermissionDenied,
    TimedOut,
)
from llmos.syscalls.abi.messages import Generated
from llmos.syscalls.abi.words import FinishReason, Usage

Captured = pytest.CaptureFixture[str]

NEED_A_DAEMON = [
    ["ps"],
    ["top"],
    ["info"],
    ["stats"],
    ["drain"],
    ["show", "7"],
    ["why", "7"],
    ["logs", "7"],
    ["stop", "7", "8"],
    ["cont", "7"],
    ["kill", "-s", "kill", "7"],
    ["renice", "7", "--priority", "batch"],
    ["limit", "7", "children=1"],
    ["swap", "out", "7"],
    ["swap", "in", "7"],
    ["fork", "7", "-n", "2"],
    ["wait", "7"],
    ["run", "hello"],
    ["chat"],
]

WRONG_USAGE = [
    ["nonsense"],
    ["ps", "--nonsense"],
    ["show"],
    ["show", "seven"],
    ["show", "0"],
    ["kill"],
    ["kill", "-s", "hup", "7"],
    ["renice", "7"],
    ["renice", "7", "--priority", "urgent"],
    ["renice", "7", "--weight", "0"],
    ["limit", "7", "tokens=1"],
    ["swap", "out", "7", "--tier", "device"],
    ["fork", "7", "-n", "0"],
    ["run", ""],
    ["run", "hello", "--top-p", "1.5"],
    ["--set", "nonsense", "ps"],
    ["ps", "--set", "engine=1"],
]


@pytest.mark.parametrize("arguments", NEED_A_DAEMON, ids=" ".join)
def test_a_command_without_a_daemon_says_so_with_its_own_code(
    arguments: list[str], tmp_path: Path, capsys: Captured
) -> None:
    assert run([*arguments, "--home", str(tmp_path)]) == ExitCode.NO_DAEMON
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: no daemon runs at ")
    assert "hint: llmosctl up\n" in output.err


@pytest.mark.parametrize("arguments", WRONG_USAGE, ids=" ".join)
def test_wrong_usage_is_told_with_a_hint(arguments: list[str], capsys: Captured) -> None:
    assert run(arguments) == ExitCode.USAGE
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert "hint: llmosctl" in output.err
    assert "Traceback" not in output.err


def test_help_lists_the_commands_the_exit_codes_and_completion(capsys: Captured) -> None:
    assert run(["--help"]) == ExitCode.OK
    text = capsys.readouterr().out
    for word in ("doctor", "renice", "Exit codes", "124  timed out", "_LLMOSCTL_COMPLETE"):
        assert word in text


def test_no_line_of_the_help_is_wider_than_80_columns(capsys: Captured) -> None:
    run(["run", "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_down_without_a_daemon_is_no_failure(tmp_path: Path, capsys: Captured) -> None:
    assert run(["down", "--json", "--home", str(tmp_path)]) == ExitCode.OK
    output = capsys.readouterr()
    assert json.loads(output.out) == {"ended": None}
    assert output.err == "no daemon runs\n"


def test_a_home_with_too_long_a_path_is_refused(tmp_path: Path, capsys: Captured) -> None:
    assert run(["ps", "--home", str(tmp_path / ("x" * 120))]) == ExitCode.FAILED
    assert "longer than 107 bytes" in capsys.readouterr().err


@pytest.mark.parametrize("kind", BY_NUMBER.values())
def test_every_error_of_a_call_has_its_exit_code(kind: type[Error]) -> None:
    special = {
        PermissionDenied: ExitCode.PERMISSION,
        NoSuchProcess: ExitCode.NOT_FOUND,
        NotFound: ExitCode.NOT_FOUND,
        TimedOut: ExitCode.TIMED_OUT,
        Cancelled: ExitCode.INTERRUPTED,
    }
    complaint = complaint_of(kind("it failed", "do this"))
    assert (complaint.message, complaint.hint) == ("it failed", "do this")
    assert complaint.code is special.get(kind, ExitCode.FAILED)


def test_a_failed_command_keeps_its_hint_and_code() -> None:
    complaint = complaint_of(Failed("no", "try", ExitCode.NO_DAEMON))
    assert (complaint.message, complaint.hint, complaint.code) == ("no", "try", ExitCode.NO_DAEMON)


def test_a_failure_of_the_command_line_is_no_wrong_usage() -> None:
    assert complaint_of(click.FileError("x", "gone")).code is ExitCode.FAILED


def generated(reason: FinishReason) -> Generated:
    """A generation that ended in some way."""
    return Generated("four", (4,), reason, Usage(10, 8, 1, 0.25, 0.5), detail="generated_tokens=1 set by admin")


@pytest.mark.parametrize("reason", [FinishReason.STOP, FinishReason.LENGTH])
def test_a_generation_that_ends_by_itself_is_no_failure(reason: FinishReason) -> None:
    check_end(generated(reason))


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (FinishReason.LIMIT, ExitCode.FAILED),
        (FinishReason.KILLED, ExitCode.FAILED),
        (FinishReason.CANCELLED, ExitCode.INTERRUPTED),
    ],
)
def test_a_generation_that_is_ended_from_outside_is_a_failure(reason: FinishReason, code: ExitCode) -> None:
    with pytest.raises(Failed) as raised:
        check_end(generated(reason))
    assert raised.value.code is code


def test_usage_is_one_line() -> None:
    assert usage_line(7, generated(FinishReason.STOP)) == (
        "process 7: 1 tokens in 0.50s (2.0 tokens/s), the first after 0.25s; "
        "10 before it, 8 of them cached; ended by stop"
    )
