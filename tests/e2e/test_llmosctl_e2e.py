"""llmosctl as a user types it: its own process, a daemon in the background, a real engine on the small model."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos.apps.llmosctl.failures import ExitCode

pytestmark = pytest.mark.e2e

PROGRAM = (sys.executable, "-m", "llmos.apps.llmosctl")
LONG = ("--max-tokens", "2000", "Write a very long story about the sea.")


class Llmosctl:
    """llmosctl in one home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("LLMOS_")}
        self.environment["LLMOS_HOME"] = str(home)

    def __call__(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command line to its end."""
        return subprocess.run(
            [*PROGRAM, *arguments], env=self.environment, input=stdin, capture_output=True, text=True, check=False
        )

    def output(self, *arguments: str, stdin: str = "") -> str:
        """What a command line that must succeed prints on stdout."""
        done = self(*arguments, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *arguments: str) -> dict[str, object]:
        """The one JSON object that a command prints."""
        answer = json.loads(self.output(*arguments, "--json"))
        assert isinstance(answer, dict)
        return answer

    def pids(self, *arguments: str) -> set[int]:
        """Processes with a context, as `ps` lists them."""
        return {line["pid"] for line in json.loads(self.output("ps", "--json", *arguments)) if line["pid"] != 1}

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Run a command line whose output is read while it runs."""
        return subprocess.Popen(
            [*PROGRAM, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="module")
def ctl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llmosctl]:
    """A daemon that was started with `up` and is ended with `down`."""
    llmosctl = Llmosctl(tmp_path_factory.mktemp("home"))
    up = llmosctl("up", "--set", "engine.device_pages=64", "--set", 'engine.host_memory="256 MiB"')
    assert up.returncode == 0, up.stderr
    assert llmosctl.output("run", "Hello", "--max-tokens", "1").strip()
    os_pid = llmosctl.json("info")["os_pid"]
    assert isinstance(os_pid, int)
    yield llmosctl
    down = llmosctl("down")
    assert (down.returncode, down.stderr) == (0, "llmosd has ended\n")
    assert not _runs(os_pid)
    assert llmosctl("ps").returncode == ExitCode.NO_DAEMON


@pytest.fixture
def kept(ctl: Llmosctl) -> Iterator[str]:
    """The pid of a process that has answered a question and stays."""
    pid = str(ctl.json("run", "What is two plus two?", "--max-tokens", "2", "--keep")["pid"])
    yield pid
    ctl("kill", "-s", "kill", pid)
    ctl("wait", pid)
    assert ctl.pids("-a") == set()


def _runs(os_pid: int) -> bool:
    """Whether a process is there and no zombie."""
    status = Path(f"/proc/{os_pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_second_up_finds_the_daemon(ctl: Llmosctl) -> None:
    again = ctl("up")
    assert again.returncode == 0
    assert "runs already" in again.stderr


def test_doctor_finds_the_daemon_and_nothing_that_is_required_missing(ctl: Llmosctl) -> None:
    done = ctl("doctor")
    assert done.returncode == 0, done.stdout
    assert "ok       daemon: " in done.stdout


def test_info_and_top_show_the_engine(ctl: Llmosctl) -> None:
    assert "ready" in ctl.output("info")
    picture = ctl.output("top", "--once")
    assert "free of 64 pages" in picture
    assert max(map(len, picture.splitlines())) <= 80


def test_run_prints_the_answer_and_leaves_nothing(ctl: Llmosctl) -> None:
    done = ctl("run", "What is the capital of France?", "--max-tokens", "24", "--verbose")
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout
    assert "tokens/s" in done.stderr
    assert ctl.pids("-a") == set()


def test_run_reads_the_prompt_from_stdin(ctl: Llmosctl) -> None:
    asked = ctl.output("run", "What is the capital of France?", "--max-tokens", "8")
    assert ctl.output("run", "-", "--max-tokens", "8", stdin="What is the capital of France?") == asked


def test_ctrl_c_ends_run_and_its_process(ctl: Llmosctl) -> None:
    with ctl.begin("run", *LONG) as running:
        assert running.stdout is not None
        running.stdout.read(1)
        assert len(ctl.pids()) == 1
        running.send_signal(signal.SIGINT)
        assert running.wait(30) == ExitCode.INTERRUPTED
    assert ctl.pids("-a") == set()


def test_a_process_that_is_killed_fails_the_run_that_waits_for_it(ctl: Llmosctl) -> None:
    with ctl.begin("run", *LONG) as running:
        assert running.stdout is not None
        running.stdout.read(1)
        (pid,) = ctl.pids()
        assert ctl.output("kill", "-s", "kill", str(pid)) == ""
        assert running.wait(30) == ExitCode.FAILED
    assert ctl.pids("-a") == set()


def test_a_kept_process_can_be_looked_at(ctl: Llmosctl, kept: str) -> None:
    table = ctl.output("ps")
    assert max(map(len, table.splitlines())) <= 80
    assert kept in [line.split()[0] for line in table.splitlines()]
    assert "smollm2:135m" in ctl.output("show", kept)
    assert "waits for" in ctl.output("why", kept)
    assert ctl.output("logs", kept).strip()


def test_a_kept_process_can_be_steered(ctl: Llmosctl, kept: str) -> None:
    assert "batch, weight 50" in ctl.output("renice", kept, "--priority", "batch", "--weight", "50")
    assert "context_tokens=4000" in ctl.output("limit", kept, "context_tokens=4000")
    assert "none" in ctl.output("limit", kept, "context_tokens=none")
    ctl.output("stop", kept)
    assert ctl.json("show", kept)["state"] == "stopped"
    ctl.output("cont", kept)
    assert ctl.json("show", kept)["state"] != "stopped"


def test_a_kept_process_can_be_swapped(ctl: Llmosctl, kept: str) -> None:
    assert "pages out" in ctl.output("swap", "out", kept)
    pages = ctl.json("show", kept)["pages"]
    assert isinstance(pages, dict)
    assert pages["device"] == 0
    assert "pages in" in ctl.output("swap", "in", kept)


def test_children_are_forked_ended_and_reaped(ctl: Llmosctl, kept: str) -> None:
    children = ctl.output("fork", kept, "-n", "2").split()
    assert len(children) == 2
    ctl.output("kill", "-s", "kill", *children)
    for child in children:
        code, reason = ctl.output("wait", child).split(maxsplit=1)
        assert code == "137"
        assert "kill" in reason
    assert ctl("wait", children[0]).returncode == ExitCode.NOT_FOUND


def test_waiting_for_a_living_process_times_out(ctl: Llmosctl, kept: str) -> None:
    assert ctl("wait", kept, "--timeout", "0.1").returncode == ExitCode.TIMED_OUT


def test_a_pid_that_nobody_has_is_not_found(ctl: Llmosctl) -> None:
    done = ctl("show", "999999")
    assert done.returncode == ExitCode.NOT_FOUND
    assert done.stderr.startswith("error: ")


def test_a_chat_goes_on_rewinds_and_ends(ctl: Llmosctl, kept: str) -> None:
    before = ctl.json("show", kept)["context_tokens"]
    lines = "My name is Ada.\n\nWhat is my name?\n/info\n/nonsense\n/rewind 9\n/rewind 2\n/quit\nnever said\n"
    done = ctl("chat", kept, "--max-tokens", "4", stdin=lines)
    assert done.returncode == 0, done.stderr
    assert "no command /nonsense" in done.stderr
    assert "/rewind takes a number from 1 to 2" in done.stderr
    assert f"forgot 2; {before} tokens" in done.stderr
    assert ctl.json("show", kept)["context_tokens"] == before


def test_a_new_chat_leaves_nothing(ctl: Llmosctl) -> None:
    done = ctl("chat", "--max-tokens", "2", stdin="Hello\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()
    assert ctl.pids("-a") == set()


def test_a_drained_system_takes_nothing_new(ctl: Llmosctl) -> None:
    ctl.output("drain")
    try:
        refused = ctl("run", "Hello")
        assert refused.returncode == ExitCode.FAILED
        assert "hint: " in refused.stderr
    finally:
        ctl.output("drain", "--off")
    assert ctl.output("run", "Hello", "--max-tokens", "4").strip()


def test_stats_count_tokens(ctl: Llmosctl) -> None:
    assert "decode_tokens_total" in ctl.output("stats")


def test_top_refreshes_on_a_terminal_until_q(ctl: Llmosctl) -> None:
    master, slave = pty.openpty()
    try:
        with subprocess.Popen(
            [*PROGRAM, "top", "--interval", "0.2"], env=ctl.environment, stdin=slave, stdout=slave, stderr=slave
        ) as watching:
            assert _read_until(master, b"tokens/s", 30)
            os.write(master, b"q")
            assert watching.wait(30) == 0
    finally:
        os.close(master)
        os.close(slave)


def test_a_start_with_a_bad_setting_shows_why_it_failed(tmp_path: Path) -> None:
    done = Llmosctl(tmp_path)("up", "--set", "engine.device=abacus")
    assert done.returncode == ExitCode.FAILED
    assert "abacus" in done.stderr
    assert "hint: " in done.stderr


def _read_until(descriptor: int, wanted: bytes, timeout: float) -> bool:
    """Read from a terminal until some text has come."""
    seen = b""
    until = time.monotonic() + timeout
    while wanted not in seen:
        if not select.select([descriptor], [], [], max(until - time.monotonic(), 0))[0]:
            return False
        seen += os.read(descriptor, 65_536)
    return True
