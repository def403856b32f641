"""Names of files: what goes in comes out, byte for byte; what cannot be named is refused clearly."""

from __future__ import annotations

import shutil
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.drivers.files.store import HostFiles
from llmos.kernel.ports.files import CONTROL, FilePath
from llmos.kernel.security.names import file_path
from llmos.syscalls.abi.errors import InvalidArgument
from llmos.syscalls.abi.files import OpenMode

NASTY = [
    unicodedata.normalize("NFC", "é"),
    unicodedata.normalize("NFD", "é"),
    "שלום",
    "\u202egpj.exe",
    "  two  spaces ",
    "-rf",
    "--",
    "x" * 255,
    "ü" * 127,
    "🦊" * 63,
    "100%",
    "%s%n",
    "*",
    "?",
    "[a]",
    "'\"`$(x)",
    "a\\b",
    ".versions",
    ".kept",
    "...",
    "CON",
    "aux.txt",
    "~",
    "~root",
    "=3",
    "name:stream",
    "a;b&c|d",
    "ZERO\u200bWIDTH",
]
REFUSED = ["", ".", "..", "a\0b", "a\nb", "\x7f", "\x85", "\u2028", "\ud800", "x" * 256, "ü" * 128]


def round_trip(names: list[str]) -> list[str]:
    """Make a file of each name in a directory of that name; the names as they are listed, in both."""
    root = Path(tempfile.mkdtemp(prefix="llmos-"))
    files = HostFiles(root)
    try:
        for name in names:
            files.make_directory(file_path(name, "alice"), parents=False)
            path = file_path(f"{name}/{name}", "alice")
            for content in (b"old", name.encode()):
                file = files.open(path, OpenMode.WRITE).file
                file.write(content)
                file.close(discard=False)
            reading = files.open(path, OpenMode.READ).file
            assert reading.read(2000) == name.encode()
            reading.close(discard=False)
            assert [one.version for one in files.versions(path)] == [1]
            assert file_path(files.stat(path).path, "bob") == path
        return [entry.path.rpartition("/")[2] for entry in files.list(FilePath("alice", ()), 1000, None).entries]
    finally:
        files.close()
        shutil.rmtree(root)


def test_nasty_names_are_names_like_others() -> None:
    assert round_trip(NASTY) == sorted(NASTY)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_a_name_is_refused_and_says_why(name: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        file_path(f"a/{name}/b", "alice")
    assert refused.value.hint


parts = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda text: text not in (".", "..") and not CONTROL.search(text) and len(text.encode()) <= 255
)


@given(st.lists(parts, min_size=1, max_size=4, unique=True))
@settings(max_examples=60)
def test_any_name_that_is_let_in_comes_back_as_it_was(names: list[str]) -> None:
    assert round_trip(names) == sorted(names)


@given(st.text(max_size=40))
def test_any_text_is_a_path_in_the_callers_home_or_refused(text: str) -> None:
    try:
        path = file_path(text, "alice")
    except InvalidArgument:
        return
    assert text.startswith("/") or path.owner == "alice"
    assert not {"", ".", ".."} & set(path.parts)
    assert file_path(str(path), "bob") == path
