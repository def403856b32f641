"""Models and settings that do not fit are refused by name and reason, before anything is run on them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from transformers import (
    BertConfig,
    BloomConfig,
    DeepseekV3Config,
    GptOssConfig,
    LlamaConfig,
    MambaConfig,
    PretrainedConfig,
    Qwen3NextConfig,
    T5Config,
)

from llmos.drivers.engine.host_memory import create_host_memory
from llmos.drivers.engine.loading import load_engine
from llmos.drivers.engine.settings import DeviceKind, EngineSettings, NumberFormat, WeightFormat
from llmos.drivers.engine.support import Unsupported, check_configuration, context_limit
from tests.engine.conftest import ModelDirectory
from tests.engine.small_models import VOCABULARY, save_model


def named(config: PretrainedConfig, architecture: str) -> PretrainedConfig:
    config.architectures = [architecture]
    return config


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (named(T5Config(), "T5ForConditionalGeneration"), "encoder-decoder"),
        (named(BertConfig(), "BertForMaskedLM"), "encoder-only"),
        (named(BertConfig(), "BertLMHeadModel"), "encoder-only"),
        (named(DeepseekV3Config(), "DeepseekV3ForCausalLM"), "MLA"),
        (named(Qwen3NextConfig(), "Qwen3NextForCausalLM"), "linear_attention"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_by_name_and_reason(config: PretrainedConfig, reason: str) -> None:
    with pytest.raises(Unsupported, match=f"'some:model'.*{config.model_type}.*{reason}"):
        check_configuration("some:model", config)


def load(directory: Path, **settings: object) -> None:
    descriptor = create_host_memory(0)
    try:
        load_engine(EngineSettings("small", str(directory), host_memory=0, threads=1, **settings), descriptor)  # type: ignore[arg-type]
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (MambaConfig(vocab_size=VOCABULARY, hidden_size=16, num_hidden_layers=1), "linear_attention"),
        (BloomConfig(vocab_size=VOCABULARY, hidden_size=16, n_layer=1, n_head=2), "longest context"),
        (
            GptOssConfig(
                vocab_size=VOCABULARY,
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
                num_local_experts=2,
                num_experts_per_tok=1,
                head_dim=8,
                pad_token_id=0,
                eos_token_id=0,
            ),
            "sinks",
        ),
    ],
)
def test_a_model_that_turns_out_not_to_fit_is_refused_by_name_and_reason(
    config: PretrainedConfig, reason: str, tmp_path: Path
) -> None:
    save_model(config, tmp_path)
    with pytest.raises(Unsupported, match=f"'small'.*{config.model_type}.*({reason})"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"weights": WeightFormat.INT8}, "int8"),
        ({"device": DeviceKind.CPU, "dtype": NumberFormat.BFLOAT16}, "bfloat16"),
        ({"device": DeviceKind.CPU, "device_memory": 100}, "device_memory"),
    ],
)
def test_settings_that_cannot_be_met_are_refused_by_name(
    settings: dict[str, object], reason: str, model_directory: ModelDirectory
) -> None:
    with pytest.raises(Unsupported, match=reason):
        load(model_directory("llama"), **settings)


def test_a_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match=r"no config\.json"):
        load(tmp_path)


def test_a_context_ends_where_the_position_embedding_would_change() -> None:
    plain = LlamaConfig(max_position_embeddings=512)
    changing = LlamaConfig(
        max_position_embeddings=512,
        rope_parameters={
            "rope_type": "dynamic",
            "rope_theta": 1e4,
            "factor": 4.0,
            "original_max_position_embeddings": 128,
        },
    )
    assert (context_limit(plain), context_limit(changing)) == (512, 128)
