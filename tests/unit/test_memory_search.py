"""Finding: ranks by words and by meaning, filters, what waits for a vector, and encoders that change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from llmos.drivers.store.memory.filters import FEW
from llmos.drivers.store.memory.frequencies import Frequencies
from llmos.drivers.store.memory.searching import FUSION_RANK, fuse
from llmos.drivers.store.memory.words import Hit, words_of
from llmos.syscalls.abi.errors import InvalidArgument
from llmos.syscalls.abi.memory import Comparison, Filter, Scalar, SearchMode
from tests.unit.memory_house import NOTES, PATIENCE, House, embedding, memory_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with memory_house(tmp_path) as made:
        yield made


def test_words_know_no_case_and_no_accents_and_each_ideograph_is_one() -> None:
    assert words_of("Crème BRÛLÉE, a_b x2! 东京 カフェ") == ["creme", "brulee", "a", "b", "x2", "东", "京", *"カフェ"]
    assert words_of("n" * 100) == ["n" * 64]
    assert words_of("... \x00 🙂") == []


def test_rare_words_outrank_common_ones_and_short_texts_long_ones(house: House) -> None:
    for number in range(20):
        house.put(f"the report of day {number}", f"day{number}")
    house.put("the zebra", "zebra")
    house.put("the zebra and very many other words that dilute what it is about", "long")
    assert house.ids("the zebra", SearchMode.TEXT)[:2] == ["zebra", "long"]
    assert house.search("zebra", mode=SearchMode.TEXT)[0].score > house.search("zebra", mode=SearchMode.TEXT)[1].score  # type: ignore[operator] # every hit has a score


def test_ranks_by_words_do_not_depend_on_what_others_have(house: House) -> None:
    texts = ["red apples", "green apples", "apples and pears", "a pear tree"]
    for number, text in enumerate(texts):
        house.put(text, f"i{number}")
    before = [(one.id, one.score) for one in house.search("green pears apples", mode=SearchMode.TEXT)]
    for number in range(50):
        house.put(f"green green green apples {number}", namespace="bob/notes")
    assert [(one.id, one.score) for one in house.search("green pears apples", mode=SearchMode.TEXT)] == before


def test_a_word_that_most_texts_have_finds_them_all_beside_rarer_ones(house: House) -> None:
    for id in "abcdef":
        house.put("cats purr", id)
    house.put("a zebra", "zebra")
    assert sorted(house.ids("cats zebra", SearchMode.TEXT)) == [*"abcdef", "zebra"]
    assert house.ids("cats zebra", SearchMode.TEXT)[0] == "zebra"


def test_words_of_any_script_are_found(house: House) -> None:
    for id, text in (("a", "東京タワー"), ("b", "Привет, мир"), ("c", "ẞtraße Ünal"), ("d", "emoji 🙂 here")):
        house.put(text, id)
    assert house.ids("京", SearchMode.TEXT) == ["a"]
    assert house.ids("МИР", SearchMode.TEXT) == ["b"]
    assert house.ids("strasse unal", SearchMode.TEXT) == ["c"]


def test_fusing_adds_the_reciprocals_of_ranks() -> None:
    fused = fuse([Hit(1, 9.0), Hit(2, 8.0)], [Hit(3, 0.5), Hit(1, 0.4)])
    assert [hit.revision for hit in fused] == [1, 3, 2]
    assert fused[0].score == pytest.approx(1 / (FUSION_RANK + 1) + 1 / (FUSION_RANK + 2))
    assert fused[1].score == pytest.approx(1 / (FUSION_RANK + 1))


def test_a_vector_search_ranks_by_the_cosine(house: House) -> None:
    for id, text in (("a", "cats and dogs"), ("b", "cats"), ("c", "interest rates")):
        house.put(text, id)
    found = house.search("cats", mode=SearchMode.VECTOR)
    assert [one.id for one in found][:2] == ["b", "a"]
    assert found[0].score == pytest.approx(1.0, abs=1e-3)


METADATA: dict[str, dict[str, Scalar]] = {
    "a": {"year": 1999, "lang": "en", "ok": True},
    "b": {"year": 2000.5, "lang": "fr", "ok": False},
    "c": {"year": 2024, "lang": "en"},
    "d": {"year": "2024", "ok": 1},
    "e": {},
}


@pytest.mark.parametrize(
    ("where", "fits"),
    [
        (Filter("lang", ("en",)), "ac"),
        (Filter("lang", ("en",), Comparison.DIFFERENT), "bde"),
        (Filter("lang", ("en", "fr"), Comparison.AMONG), "abc"),
        (Filter("year", (2000,), Comparison.AT_LEAST), "bc"),
        (Filter("year", (2000.5,), Comparison.AT_MOST), "ab"),
        (Filter("year", (2000.5,), Comparison.LESS), "a"),
        (Filter("year", (1999,), Comparison.MORE), "bc"),
        (Filter("year", (1999.0,)), "a"),
        (Filter("year", ("2024",)), "d"),
        (Filter("year", ("1",), Comparison.MORE), "d"),
        (Filter("ok", (True,)), "a"),
        (Filter("ok", (1,)), "d"),
        (Filter("ok", (True,), Comparison.DIFFERENT), "bcde"),
        (Filter("year", (1999, "2024", True), Comparison.AMONG), "ad"),
        (Filter("nothing", ("x",)), ""),
        (Filter("nothing", ("x",), Comparison.DIFFERENT), "abcde"),
        (Filter("lang' or 1=1 --", ("' or 1=1",)), ""),
    ],
)
def test_filters_hold_in_lists_and_in_every_kind_of_search(house: House, where: Filter, fits: str) -> None:
    for id, metadata in METADATA.items():
        house.put(f"cats {id}", id, metadata)
        house.put(f"cats {id}", id, metadata)
    assert house.listed(where) == list(fits)
    for mode in SearchMode:
        assert sorted(house.ids("cats", mode, (where,))) == list(fits)
    assert house.forget(None, where) == (len(fits), 2 * len(fits))


@pytest.mark.parametrize(
    "where",
    [
        Filter("k", (1, 2)),
        Filter("k", (1, 2), Comparison.DIFFERENT),
        Filter("k", (True,), Comparison.MORE),
    ],
)
def test_a_filter_that_can_mean_nothing_is_refused(house: House, where: Filter) -> None:
    for call in (
        lambda: house.listed(where),
        lambda: house.search("x", where=(where,)),
        lambda: house.forget(None, where),
    ):
        with pytest.raises(InvalidArgument, match="'k'"):
            call()


def test_the_best_that_fit_are_found_also_when_many_fit_and_they_are_far_away(house: House) -> None:
    house.fill(FEW + 100, "cats", {"kind": "near"})
    house.fill(FEW + 50, "interest rates rise", {"kind": "far"})
    house.put("cats but far", "best", {"kind": "far"})
    where = (Filter("kind", ("far",)),)
    assert house.search("cats", 1, where, SearchMode.VECTOR)[0].id == "best"
    assert len(house.search("cats", 100, where, SearchMode.VECTOR)) == 100
    assert house.search("cats", 1, where, SearchMode.TEXT)[0].id == "best"


def test_what_was_written_without_a_vector_is_found_by_words_and_by_meaning_once_it_is_filled(house: House) -> None:
    house.put("cats purr", "a", embedded=False)
    house.put("dogs bark", "b")
    assert house.ids("cats", SearchMode.TEXT) == ["a"]
    assert house.ids("cats", SearchMode.HYBRID)[0] == "a"
    assert house.ids("cats", SearchMode.VECTOR) == ["b"]
    (waiting,) = house.store.unembedded(10).result(PATIENCE)
    assert waiting.text == "cats purr"
    assert house.store.fill((waiting.revision,), embedding(waiting.text)).result(PATIENCE) == 1
    assert house.store.unembedded(10).result(PATIENCE) == ()
    assert house.ids("cats", SearchMode.VECTOR)[0] == "a"


def test_what_is_not_the_latest_any_more_gets_no_vector(house: House) -> None:
    house.put("cats purr", "a", embedded=False)
    (waiting,) = house.store.unembedded(10).result(PATIENCE)
    house.put("dogs bark", "a")
    assert house.store.fill((waiting.revision,), embedding(waiting.text)).result(PATIENCE) == 0
    assert [one.text for one in house.search("cats purr", mode=SearchMode.VECTOR)] == ["dogs bark"]


def test_vectors_of_another_encoder_are_made_anew(house: House) -> None:
    house.put("cats purr", "a")
    house.put("dogs bark", "b")
    assert house.ids("cats", SearchMode.VECTOR)[0] == "a"
    house.store.fill((), embedding(fingerprint="another")).result(PATIENCE)
    waiting = house.store.unembedded(10).result(PATIENCE)
    assert [one.text for one in waiting] == ["cats purr", "dogs bark"]
    assert house.search("cats", mode=SearchMode.VECTOR, fingerprint="another") == []
    assert house.search("cats", mode=SearchMode.VECTOR) == []
    vectors = embedding(*(one.text for one in waiting), fingerprint="another")
    assert house.store.fill(tuple(one.revision for one in waiting), vectors).result(PATIENCE) == 2
    assert house.search("cats", mode=SearchMode.VECTOR, fingerprint="another")[0].id == "a"
    house.put("cats again", "a", embedded=False)
    assert house.rollback("a", 1).record.text == "cats purr"
    assert house.search("cats", mode=SearchMode.VECTOR, fingerprint="another")[0].text == "cats purr"


def test_indexes_that_do_not_fit_in_memory_together_are_loaded_again(tmp_path: Path) -> None:
    with memory_house(tmp_path, index_bytes=1) as house:
        for owner in ("alice", "bob", "carol"):
            house.put(f"cats of {owner}", "a", namespace=f"{owner}/notes")
        for _ in range(2):
            for owner in ("alice", "bob", "carol"):
                (found,) = house.search("cats", mode=SearchMode.VECTOR, namespace=f"{owner}/notes")
                assert found.text == f"cats of {owner}"
        assert 0 < house.store.usage().result(PATIENCE).index_bytes < 1000


def test_a_search_for_a_process_remembers_what_it_found(house: House) -> None:
    house.put("cats purr", "a")
    house.put("cats purr loudly", "a")
    assert [one.id for one in house.search("cats", pid=7)] == ["a"]
    assert len(house.rollback("a", 1).traces) == 1
    assert house.search("dogs", namespace="alice/none", pid=7) == []
    assert house.listed(namespace=NOTES) == ["a"]


def test_a_number_of_a_large_namespace_is_kept_until_it_has_grown_but_a_new_word_is_seen_at_once() -> None:
    connection, frequencies = apsw.Connection(":memory:"), Frequencies()
    connection.execute("create table word_counts(term text, doc integer)")
    assert frequencies.of(connection, "1_new", 5_000) == 0
    connection.execute("insert into word_counts values('1_new', 3)")
    assert frequencies.of(connection, "1_new", 5_000) == 3
    connection.execute("update word_counts set doc = 400")
    assert frequencies.of(connection, "1_new", 5_100) == 3
    assert frequencies.of(connection, "1_new", 6_000) == 400
    assert Frequencies().of(connection, "1_new", 10) == 400


def test_of_a_long_query_the_rarest_words_decide(house: House) -> None:
    house.fill(300, "the same words in every text", {})
    rare = house.put("the same words, and a zeppelin", "rare")
    assert house.ids("the same words in every text and a zeppelin", SearchMode.TEXT)[0] == rare.id
