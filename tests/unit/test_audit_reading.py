"""Reading the log while it is written, and exporting it."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from llmos.kernel.core.principal import SYSTEM
from llmos.kernel.security.audit.__main__ import main
from llmos.kernel.security.audit.chain import complete_lines, reversed_lines, segments
from llmos.kernel.security.audit.ocsf import to_ocsf
from llmos.kernel.security.audit.reading import find_denial, last, read, since
from llmos.kernel.security.audit.record import AuditRecord, Entry, Kind
from llmos.kernel.security.audit.verify import Verdict, verify
from llmos.syscalls.abi.errors import InvalidArgument
from tests.unit.audit_folder import AuditFolder, call


@pytest.fixture
def house(tmp_path: Path) -> Iterator[AuditFolder]:
    house = AuditFolder(tmp_path)
    yield house
    house.close()


def test_records_are_read_from_a_number_on_over_all_segments(house: AuditFolder) -> None:
    house.write(3, 3, 3, segment_bytes=300)
    for after in range(13):
        assert [record.n for record in read(house.folder, after, 4)] == list(range(after + 1, min(after + 5, 13)))


def test_the_newest_records_come_oldest_first_over_all_segments(house: AuditFolder) -> None:
    house.write(3, 3, 3, segment_bytes=300)
    for limit in range(14):
        assert [record.n for record in last(house.folder, limit)] == list(range(max(13 - limit, 1), 13))
    assert [record.n for record in last(house.folder, 2, kinds=frozenset({Kind.SEGMENT}))] == [5, 9]


@pytest.mark.parametrize(
    "text", ["", "a", "a\n", "a\nb", "a\nb\n", "\n", "\n\n", "a\n" * 70_000, "x" * 70_000 + "\ny\n"]
)
def test_lines_backwards_are_the_lines_forwards(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lines"
    path.write_text(text)
    assert list(reversed_lines(path))[::-1] == [line.removesuffix(b"\n") for line in complete_lines(path)]


def test_a_tenant_sees_its_people_and_what_those_above_did_to_its_things(house: AuditFolder) -> None:
    log = house.open()
    log.note(Entry(Kind.CALL, tenant="red", object="own"))
    log.note(Entry(Kind.CALL, tenant=SYSTEM, object_tenant="red", object="from above"))
    log.note(Entry(Kind.CALL, tenant="blue", object="others"))
    house.flush(log)
    assert [record.object for record in read(house.folder, 0, 10, "red")] == ["own", "from above"]
    assert [record.object for record in last(house.folder, 10, "red")] == ["own", "from above"]


def test_a_denial_is_found_by_its_id_and_by_nothing_that_only_looks_like_it(house: AuditFolder) -> None:
    log = house.open(segment_bytes=300)
    house.commit(log, Entry(Kind.DENIAL, denial="abc", object="old"))
    house.commit(log, Entry(Kind.DENIAL, denial="abc", object="new"))
    house.commit(log, Entry(Kind.CALL, denial="abc"))
    house.commit(log, Entry(Kind.DENIAL, denial="x", detail='"denial":"abc"'))
    found = find_denial(house.folder, "abc")
    assert found is not None
    assert found.object == "new"
    assert find_denial(house.folder, "ab") is None
    assert find_denial(house.folder, '"') is None


def test_segments_that_are_too_old_are_not_opened(house: AuditFolder) -> None:
    log = house.open(segment_bytes=100)
    for i in range(4):
        house.commit(log, call(str(i)))
        house.clock.now += 100
    log.close()
    segments(house.folder)[0].write_bytes(b"not read\n")
    start = 1_000_000.0 + 200
    assert [record.object for record in since(house.folder, start) if record.kind is Kind.CALL] == ["2", "3"]
    with pytest.raises(InvalidArgument, match="audit-000000000001"):
        list(since(house.folder, 0))


def test_reading_and_verifying_work_while_the_log_is_written(house: AuditFolder) -> None:
    log = house.open(segment_bytes=2000)
    house.commit(log, call("first"))
    seen: list[tuple[int, int]] = []
    verdicts: list[Verdict] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            oldest = read(house.folder, 0, 1_000_000)
            newest = last(house.folder, 5)
            assert [record.n for record in oldest] == list(range(1, len(oldest) + 1))
            seen.append((len(oldest), newest[-1].n))
            verdicts.append(verify(house.folder))

    reader = threading.Thread(target=look)
    reader.start()
    for i in range(300):
        log.note(call(f"{i}"))
        house.commit(log, call(f"{i} again"))
    over.set()
    reader.join()
    assert seen
    assert all(before <= after for before, after in seen)
    assert [verdict for verdict in verdicts if not verdict.ok] == []


REQUIRED = {"activity_id", "category_uid", "class_uid", "type_uid", "time", "severity_id", "metadata"}
REQUIRED_BY_CLASS = {
    6003: {"actor", "api", "src_endpoint"},
    6002: {"app"},
    3001: {"user"},
    3002: {"user"},
    3004: {"entity"},
}


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("named", [True, False])
def test_every_kind_of_record_is_an_event_with_what_its_class_requires(kind: Kind, named: bool) -> None:
    who = ("alice", "viewer", "default", "proc.info", "proc:/alice/1") if named else ()
    event: dict[str, Any] = json.loads(to_ocsf(AuditRecord(7, 12.5, kind, *who)))
    assert REQUIRED | REQUIRED_BY_CLASS[event["class_uid"]] <= event.keys()
    assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
    assert event["class_uid"] // 1000 == event["category_uid"]
    assert (event["time"], event["status_id"]) == (12_500, 1)
    assert event["metadata"]["product"]["vendor_name"]


def test_a_denial_is_a_failed_read_of_the_object(house: AuditFolder) -> None:
    record = AuditRecord(
        1, 0.0, Kind.DENIAL, "eve", "app", "red", "proc.info", "proc:/bob/1", "bob", "red", outcome="denied"
    )
    event: dict[str, Any] = json.loads(to_ocsf(record))
    assert (event["type_uid"], event["status_id"], event["status_detail"]) == (600302, 2, "denied")
    assert event["actor"]["user"] == {"name": "eve", "groups": [{"name": "app"}], "domain": "red"}
    assert event["resources"] == [{"name": "proc:/bob/1", "owner": {"name": "bob"}}]


@pytest.mark.parametrize(("format", "member"), [("jsonl", "n"), ("ocsf", "class_uid")])
def test_the_command_exports_a_line_for_each_record(house: AuditFolder, format: str, member: str) -> None:
    house.write(3, 3, segment_bytes=300)
    lines = exported(house.folder, "--format", format)
    assert len(lines) == 8
    assert all(member in line for line in lines)


def test_the_command_exports_the_last_days_only(house: AuditFolder) -> None:
    house.write(3)
    assert exported(house.folder, "--since", "1") == []


def test_the_command_exports_no_damaged_log_silently(house: AuditFolder, capsys: pytest.CaptureFixture[str]) -> None:
    house.write(3)
    segments(house.folder)[0].write_bytes(b"junk\n")
    assert main(["export", str(house.folder)]) == 2
    assert "audit-000000000001.jsonl:1" in capsys.readouterr().err


def exported(folder: Path, *options: str) -> list[dict[str, Any]]:
    data = io.BytesIO()
    with redirect_stdout(io.TextIOWrapper(data, write_through=True)) as text:
        assert main(["export", str(folder), *options]) == 0
        lines = data.getvalue().splitlines()
        text.detach()
    return [json.loads(line) for line in lines]
