"""Whether a directory holds a whole model in transformers' format: configuration, weights and tokenizer.

Nothing is loaded: the headers of the weight files say how long each must be, which finds truncated ones.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import msgspec

from llmos.syscalls.abi.errors import InvalidArgument, NotFound

T = TypeVar("T")
LONGEST_HEADER = 100 << 20
SAVE_HINT = "save model and tokenizer there with transformers' save_pretrained"


class Configuration(msgspec.Struct, frozen=True):
    """The part of `config.json` that every model has."""

    model_type: str


class TensorEntry(msgspec.Struct, frozen=True):
    """Where a tensor lies in the data of its file: begin and end, in bytes."""

    data_offsets: tuple[int, int]


class ShardIndex(msgspec.Struct, frozen=True):
    """Which file holds which tensor."""

    weight_map: dict[str, str]


def check_directory(directory: Path) -> tuple[Path, ...]:
    """The files that make the model. Raises `NotFound` or `InvalidArgument`, which say what is wrong."""
    if not directory.is_dir():
        raise NotFound(f"there is no model directory {directory}")
    configuration = _read_part(directory, "config.json")
    _decode(configuration, Configuration)
    tokenizer = _read_part(directory, "tokenizer.json")
    weights = _weight_files(directory)
    for path in weights:
        _check_safetensors(path)
    return (configuration, tokenizer, *weights)


def _read_part(directory: Path, name: str) -> Path:
    path = directory / name
    if not path.is_file():
        raise InvalidArgument(f"the model directory {directory} has no {name}", SAVE_HINT)
    if path.stat().st_size == 0:
        raise InvalidArgument(f"{path} is empty", SAVE_HINT)
    return path


def _weight_files(directory: Path) -> tuple[Path, ...]:
    if (directory / "model.safetensors").is_file():
        return (directory / "model.safetensors",)
    if (directory / "model.safetensors.index.json").is_file():
        index = _decode(directory / "model.safetensors.index.json", ShardIndex)
        return tuple(_shard(directory, name) for name in sorted(set(index.weight_map.values())))
    raise InvalidArgument(f"the model directory {directory} has no weights (model.safetensors)", SAVE_HINT)


def _shard(directory: Path, name: str) -> Path:
    if Path(name).name != name:
        raise InvalidArgument(f"the weight index of {directory} names a file outside of it: {name[:80]!r}")
    return _read_part(directory, name)


def _check_safetensors(path: Path) -> None:
    size = os.stat(path).st_size
    with path.open("rb") as file:
        header_length = int.from_bytes(file.read(8), "little")
        if not 2 <= header_length <= min(size - 8, LONGEST_HEADER):
            raise InvalidArgument(f"{path} is no safetensors file, or is cut off in its header")
        header = file.read(header_length)
    data_length = _data_length(header, path)
    if 8 + header_length + data_length > size:
        raise InvalidArgument(f"{path} is cut off: it has {size} bytes of {8 + header_length + data_length}")


def _data_length(header: bytes, path: Path) -> int:
    try:
        entries = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        tensors = [
            msgspec.json.decode(raw, type=TensorEntry) for name, raw in entries.items() if name != "__metadata__"
        ]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path} is no safetensors file: its header is broken ({error})") from error
    return max((tensor.data_offsets[1] for tensor in tensors), default=0)


def _decode(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path} is not what it should be: {error}") from error
