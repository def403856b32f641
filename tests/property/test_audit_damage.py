"""Damage to an audit log: it is found, a damaged log is not continued, and what a crash leaves is no damage.

Rule: the log is made once; every example writes a changed copy of it into a folder of its own.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.kernel.security.audit.chain import START, decode_line, encode_line
from llmos.kernel.security.audit.group import Group, Noted
from llmos.kernel.security.audit.reading import last, read
from llmos.kernel.security.audit.record import Entry, Kind, record_of
from llmos.kernel.security.audit.signing import HEAD, PUBLIC, Signer, write_head
from llmos.kernel.security.audit.verify import Fault, Mark, Verdict, verify
from llmos.kernel.security.audit.writer import Writer
from llmos.syscalls.abi.errors import InvalidArgument

NOW = 1_800_000_000.0
SEGMENT_BYTES = 600
ALL = 1 << 30


@dataclass(frozen=True, slots=True)
class File:
    """A file of a log."""

    name: str
    content: bytes

    def spliced(self, start: int, end: int, fresh: bytes) -> File:
        """The file with other bytes in place of some."""
        return File(self.name, self.content[:start] + fresh + self.content[end:])


@dataclass(frozen=True, slots=True)
class Log:
    """A log that is whole: its segments, its head and its key, and the home's keys."""

    segments: tuple[File, ...]
    head: File
    public: File
    keys: tuple[File, ...]

    @property
    def files(self) -> tuple[File, ...]:
        return (*self.segments, self.head, self.public)

    @property
    def lines(self) -> list[bytes]:
        return [line for segment in self.segments for line in segment.content.splitlines(keepends=True)]


@cache
def whole_log() -> Log:
    """Three segments, with texts of all sorts."""
    with TemporaryDirectory() as home:
        folder, signer = Path(home) / "audit", Signer.open(Path(home) / "keys")
        writer = Writer(folder, signer, SEGMENT_BYTES, NOW)
        for n in range(3):
            call = Entry(Kind.CALL, "alice", "developer", action="proc.spawn", digest=f"{n}" * 32)
            denial = Entry(Kind.DENIAL, "bob", object="näme \"'\\ \n☃", outcome="denied", denial=f"{n:012x}")
            writer.append([Noted(call, NOW + n, 3), Noted(denial, NOW + n)], NOW + n)
        writer.sign(NOW)
        writer.close()
        segments = tuple(_file(path) for path in sorted(folder.glob("audit-*.jsonl")))
        keys = tuple(_file(path) for path in (Path(home) / "keys").iterdir())
        log = Log(segments, _file(folder / HEAD), _file(folder / PUBLIC), keys)
    assert len(log.segments) == 3
    return log


def put(home: Path, *changed: File, without: str = "") -> Path:
    """The whole log on the disk, with some of its files changed; its folder."""
    folder, keys = home / "audit", home / "keys"
    folder.mkdir()
    keys.mkdir()
    for file in (*whole_log().files, *changed):
        if file.name != without:
            (folder / file.name).write_bytes(file.content)
    for file in whole_log().keys:
        (keys / file.name).write_bytes(file.content)
    return folder


def verdict_of(*changed: File, without: str = "", expect: Mark | None = None) -> Verdict:
    """What verification says about the whole log with some of its files changed."""
    with TemporaryDirectory() as home:
        return verify(put(Path(home), *changed, without=without), expect=expect)


def other_bytes(data: st.DataObject, *files: File) -> File:
    """One of the files, with one byte changed."""
    file = data.draw(st.sampled_from(files))
    position = data.draw(st.integers(0, len(file.content) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != file.content[position]))
    return file.spliced(position, position + 1, bytes([byte]))


def _file(path: Path) -> File:
    return File(path.name, path.read_bytes())


def test_one_changed_bit_in_every_byte_of_every_file_is_found(tmp_path: Path) -> None:
    folder = put(tmp_path)
    assert verify(folder).ok
    for file in whole_log().files:
        for position, byte in enumerate(file.content):
            assert_found(folder, file, file.spliced(position, position + 1, bytes([byte ^ 1])))


def test_one_byte_left_out_or_one_space_put_in_anywhere_is_found(tmp_path: Path) -> None:
    """Spaces, because parsers of numbers and of hex like to skip them."""
    folder = put(tmp_path)
    for file in whole_log().files:
        for position in range(len(file.content)):
            assert_found(folder, file, file.spliced(position, position + 1, b""))
            assert_found(folder, file, file.spliced(position, position, b" "))


def assert_found(folder: Path, file: File, changed: File) -> None:
    """The change is a fault; afterwards the file is as before."""
    (folder / file.name).write_bytes(changed.content)
    assert not verify(folder).ok, changed
    (folder / file.name).write_bytes(file.content)


@settings(max_examples=400)
@given(st.data())
def test_any_bytes_in_place_of_others_are_found_unless_they_are_a_torn_end(data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(whole_log().files))
    start = data.draw(st.integers(0, len(file.content)))
    end = data.draw(st.integers(start, min(start + 300, len(file.content))))
    fresh = data.draw(st.one_of(st.binary(max_size=4), st.sampled_from(whole_log().lines)))
    changed = file.spliced(start, end, fresh)
    torn = file == whole_log().segments[-1] and start == len(file.content) and b"\n" not in fresh
    assert verdict_of(changed).ok == (changed == file or torn)


@given(st.data())
def test_a_log_without_one_of_its_files_is_at_fault(data: st.DataObject) -> None:
    log = whole_log()
    file = data.draw(st.sampled_from(log.files))
    faults = {log.head: Fault.NO_HEAD, log.public: Fault.BAD_SIGNATURE, log.segments[-1]: Fault.CUT_OFF}
    assert verdict_of(without=file.name).fault is faults.get(file, Fault.GAP)


@given(st.data())
def test_a_record_made_anew_with_a_fitting_hash_breaks_the_chain_after_it(data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(whole_log().segments))
    lines = file.content.splitlines(keepends=True)
    line = data.draw(st.integers(0, len(lines) - 1))
    n = decode_line(lines[line]).record.n
    before = decode_line(whole_log().lines[n - 2]).claimed if n > 1 else START
    old = decode_line(lines[line]).record
    lines[line], _ = encode_line(before, record_of(Entry(old.kind, detail=old.detail, tenant="forged"), n, old.at))
    assert verdict_of(File(file.name, b"".join(lines))).fault is Fault.EDITED


@given(st.integers(1, 9), st.booleans())
def test_any_record_can_be_the_one_to_remember(n: int, right: bool) -> None:
    digest = decode_line(whole_log().lines[n - 1]).claimed.hex() if right else "0" * 64
    assert verdict_of(expect=Mark(n, digest)).fault is (None if right else Fault.EDITED)


@settings(max_examples=200)
@given(st.data())
def test_a_log_whose_end_head_or_key_was_changed_is_neither_continued_nor_touched(data: st.DataObject) -> None:
    changed = other_bytes(data, whole_log().segments[-1], whole_log().head, whole_log().public)
    with TemporaryDirectory() as home:
        folder = put(Path(home), changed)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        with pytest.raises(InvalidArgument):
            Writer(folder, Signer.open(Path(home) / "keys"), SEGMENT_BYTES, NOW)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@given(st.sets(st.integers(0, 2), min_size=1))
def test_a_log_without_segments_is_not_continued_under_its_first_head(missing: set[int]) -> None:
    """The head of a new log is signed for no records: it fits whatever begins with record 1, and nothing else."""
    with TemporaryDirectory() as home:
        folder, signer = put(Path(home)), Signer.open(Path(home) / "keys")
        write_head(folder, signer.sign(0, START, NOW))
        for index in missing:
            (folder / whole_log().segments[index].name).unlink()
        if missing in ({2}, {1, 2}, {0, 1, 2}):
            Writer(folder, signer, SEGMENT_BYTES, NOW).close()
            assert verify(folder).ok
        else:
            with pytest.raises(InvalidArgument):
                Writer(folder, signer, SEGMENT_BYTES, NOW)


@settings(max_examples=200)
@given(st.data())
def test_what_a_crash_leaves_is_whole_and_goes_on(data: st.DataObject) -> None:
    """The records are on the disk up to any byte, the head is of any record before it."""
    lines = whole_log().lines
    ended = data.draw(st.integers(0, len(lines)), label="records under the head")
    size = data.draw(st.integers(sum(map(len, lines[:ended])), sum(map(len, lines))), label="bytes on the disk")
    kept = b"".join(lines)[:size].count(b"\n")
    with TemporaryDirectory() as home:
        folder, signer = put(Path(home)), Signer.open(Path(home) / "keys")
        write_head(folder, signer.sign(ended, decode_line(lines[ended - 1]).claimed if ended else START, NOW))
        _keep(folder, size, begun=data.draw(st.booleans(), label="whether the next file is there"))
        verdict = verify(folder)
        assert (verdict.fault, verdict.records) == (None, kept)
        _write_one_more(folder, signer)
        records = read(folder, 0, ALL)
        assert [record.n for record in records] == list(range(1, len(records) + 1))
        assert records[:kept] == [decode_line(line).record for line in lines[:kept]]
        assert records[-1].detail == "after the crash"
        assert last(folder, 3) == records[-3:]
        assert verify(folder).ok


def _keep(folder: Path, size: int, begun: bool) -> None:
    """Cut the log to so many bytes, as if the rest had never been written; the file after them may have been begun."""
    for file in whole_log().segments:
        kept = file.content[:size]
        size -= len(kept)
        if kept or begun:
            (folder / file.name).write_bytes(kept)
        else:
            (folder / file.name).unlink()
        begun = begun and kept == file.content


def _write_one_more(folder: Path, signer: Signer) -> None:
    writer = Writer(folder, signer, SEGMENT_BYTES, NOW)
    writer.append([Noted(Entry(Kind.DAEMON, detail="after the crash"), NOW)], NOW)
    writer.sign(NOW)
    writer.close()


@given(
    kind=st.sampled_from(Kind),
    texts=st.lists(st.text(max_size=30), min_size=12, max_size=12),
    at=st.one_of(st.floats(0, 1e12), st.integers(0, 1 << 40)),
    count=st.integers(1, 3),
)
def test_any_entry_comes_back_from_its_line(kind: Kind, texts: list[str], at: float, count: int) -> None:
    record = record_of(Entry(kind, *texts), 1, at, count, until=at)
    line, digest = encode_line(START, record)
    link = decode_line(line)
    assert (link.record, link.claimed) == (record, digest)
    assert line.count(b"\n") == 1


@dataclass(frozen=True, slots=True)
class Burst:
    """Notes of one principal: so many different entries of a kind from one on, each so often."""

    principal: int
    kind: Kind
    first: int
    entries: int
    times: int


BURSTS = st.builds(
    Burst, st.integers(0, 2), st.sampled_from(Kind), st.integers(0, 300), st.integers(0, 400), st.integers(1, 3)
)


@given(st.lists(BURSTS, max_size=6))
def test_every_note_of_a_group_is_counted_and_belongs_to_whoever_it_was(bursts: list[Burst]) -> None:
    group, entries = Group(), dict[tuple[int, Kind, int], Entry]()
    for burst in bursts:
        for n in range(burst.first, burst.first + burst.entries):
            fresh = Entry(burst.kind, f"p{burst.principal}", action=f"a{n % 50}")
            entry = entries.setdefault((burst.principal, burst.kind, n), fresh)
            for _ in range(burst.times):
                note(group, entry)
    expected, counted = Counter[str](), Counter[str]()
    for burst in bursts:
        expected[f"p{burst.principal}"] += burst.entries * burst.times
    for noted in group.noted.values():
        counted[noted.entry.principal] += noted.count
    assert counted == expected


def note(group: Group, entry: Entry) -> None:
    """As the log does."""
    known = group.noted.get(entry)
    if known is not None:
        known.count += 1
    else:
        group.add(entry, NOW)
