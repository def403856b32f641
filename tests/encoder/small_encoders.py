"""Small models of the BERT family with random weights, saved as transformers saves them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, PreTrainedModel

WORDS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]", *(f"w{number}" for number in range(60)))
SHAPE: dict[str, object] = {"vocab_size": len(WORDS), "max_position_embeddings": 40, "pad_token_id": 0}
BERT = {**SHAPE, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}

CONFIGURATIONS: dict[str, dict[str, object]] = {
    "bert": {"model_type": "bert", **BERT},
    "masked": {"model_type": "bert", **BERT},
    "bert-relu": {"model_type": "bert", **BERT, "hidden_act": "relu"},
    "bert-decoder": {"model_type": "bert", **BERT, "is_decoder": True},
    "roberta": {"model_type": "roberta", **BERT},
    "distilbert": {"model_type": "distilbert", **SHAPE, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48},
    "gpt2": {
        "model_type": "gpt2",
        "vocab_size": len(WORDS),
        "n_positions": 40,
        "n_embd": 32,
        "n_layer": 1,
        "n_head": 4,
    },
}


def save_encoder(kind: str, path: Path) -> None:
    """Save one; `masked` is BERT under the names of a model with a head for masked words."""
    torch.manual_seed(5)
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIGURATIONS[kind]))
    config = AutoConfig.from_pretrained(path, local_files_only=True)
    kind_of_model = AutoModelForMaskedLM if kind == "masked" else AutoModel
    model: PreTrainedModel = kind_of_model.from_config(config)  # type: ignore[no-untyped-call] # so it is there
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2)
    model.save_pretrained(path)
    small_tokenizer().save(str(path / "tokenizer.json"))


def small_tokenizer() -> Tokenizer:
    """Words by their names, between a start and an end."""
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    return tokenizer
