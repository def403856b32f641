"""Puts right what transformers leaves out of a GGUF file's tokenizer.

It knows most of the rules named in `tokenizer.ggml.pre`, by which text is split before the merges, but not
the one that splits off digits first, and falls back to GPT-2's for what it does not know. A model that was
trained with another rule then sees other tokens than in training (here: runs of spaces before digits). It
also leaves the context length out of `tokenizer_config.json`, and settings of its own loading in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from llmos.drivers.models.gguf_header import GgufHeader
from llmos.syscalls.abi.errors import NotSupported

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

GPT2_RULES = frozenset({"", "default", "gpt-2", "phi-2", "mpt", "olmo", "jais", "gigachat", "mellum", "trillion"})
DIGITS_FIRST = frozenset({"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"})

LOADING_SETTINGS = ("is_local", "local_files_only")


def repair_tokenizer(directory: Path, header: GgufHeader) -> None:
    """Rewrite the tokenizer files of a converted model by what the GGUF file says."""
    _rewrite(directory / "tokenizer.json", lambda tokenizer: _with_pre_tokenizer(tokenizer, header.pre_tokenizer))
    _rewrite(directory / "tokenizer_config.json", lambda settings: _with_facts(settings, header))


def _with_pre_tokenizer(tokenizer: dict[str, Json], rule: str) -> dict[str, Json]:
    if not _splits_as_gpt2(tokenizer.get("pre_tokenizer")) or rule in GPT2_RULES:
        return tokenizer
    if rule in DIGITS_FIRST:
        return tokenizer | {"pre_tokenizer": _digits_first(tokenizer["pre_tokenizer"])}
    raise NotSupported(
        f"this GGUF file splits text by the rule {rule[:80]!r}, which is not known here",
        "use the model's directory in transformers' format instead",
    )


def _splits_as_gpt2(pre_tokenizer: Json) -> bool:
    return isinstance(pre_tokenizer, dict) and pre_tokenizer.get("type") == "ByteLevel"


def _digits_first(byte_level: Json) -> Json:
    return {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]}


def _with_facts(settings: dict[str, Json], header: GgufHeader) -> dict[str, Json]:
    kept = {key: value for key, value in settings.items() if key not in LOADING_SETTINGS}
    if header.context_length is not None:
        kept["model_max_length"] = header.context_length
    return kept


def _rewrite(path: Path, change: Callable[[dict[str, Json]], dict[str, Json]]) -> None:
    old: dict[str, Json] = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(change(old), ensure_ascii=False, indent=1), encoding="utf-8")
