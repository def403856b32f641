"""What a program in a container finds: nobody's rights, nothing of the host but its folder, and its limits."""

from __future__ import annotations

import msgspec
import pytest

from llmos.sandbox.confinement import OPEN_FILES, user
from tests.docker.app_house import AppHouse, program

pytestmark = [pytest.mark.docker]

MEMORY, PROCESSES = 256 << 20, 64
"""What an app has whose manifest names no limits."""

OF_THE_ENGINE = {"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}
"""Files that an engine makes for each container."""

OF_KERNELS = ("proc", "sysfs", "devpts", "mqueue", "tmpfs", "cgroup", "cgroup2")


class Mount(msgspec.Struct, frozen=True):
    """One line of the mount table."""

    place: str
    options: tuple[str, ...]
    kind: str
    source: str


class Facts(msgspec.Struct, frozen=True):
    """What the program `facts` prints."""

    uid: tuple[int, ...]
    gid: tuple[int, ...]
    groups: tuple[int, ...]
    status: dict[str, str]
    mounts: tuple[Mount, ...]
    interfaces: tuple[str, ...]
    environment: dict[str, str]
    open_files: tuple[int, int]
    core: tuple[int, int]
    limits: dict[str, str]
    processes: tuple[int, ...]
    devices: tuple[str, ...]
    seen: dict[str, tuple[int, int, int]]
    opened: dict[str, str]
    rights: tuple[str, ...]
    writable: tuple[str, ...]
    hostname: str


@pytest.fixture(scope="module")
def known() -> dict[str, Facts]:
    """What was found so far, by runtime: one run tells everything."""
    return {}


@pytest.fixture
def facts(boxes: AppHouse, known: dict[str, Facts]) -> Facts:
    """What a program finds under a runtime."""
    if boxes.runtime not in known:
        known[boxes.runtime] = boxes.run(program("facts")).answer(Facts)
    return known[boxes.runtime]


def test_a_program_is_nobody(facts: Facts) -> None:
    assert set(facts.uid) == set(facts.gid) == {user()}
    assert user() != 0
    assert set(facts.groups) <= {user()}


def test_it_has_no_capability(facts: Facts) -> None:
    sets = {name: int(value, 16) for name, value in facts.status.items() if name.startswith("Cap")}
    assert {"CapInh", "CapPrm", "CapEff", "CapBnd"} <= set(sets)
    assert set(sets.values()) == {0}


def test_it_can_gain_no_privileges_and_is_filtered(facts: Facts, boxes: AppHouse) -> None:
    # gVisor is a kernel of its own: the filter of the host is around it, and it does not tell of one inside.
    if boxes.runtime == "runc":
        assert facts.status["NoNewPrivs"] == "1"
        assert facts.status["Seccomp"] == "2"
    else:
        assert "Seccomp" in facts.status


def test_its_root_cannot_be_written_and_scratch_runs_nothing(facts: Facts) -> None:
    mounts = {mount.place: mount for mount in facts.mounts}
    assert "ro" in mounts["/"].options
    assert {"rw", "noexec"} <= set(mounts["/tmp"].options)
    assert mounts["/tmp"].kind == "tmpfs"
    assert {"rw", "noexec"} <= set(mounts["/dev/shm"].options)
    assert facts.writable == ()


def test_of_the_host_it_sees_one_folder_and_cannot_write_it(facts: Facts) -> None:
    of_host = {m.place: m for m in facts.mounts if m.kind not in OF_KERNELS and m.place != "/"}
    assert set(of_host) - OF_THE_ENGINE == {"/run/llmos"}
    assert all("ro" in mount.options for mount in of_host.values())
    assert set(facts.seen) == {"kernel.sock", "app.key"}
    assert all(owner == user() and mode == 0o600 for owner, _, mode in facts.seen.values())


def test_it_has_no_network(facts: Facts) -> None:
    assert set(facts.interfaces) <= {"lo"}


def test_it_has_the_limits_of_its_manifest(facts: Facts, boxes: AppHouse) -> None:
    assert facts.open_files == (OPEN_FILES, OPEN_FILES)
    assert facts.core == (0, 0)
    if boxes.runtime == "runc":
        assert int(facts.limits["memory"]) == MEMORY
        assert facts.limits["swap"] in (str(MEMORY), "0")
        assert int(facts.limits["processes"]) == PROCESSES
        assert int(facts.limits["processors"]) == 100_000


def test_its_environment_holds_no_secret(facts: Facts, boxes: AppHouse) -> None:
    assert set(facts.environment) <= {
        *("LLMOS_ENDPOINT", "LLMOS_KEY", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"),
        *("PATH", "HOME", "HOSTNAME", "LANG", "LC_CTYPE"),
    }
    assert str(boxes.daemon.home) not in str(facts.environment)


def test_it_sees_no_process_but_its_own(facts: Facts) -> None:
    assert facts.processes == (1,)


def test_it_inherits_nothing_but_its_three_streams(facts: Facts) -> None:
    assert set(facts.opened) == {"0", "1", "2"}


def test_its_devices_are_those_of_any_container(facts: Facts, boxes: AppHouse) -> None:
    usual = {"fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty"}
    of_gvisor = {"fuse", "net"} if boxes.runtime == "runsc" else set()
    assert set(facts.devices) <= usual | {"urandom", "zero", "console", "core"} | of_gvisor


def test_its_host_is_named_as_the_app(facts: Facts) -> None:
    assert facts.hostname == "probe"
