"""The audit log as the daemon uses it: groups, repeats, floods, segments, keys."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos.kernel.security.audit.chain import segments
from llmos.kernel.security.audit.group import MOST_ACTIONS, MOST_DIFFERENT, MOST_NOTED, Group
from llmos.kernel.security.audit.reading import last
from llmos.kernel.security.audit.record import LONGEST, Entry, Kind
from llmos.kernel.security.audit.signing import Signer
from llmos.kernel.security.audit.verify import verify
from llmos.syscalls.abi.errors import DeviceError, Error, InvalidArgument
from tests.unit.audit_folder import AuditFolder, call


@pytest.fixture
def house(tmp_path: Path) -> Iterator[AuditFolder]:
    house = AuditFolder(tmp_path)
    yield house
    house.close()


def test_an_entry_that_is_noted_again_is_one_record_with_a_count_and_an_end(house: AuditFolder) -> None:
    log, entry = house.open(), call()
    for _ in range(3):
        log.note(entry)
    log.note(call("proc:/alice/2"))
    house.clock.now += 2
    house.flush(log)
    first, second = house.records()[1:]
    assert (first.count, first.at, first.until) == (3, 1_000_000.0, 1_000_002.0)
    assert (second.count, second.until, second.object) == (1, None, "proc:/alice/2")


def test_the_same_entry_in_two_groups_is_two_records(house: AuditFolder) -> None:
    log, entry = house.open(), call()
    house.commit(log, entry)
    house.commit(log, entry)
    assert [record.count for record in house.records()[1:]] == [1, 1]


def test_what_is_noted_leaves_by_itself_after_a_moment(house: AuditFolder) -> None:
    log = house.open(group_seconds=0.001)
    log.note(call())

    async def written() -> None:
        while log.progress.groups == 0:
            await asyncio.sleep(0.001)

    house.loop.run_until_complete(asyncio.wait_for(written(), 30))
    assert house.objects() == ["proc:/alice/1"]


def test_what_is_noted_at_once_while_a_group_is_written_leaves_when_it_returns(house: AuditFolder) -> None:
    log = house.open(group_seconds=3600)
    answered: list[Error | None] = []
    log.commit(call("1"), answered.append)

    async def written() -> None:
        while not answered:
            await asyncio.sleep(0)
            if len(noted) < 2:
                noted.append(call("2"))
                log.note(noted[-1], at_once=True)
        while log.progress.records < 2 + len(noted):
            await asyncio.sleep(0.001)

    noted: list[Entry] = []
    house.loop.run_until_complete(asyncio.wait_for(written(), 30))
    assert house.objects()[0] == "1"


def test_a_commit_is_answered_when_its_record_and_a_head_over_it_are_on_the_disk(house: AuditFolder) -> None:
    log = house.open(group_seconds=3600)
    log.note(call("before"))
    assert house.commit(log, Entry(Kind.KEY, detail="made")) is None
    assert [record.kind for record in house.records()] == [Kind.SEGMENT, Kind.CALL, Kind.KEY]
    assert verify(house.folder).head == log.head
    assert log.head.n == 3


def test_flushing_a_log_with_nothing_to_write_is_answered(house: AuditFolder) -> None:
    assert house.flush(house.open()) is None


def test_progress_tells_records_groups_and_bytes(house: AuditFolder) -> None:
    log = house.open()
    house.commit(log, call())
    house.commit(log, call())
    size = sum(path.stat().st_size for path in segments(house.folder))
    assert (log.progress.records, log.progress.groups, log.progress.bytes) == (3, 2, size)


def test_a_principal_that_scans_is_summed_up_and_nothing_is_lost(house: AuditFolder) -> None:
    log = house.open()
    for pid in range(MOST_DIFFERENT + 1000):
        log.note(call(f"proc:/alice/{pid}"))
    log.note(call("proc:/bob/1", principal="bob"))
    house.flush(log)
    records = house.records()
    assert sum(record.count for record in records if record.principal == "alice") == MOST_DIFFERENT + 1000
    [summary] = [record for record in records if record.kind is Kind.SUMMARY]
    assert (summary.count, summary.action, summary.outcome) == (1000, "proc.info", "ok")
    assert [record.object for record in records if record.principal == "bob"] == ["proc:/bob/1"]


def test_names_of_actions_that_a_caller_makes_up_make_no_more_records_than_a_bound(house: AuditFolder) -> None:
    log = house.open()
    for i in range(5000):
        log.note(call(action=f"made.up{i}"))
    house.flush(log)
    records = [record for record in house.records() if record.principal == "alice"]
    assert len(records) <= MOST_DIFFERENT + MOST_ACTIONS + 1
    assert sum(record.count for record in records) == 5000


def test_many_principals_together_are_bounded_too() -> None:
    group, more = Group(), 1000
    for i in range(MOST_NOTED + more):
        group.add(call(principal=f"p{i}"), 0.0)
    assert len(group.noted) == MOST_NOTED + 1
    assert sum(noted.count for noted in group.noted.values()) == MOST_NOTED + more


@pytest.mark.parametrize("kind", [Kind.KEY, Kind.POLICY, Kind.DAEMON])
def test_what_happened_to_keys_policies_and_the_daemon_is_never_summed_up(house: AuditFolder, kind: Kind) -> None:
    log = house.open()
    for i in range(MOST_DIFFERENT + 10):
        log.note(Entry(kind, principal="admin", object=str(i)))
    house.flush(log)
    assert [r.object for r in house.records() if r.kind is kind] == [str(i) for i in range(MOST_DIFFERENT + 10)]


def test_a_full_segment_is_followed_by_another_one(house: AuditFolder) -> None:
    house.write(10, 10, 10, segment_bytes=1000)
    files = segments(house.folder)
    assert [path.name for path in files] == [f"audit-{n:012d}.jsonl" for n in (1, 12, 23)]
    assert [r.n for r in house.records() if r.kind is Kind.SEGMENT] == [1, 12, 23]
    assert verify(house.folder).ok


def test_a_log_goes_on_where_it_ended(house: AuditFolder) -> None:
    house.write(3)
    house.write(3)
    assert [record.n for record in house.records()] == list(range(1, 8))
    assert verify(house.folder).ok


def test_texts_are_cut_and_what_is_no_unicode_is_replaced(house: AuditFolder) -> None:
    log = house.open()
    assert house.commit(log, Entry(Kind.CALL, object="x" * 10_000, principal="a\udcffb")) is None
    [record] = house.records()[1:]
    assert (len(record.object), record.principal) == (LONGEST, "a?b")


def test_lines_end_only_where_records_end(house: AuditFolder) -> None:
    log = house.open()
    house.commit(log, call('a\n\r\x00"\u2028b'))
    assert house.objects() == ['a\n\r\x00"\u2028b']
    assert last(house.folder, 1)[0].object == 'a\n\r\x00"\u2028b'


def test_digests_need_the_key_and_tell_equal_contents(house: AuditFolder, tmp_path: Path) -> None:
    log, other = house.open(), Signer.open(tmp_path / "others")
    assert log.digest(b"yes") == log.digest(b"yes") != log.digest(b"no")
    assert log.digest(b"yes") != other.digest(b"yes")
    assert len(log.digest(b"")) == 32


def test_secret_keys_are_readable_by_their_owner_only(house: AuditFolder) -> None:
    house.open()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in house.keys.iterdir()}
    assert modes == {"audit.key": 0o600, "audit-digest.key": 0o600}


def test_a_damaged_key_is_refused(house: AuditFolder) -> None:
    house.open().close()
    (house.keys / "audit.key").write_text("zz\n")
    with pytest.raises(InvalidArgument, match=r"audit\.key is damaged"):
        house.open()


def test_a_log_that_cannot_be_opened_says_why(house: AuditFolder) -> None:
    house.folder.write_text("a file")
    with pytest.raises(DeviceError, match="File exists"):
        house.open()


def test_closing_writes_what_is_left_and_answers_who_waits(house: AuditFolder) -> None:
    log, answered = house.open(group_seconds=3600), list[Error | None]()
    log.note(call("1"))
    log.commit(call("2"), answered.append)
    log.close()
    log.close()
    assert answered == [None]
    assert house.objects() == ["1", "2"]


def test_a_folder_that_is_moved_away_is_reported_and_nothing_is_missing_when_it_is_back(house: AuditFolder) -> None:
    log = house.open()
    house.commit(log, call("0"))
    house.folder.rename(house.root / "away")
    error = house.commit(log, call("1"))
    assert isinstance(error, DeviceError)
    assert "No such file" in log.failing
    log.note(call("2"))
    (house.root / "away").rename(house.folder)
    while log.failing:
        house.flush(log)
    assert house.flush(log) is None
    assert house.objects() == ["0", "1", "2"]
    assert verify(house.folder).ok


def test_a_folder_that_was_replaced_is_not_written_to(house: AuditFolder) -> None:
    log = house.open()
    house.commit(log, call("0"))
    house.folder.rename(house.root / "away")
    house.folder.mkdir()
    assert isinstance(house.commit(log, call("1")), DeviceError)
    assert list(house.folder.iterdir()) == []
    house.folder.rmdir()
    (house.root / "away").rename(house.folder)
    log.close()
    assert house.objects() == ["0", "1"]
    assert verify(house.folder).ok


def test_a_file_that_was_cut_off_under_the_writer_is_not_written_to(house: AuditFolder) -> None:
    log = house.open()
    house.commit(log, call("0"))
    path = segments(house.folder)[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert isinstance(house.commit(log, call("1")), DeviceError)
    assert path.read_bytes() == whole[:-10]
    assert "cut off" in log.failing


def test_what_was_never_written_is_reported_to_who_waits_when_the_log_is_closed(house: AuditFolder) -> None:
    log, answered = house.open(), list[Error | None]()
    house.commit(log, call("0"))
    house.folder.rename(house.root / "away")
    log.commit(call("1"), answered.append)
    log.close()
    assert isinstance(answered[0], DeviceError)
    (house.root / "away").rename(house.folder)
    assert verify(house.folder).ok


def test_noting_costs_microseconds(house: AuditFolder) -> None:
    log, again = house.open(group_seconds=3600), call()
    different = [call(str(i), principal=f"p{i % 1000}") for i in range(50_000)]
    began = time.perf_counter()
    for _ in range(100_000):
        log.note(again)
    repeated = time.perf_counter()
    for entry in different:
        log.note(entry)
    ended = time.perf_counter()
    costs = (repeated - began) / 100_000, (ended - repeated) / len(different)
    print(f"note: {costs[0] * 1e6:.2f} us repeated, {costs[1] * 1e6:.2f} us new")
    assert costs[0] < 5e-6
    assert costs[1] < 20e-6
