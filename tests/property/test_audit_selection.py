"""Reading the audit log gives what picking from all of its records by hand gives, whatever is in it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.kernel.core.principal import SYSTEM
from llmos.kernel.security.audit.chain import decode_line, segments
from llmos.kernel.security.audit.group import Noted
from llmos.kernel.security.audit.reading import find_denial, last, read, since
from llmos.kernel.security.audit.record import AuditRecord, Entry, Kind
from llmos.kernel.security.audit.signing import Signer
from llmos.kernel.security.audit.writer import Writer

ENTRIES = st.builds(
    Entry,
    st.sampled_from((Kind.CALL, Kind.DENIAL, Kind.KEY)),
    tenant=st.sampled_from(("red", "blue", SYSTEM)),
    object_tenant=st.sampled_from(("", "red", "blue")),
    detail=st.sampled_from(("", '"denial":"1"', "☃" * 300)),
    denial=st.sampled_from(("", "1", "11", '"')),
)
GROUPS = st.lists(st.lists(ENTRIES, min_size=1, max_size=4), max_size=8)
NUMBERS = st.integers(0, 40)
TENANTS = st.sampled_from((None, "red", "blue", SYSTEM, "nobody"))
KINDS = st.sampled_from((None, frozenset({Kind.CALL}), frozenset({Kind.KEY, Kind.SEGMENT}), frozenset[Kind]()))


def write(home: Path, groups: list[list[Entry]], segment_bytes: int) -> Path:
    """Write the groups at the moments 0, 1, 2..."""
    writer = Writer(home / "audit", Signer.open(home / "keys"), segment_bytes, 0.0)
    for number, group in enumerate(groups):
        writer.append([Noted(entry, float(number)) for entry in group], float(number))
    writer.sign(0.0)
    writer.close()
    return home / "audit"


def everything(folder: Path) -> list[AuditRecord]:
    lines = [line for path in segments(folder) for line in path.read_bytes().split(b"\n")[:-1]]
    return [decode_line(line).record for line in lines]


def is_of(record: AuditRecord, tenant: str) -> bool:
    return record.tenant == tenant or (record.tenant == SYSTEM and record.object_tenant == tenant)


@settings(max_examples=60)
@given(GROUPS, st.sampled_from((1, 700, 100_000)), st.data())
def test_reading_is_picking_from_all_records(
    groups: list[list[Entry]], segment_bytes: int, data: st.DataObject
) -> None:
    with TemporaryDirectory() as home:
        folder = write(Path(home), groups, segment_bytes)
        records = everything(folder)
        assert [record.n for record in records] == list(range(1, len(records) + 1))
        for _ in range(5):
            tenant, kinds = data.draw(TENANTS), data.draw(KINDS)
            after, limit = data.draw(NUMBERS), data.draw(NUMBERS)
            fit = [r for r in records if (tenant is None or is_of(r, tenant)) and (kinds is None or r.kind in kinds)]
            assert read(folder, after, limit, tenant, kinds) == [r for r in fit if r.n > after][:limit]
            assert last(folder, limit, tenant, kinds) == fit[max(len(fit) - limit, 0) :]
            moment = data.draw(st.floats(-1, 9))
            assert list(since(folder, moment)) == [record for record in records if record.at >= moment]
            denial = data.draw(st.sampled_from(("1", "11", '"', "2", "\\")))
            denials = [record for record in records if record.kind is Kind.DENIAL and record.denial == denial]
            assert find_denial(folder, denial) == (denials[-1] if denials else None)
