"""Which models this engine can run, decided from their configuration, and the error that says why not.

Knows configurations only. What a configuration does not show is caught by `proof`, on the loaded model.
"""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

_ATTENTION_KINDS = frozenset({"full_attention", "sliding_attention"})
_LENGTH_DEPENDENT_ROPE = frozenset({"dynamic", "longrope"})


class Unsupported(Exception):
    """The model or the settings do not fit this engine, for good."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """A property that makes a model unfit, and how to say it."""

    holds: bool
    reason: str


def check_configuration(name: str, config: PretrainedConfig) -> None:
    """Raise `Unsupported` with the model's name and the reason if its configuration shows that it does not
    fit.
    """
    for rule in _rules(config):
        if rule.holds:
            raise Unsupported(f"model {name!r} ({config.model_type}) is not supported: {rule.reason}")


def context_limit(config: PretrainedConfig) -> int:
    """The longest context in tokens for which the position embedding does not depend on the length of the
    context.

    Some rotary embeddings change for all positions once a context grows beyond the original limit; pages
    written before could not be used any more.
    """
    text = config.get_text_config(decoder=True)
    longest = int(text.max_position_embeddings)
    for rope in _rope_settings(text):
        if rope.get("rope_type") in _LENGTH_DEPENDENT_ROPE:
            original = rope.get("original_max_position_embeddings", longest)
            longest = min(longest, int(str(original)))
    return longest


def _rules(config: PretrainedConfig) -> list[_Rule]:
    text = config.get_text_config(decoder=True)
    kinds = set(getattr(text, "layer_types", None) or ()) - _ATTENTION_KINDS
    causal = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values())
    heads = set(config.architectures or ()) & causal
    return [
        _Rule(bool(config.is_encoder_decoder), "it is an encoder-decoder model"),
        _Rule(not heads or _is_encoder(text), "it is encoder-only: it has no causal language model head"),
        _Rule(
            getattr(text, "kv_lora_rank", None) is not None,
            "its attention keeps a compressed latent (MLA) in place of keys and values",
        ),
        _Rule(
            bool(kinds),
            f"it has layers of the kind {', '.join(sorted(kinds))}; only full and sliding-window attention fit",
        ),
        _Rule(
            bool(getattr(text, "num_kv_shared_layers", 0)),
            "some of its layers use the keys and values of other layers",
        ),
        _Rule(not hasattr(text, "max_position_embeddings"), "its configuration names no longest context"),
    ]


def _is_encoder(config: PretrainedConfig) -> bool:
    """BERT-like models are decoders only if their configuration says so."""
    return getattr(config, "is_decoder", None) is False and hasattr(config, "type_vocab_size")


def _rope_settings(config: PretrainedConfig) -> list[dict[str, object]]:
    """The rotary embedding's settings: one table, or one for each kind of layer."""
    table = getattr(config, "rope_parameters", None) or {}
    return [table] if "rope_type" in table else [entry for entry in table.values() if isinstance(entry, dict)]
