"""The offline command of the audit log, as a program: what it prints, and what its exit status says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos.kernel.security.audit.chain import segments
from llmos.kernel.security.audit.group import Noted
from llmos.kernel.security.audit.record import Entry, Kind
from llmos.kernel.security.audit.signing import Head, Signer
from llmos.kernel.security.audit.writer import Writer

NOW = 1_800_000_000.0
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def write(home: Path, *names: str) -> Head:
    """Add a group with a call of each name to the log in `home/audit`; its head."""
    writer = Writer(home / "audit", Signer.open(home / "keys"), 300, NOW)
    if names:
        writer.append([Noted(Entry(Kind.CALL, name, action="proc.list"), NOW) for name in names], NOW)
    head = writer.sign(NOW).head
    writer.close()
    return head


def start(*arguments: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "llmos.kernel.security.audit", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def run(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit status, stdout and stderr."""
    with start(*arguments) as process:
        out, errors = process.communicate(timeout=60)
    return process.returncode, out, errors


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of several segments."""
    write(tmp_path, "alice", "bob")
    write(tmp_path, "carol", "dave")
    assert len(segments(tmp_path / "audit")) > 1
    return tmp_path / "audit"


@pytest.fixture
def copy(log: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy that cannot be written, without the keys."""
    folder = tmp_path / "elsewhere" / "copy"
    shutil.copytree(log, folder)
    for path in (*folder.iterdir(), folder):
        path.chmod(0o500 if path.is_dir() else 0o400)
    yield folder
    folder.chmod(0o700)


def test_a_copy_that_is_whole_exits_with_0_and_names_its_head(copy: Path, tmp_path: Path) -> None:
    head = write(tmp_path)
    status, out, errors = run("verify", copy)
    assert (status, errors) == (0, "")
    assert f"head {head.n}:{head.hash}" in out
    assert run("verify", copy, "--expect", f"{head.n}:{head.hash}")[0] == 0


def test_the_key_is_given_in_hex_or_in_a_file(copy: Path, tmp_path: Path) -> None:
    ours, others = Signer.open(tmp_path / "keys").public, Signer.open(tmp_path / "others").public
    kept = tmp_path / "kept.pub"
    kept.write_text(f"{ours}\n")
    assert [run("verify", copy, "--public", key)[0] for key in (ours, ours.upper(), kept, others)] == [0, 0, 0, 1]


def test_a_log_that_was_set_back_exits_with_1_where_a_newer_head_is_expected(copy: Path, tmp_path: Path) -> None:
    newer = write(tmp_path, "erin")
    assert run("verify", copy)[0] == 0
    status, out, _ = run("verify", copy, "--expect", f"{newer.n}:{newer.hash}")
    assert (status, out.partition(":")[0]) == (1, "behind")


def test_a_fault_is_one_line_or_json(log: Path) -> None:
    newest = segments(log)[-1]
    newest.write_bytes(newest.read_bytes()[:-1])
    status, out, errors = run("verify", log)
    assert (status, out.partition(":")[0], out.count("\n"), errors) == (1, "cut off", 1, "")
    status, out, _ = run("verify", log, "--json")
    told = json.loads(out)
    assert (status, told["ok"], told["fault"]) == (1, False, "cut off")


def test_what_cannot_be_read_exits_with_2(log: Path) -> None:
    newest = segments(log)[-1]
    newest.unlink()
    newest.mkdir()
    assert run("verify", log)[0] == 2
    status, _, errors = run("export", log)
    assert (status, newest.name in errors) == (2, True)
    assert "hint:" in errors


@pytest.mark.parametrize(
    "options",
    [
        ["verify", "--expect", "7"],
        ["verify", "--expect", "7:abc"],
        ["verify", "--expect", "-1:" + "0" * 64],
        ["verify", "--public", "abc"],
        ["verify", "--public", "/dev/null"],
        ["export", "--since", "nan"],
        ["export", "--since", "-1"],
        ["export", "--format", "xml"],
    ],
    ids=" ".join,
)
def test_wrong_options_exit_with_2_and_are_named(log: Path, options: list[str]) -> None:
    status, out, errors = run(options[0], log, *options[1:])
    assert (status, out) == (2, "")
    assert options[1] in errors


def test_records_are_exported_without_a_key_and_from_a_copy(copy: Path) -> None:
    status, out, errors = run("export", copy)
    records = [json.loads(line) for line in out.splitlines()]
    assert (status, errors) == (0, "")
    assert [record["n"] for record in records] == list(range(1, len(records) + 1))
    assert [record["principal"] for record in records if record["kind"] == "call"] == ["alice", "bob", "carol", "dave"]
    events = [json.loads(line) for line in run("export", copy, "--format", "ocsf")[1].splitlines()]
    assert [event["metadata"]["uid"] for event in events] == [str(record["n"]) for record in records]


def test_a_log_without_records_is_whole_and_exports_none(tmp_path: Path) -> None:
    write(tmp_path)
    assert run("verify", tmp_path / "audit")[0] == 0
    assert run("export", tmp_path / "audit") == (0, "", "")


def test_whoever_reads_only_the_first_record_ends_an_export_quietly(tmp_path: Path) -> None:
    write(tmp_path, *[f"name{n}" for n in range(2000)])
    with start("export", tmp_path / "audit") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""


def test_the_program_loads_neither_sockets_nor_rules(copy: Path) -> None:
    script = (
        "import runpy, sys\n"
        "try: runpy.run_module('llmos.kernel.security.audit', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print(sorted({'zmq', 'casbin', 'asyncio', 'torch', 'numpy'} & set(sys.modules)))"
    )
    for command in ("verify", "export"):
        line = [sys.executable, "-c", script, command, str(copy)]
        done = subprocess.run(line, capture_output=True, text=True, env=ENVIRONMENT, check=True)
        assert done.stdout.endswith("\n[]\n")
