"""What is put right in a converted tokenizer, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmos.drivers.models.gguf_header import GgufHeader
from llmos.drivers.models.tokenizer_repair import repair_tokenizer
from llmos.syscalls.abi.errors import NotSupported

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
SPLIT = {"type": "Sequence", "pretokenizers": [{"type": "Split"}, {"type": "ByteLevel"}]}


def repaired(directory: Path, rule: str, pre_tokenizer: object) -> tuple[object, object]:
    """The pre-tokenizer and the settings after the repair."""
    (directory / "tokenizer.json").write_text(json.dumps({"pre_tokenizer": pre_tokenizer}))
    (directory / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>", "is_local": True}))
    values: dict[str, str | int | float] = {
        "general.architecture": "llama",
        "llama.context_length": 99,
        "tokenizer.ggml.pre": rule,
    }
    repair_tokenizer(directory, GgufHeader(values, 1, 1))
    tokenizer = json.loads((directory / "tokenizer.json").read_text())
    return tokenizer["pre_tokenizer"], json.loads((directory / "tokenizer_config.json").read_text())


def test_digits_are_split_off_first_where_the_model_was_trained_so(tmp_path: Path) -> None:
    digits = {"type": "Digits", "individual_digits": True}
    assert repaired(tmp_path, "smollm", BYTE_LEVEL)[0] == {"type": "Sequence", "pretokenizers": [digits, BYTE_LEVEL]}


@pytest.mark.parametrize("rule", ["", "default", "gpt-2"])
def test_the_usual_rule_is_left_alone(tmp_path: Path, rule: str) -> None:
    assert repaired(tmp_path, rule, BYTE_LEVEL)[0] == BYTE_LEVEL


def test_a_rule_that_the_converter_knew_is_left_alone(tmp_path: Path) -> None:
    assert repaired(tmp_path, "llama-bpe", SPLIT)[0] == SPLIT
    assert repaired(tmp_path, "default", None)[0] is None


def test_an_unknown_rule_is_refused_rather_than_guessed(tmp_path: Path) -> None:
    with pytest.raises(NotSupported, match="martian"):
        repaired(tmp_path, "martian", BYTE_LEVEL)


def test_the_context_length_gets_in_and_the_loaders_own_settings_get_out(tmp_path: Path) -> None:
    assert repaired(tmp_path, "smollm", BYTE_LEVEL)[1] == {"eos_token": "</s>", "model_max_length": 99}
