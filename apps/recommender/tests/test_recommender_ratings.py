"""What people say, and the journal's lines: nothing whole is lost, nothing torn is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import llmos
from llmos.apps.recommender.films import FilmId, read_films
from llmos.apps.recommender.ratings import (
    Entry,
    People,
    Rating,
    UserId,
    Wish,
    caller_user,
    check_stars,
    check_user,
    check_words,
    decode,
    encode,
    read_ratings,
)
from llmos.apps.recommender.tests.small_catalogue import small_catalogue

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
ratings = st.builds(
    Rating,
    user=names.map(UserId),
    film=names.map(FilmId),
    stars=st.integers(1, 10).map(lambda halves: halves / 2),
    time=st.floats(0, 4e9),
)
entries: st.SearchStrategy[Entry] = ratings | st.builds(
    Wish, user=names.map(UserId), words=names, time=st.floats(0, 4e9)
)


@given(st.lists(entries, max_size=8))
def test_what_was_appended_is_read_back_in_order(said: list[Entry]) -> None:
    decoded = decode(b"".join(map(encode, said)))
    assert decoded.entries == tuple(said)
    assert decoded.damaged == 0


@given(st.lists(entries, max_size=4), entries, st.lists(entries, max_size=4), st.data())
def test_a_torn_line_costs_no_other_line(
    before: list[Entry], torn: Entry, after: list[Entry], data: st.DataObject
) -> None:
    line = encode(torn)
    # The last byte ends the line, and what is cut before it leaves the entry as it was: then nothing was torn.
    cut = line[: data.draw(st.integers(0, len(line) - 2))]
    decoded = decode(b"".join(map(encode, before)) + cut + b"".join(map(encode, after)))
    assert decoded.entries == (*before, *after)
    assert decoded.damaged <= 1


@given(entries, st.data())
def test_a_line_with_a_changed_byte_says_nothing_new(entry: Entry, data: st.DataObject) -> None:
    line = bytearray(encode(entry))
    place = data.draw(st.integers(1, len(line) - 2))
    line[place] ^= data.draw(st.integers(1, 255))
    assert set(decode(bytes(line)).entries) <= {entry}


@given(st.lists(entries, max_size=6), st.integers(0, 2000))
def test_reading_piece_by_piece_finds_the_same(said: list[Entry], cut: int) -> None:
    whole = b"".join(map(encode, said))
    first = decode(whole[:cut])
    rest = decode(whole[first.taken :])
    assert first.entries + rest.entries == tuple(said)


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    assert decode(data).taken <= len(data)


def test_the_later_rating_of_a_film_counts() -> None:
    people = People(small_catalogue())
    for stars in (1.0, 5.0):
        people.take(Rating(UserId("u"), FilmId("s0"), stars, 1.0))
    assert [one.stars for one in people.person(UserId("u")).ratings.values()] == [5.0]


def test_a_rating_of_a_film_that_left_the_catalogue_is_passed_over() -> None:
    people = People(small_catalogue(), [Rating(UserId("u"), FilmId("gone"), 5.0, 1.0)])
    assert people.person(UserId("u")).ratings == {}


@pytest.mark.parametrize("stars", [0.0, 0.4, 5.5, 3.3, float("nan"), float("inf"), -1.0])
def test_stars_that_are_none_are_refused(stars: float) -> None:
    with pytest.raises(llmos.InvalidArgument, match="no stars"):
        check_stars(stars)


def test_words_are_one_line_of_a_bounded_length() -> None:
    assert check_words("  slow \n films ") == "slow films"
    for words in ("", "  \n", "x" * 501):
        with pytest.raises(llmos.InvalidArgument):
            check_words(words)


@pytest.mark.parametrize("name", ["", "@default/anna/", "a\nb", "x" * 201])
def test_a_name_that_could_be_a_callers_is_refused(name: str) -> None:
    with pytest.raises(llmos.InvalidArgument):
        check_user(name)


def test_users_of_different_callers_are_different() -> None:
    users = {
        caller_user("t", "anna"),
        caller_user("t", "anna", "x"),
        caller_user("t", "bob", "x"),
        caller_user("u", "anna"),
    }
    assert len(users) == 4


@pytest.mark.parametrize(
    ("table", "wrong"),
    [
        ("", "column item is missing"),
        ("item,title,year\n", "column genres is missing"),
        ("item,title,year,genres\n", "at least one film"),
        ("item,title,year,genres\n1,A,1990\n", "row 2"),
        ("item,title,year,genres\n1,A,199,\n", "row 2: '199' is no year"),
        ("item,title,year,genres\n1,,1990,\n", "needs an item and a title"),
        ("item,title,year,genres\n1,A,1990,\n1,B,1990,\n", "an id of its own"),
    ],
)
def test_a_catalogue_that_is_wrong_is_refused_with_its_row(table: str, wrong: str) -> None:
    with pytest.raises(llmos.InvalidArgument, match=wrong):
        read_films(table)


def test_a_rating_that_is_wrong_is_refused_with_its_row() -> None:
    with pytest.raises(llmos.InvalidArgument, match="row 3"):
        read_ratings("user,item,stars,time\nu,1,3,1\nu,1,9,1\n")


def test_a_film_is_found_by_id_by_title_and_by_words() -> None:
    catalogue = small_catalogue()
    assert catalogue.films[catalogue.resolve("s1")].title == "Aliens"
    assert catalogue.films[catalogue.resolve("alien")].title == "Alien"
    assert catalogue.films[catalogue.resolve("Titanic (1942)")].title == "Titanic"
    assert [film.title for film in catalogue.find("star")] == ["Dark Star", "Star Wars"]
    with pytest.raises(llmos.NotFound) as error:
        catalogue.resolve("star")
    assert "Star Wars" in error.value.hint


def test_an_article_after_the_title_goes_before_it() -> None:
    (film,) = read_films('item,title,year,genres\n1,"Matrix, The",1999,Action\n').films
    assert film.title == "The Matrix"
