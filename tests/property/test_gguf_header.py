"""The reader of GGUF headers: any damage is an error message."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos.drivers.models.gguf_header import read_header
from llmos.syscalls.abi.errors import InvalidArgument, NotFound
from tests.models.small_gguf import CONTEXT, write_small_gguf


@cache
def whole_file() -> bytes:
    """The bytes of a good file."""
    with TemporaryDirectory() as folder:
        return write_small_gguf(Path(folder) / "small.gguf").read_bytes()


def test_a_good_file_says_what_it_is(tmp_path: Path) -> None:
    header = read_header(write_small_gguf(tmp_path / "small.gguf"))
    assert (header.architecture, header.pre_tokenizer, header.context_length) == ("llama", "smollm", CONTEXT)
    assert header.parameters > 8000


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_header(tmp_path / "none.gguf")


@settings(max_examples=100)
@given(st.data())
def test_a_file_that_is_cut_off_anywhere_is_refused(data: st.DataObject) -> None:
    whole = whole_file()
    keep = data.draw(st.integers(0, len(whole) - 64))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "cut.gguf"
        path.write_bytes(whole[:keep])
        with pytest.raises(InvalidArgument):
            read_header(path)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(4, 9000), st.binary(min_size=1, max_size=8)), min_size=1, max_size=3))
def test_a_file_with_other_bytes_in_its_header_is_read_or_refused(changes: list[tuple[int, bytes]]) -> None:
    content = bytearray(whole_file())
    for position, replacement in changes:
        content[position : position + len(replacement)] = replacement
    with TemporaryDirectory() as folder:
        path = Path(folder) / "changed.gguf"
        path.write_bytes(content)
        with suppress(InvalidArgument):
            read_header(path)


@given(st.binary(max_size=200))
def test_any_bytes_after_the_magic_are_refused(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "any.gguf"
        path.write_bytes(b"GGUF" + content)
        with pytest.raises(InvalidArgument):
            read_header(path)
