"""Nothing in the folder of a log can be changed unseen: not a byte, not a line, not a file, not the end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.kernel.security.audit.chain import decode_line, encode_line, segments
from llmos.kernel.security.audit.record import LONGEST, Entry, Kind, record_of
from llmos.kernel.security.audit.resume import find_end
from llmos.kernel.security.audit.signing import Signer, read_head, write_head
from llmos.kernel.security.audit.verify import Fault, Mark, verify
from llmos.syscalls.abi.errors import InvalidArgument
from tests.unit.audit_folder import AuditFolder

MORE = settings(max_examples=400)
POSITION = st.floats(0, 1, exclude_max=True)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuditFolder]:
    """A log of four segments, of 8 records each."""
    house = AuditFolder(tmp_path_factory.mktemp("log"))
    house.write(7, 7, 7, 7, segment_bytes=600)
    assert len(segments(house.folder)) == 4
    assert verify(house.folder).ok
    yield house
    house.close()


@contextmanager
def copy_of(house: AuditFolder) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as root:
        yield Path(shutil.copytree(house.folder, Path(root) / "audit"))


def lines_of(folder: Path) -> list[bytes]:
    return [line for path in segments(folder) for line in path.read_bytes().splitlines(keepends=True)]


def rewrite(folder: Path, lines: list[bytes]) -> None:
    """Put lines in place of those that are there: eight into each file, more into the last; no empty files."""
    files = segments(folder)
    for i, path in enumerate(files):
        part = lines[8 * i :] if path == files[-1] else lines[8 * i : 8 * i + 8]
        path.write_bytes(b"".join(part))
        if not part:
            path.unlink()


@MORE
@given(file=POSITION, at=POSITION, to=st.integers(1, 255))
def test_any_changed_byte_of_any_file_is_found(house: AuditFolder, file: float, at: float, to: int) -> None:
    with copy_of(house) as folder:
        files = sorted(folder.iterdir())
        path = files[int(file * len(files))]
        data = bytearray(path.read_bytes())
        data[int(at * len(data))] ^= to
        path.write_bytes(data)
        assert not verify(folder).ok


@MORE
@given(file=POSITION, at=POSITION)
def test_any_truncation_of_any_file_is_found(house: AuditFolder, file: float, at: float) -> None:
    with copy_of(house) as folder:
        files = sorted(folder.iterdir())
        path = files[int(file * len(files))]
        path.write_bytes(path.read_bytes()[: int(at * path.stat().st_size)])
        assert not verify(folder).ok


@given(records=st.integers(0, 31))
def test_any_truncation_between_records_is_a_tail_that_was_cut_off(house: AuditFolder, records: int) -> None:
    with copy_of(house) as folder:
        rewrite(folder, lines_of(folder)[:records])
        verdict = verify(folder)
        assert (verdict.fault, verdict.records) == (Fault.CUT_OFF, records)


@given(at=st.integers(0, 31))
def test_any_record_left_out_is_found(house: AuditFolder, at: int) -> None:
    with copy_of(house) as folder:
        lines = lines_of(folder)
        rewrite(folder, lines[:at] + lines[at + 1 :])
        assert verify(folder).fault is (Fault.CUT_OFF if at == 31 else Fault.GAP)


@given(first=st.integers(0, 31), second=st.integers(0, 31))
def test_any_two_records_that_changed_places_are_found(house: AuditFolder, first: int, second: int) -> None:
    with copy_of(house) as folder:
        lines = lines_of(folder)
        lines[first], lines[second] = lines[second], lines[first]
        rewrite(folder, lines)
        assert verify(folder).fault is (None if first == second else Fault.REORDERED)


@given(record=st.integers(0, 31), to=st.integers(0, 32))
def test_any_record_that_is_doubled_is_found(house: AuditFolder, record: int, to: int) -> None:
    with copy_of(house) as folder:
        lines = lines_of(folder)
        lines.insert(to, lines[record])
        rewrite(folder, lines)
        verdict = verify(folder)
        assert verdict.fault in (Fault.DUPLICATED, Fault.REORDERED)
        assert verdict.fault is Fault.DUPLICATED or to < record


@given(missing=st.sets(st.integers(0, 3), min_size=1))
def test_any_missing_segments_are_found(house: AuditFolder, missing: set[int]) -> None:
    with copy_of(house) as folder:
        for i, path in enumerate(segments(folder)):
            if i in missing:
                path.unlink()
        newest = missing == set(range(min(missing), 4))
        assert verify(folder).fault is (Fault.CUT_OFF if newest else Fault.GAP)


@MORE
@given(at=POSITION, to=st.integers(1, 255))
def test_no_changed_byte_of_what_the_head_was_signed_for_is_gone_on_from(
    house: AuditFolder, at: float, to: int
) -> None:
    with copy_of(house) as folder:
        path = segments(folder)[-1]
        data = bytearray(path.read_bytes())
        data[int(at * len(data))] ^= to
        path.write_bytes(data)
        with pytest.raises(InvalidArgument):
            find_end(folder, Signer.open(house.keys))
        assert path.read_bytes() == data


@given(junk=st.binary(max_size=40).filter(lambda junk: b"\n" not in junk))
def test_whatever_a_crash_tore_off_is_cut_and_no_more(house: AuditFolder, junk: bytes) -> None:
    with copy_of(house) as folder:
        path = segments(folder)[-1]
        whole = path.read_bytes()
        path.write_bytes(whole + junk)
        head, end = read_head(folder), find_end(folder, Signer.open(house.keys))
        assert head is not None
        assert end is not None
        assert (end.n, end.hash.hex(), end.torn) == (head.n, head.hash, len(junk))
        assert path.read_bytes() == whole


@given(n=st.integers(1, 31))
def test_a_log_set_back_to_any_earlier_head_is_behind_a_later_one(house: AuditFolder, n: int) -> None:
    lines = lines_of(house.folder)
    head = read_head(house.folder)
    assert head is not None
    with copy_of(house) as folder:
        rewrite(folder, lines[:n])
        write_head(folder, Signer.open(house.keys).sign(n, decode_line(lines[n - 1]).claimed, 0.0))
        assert verify(folder).ok
        assert verify(folder, expect=Mark(head.n, head.hash)).fault is Fault.BEHIND


TEXT = st.text(st.characters(), max_size=LONGEST + 10)


@given(kind=st.sampled_from(Kind), object=TEXT, detail=TEXT, count=st.integers(1, 5), previous=st.binary(max_size=32))
def test_any_record_survives_its_line(kind: Kind, object: str, detail: str, count: int, previous: bytes) -> None:
    record = record_of(Entry(kind, object=object, detail=detail), 1, 1.5, count, 2.5)
    line, digest = encode_line(previous, record)
    link = decode_line(line)
    assert (link.record, link.claimed) == (record, digest)
    assert line.count(b"\n") == 1
