"""Long-term memory against a model of it: any sequence of calls, with crashes in between, and everything agrees.

A crash is the database file and its log as they are on the disk at that moment, opened by another store.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from llmos.drivers.store.memory.store import MemoryStore
from llmos.kernel.ports.memory import ContextTrace, ItemTrace
from llmos.syscalls.abi.errors import InvalidArgument, NotFound
from llmos.syscalls.abi.memory import Comparison, Filter, MemoryRecord, Scalar, SearchMode
from tests.unit.memory_house import PATIENCE, House, embedding

ids = st.sampled_from(["a", "b", "c"])
namespaces = st.sampled_from(["alice/notes", "alice/other", "bob/notes"])
words = st.sampled_from(["cat", "dog", "rate", "東", "ünal"])
texts = st.lists(words, max_size=4).map(" ".join)
scalars = st.sampled_from([True, False, 0, 1, 2.5, "x", "1"])
metadata = st.dictionaries(st.sampled_from(["k", "l"]), scalars, max_size=2)
pids = st.none() | st.integers(2, 4)
comparisons = st.sampled_from(list(Comparison))


@dataclass
class Version:
    text: str
    metadata: dict[str, Scalar]
    source: int | None
    written: int


@dataclass
class Item:
    versions: list[Version] = field(default_factory=list)
    expires: float | None = None
    readings: dict[tuple[int, int], int] = field(default_factory=dict)
    """By version and pid: how many versions had been written before it was read."""


Key = tuple[str, str]


class MemoryMachine(RuleBasedStateMachine):
    """Does everything twice: in the store, and in a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp(prefix="llmos-memory-"))
        self.house = House(MemoryStore(self.folder / "memory.db"))
        self.items: dict[Key, Item] = {}
        self.written = 0

    def teardown(self) -> None:
        self.house.store.close()
        shutil.rmtree(self.folder)

    @rule(
        key=st.tuples(namespaces, ids),
        text=texts,
        metadata=metadata,
        pid=pids,
        embedded=st.booleans(),
        expires=st.none() | st.just(3.0),
    )
    def put(
        self,
        key: Key,
        text: str,
        metadata: dict[str, Scalar],
        pid: int | None,
        embedded: bool,
        expires: float | None,
    ) -> None:
        namespace, id = key
        record = self.house.put(text, id, metadata, namespace, pid, expires, embedded=embedded)
        self._expire()
        item = self.items.setdefault(key, Item())
        item.versions.append(Version(text, metadata, pid, self._next()))
        item.expires = record.expires
        assert record.version == len(item.versions)

    @rule(key=st.tuples(namespaces, ids), pid=pids)
    def get(self, key: Key, pid: int | None) -> None:
        self._expire()
        namespace, id = key
        if key not in self.items:
            with pytest.raises(NotFound):
                self.house.get(id, namespace=namespace, pid=pid)
            return
        item = self.items[key]
        self._same(self.house.get(id, namespace=namespace, pid=pid), key, len(item.versions))
        if pid is not None:
            item.readings.setdefault((len(item.versions), pid), self.written)

    @rule(id=ids, version=st.integers(1, 4))
    def rollback(self, id: str, version: int) -> None:
        self._expire()
        key = ("alice/notes", id)
        item = self.items.get(key)
        if item is None or version > len(item.versions):
            with pytest.raises(NotFound):
                self.house.rollback(id, version)
        elif version == len(item.versions):
            with pytest.raises(InvalidArgument):
                self.house.rollback(id, version)
        else:
            self._roll_back(key, item, version)

    @rule(key=st.tuples(namespaces, ids))
    def forget(self, key: Key) -> None:
        self._expire()
        namespace, id = key
        if key not in self.items:
            with pytest.raises(NotFound):
                self.house.forget(id, namespace=namespace)
            return
        assert self.house.forget(id, namespace=namespace) == (1, len(self.items.pop(key).versions))

    @rule(namespace=namespaces, key=st.sampled_from(["k", "l"]), value=scalars, comparison=comparisons)
    def forget_what_fits(self, namespace: str, key: str, value: Scalar, comparison: Comparison) -> None:
        self._expire()
        if isinstance(value, bool) and comparison.value in "<=>=":
            return
        fit = [
            at for at in self._in(namespace) if _fits(self.items[at].versions[-1].metadata.get(key), value, comparison)
        ]
        gone = self.house.forget(None, Filter(key, (value,), comparison), namespace=namespace)
        assert gone == (len(fit), sum(len(self.items.pop(at).versions) for at in fit))

    @rule(seconds=st.sampled_from([1.0, 5.0]), swept=st.booleans())
    def wait(self, seconds: float, swept: bool) -> None:
        self.house.now += seconds
        if swept:
            self.house.store.sweep(self.house.now).result(PATIENCE)

    @rule()
    def fill(self) -> None:
        waiting = self.house.store.unembedded(100).result(PATIENCE)
        vectors = embedding(*(one.text for one in waiting))
        filled = self.house.store.fill(tuple(one.revision for one in waiting), vectors).result(PATIENCE)
        assert filled == len(waiting)
        assert self.house.store.unembedded(100).result(PATIENCE) == ()

    @rule()
    def crash(self) -> None:
        left = Path(mkdtemp(prefix="llmos-memory-"))
        for name in ("memory.db", "memory.db-wal"):
            if (self.folder / name).exists():
                shutil.copy(self.folder / name, left / name)
        self.house.store.close()
        shutil.rmtree(self.folder)
        self.folder, self.house.store = left, MemoryStore(left / "memory.db")

    @rule()
    def close_and_open(self) -> None:
        self.house.store.close()
        self.house.store = MemoryStore(self.folder / "memory.db")

    @rule(namespace=namespaces, query=texts.filter(bool), mode=st.sampled_from(list(SearchMode)))
    def search(self, namespace: str, query: str, mode: SearchMode) -> None:
        self._expire()
        found = self.house.search(query, namespace=namespace, mode=mode)
        for record in found:
            key = (namespace, record.id)
            self._same(record, key, len(self.items[key].versions))
        mentioned = {
            key for key in self._in(namespace) if set(query.split()) & set(self.items[key].versions[-1].text.split())
        }
        names = {(namespace, record.id) for record in found}
        match mode:
            case SearchMode.TEXT:
                assert names == mentioned
            case SearchMode.HYBRID:
                assert names >= mentioned
            case SearchMode.VECTOR:
                assert len(names) == len(found)

    @invariant()
    def everything_agrees(self) -> None:
        self._expire()
        for namespace in ("alice/notes", "alice/other", "bob/notes"):
            assert set(self.house.listed(namespace=namespace)) == {id for _, id in self._in(namespace)}

    # --- inside

    def _in(self, namespace: str) -> list[Key]:
        return [key for key in self.items if key[0] == namespace]

    def _next(self) -> int:
        self.written += 1
        return self.written

    def _expire(self) -> None:
        now = self.house.now
        self.items = {k: item for k, item in self.items.items() if item.expires is None or item.expires > now}

    def _same(self, record: MemoryRecord, key: Key, number: int) -> None:
        version = self.items[key].versions[number - 1]
        assert (record.namespace, record.id, record.version) == (*key, number)
        assert (record.text, record.source) == (version.text, version.source)
        assert [(k, type(v), v) for k, v in sorted(record.metadata.items())] == [
            (k, type(v), v) for k, v in sorted(version.metadata.items())
        ]

    def _roll_back(self, key: Key, item: Item, version: int) -> None:
        old = item.versions[version - 1]
        taken = self.house.rollback(key[1], version)
        self._expire()
        expected = self._derived(key, item, version)
        if key in self.items:
            item.versions.append(Version(old.text, old.metadata, None, self._next()))
        found: set[tuple[str, str, int] | int] = set()
        for trace in taken.traces:
            match trace:
                case ContextTrace(context=context):
                    found.add(int(context.pid))
                case ItemTrace(namespace=namespace, id=id, version=number):
                    found.add((namespace, id, number))
        assert found >= expected
        assert taken.record.text == old.text

    def _derived(self, key: Key, item: Item, version: int) -> set[tuple[str, str, int] | int]:
        """By iteration until nothing is added."""
        taken = {(*key, number) for number in range(version + 1, len(item.versions) + 1)}
        tainted, marks = set(taken), dict[int, int]()
        while True:
            before = len(tainted), dict(marks)
            for namespace, id, number in tainted:
                for (read, pid), mark in (
                    self.items[namespace, id].readings.items() if (namespace, id) in self.items else ()
                ):
                    if read == number:
                        marks[pid] = min(mark, marks.get(pid, mark))
            for at, other in self.items.items():
                for number, one in enumerate(other.versions, 1):
                    if one.source in marks and one.written > marks[one.source]:
                        tainted.add((*at, number))
            if before == (len(tainted), marks):
                return {*(tainted - taken), *marks}


def _fits(value: Scalar | None, wanted: Scalar, comparison: Comparison) -> bool:
    same_kind = value is not None and (type(value) is type(wanted) or (_number(value) and _number(wanted)))
    equal = same_kind and value == wanted
    match comparison:
        case Comparison.EQUAL | Comparison.AMONG:
            return equal
        case Comparison.DIFFERENT:
            return not equal
        case Comparison.LESS:
            return same_kind and value < wanted  # type: ignore[operator] # of one kind
        case Comparison.AT_MOST:
            return same_kind and value <= wanted  # type: ignore[operator] # of one kind
        case Comparison.MORE:
            return same_kind and value > wanted  # type: ignore[operator] # of one kind
        case Comparison.AT_LEAST:
            return same_kind and value >= wanted  # type: ignore[operator] # of one kind


def _number(value: Scalar) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


TestMemory = MemoryMachine.TestCase
TestMemory.settings = settings(
    max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
