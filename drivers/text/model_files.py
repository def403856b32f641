"""Reads what a model directory says about text: tokenizer, special tokens, end tokens, chat template.

Formats: `tokenizer.json` (the tokenizers library), `tokenizer_config.json`, `generation_config.json`,
`config.json` and `chat_template.jinja` (transformers). Only the first must exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec
from tokenizers import Tokenizer

from llmos.syscalls.abi.errors import InvalidArgument, NotFound

SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class TokenEntry(msgspec.Struct, frozen=True):
    """A special token that is written with its settings."""

    content: str


class NamedTemplate(msgspec.Struct, frozen=True):
    """One of several chat templates."""

    name: str
    template: str


class TokenizerSettings(msgspec.Struct, frozen=True):
    """The part of `tokenizer_config.json` that is needed here."""

    bos_token: str | TokenEntry | None = None
    eos_token: str | TokenEntry | None = None
    unk_token: str | TokenEntry | None = None
    sep_token: str | TokenEntry | None = None
    pad_token: str | TokenEntry | None = None
    cls_token: str | TokenEntry | None = None
    mask_token: str | TokenEntry | None = None
    chat_template: str | list[NamedTemplate] | None = None

    def special_tokens(self) -> dict[str, str]:
        """The text of each special token that has a name."""
        named = zip(SPECIAL_NAMES, msgspec.structs.astuple(self), strict=False)
        texts = ((name, token.content if isinstance(token, TokenEntry) else token) for name, token in named)
        return {name: text for name, text in texts if text is not None}


class EndTokens(msgspec.Struct, frozen=True):
    """The part of `generation_config.json`, or of `config.json`, that is needed here."""

    eos_token_id: int | list[int] | None = None

    def ids(self) -> frozenset[int]:
        """The ids after which a generation has ended."""
        if self.eos_token_id is None:
            return frozenset()
        return frozenset([self.eos_token_id] if isinstance(self.eos_token_id, int) else self.eos_token_id)


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What the directory says. `special_tokens` maps names such as `bos_token` to their text."""

    directory: Path
    tokenizer: Tokenizer
    special_tokens: dict[str, str]
    end_tokens: frozenset[int]
    template: str | None


def read_model_files(directory: Path) -> ModelFiles:
    """Read it all. Raises `NotFound` without a tokenizer, and `InvalidArgument` for files that are damaged."""
    settings = _read(directory / "tokenizer_config.json", TokenizerSettings)
    generation = _read(directory / "generation_config.json", EndTokens)
    ends = generation.ids() or _read(directory / "config.json", EndTokens).ids()
    tokenizer = _read_tokenizer(directory / "tokenizer.json")
    special = settings.special_tokens()
    if not ends and (end := tokenizer.token_to_id(special.get("eos_token", ""))) is not None:
        ends = frozenset([end])
    return ModelFiles(directory, tokenizer, special, ends, _template(directory, settings))


def _read_tokenizer(path: Path) -> Tokenizer:
    if not path.is_file():
        raise NotFound(f"there is no tokenizer {path}", "save the tokenizer there with transformers' save_pretrained")
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises this and nothing narrower
        raise InvalidArgument(f"{path} is no tokenizer that can be read: {error}") from error
    # A context is never cut or filled up behind its owner's back.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _template(directory: Path, settings: TokenizerSettings) -> str | None:
    path = directory / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    if isinstance(settings.chat_template, list):
        named = {template.name: template.template for template in settings.chat_template}
        return named.get("default")
    return settings.chat_template


T = TypeVar("T", TokenizerSettings, EndTokens)


def _read(path: Path, kind: type[T]) -> T:
    if not path.is_file():
        return kind()
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"{path} is not what it should be: {error}") from error
