"""Decoders of a few thousand random weights, one for each shape of attention, saved as transformers saves
models.

The weights are spread wide, so that logits differ clearly and a wrong mask or a wrong page shows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    PreTrainedModel,
    Qwen3Config,
)

VOCABULARY = 160
WINDOW = 20


def _llama() -> PretrainedConfig:
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,
    )


def _mistral() -> PretrainedConfig:
    return MistralConfig(
        vocab_size=VOCABULARY,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=3,
        head_dim=16,
        max_position_embeddings=512,
        sliding_window=WINDOW,
        initializer_range=0.3,
    )


def _gemma2() -> PretrainedConfig:
    return Gemma2Config(
        vocab_size=VOCABULARY,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        query_pre_attn_scalar=24,
        attn_logit_softcapping=2.0,
        max_position_embeddings=512,
        sliding_window=WINDOW,
        initializer_range=0.3,
    )


def _gemma3() -> PretrainedConfig:
    return Gemma3TextConfig(
        vocab_size=VOCABULARY,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=512,
        sliding_window=WINDOW,
        initializer_range=0.3,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    )


def _qwen3() -> PretrainedConfig:
    return Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=512,
        initializer_range=0.3,
        tie_word_embeddings=True,
    )


def _gpt2() -> PretrainedConfig:
    return GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=256,
        n_embd=48,
        n_layer=2,
        n_head=4,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
    )


CONFIGURATIONS: dict[str, Callable[[], PretrainedConfig]] = {
    "llama": _llama,
    "mistral": _mistral,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "qwen3": _qwen3,
    "gpt2": _gpt2,
}


def save_model(config: PretrainedConfig, directory: Path, end: int = 5) -> None:
    """A model of this configuration, the same at every call."""
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(config)
    model.generation_config.eos_token_id = end
    model.save_pretrained(directory)


def load_eager(directory: Path) -> PreTrainedModel:
    """The reference: the same model with transformers' own eager attention."""
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager")
    model.eval()
    return model


@torch.inference_mode()
def log_probabilities(model: PreTrainedModel, tokens: list[int]) -> torch.Tensor:
    """The reference's distribution after every token: `[tokens, vocabulary]`."""
    logits: torch.Tensor = model(torch.tensor([tokens]), use_cache=False).logits
    return logits[0].double().log_softmax(-1)
