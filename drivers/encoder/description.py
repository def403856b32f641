"""What a model directory says about itself: architecture, longest text, pooling. Free of torch.

Formats: `config.json` (transformers); `modules.json`, `sentence_bert_config.json` and the pooling module's
`config.json` (sentence-transformers). A directory without the latter is pooled by the mean over its tokens, which is
what the models of this family that make sentence vectors are mostly trained for.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TypeVar

import msgspec

LEAN = frozenset({"bert", "roberta", "xlm-roberta", "camembert"})
"""Architectures that `lean` computes."""

THROUGH_TRANSFORMERS = frozenset({"distilbert", "mpnet", "electra", "albert", "deberta", "deberta-v2", "modernbert"})
"""Further ones, computed by transformers' own code."""

_OFFSET = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet"})
"""Whose positions begin after the padding token's number."""


class Unsupported(Exception):
    """The model or the settings do not fit this driver, for good."""


class Configuration(msgspec.Struct, frozen=True):
    """The part of `config.json` that is needed here; defaults as in transformers."""

    model_type: str
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    max_position_embeddings: int = 512
    pad_token_id: int | None = 0
    position_embedding_type: str | None = "absolute"
    is_decoder: bool = False
    is_encoder_decoder: bool = False
    dim: int | None = None
    """DistilBERT's name for the hidden size."""

    @property
    def first_position(self) -> int:
        """The number of a text's first position."""
        return (self.pad_token_id or 0) + 1 if self.model_type in _OFFSET else 0

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has."""
        return self.dim or self.hidden_size

    @property
    def lean(self) -> bool:
        """Whether `lean` computes just what this configuration says."""
        usual = self.position_embedding_type in (None, "absolute") and self.hidden_act == "gelu"
        return self.model_type in LEAN and usual


class Pooling(Enum):
    """How the vectors of tokens become the text's."""

    MEAN = "mean"
    FIRST = "first"


class _Module(msgspec.Struct, frozen=True):
    path: str
    type: str


class _PoolingSettings(msgspec.Struct, frozen=True):
    pooling_mode_cls_token: bool = False
    pooling_mode_mean_tokens: bool = False
    pooling_mode_max_tokens: bool = False
    pooling_mode_mean_sqrt_len_tokens: bool = False
    pooling_mode_weightedmean_tokens: bool = False
    pooling_mode_lasttoken: bool = False


class _SentenceSettings(msgspec.Struct, frozen=True):
    max_seq_length: int | None = None
    do_lower_case: bool = False


@dataclass(frozen=True, slots=True)
class Description:
    """One model."""

    directory: Path
    configuration: Configuration
    pooling: Pooling
    max_tokens: int
    lower_case: bool


def describe(directory: Path) -> Description:
    """Read it all. Raises `Unsupported` with what does not fit."""
    configuration = _read(directory / "config.json", Configuration)
    if configuration is None:
        raise Unsupported(f"there is no config.json in {directory}")
    _check(configuration)
    settings = _read(directory / "sentence_bert_config.json", _SentenceSettings) or _SentenceSettings()
    longest = configuration.max_position_embeddings - configuration.first_position
    most = min(longest, settings.max_seq_length or longest)
    return Description(directory, configuration, _pooling(directory), most, settings.do_lower_case)


def _check(configuration: Configuration) -> None:
    kind = configuration.model_type
    if kind not in LEAN | THROUGH_TRANSFORMERS:
        family = ", ".join(sorted(LEAN | THROUGH_TRANSFORMERS))
        raise Unsupported(f"an encoder is a model of the BERT family ({family}), and {kind} is none")
    if configuration.is_decoder or configuration.is_encoder_decoder:
        raise Unsupported(f"this {kind} is configured as a decoder")


def _pooling(directory: Path) -> Pooling:
    modules = _read(directory / "modules.json", list[_Module]) or []
    for module in modules:
        kind = module.type.rpartition(".")[2]
        if kind not in ("Transformer", "Pooling", "Normalize"):
            raise Unsupported(f"{directory / 'modules.json'} asks for a module {kind}; Pooling and Normalize are known")
    path = next((module.path for module in modules if module.type.endswith(".Pooling")), None)
    settings = _read(directory / path / "config.json", _PoolingSettings) if path is not None else None
    if settings is None:
        return Pooling.MEAN
    match [name for name in settings.__struct_fields__ if getattr(settings, name)]:
        case ["pooling_mode_mean_tokens"]:
            return Pooling.MEAN
        case ["pooling_mode_cls_token"]:
            return Pooling.FIRST
        case others:
            raise Unsupported(f"its pooling is {' + '.join(others) or 'none'}; mean and first token are known")


T = TypeVar("T")


def _read(path: Path, kind: type[T]) -> T | None:
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        raise Unsupported(f"{path} is not what it should be: {error}") from error
