"""A tiny Llama with random weights as a GGUF file, which converts in seconds and is a real model in all but sense."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray
from tokenizers.pre_tokenizers import ByteLevel

HIDDEN = 32
FEED_FORWARD = 64
HEADS = 4
KEY_VALUE_HEADS = 2
LAYERS = 2
CONTEXT = 128
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
NORMAL, CONTROL = 1, 3


def write_small_gguf(path: Path, rule: str = "smollm", architecture: str = "llama", seed: int = 0) -> Path:
    """Write the file; `rule` is what it says of splitting text, `seed` makes the weights."""
    writer = gguf.GGUFWriter(path, architecture)
    _write_facts(writer)
    _write_tokenizer(writer, rule)
    generator = np.random.default_rng(seed)
    for name, shape in _shapes().items():
        weights = generator.standard_normal(shape, dtype=np.float32) * 0.1
        _write_tensor(writer, name, weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def vocabulary() -> list[str]:
    """All tokens, in order."""
    return [*SPECIAL, *sorted(ByteLevel.alphabet()), "\u0120\u0120", "he"]


def _write_facts(writer: gguf.GGUFWriter) -> None:
    writer.add_name("small")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_VALUE_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(len(vocabulary()))


def _write_tokenizer(writer: gguf.GGUFWriter, rule: str) -> None:
    tokens = vocabulary()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(rule)
    writer.add_token_list(tokens)
    writer.add_token_types([CONTROL if token in SPECIAL else NORMAL for token in tokens])
    writer.add_token_merges(["\u0120 \u0120", "h e"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def _shapes() -> dict[str, tuple[int, ...]]:
    narrow = HIDDEN // HEADS * KEY_VALUE_HEADS
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (len(vocabulary()), HIDDEN)}
    for layer in range(LAYERS):
        shapes |= {
            f"blk.{layer}.attn_norm.weight": (HIDDEN,),
            f"blk.{layer}.attn_q.weight": (HIDDEN, HIDDEN),
            f"blk.{layer}.attn_k.weight": (narrow, HIDDEN),
            f"blk.{layer}.attn_v.weight": (narrow, HIDDEN),
            f"blk.{layer}.attn_output.weight": (HIDDEN, HIDDEN),
            f"blk.{layer}.ffn_norm.weight": (HIDDEN,),
            f"blk.{layer}.ffn_gate.weight": (FEED_FORWARD, HIDDEN),
            f"blk.{layer}.ffn_up.weight": (FEED_FORWARD, HIDDEN),
            f"blk.{layer}.ffn_down.weight": (HIDDEN, FEED_FORWARD),
        }
    return shapes | {"output_norm.weight": (HIDDEN,)}


def _write_tensor(writer: gguf.GGUFWriter, name: str, weights: NDArray[np.float32]) -> None:
    if "ffn" in name and weights.ndim == 2:
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(weights, kind), raw_dtype=kind)
    else:
        writer.add_tensor(name, weights)
