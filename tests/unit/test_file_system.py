"""Names, directories and limits of files on the host; what is wrong with a request."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from llmos.syscalls.abi.errors import AlreadyExists, Error, InvalidArgument, LimitExceeded, NotFound
from llmos.syscalls.abi.files import FileKind
from tests.unit.file_place import Place

Attempt = Callable[[Place], object]

# --- names


def test_directories_are_made_listed_and_removed(place: Place) -> None:
    assert place.files.make_directory(place.path("d"), parents=False).kind is FileKind.DIRECTORY
    assert (place.home / "d").stat().st_mode & 0o777 == 0o700
    with pytest.raises(AlreadyExists):
        place.files.make_directory(place.path("d"), parents=False)
    place.files.make_directory(place.path("d"), parents=True)
    place.put("d/a", b"x")
    with pytest.raises(InvalidArgument, match="not empty"):
        place.files.unlink(place.path("d"), recursive=False)
    place.files.unlink(place.path("d"), recursive=True)
    assert place.names() == []
    assert place.account() == (0, 0)


def test_a_long_directory_is_listed_in_pages(place: Place) -> None:
    for name in ("b", "a", "d", "c"):
        place.put(name, b"")
    page = place.files.list(place.path(""), 3, None)
    assert ([entry.path[-1] for entry in page.entries], page.more) == (["a", "b", "c"], True)
    page = place.files.list(place.path(""), 3, "c")
    assert ([entry.path[-1] for entry in page.entries], page.more) == (["d"], False)


def test_an_open_file_knows_its_new_name(place: Place) -> None:
    place.files.make_directory(place.path("d"), parents=False)
    file = place.open("d/a", "w")
    file.write(b"x")
    place.files.rename(place.path("d"), place.path("e"), replace=False)
    assert str(file.path) == "/home/alice/e/a"
    assert file.close(discard=False).path == "/home/alice/e/a"


def test_a_content_whose_directory_is_gone_is_dropped_and_told(place: Place) -> None:
    place.files.make_directory(place.path("d"), parents=False)
    file = place.open("d/a", "w")
    place.files.unlink(place.path("d"), recursive=True)
    with pytest.raises(NotFound):
        file.close(discard=False)
    assert place.account() == (0, 0)


@pytest.mark.parametrize(
    ("attempt", "error", "words"),
    [
        (lambda p: p.open("nope"), NotFound, "/home/alice/nope does not exist"),
        (lambda p: p.open("nope", "u"), NotFound, "does not exist"),
        (lambda p: p.open("no/pe", "w"), NotFound, "does not exist"),
        (lambda p: p.open("d"), InvalidArgument, "is a directory"),
        (lambda p: p.open("d", "w"), InvalidArgument, "is a directory"),
        (lambda p: p.open("d", "a"), InvalidArgument, "is a directory"),
        (lambda p: p.open("", "a"), InvalidArgument, "is a directory"),
        (lambda p: p.open("", "w"), InvalidArgument, "is a directory"),
        (lambda p: p.open("f/x"), InvalidArgument, "is no directory"),
        (lambda p: p.open("f/x", "w"), InvalidArgument, "is no directory"),
        (lambda p: p.files.stat(p.path("nope")), NotFound, "does not exist"),
        (lambda p: p.files.list(p.path("f"), 9, None), InvalidArgument, "is no directory"),
        (lambda p: p.files.list(p.path("nope"), 9, None), NotFound, "does not exist"),
        (lambda p: p.files.make_directory(p.path("n/m"), parents=False), NotFound, "does not exist"),
        (lambda p: p.files.make_directory(p.path("f/m"), parents=True), AlreadyExists, "/home/alice/f is there"),
        (lambda p: p.files.make_directory(p.path(""), parents=False), AlreadyExists, "there already"),
        (lambda p: p.files.rename(p.path("nope"), p.path("m"), replace=False), NotFound, "does not exist"),
        (lambda p: p.files.rename(p.path("d"), p.path("d/e"), replace=False), InvalidArgument, "into itself"),
        (lambda p: p.files.rename(p.path("f"), p.path("d"), replace=True), InvalidArgument, "is a directory"),
        (
            lambda p: p.files.rename(p.path("d"), p.path("f"), replace=True),
            AlreadyExists,
            "/home/alice/f is there already",
        ),
        (lambda p: p.files.rename(p.path("f"), p.path("no/pe"), replace=False), NotFound, "no/pe does not exist"),
        (lambda p: p.files.rename(p.path("f"), p.path("/home/bob/f"), replace=False), InvalidArgument, "bob"),
        (lambda p: p.files.rename(p.path(""), p.path("m"), replace=False), InvalidArgument, "is a home"),
        (lambda p: p.files.rename(p.path("f"), p.path(""), replace=True), InvalidArgument, "is a home"),
        (lambda p: p.files.unlink(p.path("nope"), recursive=True), NotFound, "does not exist"),
        (lambda p: p.files.unlink(p.path(""), recursive=True), InvalidArgument, "is a home"),
        (lambda p: p.files.versions(p.path("d")), InvalidArgument, "is a directory"),
        (lambda p: p.files.versions(p.path("nope")), NotFound, "does not exist"),
        (lambda p: p.files.restore(p.path("f"), 7), NotFound, "no version 7"),
    ],
)
def test_every_wrong_input_has_its_error_and_changes_nothing(
    place: Place, attempt: Attempt, error: type[Error], words: str
) -> None:
    place.files.make_directory(place.path("d"), parents=False)
    place.put("f", b"x")
    before = (place.account(), place.names(), place.get("f"))
    with pytest.raises(error) as refused:
        attempt(place)
    assert words in refused.value.message
    assert refused.value.hint
    assert (place.account(), place.names(), place.get("f")) == before


# --- limits


def test_the_quota_bites_before_anything_is_written(place: Place) -> None:
    file = place.open("a", "w")
    file.write(bytes(900))
    with pytest.raises(LimitExceeded) as refused:
        file.write(bytes(101))
    assert "1001" in refused.value.message
    assert "files.quota is 1000" in refused.value.message
    file.write(bytes(100))
    file.close(discard=False)
    assert place.account() == (1000, 1)
    with pytest.raises(LimitExceeded):
        place.put("a", b"x", "a")
    assert len(place.get("a")) == 1000


def test_the_number_of_files_is_bounded(place: Place) -> None:
    for number in range(12):
        place.put(f"f{number}", b"")
    attempts: list[Attempt] = [
        lambda p: p.put("more", b""),
        lambda p: p.put("more", b"", "a"),
        lambda p: p.files.make_directory(p.path("more"), parents=False),
    ]
    for attempt in attempts:
        with pytest.raises(LimitExceeded, match=r"files\.files is 12"):
            attempt(place)
    place.put("f0", b"replaced")
    place.files.unlink(place.path("f1"), recursive=False)
    place.put("more", b"")
