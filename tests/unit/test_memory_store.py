"""Long-term memory on a real database: versions, expiry, erasure, quotas, lineage, and what a restart finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos.drivers.store.memory.quotas import OVERHEAD, Quotas
from llmos.drivers.store.memory.writing import AT_ONCE
from llmos.kernel.ports.memory import ContextTrace, ItemTrace, Trace
from llmos.syscalls.abi.errors import Busy, InvalidArgument, LimitExceeded, NotFound
from llmos.syscalls.abi.memory import Comparison, Filter, SearchMode
from llmos.syscalls.abi.words import Pid
from tests.unit.memory_house import NOTES, PATIENCE, House, context, memory_house

BY_ALL = (SearchMode.TEXT, SearchMode.VECTOR, SearchMode.HYBRID)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with memory_house(tmp_path) as made:
        yield made


def test_what_is_put_is_got_with_everything_that_is_known_about_it(house: House) -> None:
    put = house.put("The capital of France is Paris.", "a", {"lang": "en", "year": 2024, "sure": True, "x": 1.5})
    assert (put.version, put.namespace, put.author) == (1, NOTES, "alice")
    assert put.created == put.updated == house.now
    assert house.get("a") == put
    assert house.get("a").metadata == {"lang": "en", "year": 2024, "sure": True, "x": 1.5}
    assert isinstance(house.get("a").metadata["sure"], bool)


@pytest.mark.parametrize("mode", BY_ALL)
def test_an_update_is_found_by_its_new_text_only_and_the_old_one_is_history(house: House, mode: SearchMode) -> None:
    house.put("cats purr", "a")
    house.put("dogs bark", "b")
    house.put("rates rise", "a")
    assert house.history("a") == [2, 1]
    assert house.get("a", 1).text == "cats purr"
    assert house.get("a").text == "rates rise"
    assert house.ids("rates rise", mode)[0] == "a"
    assert [one.text for one in house.search("cats purr", mode=mode)][:1] != ["cats purr"]


@pytest.mark.parametrize("mode", BY_ALL)
def test_a_forgotten_item_is_never_found_again(house: House, mode: SearchMode) -> None:
    house.put("cats purr", "a")
    house.put("cats sleep", "a")
    house.put("cats eat", "b")
    assert set(house.ids("cats", mode)) == {"a", "b"}
    assert house.forget("a") == (1, 2)
    assert house.ids("cats", mode) == ["b"]
    assert house.listed() == ["b"]
    with pytest.raises(NotFound, match="'a'"):
        house.get("a", 1)
    with pytest.raises(NotFound):
        house.forget("a")
    assert house.put("cats again", "a").version == 1


def test_the_file_holds_nothing_of_what_was_forgotten(tmp_path: Path) -> None:
    with memory_house(tmp_path) as house:
        house.put("keep this one", "kept", {"colour": "chartreuse"})
        house.put("the zanzibarquux secret", "gone", {"colour": "heliotropeflux"})
        house.put("the zanzibarquux secret, revised", "gone")
        house.forget("gone")
        for file in tmp_path.iterdir():
            content = file.read_bytes().lower()
            assert b"zanzibarquux" not in content, file
            assert b"heliotropeflux" not in content, file
        assert b"chartreuse" in (tmp_path / "memory.db").read_bytes()


def test_forgetting_all_that_fit_takes_many_transactions_and_leaves_the_rest(house: House) -> None:
    count = AT_ONCE + 10
    drafts = [house.put("short", metadata={"kind": "x"}, embedded=False) for _ in range(count)]
    house.put("stays", "stays", {"kind": "y"})
    assert len(drafts) == count
    assert house.forget(None, Filter("kind", ("x",))) == (count, count)
    assert house.listed() == ["stays"]
    assert house.forget(None) == (1, 1)
    assert house.forget(None) == (0, 0)


@pytest.mark.parametrize("mode", BY_ALL)
def test_what_has_expired_does_not_exist_even_before_it_is_swept(house: House, mode: SearchMode) -> None:
    house.put("cats purr", "short", expires=10)
    house.put("cats sleep", "long", expires=1000)
    house.now += 20
    assert house.ids("cats", mode) == ["long"]
    assert house.listed() == ["long"]
    with pytest.raises(NotFound):
        house.get("short")
    with pytest.raises(NotFound):
        house.forget("short")
    assert house.put("cats anew", "short").version == 1
    house.now += 2000
    assert house.store.sweep(house.now).result(PATIENCE) == 1
    assert house.listed() == ["short"]
    assert house.store.usage().result(PATIENCE).items == 1


def test_a_write_that_expects_another_version_changes_nothing(house: House) -> None:
    house.put("one", "a", expected=0)
    with pytest.raises(Busy, match="is 1, not 0"):
        house.put("two", "a", expected=0)
    house.put("two", "a", expected=1)
    with pytest.raises(Busy, match="is 2, not 7"):
        house.put("three", "a", expected=7)
    assert house.history("a") == [2, 1]


def test_limits_name_their_setting_their_value_and_what_to_do(tmp_path: Path) -> None:
    with memory_house(tmp_path, Quotas(items=2, bytes=5 * OVERHEAD)) as house:
        house.put("one", "a")
        house.put("two", "b")
        with pytest.raises(LimitExceeded, match=r"memory\.items_per_owner is 2") as refused:
            house.put("three", "c", namespace="alice/other")
        assert "forget some" in refused.value.hint
        house.put("bob has his own", "a", namespace="bob/notes")
        house.put("two again", "b")
        house.put("two again", "b")
        with pytest.raises(LimitExceeded, match=rf"memory\.bytes_per_owner is {5 * OVERHEAD}"):
            house.put("x" * OVERHEAD, "b")
        assert house.history("b") == [3, 2, 1]
        with pytest.raises(LimitExceeded, match="bytes_per_owner"):
            house.rollback("b", 1)
        house.forget("b")
        house.put("room again", "d")


def test_usage_counts_what_there_is(house: House) -> None:
    house.put("abc", "a", {"k": 1})
    house.put("abcd", "a", embedded=False)
    house.put("x", "b", namespace="bob/notes")
    usage = house.store.usage().result(PATIENCE)
    assert (usage.items, usage.versions, usage.unembedded) == (2, 3, 1)
    assert usage.bytes == 3 * OVERHEAD + len("abc" + '{"k":1}' + "abcd{}" + "x{}")


def test_namespaces_see_nothing_of_each_other(house: House) -> None:
    house.put("cats purr", "a")
    house.put("cats purr", "a", namespace="bob/notes")
    house.put("cats purr", "a", namespace="@default/notes")
    for mode in BY_ALL:
        assert {one.namespace for one in house.search("cats", mode=mode)} == {NOTES}
        assert house.search("cats", mode=mode, namespace="alice/other") == []
    with pytest.raises(NotFound, match="alice/other"):
        house.get("a", namespace="alice/other")
    house.forget("a", namespace="bob/notes")
    assert house.listed() == ["a"]
    assert house.listed(namespace="bob/notes") == []


def test_lists_go_on_where_they_stopped_in_the_order_of_making(house: House) -> None:
    ids = [house.put("text", metadata={"n": number % 2}).id for number in range(7)]
    house.put("changed", ids[0])
    first = house.store.list(NOTES, (), 3, None, house.now).result(PATIENCE)
    assert ([one.id for one in first.records], first.after) == (ids[:3], ids[2])
    rest = house.store.list(NOTES, (), 100, first.after, house.now).result(PATIENCE)
    assert ([one.id for one in rest.records], rest.after) == (ids[3:], None)
    assert house.listed(Filter("n", (1,))) == ids[1::2]
    with pytest.raises(InvalidArgument, match="'nothing'"):
        house.store.list(NOTES, (), 3, "nothing", house.now).result(PATIENCE)
    with pytest.raises(InvalidArgument):
        house.store.list("alice/none", (), 3, "nothing", house.now).result(PATIENCE)


@pytest.mark.parametrize("limit", range(1, 9))
def test_a_history_goes_on_where_it_stopped_whatever_fits_into_a_page(house: House, limit: int) -> None:
    for number in range(7):
        house.put(f"text {number}", "a")
    told: list[int] = []
    after = None
    while True:
        page = house.store.history(NOTES, "a", limit, after, house.now).result(PATIENCE)
        told += [one.version for one in page.records]
        assert len(page.records) == min(limit, 7 - len(told) + len(page.records))
        if (after := page.after) is None:
            break
        assert after == told[-1]
        house.put("a version that came meanwhile", "a")
    assert told == [7, 6, 5, 4, 3, 2, 1]
    assert [one.version for one in house.store.history(NOTES, "a", 2, 3, house.now).result(PATIENCE).records] == [2, 1]
    assert house.store.history(NOTES, "a", 2, 1, house.now).result(PATIENCE).records == ()
    latest = house.store.history(NOTES, "a", 1, 1 << 52, house.now).result(PATIENCE)
    assert latest.after == latest.records[0].version == house.history("a")[0]


def test_a_history_of_long_texts_comes_in_parts_and_whole(house: House) -> None:
    for _ in range(18):
        house.put("x" * (1 << 18), "a")
    first = house.store.history(NOTES, "a", 1000, None, house.now).result(PATIENCE)
    rest = house.store.history(NOTES, "a", 1000, first.after, house.now).result(PATIENCE)
    assert len(first.records) == 16
    assert [one.version for one in (*first.records, *rest.records)] == list(range(18, 0, -1))
    assert rest.after is None


def _traced(traces: tuple[Trace, ...]) -> list[str]:
    found = []
    for trace in traces:
        match trace:
            case ContextTrace(context=reader, version=version):
                found.append(f"pid {reader.pid} read {version}")
            case ItemTrace(namespace=namespace, id=id, version=version):
                found.append(f"{namespace}/{id} {version}")
    return found


def test_a_rollback_makes_the_old_version_the_latest_and_tells_what_came_of_the_others(house: House) -> None:
    house.put("good", "fact")
    house.get("fact", pid=1)
    house.put("poisoned", "fact")
    house.put("written before reading", "early", pid=2)
    assert house.search("poisoned", limit=1, pid=2)[0].id == "fact"
    house.put("from poison", "derived", pid=2)
    house.get("derived", pid=3)
    house.put("from derived", "further", namespace="alice/other", pid=3)
    house.put("innocent", "innocent", pid=1)
    taken = house.rollback("fact", 1)
    assert (taken.record.version, taken.record.text) == (3, "good")
    assert _traced(taken.traces) == ["pid 2 read 2", f"{NOTES}/derived 1", "pid 3 read 1", "alice/other/further 1"]
    assert house.get("fact").text == "good"
    assert house.ids("good", SearchMode.VECTOR)[0] == "fact"
    assert house.history("fact") == [3, 2, 1]


def test_what_a_parent_has_read_its_children_have_read(house: House) -> None:
    house.put("good", "fact")
    house.put("poisoned", "fact")
    house.get("fact", pid=1)
    house.store.inherit(Pid(1), (context(11), context(12)), house.now)
    house.store.inherit(Pid(5), (context(51),), house.now)
    house.put("by a child", "derived", pid=12)
    assert _traced(house.rollback("fact", 1).traces) == [
        "pid 1 read 2",
        "pid 11 read 2",
        "pid 12 read 2",
        f"{NOTES}/derived 1",
    ]


def test_circles_of_reading_and_writing_come_to_an_end(house: House) -> None:
    house.put("good", "a")
    house.put("bad", "a")
    house.get("a", pid=1)
    house.put("b", "b", pid=1)
    house.get("b", pid=2)
    house.put("worse", "a", pid=2)
    house.get("a", pid=1)
    assert _traced(house.rollback("a", 1).traces) == ["pid 1 read 2", f"{NOTES}/b 1", "pid 2 read 1"]


def test_a_rollback_to_what_is_not_older_is_refused(house: House) -> None:
    house.put("one", "a")
    for version, error in ((1, InvalidArgument), (2, NotFound), (9, NotFound)):
        with pytest.raises(error, match=r"version|latest"):
            house.rollback("a", version)
    with pytest.raises(NotFound):
        house.rollback("nothing", 1)


def test_lineage_of_what_was_forgotten_is_gone(house: House) -> None:
    house.put("one", "a")
    house.get("a", pid=1)
    house.forget("a")
    house.put("one", "a")
    house.put("two", "a")
    assert house.rollback("a", 1).traces == ()


def test_everything_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    with memory_house(tmp_path) as house:
        house.put("cats purr", "a", {"k": "v"}, pid=4)
        house.put("dogs bark", "b")
        house.put("dogs sleep", "b")
        house.get("b", pid=4)
        before = house.get("a"), house.get("b", 1), house.search("dogs")
    with memory_house(tmp_path) as house:
        house.now += 2000
        assert (house.get("a"), house.get("b", 1), house.search("dogs")) == before
        assert house.listed(Filter("k", ("v",), Comparison.EQUAL)) == ["a"]
        assert _traced(house.rollback("b", 1).traces) == ["pid 4 read 2"]
