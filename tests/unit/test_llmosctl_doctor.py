"""What doctor finds, on homes that are made for it, and how it tells."""

from __future__ import annotations

from pathlib import Path

from llmos.apps.llmosctl import examinations
from llmos.apps.llmosctl.doctor import report
from llmos.apps.llmosctl.examinations import Finding
from llmos.apps.llmosctl.options import Options


def test_what_is_missing_is_told_with_a_hint() -> None:
    findings = (
        Finding("Python", True, True, "3.13.1", "install Python"),
        Finding("model", False, True, "none is ready", "llmosctl model pull smollm2:135m"),
        Finding("container engine", False, False, "no socket", "install Docker"),
        Finding("NVML", False, False, "no GPU"),
    )
    assert report(findings) == [
        "ok       Python: 3.13.1",
        "MISSING  model: none is ready",
        "         hint: llmosctl model pull smollm2:135m",
        "without  container engine: no socket",
        "         hint: install Docker",
        "without  NVML: no GPU",
    ]


def test_this_interpreter_and_system_will_do() -> None:
    for finding in (
        examinations.python(),
        examinations.operating_system(),
        examinations.shared_memory(),
    ):
        assert finding.ok, finding


def test_a_home_that_does_not_exist_yet_will_be_made(tmp_path: Path) -> None:
    finding = examinations.home(Options(tmp_path / "a" / "b"))
    assert finding.ok
    assert "will be made" in finding.detail


def test_a_home_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert not examinations.home(Options(tmp_path / "file" / "home")).ok


def test_a_home_with_too_long_a_path_has_no_socket(tmp_path: Path) -> None:
    finding = examinations.socket_path(Options(tmp_path / ("x" * 120)))
    assert not finding.ok
    assert "107 bytes" in finding.detail


def test_a_key_that_others_can_read_is_found(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "admin.key").touch(mode=0o600)
    assert examinations.keys(Options(tmp_path)).ok
    (keys / "bob.key").touch()
    (keys / "bob.key").chmod(0o644)
    finding = examinations.keys(Options(tmp_path))
    assert not finding.ok
    assert finding.required
    assert "bob.key" in finding.detail
    assert "admin.key" not in finding.detail


def test_no_keys_are_no_fault_before_the_first_start(tmp_path: Path) -> None:
    finding = examinations.keys(Options(tmp_path))
    assert not finding.ok
    assert not finding.required


def test_no_daemon_is_no_fault(tmp_path: Path) -> None:
    finding = examinations.daemon(Options(tmp_path, home_named=True))
    assert not finding.ok
    assert not finding.required
    assert finding.remedy == "llmosctl up"
