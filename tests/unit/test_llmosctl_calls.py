"""Commands of llmosctl against a small kernel's end of the wire: what is asked, what is printed, how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmos.apps.llmosctl.failures import ExitCode
from llmos.apps.llmosctl.main import run
from llmos.syscalls.abi import messages as m
from llmos.syscalls.abi.words import ChatMessage, Limits, PriorityClass, Role, Signal
from tests.unit.echo_kernel import EchoKernel, echo_kernel

SPAWNED = 7


@dataclass(frozen=True, slots=True)
class Terminal:
    """llmosctl with a daemon in its home; what it printed."""

    home: Path
    kernel: EchoKernel
    captured: pytest.CaptureFixture[str]

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a command line."""
        code = run([*arguments, "--home", str(self.home)])
        output = self.captured.readouterr()
        return code, output.out, output.err


@pytest.fixture
def terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Terminal]:
    """A home with a kernel and the key of the administrator in it."""
    (tmp_path / "run").mkdir()
    (tmp_path / "keys").mkdir()
    with echo_kernel(tmp_path / "keys", f"ipc://{tmp_path}/run/kernel.sock") as kernel:
        kernel.new_key_file("admin")
        yield Terminal(tmp_path, kernel, capsys)


def test_fork_prints_the_pids_of_the_children(terminal: Terminal) -> None:
    assert terminal.run("fork", "3", "-n", "2") == (0, "8\n9\n", "")
    assert terminal.kernel.requests == [m.Fork(3, 2)]


def test_fork_of_one_child_prints_one_pid(terminal: Terminal) -> None:
    code, out, _ = terminal.run("fork", "3", "--json")
    assert code == 0
    assert json.loads(out) == {"pid": 3, "children": [8]}


def test_signals_go_to_every_process_and_print_nothing(terminal: Terminal) -> None:
    assert terminal.run("stop", "3", "4") == (0, "", "")
    assert terminal.run("kill", "5") == (0, "", "")
    assert terminal.run("kill", "-s", "USR1", "6") == (0, "", "")
    assert terminal.kernel.requests == [
        m.SendSignal(3, Signal.STOP),
        m.SendSignal(4, Signal.STOP),
        m.SendSignal(5, Signal.TERM),
        m.SendSignal(6, Signal.USR1),
    ]


def test_swap_says_how_many_pages_moved(terminal: Terminal) -> None:
    assert terminal.run("swap", "out", "3", "--tier", "host") == (0, "3: 4 pages out\n", "")


def test_a_limit_that_is_none_is_cleared(terminal: Terminal) -> None:
    terminal.run("limit", "3", "context_tokens=4096", "children=none")
    assert terminal.kernel.requests == [m.SetLimits(3, Limits(context_tokens=4096), ("children",))]


def test_stats_prints_every_metric(terminal: Terminal) -> None:
    assert terminal.run("stats") == (0, "NAME  VALUE MEANS\nsteps     3 steps that ran\n", "")
    code, out, _ = terminal.run("stats", "--json")
    assert code == 0
    assert json.loads(out) == [{"name": "steps", "value": 3.0, "help": "steps that ran"}]


def test_ps_of_no_processes_prints_the_titles(terminal: Terminal) -> None:
    code, out, err = terminal.run("ps", "-a")
    assert (code, out.count("\n"), err) == (0, 1, "")
    assert terminal.kernel.requests == [m.ListProcesses(all=True)]


def test_run_streams_the_answer_and_tells_the_rest_on_stderr(terminal: Terminal) -> None:
    code, out, err = terminal.run("run", "hello", "--max-tokens", "3", "--keep", "--verbose", "--priority", "batch")
    assert (code, out) == (0, "1 2 3 \n")
    assert err.startswith("process 7 stays\nprocess 7: 3 tokens in 0.02s")
    spawn, append, generate = terminal.kernel.requests
    assert spawn == m.Spawn(priority=PriorityClass.BATCH)
    assert append == m.Append(SPAWNED, messages=(ChatMessage(Role.USER, "hello"),))
    assert isinstance(generate, m.Generate)
    assert generate.sampling == m.Sampling(max_tokens=3)


def test_run_takes_every_sampling_option(terminal: Terminal) -> None:
    options = "--temperature 0.5 --top-k 40 --top-p 0.9 --min-p 0.1 --seed 3 --stop END --stop STOP --max-tokens 2"
    assert terminal.run("run", "hello", "--keep", *options.split())[0] == 0
    generate = terminal.kernel.requests[-1]
    assert isinstance(generate, m.Generate)
    assert generate.sampling == m.Sampling(2, 0.5, 40, 0.9, 0.1, 3, ("END", "STOP"))


def test_run_as_json_prints_one_document_and_no_stream(terminal: Terminal) -> None:
    code, out, _ = terminal.run("run", "hello", "--max-tokens", "2", "--keep", "--json")
    answer = json.loads(out)
    assert code == 0
    assert (answer["pid"], answer["text"], answer["token_ids"], answer["finish_reason"]) == (
        7,
        "1 2 ",
        [1, 2],
        "length",
    )
    assert answer["usage"]["prompt_tokens"] == 5


def test_a_generation_that_fails_in_the_middle_ends_run_with_its_error(terminal: Terminal) -> None:
    code, out, err = terminal.run("run", "hello", "--seed", "9", "--keep")
    assert (code, out) == (ExitCode.FAILED, "1 2 3 \n")
    assert err.endswith("error: the engine is broken\n")


def test_a_refused_spawn_tells_the_hint_of_the_kernel(terminal: Terminal) -> None:
    assert terminal.run("run", "hello", "--name", "refuse") == (
        ExitCode.FAILED,
        "",
        "error: no room for another process\nhint: try again in 3 s\n",
    )


def test_a_wait_that_times_out_has_the_code_of_timeout(terminal: Terminal) -> None:
    code, out, err = terminal.run("wait", "3", "--timeout", "0")
    assert (code, out) == (ExitCode.TIMED_OUT, "")
    assert err.startswith("error: ")


def test_a_call_that_the_kernel_does_not_have_fails(terminal: Terminal) -> None:
    code, out, err = terminal.run("show", "3")
    assert (code, out) == (ExitCode.FAILED, "")
    assert err.startswith("error: ")


def test_a_key_that_the_kernel_does_not_know_is_a_matter_of_permission(terminal: Terminal) -> None:
    (terminal.home / "keys" / "admin.key").unlink()
    terminal.kernel.new_key_file("admin", known=False)
    code, _, err = terminal.run("ps")
    assert code == ExitCode.PERMISSION
    assert "does not accept the key" in err


def test_a_missing_key_is_a_matter_of_permission(terminal: Terminal) -> None:
    (terminal.home / "keys" / "admin.key").unlink()
    code, _, err = terminal.run("ps")
    assert code == ExitCode.PERMISSION
    assert "hint: " in err
