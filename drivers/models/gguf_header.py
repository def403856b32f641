"""The header of a GGUF file, read under bounds: what the file claims to be, and whether all of it is there.

Format: the GGUF specification, versions 2 and 3, little-endian: magic, version, counts, key-value pairs,
tensor infos, then the data. Every length is checked against the file before it is believed, so that a
damaged or forged file costs an error message, not time or memory; only a file that has passed is given to
the libraries that unpack it.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from llmos.syscalls.abi.errors import InvalidArgument, NotFound

MAGIC = b"GGUF"
VERSIONS = (2, 3)
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING = 8
ARRAY = 9
DEFAULT_ALIGNMENT = 32
MOST_DIMENSIONS = 4
MOST_ITEMS = 1 << 24

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """What the header says: scalar and string entries, and the number of elements of all tensors."""

    values: dict[str, Value]
    tensors: int
    parameters: int

    @property
    def architecture(self) -> str:
        """The family of the model, in the file's own word."""
        return str(self.values.get("general.architecture", ""))

    @property
    def pre_tokenizer(self) -> str:
        """The name of the rule by which text is split before the tokenizer's merges; empty when not said."""
        return str(self.values.get("tokenizer.ggml.pre", ""))

    @property
    def context_length(self) -> int | None:
        """How many tokens the model was made for."""
        length = self.values.get(f"{self.architecture}.context_length")
        return length if isinstance(length, int) else None


def read_header(path: Path) -> GgufHeader:
    """Read and check the header. Raises `NotFound`, or `InvalidArgument` for a damaged file."""
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    with path.open("rb") as file:
        if file.read(4) != MAGIC:
            raise InvalidArgument(f"{path} is no GGUF file")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _parse(_Reader(data, 4))
            except _DamagedError as damage:
                raise InvalidArgument(f"{path} is damaged: {damage}", "copy or download it again") from damage


class _DamagedError(Exception):
    """The file contradicts itself; the text says how."""


class _Reader:
    """A position in the file; reads nothing that is not there."""

    def __init__(self, data: mmap.mmap, position: int) -> None:
        self._data = data
        self.position = position

    @property
    def size(self) -> int:
        return len(self._data)

    def skip(self, length: int) -> int:
        """Move on, and return where the skipped bytes begin."""
        begin = self.position
        if length > self.size - begin:
            raise _DamagedError("it is cut off in its header")
        self.position = begin + length
        return begin

    def scalar(self, code: str) -> int | float | bool:
        layout = struct.Struct("<" + code)
        value: int | float | bool = layout.unpack_from(self._data, self.skip(layout.size))[0]
        return value

    def number(self, code: str) -> int:
        return int(self.scalar(code))

    def string(self) -> str:
        length = self.number("Q")
        begin = self.skip(length)
        try:
            return self._data[begin : begin + length].decode()
        except UnicodeDecodeError as error:
            raise _DamagedError("it has a string that is not UTF-8") from error


def _parse(reader: _Reader) -> GgufHeader:
    version = reader.number("I")
    if version not in VERSIONS:
        raise _DamagedError(f"version {version} of the format is not known")
    tensors, pairs = reader.number("Q"), reader.number("Q")
    if tensors == 0:
        raise _DamagedError("it has no tensors")
    values: dict[str, Value] = {}
    for _ in range(_bounded(pairs)):
        key = reader.string()
        value = _value(reader, reader.number("I"))
        if value is not None:
            values[key] = value
    alignment = values.get("general.alignment", DEFAULT_ALIGNMENT)
    return GgufHeader(values, tensors, _tensors(reader, _bounded(tensors), alignment))


def _value(reader: _Reader, kind: int) -> Value | None:
    if kind == STRING:
        return reader.string()
    if kind == ARRAY:
        _skip_array(reader)
        return None
    if kind in SCALARS:
        return reader.scalar(SCALARS[kind])
    raise _DamagedError(f"it has a value of the unknown type {kind}")


def _skip_array(reader: _Reader) -> None:
    kind, length = reader.number("I"), reader.number("Q")
    if kind in SCALARS:
        reader.skip(length * struct.calcsize("<" + SCALARS[kind]))
    elif kind == STRING:
        for _ in range(_bounded(length)):
            reader.skip(reader.number("Q"))
    else:
        raise _DamagedError(f"it has an array of the unsupported type {kind}")


def _tensors(reader: _Reader, count: int, alignment: Value) -> int:
    parameters = end = 0
    for _ in range(count):
        reader.string()
        elements = _elements(reader)
        kind, offset = reader.number("I"), reader.number("Q")
        parameters += elements
        end = max(end, offset + _byte_length(kind, elements))
    if not isinstance(alignment, int) or alignment < 1:
        raise _DamagedError("its alignment is not a positive number")
    begin = -(-reader.position // alignment) * alignment
    if begin + end > reader.size:
        raise _DamagedError(f"it is cut off: it has {reader.size} bytes of {begin + end}")
    return parameters


def _elements(reader: _Reader) -> int:
    dimensions = reader.number("I")
    if not 1 <= dimensions <= MOST_DIMENSIONS:
        raise _DamagedError(f"it has a tensor of {dimensions} dimensions")
    elements = 1
    for _ in range(dimensions):
        elements *= reader.number("Q")
    return elements


def _byte_length(kind: int, elements: int) -> int:
    try:
        block, block_bytes = GGML_QUANT_SIZES[GGMLQuantizationType(kind)]
    except (ValueError, KeyError) as error:
        raise _DamagedError(f"it has a tensor of the unknown type {kind}") from error
    return -(-elements // int(block)) * int(block_bytes)


def _bounded(count: int) -> int:
    if count > MOST_ITEMS:
        raise _DamagedError(f"it claims {count} entries")
    return count
