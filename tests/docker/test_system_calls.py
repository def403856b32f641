"""System calls that no app needs are refused, whichever way they are made."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import msgspec
import pytest

from llmos.sandbox.confinement import user
from tests.docker.app_house import AppHouse, program

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86-64"),
]

REFUSED = {"EPERM", "ENOSYS"}
OF_GVISOR = {
    *("ptrace", "msgget", "mlock2", "set_mempolicy", "netlink socket", "unshare", "unshare mounts", "unshare cgroups"),
    *("unshare users", "clone mounts", "clone cgroups", "clone users"),
}
"""What gVisor grants: on things of its own kernel, which is in the container. `mounts` are copies of the same ones."""


@pytest.fixture(scope="module")
def known() -> dict[str, dict[str, str]]:
    """What was found so far, by runtime."""
    return {}


@pytest.fixture
def answers(boxes: AppHouse, known: dict[str, dict[str, str]]) -> dict[str, str]:
    """How each call ended under a runtime."""
    if boxes.runtime not in known:
        known[boxes.runtime] = boxes.run(program("system_calls")).answer(dict[str, str])
    return known[boxes.runtime]


def test_every_call_that_no_app_needs_is_refused(answers: dict[str, str], boxes: AppHouse) -> None:
    granted = {name for name, answer in answers.items() if answer == "ok"}
    if boxes.runtime == "runc":
        assert {name: answer for name, answer in answers.items() if answer not in REFUSED} == {}
    else:
        assert granted <= OF_GVISOR


@pytest.mark.parametrize(
    "group",
    [
        ("mount", "umount2", "pivot_root", "chroot", "move_mount", "fsopen", "open_tree"),
        ("setns", "unshare networks", "unshare processes", "clone networks", "clone processes"),
        ("bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register"),
        ("add_key", "request_key", "keyctl"),
        ("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot"),
        ("mknod", "mknodat", "open_by_handle_at", "fanotify_init", "iopl", "ioperm", "syslog"),
        ("process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp"),
        ("settimeofday", "clock_settime", "sethostname", "swapon", "acct", "quotactl"),
        ("raw socket", "raw socket of version 6", "packet socket", "vsock", "crypto socket", "bluetooth socket"),
    ],
    ids=lambda group: group[0],
)
def test_no_runtime_grants_what_leads_out(answers: dict[str, str], group: tuple[str, ...]) -> None:
    assert {name for name in group if answers[name] == "ok"} == set()


def test_calls_come_through_no_other_door(boxes: AppHouse) -> None:
    ran = boxes.run(program("system_calls"), "other ways in")
    if boxes.runtime == "runc":
        ways = ran.answer(dict[str, str])
        assert set(ways.values()) == {"killed by 31"}
    else:
        # gVisor's kernel may end by such a call; the next one is another.
        assert '"ok"' not in ran.out
    assert boxes.run("print('well')").out == "well\n"


NOTHING_DONE = {"PermissionError", "FileNotFoundError", "OSError", "ProcessLookupError", "ValueError"}


class Reached(msgspec.Struct, frozen=True):
    """What the program `reaching_out` prints."""

    done: dict[str, str]
    found: dict[str, tuple[str, ...]]


def test_files_devices_processes_and_rights_of_others_are_out_of_reach(boxes: AppHouse) -> None:
    reached = boxes.run(program("reaching_out"), str(boxes.daemon.home)).answer(Reached)
    assert {name: how for name, how in reached.done.items() if how not in NOTHING_DONE} == {}
    assert {name: what for name, what in reached.found.items() if what} == {}


def test_a_program_runs_as_nobody_on_the_host_too(runc: AppHouse) -> None:
    run = runc.start("input()")
    status = Path(f"/proc/{runc.engine.process(runc.begun())}/status").read_text()
    assert re.search(r"^Uid:\s+(\d+)", status, re.MULTILINE)[1] == str(user())  # type: ignore[index]
    assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
    run.stop(grace=0)
