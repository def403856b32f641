"""Verification finds every kind of fault, and what was found at the start of a daemon is not written over."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from llmos.kernel.security.audit.__main__ import main
from llmos.kernel.security.audit.chain import START, decode_line, encode_line, first_of, segments
from llmos.kernel.security.audit.record import Kind
from llmos.kernel.security.audit.signing import Signer, read_head, write_head
from llmos.kernel.security.audit.verify import Fault, Mark, verify
from llmos.syscalls.abi.errors import InvalidArgument
from tests.unit.audit_folder import AuditFolder

Lines = list[bytes]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[AuditFolder]:
    """A log of three segments: records 1 to 4, 5 to 8, 9 to 12."""
    house = AuditFolder(tmp_path)
    house.write(3, 3, 3, segment_bytes=300)
    assert [first_of(path) for path in segments(house.folder)] == [1, 5, 9]
    yield house
    house.close()


def edit(path: Path, change: Callable[[Lines], Lines]) -> None:
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def changed(lines: Lines, i: int, **members: object) -> Lines:
    """One record changed by somebody who can compute its hash and those after it."""
    links = [decode_line(line) for line in lines]
    previous = links[i - 1].claimed if i else START
    result = lines[:i]
    for link in links[i:]:
        record = msgspec.structs.replace(link.record, **(members if link is links[i] else {}))
        line, previous = encode_line(previous, record)
        result.append(line)
    return result


def test_a_log_that_nobody_touched_verifies(house: AuditFolder) -> None:
    verdict = verify(house.folder)
    assert (verdict.ok, verdict.records, verdict.fault) == (True, 12, None)
    assert verdict.public == Signer.open(house.keys).public


def test_a_log_without_records_verifies(tmp_path: Path) -> None:
    house = AuditFolder(tmp_path / "new")
    house.open()
    assert verify(house.folder).ok
    house.close()


@pytest.mark.parametrize(
    ("change", "fault", "in_order"),
    [
        (lambda lines: [*lines[:1], lines[1].replace(b"alice", b"aloce"), *lines[2:]], Fault.EDITED, 5),
        (lambda lines: [*lines[:1], lines[1].replace(b'"n":6', b'"n":9'), *lines[2:]], Fault.EDITED, 5),
        (lambda lines: changed(lines, 1, principal="mallory"), Fault.EDITED, 8),
        (lambda lines: [*lines[:1], *lines[2:]], Fault.GAP, 5),
        (lambda lines: [lines[0], lines[2], lines[1], lines[3]], Fault.REORDERED, 5),
        (lambda lines: [lines[0], lines[3], lines[2], lines[1]], Fault.REORDERED, 5),
        (lambda lines: [lines[0], lines[1], lines[1], *lines[2:]], Fault.DUPLICATED, 6),
        (lambda lines: [*lines[:3], lines[1], *lines[3:]], Fault.DUPLICATED, 7),
        (lambda lines: [lines[0], b"\n", *lines[1:]], Fault.EDITED, 5),
        (lambda lines: [lines[0], b"x" * 1_000_000 + b"\n", *lines[1:]], Fault.EDITED, 5),
        (lambda lines: [*lines, b"junk"], Fault.EDITED, 8),
    ],
    ids=[
        "a name",
        "a number",
        "hashes too",
        "a record left out",
        "neighbours swapped",
        "swapped far apart",
        "doubled in place",
        "doubled later",
        "an empty line",
        "a long line",
        "junk at the end",
    ],
)
def test_a_change_in_a_segment_is_found_and_named(
    house: AuditFolder, change: Callable[[Lines], Lines], fault: Fault, in_order: int
) -> None:
    edit(segments(house.folder)[1], change)
    verdict = verify(house.folder)
    assert (verdict.fault, verdict.records) == (fault, in_order), verdict.where
    assert "audit-00000000000" in verdict.where


@pytest.mark.parametrize(("missing", "in_order"), [(0, 0), (1, 4)])
def test_a_missing_segment_is_a_gap(house: AuditFolder, missing: int, in_order: int) -> None:
    segments(house.folder)[missing].unlink()
    verdict = verify(house.folder)
    assert (verdict.fault, verdict.records) == (Fault.GAP, in_order)


def test_first_segments_that_were_put_away_are_no_gap_when_that_is_said(house: AuditFolder) -> None:
    segments(house.folder)[0].unlink()
    assert verify(house.folder, first=5).ok
    edit(segments(house.folder)[0], lambda lines: [lines[0].replace(b"after ", b"befor "), *lines[1:]])
    assert verify(house.folder, first=5).fault is Fault.EDITED


def test_the_newest_segment_missing_is_a_tail_that_was_cut_off(house: AuditFolder) -> None:
    segments(house.folder)[2].unlink()
    assert verify(house.folder).fault is Fault.CUT_OFF


def test_records_that_were_moved_into_the_next_file_are_found(house: AuditFolder) -> None:
    first, second, _ = segments(house.folder)
    moved = first.read_bytes().splitlines(keepends=True)[-1]
    edit(first, lambda lines: lines[:-1])
    edit(second, lambda lines: [moved, *lines])
    assert verify(house.folder).fault is Fault.EDITED


def test_a_file_under_another_name_is_found(house: AuditFolder) -> None:
    path = segments(house.folder)[2]
    path.rename(path.with_name("audit-000000000010.jsonl"))
    assert verify(house.folder).fault is Fault.EDITED


def test_a_tail_that_was_rewritten_with_good_hashes_is_not_what_the_head_was_signed_for(house: AuditFolder) -> None:
    previous = decode_line(segments(house.folder)[1].read_bytes().splitlines()[-1]).claimed
    lines = segments(house.folder)[2].read_bytes().splitlines()
    links = [decode_line(line) for line in lines]
    forged = b""
    for link in links:
        record = link.record if link is not links[-1] else msgspec.structs.replace(link.record, principal="mallory")
        line, previous = encode_line(previous, record)
        forged += line
    segments(house.folder)[2].write_bytes(forged)
    verdict = verify(house.folder)
    assert (verdict.fault, verdict.records) == (Fault.EDITED, 12)
    with pytest.raises(InvalidArgument, match="not the one that the head was signed for"):
        house.open()


def test_a_head_that_is_missing_is_a_fault_and_no_reason_to_go_on(house: AuditFolder) -> None:
    (house.folder / "head.json").unlink()
    assert verify(house.folder).fault is Fault.NO_HEAD
    with pytest.raises(InvalidArgument, match="head is missing") as caught:
        house.open()
    assert "llmosctl audit verify" in caught.value.hint


def test_a_head_of_a_shorter_log_with_the_old_signature_is_a_bad_one(house: AuditFolder) -> None:
    head = read_head(house.folder)
    assert head is not None
    write_head(house.folder, msgspec.structs.replace(head, n=11))
    assert verify(house.folder).fault is Fault.BAD_SIGNATURE
    with pytest.raises(InvalidArgument, match="not signed by the key in use"):
        house.open()


def test_a_log_that_somebody_else_signed_again_is_found_by_who_knows_the_key(
    house: AuditFolder, tmp_path: Path
) -> None:
    ours, mallory = Signer.open(house.keys), Signer.open(tmp_path / "mallory")
    head = read_head(house.folder)
    assert head is not None
    write_head(house.folder, mallory.sign(head.n, bytes.fromhex(head.hash), head.at))
    assert verify(house.folder).fault is Fault.BAD_SIGNATURE
    (house.folder / "audit.pub").write_text(f"{mallory.public}\n")
    assert verify(house.folder).ok
    assert verify(house.folder, public=ours.public).fault is Fault.BAD_SIGNATURE
    with pytest.raises(InvalidArgument, match="not of the key in use"):
        house.open()


def test_a_log_that_was_set_back_with_its_head_is_found_by_who_remembers_one(
    house: AuditFolder, tmp_path: Path
) -> None:
    shutil.copytree(house.folder, tmp_path / "old")
    house.write(2)
    newest = read_head(house.folder)
    assert newest is not None
    expect = Mark(newest.n, newest.hash)
    assert verify(house.folder, expect=expect).ok
    assert verify(tmp_path / "old").ok
    assert verify(tmp_path / "old", expect=expect).fault is Fault.BEHIND
    assert verify(house.folder, expect=Mark(12, "0" * 64)).fault is Fault.EDITED


def test_what_cannot_be_read_is_a_fault(house: AuditFolder) -> None:
    path = segments(house.folder)[1]
    path.unlink()
    path.mkdir()
    assert verify(house.folder).fault is Fault.UNREADABLE


def test_a_torn_record_is_cut_at_the_start_and_that_is_in_the_log(house: AuditFolder) -> None:
    with segments(house.folder)[2].open("ab") as file:
        file.write(b'{"n":13,"at":1')
    assert verify(house.folder).ok
    house.open().close()
    record = house.records()[-1]
    assert (record.kind, record.detail) == (Kind.DAEMON, "recovered: 14 bytes of a torn record were cut")
    assert verify(house.folder).ok


def test_a_segment_that_was_never_begun_is_cut_at_the_start(house: AuditFolder) -> None:
    (house.folder / "audit-000000000013.jsonl").write_bytes(b'{"n":13')
    house.open().close()
    assert verify(house.folder).ok
    assert house.records()[-1].kind is Kind.DAEMON


def test_complete_records_beyond_the_head_stay(house: AuditFolder) -> None:
    old = (house.folder / "head.json").read_bytes()
    house.write(1)
    (house.folder / "head.json").write_bytes(old)
    assert verify(house.folder).ok
    house.write(1)
    assert [record.n for record in house.records()] == list(range(1, house.records()[-1].n + 1))
    assert verify(house.folder).ok


def test_a_record_beyond_the_head_that_follows_nothing_is_not_gone_on_from(house: AuditFolder) -> None:
    path = segments(house.folder)[2]
    edit(path, lambda lines: [*lines, lines[-1]])
    before = path.read_bytes()
    with pytest.raises(InvalidArgument, match="does not follow"):
        house.open()
    assert path.read_bytes() == before


def test_the_command_verifies_a_copy_that_cannot_be_written(
    house: AuditFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(house.folder, copy)
    for path in copy.iterdir():
        path.chmod(0o400)
    copy.chmod(0o500)
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    head = read_head(copy)
    assert head is not None
    options = ["--expect", f"{head.n}:{head.hash}", "--public", str(copy / "audit.pub"), "--json"]
    assert main(["verify", str(copy), *options]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["ok"], shown["records"], shown["head"], shown["hash"]) == (True, 12, 12, head.hash)
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    copy.chmod(0o700)


def test_the_command_names_a_fault_and_exits_with_1(house: AuditFolder, capsys: pytest.CaptureFixture[str]) -> None:
    edit(segments(house.folder)[1], lambda lines: lines[:-1])
    assert main(["verify", str(house.folder)]) == 1
    assert capsys.readouterr().out == "gap: audit-000000000009.jsonl:1: record 9 after 7\n"


@pytest.mark.parametrize("arguments", [["verify"], ["verify", "NONE"], ["verify", "DIR", "--expect", "12"], []])
def test_a_wrong_command_line_exits_with_2(house: AuditFolder, arguments: list[str]) -> None:
    folders = {"DIR": str(house.folder), "NONE": str(house.root / "none")}
    assert exit_code([folders.get(word, word) for word in arguments]) == 2


def exit_code(arguments: list[str]) -> int | str | None:
    try:
        return main(arguments)
    except SystemExit as stopped:
        return stopped.code


def test_the_command_loads_neither_sockets_nor_the_policy(house: AuditFolder) -> None:
    script = (
        "import sys; from llmos.kernel.security.audit.__main__ import main; "
        "code = main(['verify', sys.argv[1]]); "
        "sys.exit(code or 3 * bool({'zmq', 'casbin', 'torch', 'asyncio'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, str(house.folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
